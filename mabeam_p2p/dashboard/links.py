"""How this peer is connected with others, and who was heard to miss whom: of what `mabeam why`
tells, as much as a drawing shows.

No peer is asked about its own links: between two others this one knows what they have told it. That
is who suspects whom, and who has asked a member on this peer's behalf and had no answer.
"""

from collections.abc import Iterable

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.dashboard.fitting import NAMES_MAX, Row
from mabeam_p2p.ids import PeerId
from mabeam_p2p.inquiries import EvidenceAnswer, ReadEvidence
from mabeam_p2p.records import Evidence, MemberState

LINKS_MAX = 24
"""Members that are asked about; as many as the page draws."""
OVERDUE_SHARE = 0.5
"""Of the time after which a member is suspected, without an answer: a question that is under way is
no sign of anything."""

UNKNOWN: Row = {"link": "", "missed_by": [], "missed_by_ids": []}
"""Of a member that was not asked about, and of this peer itself."""


async def links(
    attachment: Attachment, peers: Iterable[PeerId], names: dict[PeerId, str]
) -> dict[PeerId, Row]:
    """By peer: how it is connected. Raises what `ask` does."""
    found: dict[PeerId, Row] = {}
    seconds = attachment.timing.request_timeout_seconds
    for peer in peers:
        # One by one: the loop is the peer's, and goes round between two questions.
        answer = await attachment.ask(ReadEvidence(peer), seconds)
        if isinstance(answer, EvidenceAnswer):
            missed_by = _missed_by(answer.evidence)[:NAMES_MAX]
            found[peer] = {
                "link": _link(answer.evidence),
                "missed_by": [names.get(one) or one for one in missed_by],
                "missed_by_ids": missed_by,
            }
    return found


def _link(evidence: Evidence) -> str:
    """Whether this peer hears it, in a stable word; empty: it is gone, or none."""
    member, link, hearing = evidence.member, evidence.link, evidence.hearing
    if member is None or member.state > MemberState.SUSPECT or hearing is None:
        return ""
    if link is None:
        return "unmet"
    if hearing.unanswered_seconds >= OVERDUE_SHARE * hearing.patience_seconds:
        return "overdue"
    if link.greeting_seconds:
        return "unreached"
    return "unasked" if hearing.answered_seconds is None else "answers"


def _missed_by(evidence: Evidence) -> list[PeerId]:
    """Who does not hear it, as far as this peer was told; it itself among them."""
    accusers = () if evidence.doubt is None else evidence.doubt.accusers
    in_vain = () if evidence.hearing is None else evidence.hearing.in_vain
    return list(dict.fromkeys((*accusers, *in_vain)))
