"""Commands under way: what is said of them, and in what portions they travel."""

from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Resolve, Send
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.messages import Forward, ForwardRefused
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.requests import Failed

ME, LEADER, OTHER = PeerId("a" * 16), PeerId("b" * 16), PeerId("c" * 16)
TIMING = Timing()


class World:
    def __init__(self, limits: Limits | None = None, accepts: bool = True) -> None:
        self.outbox = Outbox()
        self.accepts = accepts
        self.pending = Pending(
            ME,
            encode=lambda commands: b"x" * len(commands),
            propose=lambda count, blob: self.accepts,
            timing=TIMING,
            limits=limits or Limits(),
            outbox=self.outbox,
        )

    def submit(self, sequence: int, token: int = 1, deadline: float = 99.0) -> None:
        command = AppendJournal(SessionId(1), sequence, "j", b"")
        self.pending.submit(token, command, deadline)

    def forwards(self) -> list[Forward]:
        return [
            effect.message
            for effect in self.outbox.take()
            if isinstance(effect, Send) and isinstance(effect.message, Forward)
        ]

    def answers(self) -> list[str]:
        return [
            effect.answer.reason
            for effect in self.outbox.take()
            if isinstance(effect, Resolve) and isinstance(effect.answer, Failed)
        ]


def test_forward_holds_no_more_commands_than_a_batch_may() -> None:
    world = World(Limits(batch_commands_max=2))
    for sequence in range(1, 6):
        world.submit(sequence)
    world.pending.flush((LEADER, 1), 0.0)
    assert [forward.count for forward in world.forwards()] == [2, 2, 1]


def test_first_forward_that_is_refused_was_certainly_not_done() -> None:
    world = World()
    world.submit(1)
    world.pending.flush((LEADER, 1), 0.0)
    (forward,) = world.forwards()
    world.pending.receive_refused(LEADER, ForwardRefused(0, forward.number, "overloaded"))
    assert world.answers() == ["overloaded"]


def test_refusal_says_nothing_of_a_command_that_was_proposed_here_before() -> None:
    world = World()
    world.submit(1)
    world.pending.flush((ME, 1), 0.0)
    world.pending.flush((LEADER, 2), 1.0)
    (forward,) = world.forwards()
    world.pending.receive_refused(LEADER, ForwardRefused(0, forward.number, "overloaded"))
    assert world.answers() == []


def test_late_refusal_says_nothing_of_a_command_that_was_asked_again() -> None:
    world = World()
    world.submit(1, deadline=0.5)
    world.pending.flush((LEADER, 1), 0.0)
    (forward,) = world.forwards()
    world.pending.tick(0.5)
    assert world.answers() == ["unknown"]
    world.submit(1, token=2)
    world.pending.flush((LEADER, 1), 0.6)
    world.forwards()
    world.pending.receive_refused(LEADER, ForwardRefused(0, forward.number, "overloaded"))
    assert world.answers() == []


def test_asker_whose_command_was_asked_again_is_told_that_it_is_unknown() -> None:
    world = World()
    world.submit(1)
    world.submit(1, token=2)
    assert world.answers() == ["unknown"]
