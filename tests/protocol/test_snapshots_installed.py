"""A snapshot from a leader in place of a log: what stays, what goes, what is refused, and what a
crash leaves of it (Raft §7, figure 13)."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
)
from mabeam_p2p.records import Batch
from tests.protocol.raft_world import A, B, C, D, World, state_at, terms_of, written
from tests.protocol.snapshots_world import (
    answers,
    base,
    behind,
    committed_elsewhere,
    hear,
    led,
    piece_of,
    snapshot_of,
)


def test_a_log_that_holds_the_last_entry_keeps_what_follows() -> None:
    """Catalogue 40; Raft figure 13, step 6."""
    log = written(1, 2, 2, 2)
    world = World(3, logs={A: log}, terms={A: 2})
    committed_elsewhere(world, *log[:3])
    hear(world, state_at(base(3, 2)), 2)
    core = world[A].core
    assert (core.log.base, core.commit_index) == (base(3, 2), 3)
    assert terms_of(core.log.between(3, 4)) == [2]
    assert [b.index for b in world[A].disk.batches] == [4]


@pytest.mark.parametrize("log", [written(1, 1, 1, 1, 1), written(1, 2), written(1, 1, 3, 3, 3, 3)])
def test_any_other_log_goes_as_a_whole_and_no_conflicting_entry_stays(
    log: tuple[Batch, ...],
) -> None:
    """Catalogue 40; Raft figure 13, step 7."""
    world = World(3, logs={A: log}, terms={A: 3})
    committed_elsewhere(world, *written(1, 2, 2, 4))
    hear(world, state_at(base(4, 4)), 4)
    core = world[A].core
    assert (core.log.base, len(core.log), core.log.last_term) == (base(4, 4), 0, 4)
    assert world[A].disk.batches == []
    assert [answer.installed for answer in answers(world)] == [True]
    assert core.dropped_count == 0


def test_an_installed_snapshot_brings_its_configuration() -> None:
    """Catalogue 42."""
    world = World(3)
    committed_elsewhere(world, *written(1, 2, 2, voters=(A, B, C, D)))
    hear(world, state_at(base(3, 2, (A, B, C, D))), 2)
    assert world[A].core.voters == (A, B, C, D)
    world.restart(A)
    assert world[A].core.voters == (A, B, C, D)


def test_an_older_snapshot_changes_nothing_and_is_answered_as_installed() -> None:
    """Catalogue 41 and 44: never below what is committed."""
    world = behind()
    late = snapshot_of(world)
    world.propose(A, b"x")
    world.deliver()
    world.beat(A)
    before = world[B].core.log.base, world[B].core.commit_index, list(world[B].disk.batches)
    assert world[B].core.commit_index > late.base.index
    piece = piece_of(late, 2)
    world.hear(A, B, piece)
    after = world[B].core.log.base, world[B].core.commit_index, list(world[B].disk.batches)
    assert after == before
    assert world[B].taken_in == []
    assert [answer.installed for answer in answers(world)] == [True]
    assert world[B].core.dropped_count == 0


def test_a_piece_of_an_older_snapshot_does_not_end_a_newer_transfer() -> None:
    """Catalogue 41: a copy that comes late."""
    world = World(3, terms={A: 2})
    newer, older = state_at(base(9, 2), 300), state_at(base(5, 2), 300)
    for snapshot, offset, end in ((newer, 0, 200), (older, 0, 100), (newer, 200, 250)):
        piece = piece_of(snapshot, 2, offset, snapshot.data[offset:end])
        world.hear(B, A, piece)
    held = [answer.offset for answer in answers(world) if answer.index == 9]
    assert held == [200, 250]
    assert world[A].core.dropped_count == 0


def test_what_the_new_leader_sends_is_not_ended_by_an_older_snapshot_either() -> None:
    world = World(3, terms={A: 3})
    newer, older = state_at(base(9, 2), 300), state_at(base(5, 2), 300)
    for snapshot, term, offset, end in (
        (newer, 3, 0, 100),
        (newer, 4, 100, 200),
        (older, 4, 0, 99),
    ):
        world.hear(B, A, piece_of(snapshot, term, offset, snapshot.data[offset:end]))
    world.hear(B, A, piece_of(newer, 4, 200, newer.data[200:250]))
    assert [answer.offset for answer in answers(world)] == [100, 200, 250]


@pytest.mark.parametrize("index", [1, 2])
def test_a_snapshot_of_exactly_what_is_committed_is_not_taken_in(index: int) -> None:
    world = led()
    assert world[B].core.commit_index == 2
    world.hear(A, B, piece_of(state_at(base(index, index)), 2))
    assert world[B].taken_in == []
    assert [answer.installed for answer in answers(world)] == [True]


@pytest.mark.parametrize(("size", "is_taken"), [(29, True), (30, True), (31, False)])
def test_a_snapshot_may_be_as_large_as_the_limit_and_no_larger(size: int, is_taken: bool) -> None:
    world = World(3, limits=Limits(snapshot_bytes_max=30))
    committed_elsewhere(world, *written(1, 2, 2))
    snapshot = state_at(base(3, 2), size)
    assert len(snapshot.data) == size
    hear(world, snapshot, 2)
    assert bool(world[A].taken_in) is is_taken


def test_another_snapshot_of_the_same_index_begins_anew() -> None:
    world = World(3, terms={A: 2})
    for size in (300, 350):
        snapshot = state_at(base(9, 2), size)
        world.hear(B, A, piece_of(snapshot, 2, 0, snapshot.data[:100]))
    assert [answer.offset for answer in answers(world)] == [100, 100]


def test_a_new_leader_with_an_older_snapshot_is_heard() -> None:
    world = World(3, terms={A: 2})
    committed_elsewhere(world, *written(1, 2, 2, 2, 2))
    newer, older = state_at(base(9, 2), 300), state_at(base(5, 2), 300)
    piece = piece_of(newer, 2, 0, newer.data[:100])
    world.hear(B, A, piece)
    hear(world, older, 3)
    assert world[A].taken_in == [older]


def test_a_snapshot_of_another_hash_replaces_nothing() -> None:
    world = World(3)
    right = state_at(base(3, 2))
    wrong = replace(right, data=right.data[:-1] + b"?")
    before = world[A].core.log.last_index, list(world[A].disk.batches)
    hear(world, wrong, 2)
    assert (world[A].core.log.last_index, list(world[A].disk.batches)) == before
    assert world[A].taken_in == []
    assert world[A].core.dropped_count == 1
    assert [(answer.offset, answer.installed) for answer in answers(world)] == [(0, False)]


def test_a_piece_counts_where_it_belongs_and_nowhere_else() -> None:
    """The offset is not believed: a piece that came too early, or again, is not appended."""
    world = World(3)
    committed_elsewhere(world, *written(1, 2, 2))
    snapshot = state_at(base(3, 2), 300)
    for offset in (100, 0, 0, 200, 100, 100, 200):
        piece = piece_of(snapshot, 2, offset, snapshot.data[offset : offset + 100])
        world.hear(B, A, piece)
    assert [answer.offset for answer in answers(world)] == [0, 100, 100, 100, 200, 200, 0]
    assert world[A].taken_in == [snapshot]


@pytest.mark.parametrize(
    "wrong",
    [
        InstallSnapshot(0, 2, base(9, 2, ()), 1, 3, 0, b"abc"),
        InstallSnapshot(0, 2, base(9, 3), 1, 3, 0, b"abc"),
        InstallSnapshot(0, 2, base(9, 2), 1, 2, 0, b"abc"),
        InstallSnapshot(0, 2, base(9, 2), 1, 3, 2, b"bc"),
        InstallSnapshot(0, 2, base(9, 2), 1, 0, 0, b""),
        InstallSnapshot(0, 2, base(9, 2), 1, 2**40, 0, b"abc"),
    ],
)
def test_a_piece_that_no_leader_sends_is_counted_and_dropped(wrong: InstallSnapshot) -> None:
    world = World(3)
    world.hear(B, A, wrong)
    assert world[A].core.dropped_count == 1
    assert answers(world) == []


def test_what_says_installed_waits_for_the_disk() -> None:
    world = World(3)
    committed_elsewhere(world, *written(1, 2, 2))
    world[A].is_slow = True
    hear(world, state_at(base(3, 2)), 2)
    hear(world, state_at(base(3, 2)), 2)
    assert answers(world) == []
    world.write(A)
    assert [answer.installed for answer in answers(world)] == [True, True]


@pytest.mark.parametrize("kept", range(4))
def test_a_crash_at_any_write_of_an_install_leaves_the_old_state_or_the_new(kept: int) -> None:
    """Catalogue 43: an index is never adopted without the state that goes with it."""
    world = World(3, logs={A: written(1, 1, 1)})
    committed_elsewhere(world, *written(1, 2, 2, 2))
    world[A].is_slow = True
    hear(world, state_at(base(3, 2)), 2)
    world.hear(B, A, AppendEntries(0, 2, 3, 2, 3, written(1, 2, 2, 2)[3:]))
    count = len(world[A].unwritten)
    assert count == 3  # The term, the snapshot, what follows it.
    world.restart(A, kept=kept)
    core, disk = world[A].core, world[A].disk
    if kept < 2:
        assert (core.log.base.index, core.log.last_index, disk.snapshot) == (0, 3, None)
    else:
        assert (core.log.base.index, core.snapshots.index, core.commit_index) == (3, 3, 3)
        assert core.log.last_index == 3 + (kept == 3)
    assert disk.base.index == (disk.snapshot.base.index if disk.snapshot else 0)


def test_a_late_append_from_before_the_base_is_no_conflict() -> None:
    """Catalogue 28: after compaction, neither index 0 nor any other position before the base is
    taken for a match; what lies before it is committed, and the answer says so."""
    world = led()
    for blob in (b"x", b"y"):
        world.propose(A, blob)
        world.deliver()
    world.beat(A)
    world.compact(B)
    log = world[A].core.log.between(0, 4)
    for previous_index, previous_term, batches in (
        (0, 0, tuple(log[:2])),
        (0, 0, ()),
        (1, 1, tuple(log[1:])),
        (2, 2, ()),
    ):
        world.hear(A, B, AppendEntries(0, 2, previous_index, previous_term, 4, batches))
        world.hear(A, B, AppendEntries(0, 2, 4, 2, 4, ()))
    acknowledged = [p.message for p in world.under_way(AppendReply, B)]
    assert all(isinstance(m, AppendReply) and m.success for m in acknowledged)
    assert {m.match_index for m in acknowledged if isinstance(m, AppendReply)} == {4}
    assert world[B].core.log.term_at(0) is None
    assert world[B].core.log.last_index == 4


def test_a_late_append_that_overlaps_the_base_brings_what_lies_behind_it() -> None:
    world = led()
    world.propose(A, b"x")
    world.deliver()
    world.beat(A)
    world.compact(B)
    world.isolate(B)
    world.propose(A, b"y")
    world.deliver()
    world.heal()
    log = tuple(world[A].core.log.between(0, 4))
    world.hear(A, B, AppendEntries(0, 2, 1, 1, 4, log[1:]))
    assert world[B].core.log.last_index == world[B].core.commit_index == 4


def test_entries_dropped_by_an_install_are_not_resurrected_by_a_late_message() -> None:
    """Catalogue 49."""
    stale = written(1, 1, 1, 1)
    world = World(3, logs={A: stale[:2]})
    late = AppendEntries(0, 1, 2, 1, 1, stale[2:])
    committed_elsewhere(world, *written(1, 2, 2))
    hear(world, state_at(base(3, 2)), 2)
    world.hear(C, A, late)
    assert (world[A].core.log.base, world[A].core.log.last_index) == (base(3, 2), 3)
    world.restart(A)
    assert (world[A].core.log.base, world[A].core.log.last_index) == (base(3, 2), 3)


def test_what_is_known_to_be_applied_is_never_ahead_of_what_is_stored() -> None:
    """Catalogue 50: the snapshot that a start finds ends where its log is, or before."""
    world = led()
    for number in range(6):
        world.propose(A, b"%d" % number)
        world.deliver()
        world[A].is_slow = True
        world.compact(A, trailing=number % 3)
        kept = number % 2
        world.restart(A, kept)
        disk = world[A].disk
        last = disk.batches[-1].last_index if disk.batches else disk.base.index
        assert (disk.snapshot.base.index if disk.snapshot else 0) <= last
        world[A].is_slow = False
        world.elect(A)
