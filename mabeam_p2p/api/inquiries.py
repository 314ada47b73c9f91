"""Asking a peer about itself and its neighbours."""

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import PeerEvidence
from mabeam_p2p.errors import UnknownPeer
from mabeam_p2p.ids import PeerId, is_peer_id
from mabeam_p2p.inquiries import EvidenceAnswer, Figures, ReadEvidence, ReadFigures


async def evidence_of(attachment: Attachment, peer: str) -> PeerEvidence:
    """What `attachment`'s peer knows of `peer`: a name or an id. Raises UnknownPeer."""
    found = attachment.find_peer(peer) or (PeerId(peer) if is_peer_id(peer) else None)
    if found is None:
        raise UnknownPeer(
            f"no peer is called {peer!r}: see `mabeam members` for names and ids",
            reason="no_member",
        )
    names = {member.id: member.name for member in attachment.view.members()}
    answer = await attachment.ask(ReadEvidence(found), attachment.timing.request_timeout_seconds)
    if isinstance(answer, EvidenceAnswer):
        return PeerEvidence.of(answer.evidence, lambda one: names.get(one) or str(one))
    raise attachment.error(answer, f"what is known of {peer}")


async def figures_of(attachment: Attachment) -> Figures:
    """What a monitor is told of `attachment`'s peer."""
    answer = await attachment.ask(ReadFigures(), attachment.timing.request_timeout_seconds)
    if isinstance(answer, Figures):
        return answer
    raise attachment.error(answer, "figures")
