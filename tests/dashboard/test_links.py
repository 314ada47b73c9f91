"""How a peer is connected with others, of the evidence that a fake peer tells."""

from collections.abc import Mapping

import pytest

from mabeam_p2p.dashboard.fitting import NAMES_MAX, Row
from mabeam_p2p.dashboard.links import links
from mabeam_p2p.errors import Closed
from mabeam_p2p.ids import PeerId
from mabeam_p2p.inquiries import EvidenceAnswer, ReadEvidence
from mabeam_p2p.records import Acquaintance, Doubt, Evidence, Hearing, Member, MemberState
from mabeam_p2p.requests import Request
from tests.api.fakes import PEER, FakePeer, Reply, attachment
from tests.in_loop import in_loop

BEE, COW, DOE = (PeerId(f"{number:016x}") for number in range(3))
NAMES = {PEER: "ant", BEE: "bee", COW: "cow"}
PATIENCE = 1.2

OPEN = Acquaintance("h:1", 1, True, 0.1)
GREETED = Acquaintance("h:1", 1, False, 9.0, 2.0)


def hearing(
    answered: float | None = 0.1, unanswered: float = 0.0, in_vain: tuple[PeerId, ...] = ()
) -> Hearing:
    return Hearing(answered, 1 if unanswered else 0, unanswered, PATIENCE, in_vain, in_vain)


def evidence(
    state: MemberState = MemberState.ALIVE,
    *,
    link: Acquaintance | None = OPEN,
    heard: Hearing | None = hearing(),  # noqa: B008
    doubt: Doubt | None = None,
) -> Evidence:
    member = Member(BEE, "bee", "h:1", 1, 1, state)
    return Evidence(BEE, PEER, member, link=link, hearing=heard, doubt=doubt)


async def told(answers: Mapping[PeerId, Evidence]) -> dict[PeerId, Row]:
    def reply(request: Request) -> Reply:
        assert isinstance(request, ReadEvidence), "nothing else is asked"
        return EvidenceAnswer(answers[request.peer])

    peer = FakePeer()
    peer.reply = reply
    tie = attachment(peer)
    try:
        return await links(tie, answers, NAMES)
    finally:
        await tie.close()


@pytest.mark.parametrize(
    ("known", "word"),
    [
        (evidence(), "answers"),
        (evidence(heard=hearing(unanswered=PATIENCE / 3)), "answers"),
        (evidence(heard=hearing(unanswered=PATIENCE / 2)), "overdue"),
        (evidence(MemberState.SUSPECT, heard=hearing(unanswered=2 * PATIENCE)), "overdue"),
        (evidence(link=GREETED), "unreached"),
        (evidence(link=None), "unmet"),
        (evidence(heard=hearing(None)), "unasked"),
        (evidence(MemberState.DEAD), ""),
        (evidence(MemberState.LEFT, link=None), ""),
        (evidence(heard=None), ""),
        (Evidence(BEE, PEER, None), ""),
    ],
)
@in_loop
async def test_a_link_is_told_in_one_word(known: Evidence, word: str) -> None:
    assert (await told({BEE: known}))[BEE]["link"] == word


@in_loop
async def test_who_misses_a_member_is_told_once_by_name_and_id() -> None:
    doubt = Doubt((COW, PEER), 0.5, 2.0)
    known = evidence(MemberState.SUSPECT, heard=hearing(in_vain=(DOE, COW)), doubt=doubt)
    row = (await told({BEE: known}))[BEE]
    assert row["missed_by_ids"] == [COW, PEER, DOE]
    assert row["missed_by"] == ["cow", "ant", DOE]


@in_loop
async def test_of_many_who_miss_a_member_some_are_told() -> None:
    accusers = tuple(PeerId(f"{number:016x}") for number in range(1_000))
    row = (await told({BEE: evidence(doubt=Doubt(accusers, 0.5, 2.0))}))[BEE]
    assert row["missed_by_ids"] == list(accusers[:NAMES_MAX])


@in_loop
async def test_a_peer_that_has_gone_is_no_peer_without_links() -> None:
    peer = FakePeer()
    peer.reply = lambda request: Closed("it has been closed")
    tie = attachment(peer)
    with pytest.raises(Closed):
        await links(tie, [BEE], NAMES)
    await tie.close()
