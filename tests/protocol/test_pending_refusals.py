"""Commands that no peer would read, or a leader has no room for, harm nobody but themselves."""

from collections.abc import Sequence
from math import inf

from mabeam_p2p.commands import AnyCommand, AppendJournal, KeepAlive
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Resolve
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import SessionId
from mabeam_p2p.messages import ForwardRefused
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.requests import Answer, Refused
from tests.protocol.test_pending import ME, A, B, Counter, command, relayed

PROPOSED: list[int] = []


def encode(commands: Sequence[AnyCommand]) -> bytes:
    items = [c.item for c in commands if isinstance(c, AppendJournal)]
    if b"bad" in items:
        raise InvalidValue("the item is bad")
    return b"".join(items)


def answers_to(items: Sequence[bytes], limits: Limits) -> dict[int, Answer]:
    """What the commands with these items are answered, by token, and what is proposed."""
    outbox = Outbox()
    PROPOSED.clear()

    def propose(count: int, blob: bytes) -> bool:
        PROPOSED.append(count)
        return True

    pending = Pending(
        ME,
        encode=encode,
        propose=propose,
        gather=lambda *report: None,
        timing=Timing(),
        limits=limits,
        outbox=outbox,
    )
    for number, item in enumerate(items, 1):
        pending.submit(number, AppendJournal(SessionId(1), number, "j", item), 9.0)
    pending.flush((ME, 1), 0.0)
    return {e.token: e.answer for e in outbox.take() if isinstance(e, Resolve)}


def test_unreadable_command_is_refused_and_the_others_of_its_turn_go_on() -> None:
    answers = answers_to([b"a", b"bad", b"c", b"d"], Limits())
    assert answers == {2: Refused("invalid", "the item is bad")}
    assert sum(PROPOSED) == 3


def test_command_larger_than_a_batch_is_refused_and_the_others_go_on() -> None:
    answers = answers_to([b"a", b"x" * 11, b"c"], Limits(batch_bytes_max=10))
    assert list(answers) == [2]
    assert isinstance(answers[2], Refused)
    assert answers[2].reason == "too_large"
    assert sum(PROPOSED) == 2


# ---- a leader that is short of room --------------------------------------------------------------


def test_a_command_that_fills_a_batch_to_the_byte_is_taken() -> None:
    assert answers_to([b"x" * 10], Limits(batch_bytes_max=10)) == {}
    assert PROPOSED == [1]


def test_what_a_leader_that_is_short_of_room_still_takes_goes_by_itself() -> None:
    """And to the leader itself: a coordinator would pass it on with what is refused."""
    counter = Counter()
    counter.submit(1)
    counter.pending.flush((A, 1), 0.0, B)
    assert relayed(counter) == ([(B, 1)], [])
    counter.pending.receive_refused(B, ForwardRefused(0, 1, "disk_full"))
    assert counter.reasons() == [(101, "disk_full")]
    turn = (command(2), KeepAlive(SessionId(1), 3), command(4))
    for token, asked in enumerate(turn, 2):
        counter.pending.submit(token, asked, inf)
    counter.pending.flush((A, 1), 0.1, B)
    assert [(one.count, one.blob) for one in counter.sent()] == [(1, b""), (2, b"bb")]
    counter.submit(5)
    counter.pending.flush((A, 2), 0.2)
    assert [one.count for one in counter.sent()] == [4], "another leader may have room"


def test_a_leader_that_is_short_of_room_takes_its_own_upkeep_by_itself() -> None:
    counter = Counter()
    counter.refusal, counter.is_full = "disk_full", True
    counter.submit(1)
    counter.pending.flush((ME, 1), 0.0)
    assert counter.reasons() == [(101, "disk_full")]
    counter.is_full = False
    counter.pending.submit(2, KeepAlive(SessionId(1), 2), inf)
    counter.submit(3)
    counter.flush((ME, 1), 0.1)
    assert counter.proposed == [(1, b""), (1, b"b")]
