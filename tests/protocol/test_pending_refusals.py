"""A command that no peer would read harms nobody but itself."""

from collections.abc import Sequence

from mabeam_p2p.commands import AnyCommand, AppendJournal
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Resolve
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.requests import Answer, Refused

ME = PeerId("a" * 16)
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
