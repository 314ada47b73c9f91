"""What becomes of commands under way when a snapshot takes the place of the entries that would have
told: an answer where it can be known, never a wrong one."""

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.effects import Resolve
from mabeam_p2p.protocol.pending import SNAPSHOT_TOOK_ENTRIES
from mabeam_p2p.requests import Committed, Failed
from tests.protocol.test_pending import A, Counter


def test_what_a_snapshot_can_tell_is_answered_and_what_it_cannot_is_unknown() -> None:
    counter = Counter()
    counter.submit(1, 2, 3, 4)
    counter.flush((A, 1), now=0.0)
    done = Committed(7, 1)

    def outcome_of(asked: AnyCommand) -> Committed | None:
        if asked.sequence == 4:
            raise LookupError(asked.sequence)
        return done if asked.sequence == 1 else None

    counter.pending.caught_up(outcome_of)
    assert counter.outbox.take() == (
        Resolve(101, done),
        Resolve(102, Failed("unknown", SNAPSHOT_TOOK_ENTRIES)),
        Resolve(103, Failed("unknown", SNAPSHOT_TOOK_ENTRIES)),
    )
    assert len(counter.pending) == 1


def test_a_command_that_nobody_was_given_is_not_unknown_after_a_snapshot() -> None:
    counter = Counter()
    counter.submit(1)
    counter.pending.caught_up(lambda asked: None)
    assert counter.outbox.take() == ()
    assert len(counter.flush((A, 1), now=0.0)) == 1
