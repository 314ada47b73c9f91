"""A peer that was thought dead and forgotten comes back: the two meet, whatever gets lost."""

from msgspec.structs import replace

from mabeam_p2p.effects import Send
from mabeam_p2p.messages import Gossip, Hello, Wanted
from mabeam_p2p.records import Member, MemberState
from tests.protocol.test_node import CLUSTER, A, B, Desk

RECORD = Member(A, A[0], f"127.0.0.1:{ord(A[0])}", 1, 1, MemberState.ALIVE)


def forgotten() -> Desk:
    """A has been dead for so long that it is no member any more."""
    desk = Desk()
    timing = desk.node.config.timing
    seconds = timing.suspect_seconds + timing.dead_seconds + timing.dead_retention_seconds
    desk.wait(10 * seconds)
    assert desk.node.membership.find(A) is None
    assert desk.node.membership.is_buried(RECORD)
    desk.effects.clear()
    return desk


def greetings(desk: Desk) -> int:
    sent = [one for one in desk.effects if isinstance(one, Send)]
    return sum(one.target == A and isinstance(one.message, Hello) for one in sent)


def hello(desk: Desk, record: Member) -> None:
    desk.hear(A, Hello("default", CLUSTER, record, True))
    desk.end_turn()


def test_who_comes_back_with_the_record_that_it_died_with_is_told_so() -> None:
    desk = forgotten()
    hello(desk, RECORD)
    assert Send(A, Gossip((replace(RECORD, state=MemberState.DEAD),))) in desk.effects
    assert desk.node.membership.find(A) is None


def test_it_is_greeted_until_it_has_taken_that_back() -> None:
    """What tells it, or its answer, can be lost: else neither would ever speak again."""
    desk = forgotten()
    for _ in range(5):
        desk.effects.clear()
        hello(desk, RECORD)
        assert greetings(desk) <= 1, "an answer to each greeting at once would never end"
        desk.effects.clear()
        desk.wait(desk.node.config.timing.greet_interval_seconds + 0.01)
        assert greetings(desk) == 1
    hello(desk, replace(RECORD, incarnation=2))
    assert desk.node.membership.is_here(A)
    desk.effects.clear()
    desk.hear(A, Gossip((replace(RECORD, incarnation=2),), Wanted.NOTHING))
    desk.wait(desk.node.config.timing.greet_interval_seconds + 0.01)
    assert greetings(desk) == 0


def test_who_is_a_member_is_not_greeted_for_greeting() -> None:
    desk = Desk()
    desk.effects.clear()
    desk.greet(B)
    desk.wait(desk.node.config.timing.greet_interval_seconds + 0.01)
    assert greetings(desk) == 0
