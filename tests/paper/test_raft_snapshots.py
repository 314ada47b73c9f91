"""Raft's claims about log compaction, one test each: section 7 and figure 13 of the paper (Ongaro
and Ousterhout 2014)."""

from mabeam_p2p.messages import AppendEntries
from mabeam_p2p.protocol.replication import Role
from tests.protocol.raft_world import A, B, C, World, state_at, terms_of, written
from tests.protocol.snapshots_world import (
    answers,
    base,
    begun,
    behind,
    committed_elsewhere,
    hear,
    led,
    piece_of,
    pieces,
)


def test_each_server_takes_snapshots_independently_of_committed_entries_alone() -> None:
    """§7: "Each server takes snapshots independently, covering just the committed entries in its
    log"."""
    world = led()
    world.isolate(A)
    world.propose(A, b"uncommitted")
    world.compact(A)
    core = world[A].core
    assert (core.snapshots.index, core.log.last_index) == (core.commit_index, core.commit_index + 1)
    assert world[B].core.snapshots.latest is None


def test_the_last_included_index_and_term_make_the_consistency_check_possible() -> None:
    """§7: the last included index and term "are preserved to support the AppendEntries consistency
    check for the first log entry following the snapshot"."""
    world = led()
    world.compact(B)
    last = world[B].core.log.last_index
    for term, success in ((1, False), (2, True)):
        world.hear(A, B, AppendEntries(0, 2, last, term, last, ()))
        [parcel] = [p for p in world.flying if p.source == B]
        world.lose(parcel)
        assert getattr(parcel.message, "success", None) is success


def test_the_latest_configuration_as_of_the_last_included_index_is_in_the_snapshot() -> None:
    """§7: "the snapshot also includes the latest configuration in the log as of last included
    index"."""
    world = led()
    snapshot = world.compact(A)
    assert snapshot.base.voters == world.voters
    world.restart(A)
    assert world[A].core.voters == world.voters
    assert len(world[A].core.log) == 0


def test_once_the_snapshot_is_written_all_entries_through_the_last_included_one_may_go() -> None:
    """§7: "Once a server completes writing a snapshot, it may delete all log entries up through the
    last included index, as well as any prior snapshot"."""
    world = led()
    world.compact(A)
    world.propose(A, b"x")
    world.deliver()
    newer = world.compact(A)
    assert (world[A].disk.snapshot, world[A].disk.batches) == (newer, [])


def test_a_leader_sends_a_snapshot_when_it_has_discarded_the_next_entry() -> None:
    """§7: "this situation happens when the leader has already discarded the next log entry that it
    needs to send to a follower"."""
    world = behind()
    begun(world, 0)
    assert pieces(world, C)
    assert not world.under_way(AppendEntries, target=C)


def test_a_piece_of_an_older_term_is_answered_at_once() -> None:
    """Figure 13, step 1: "Reply immediately if term < currentTerm"."""
    world = World(3, terms={A: 5})
    hear(world, state_at(base(7, 1)), 4)
    assert [(answer.term, answer.installed) for answer in answers(world)] == [(5, False)]
    assert world[A].taken_in == []


def test_a_first_piece_makes_a_new_file_and_the_others_are_written_at_their_offset() -> None:
    """Figure 13, steps 2 to 4: "Create new snapshot file if first chunk", "Write data into snapshot
    file at given offset", "Reply and wait for more data chunks"."""
    world = World(3)
    committed_elsewhere(world, *written(1, 2, 2))
    snapshot = state_at(base(3, 2), 250)
    for offset in (0, 100, 200):
        world.hear(B, A, piece_of(snapshot, 2, offset, snapshot.data[offset : offset + 100]))
    assert [answer.offset for answer in answers(world)] == [100, 200, 0]
    assert world[A].disk.snapshot == snapshot


def test_a_saved_snapshot_takes_the_place_of_one_with_a_smaller_index() -> None:
    """Figure 13, step 5: "discard any existing or partial snapshot with a smaller index"."""
    world = World(3)
    committed_elsewhere(world, *written(1, 2, 2, 2, 2))
    older, newer = state_at(base(3, 2), 300), state_at(base(5, 2), 300)
    world.hear(B, A, piece_of(older, 2, 0, older.data[:100]))
    hear(world, newer, 2)
    assert (world[A].disk.snapshot, world[A].taken_in) == (newer, [newer])


def test_entries_behind_one_with_the_same_index_and_term_are_retained() -> None:
    """Figure 13, step 6: "If existing log entry has same index and term as snapshot's last included
    entry, retain log entries following it and reply"."""
    log = written(1, 2, 2, 2)
    world = World(3, logs={A: log}, terms={A: 2})
    committed_elsewhere(world, *log[:3])
    hear(world, state_at(base(3, 2)), 2)
    assert terms_of(world[A].disk.batches) == [2]


def test_otherwise_the_entire_log_is_discarded() -> None:
    """Figure 13, step 7: "Discard the entire log"."""
    world = World(3, logs={A: written(1, 1, 1, 1)})
    committed_elsewhere(world, *written(1, 2, 2))
    hear(world, state_at(base(3, 2)), 2)
    assert world[A].disk.batches == []


def test_the_state_machine_is_reset_using_the_snapshots_contents() -> None:
    """Figure 13, step 8: "Reset state machine using snapshot contents (and load snapshot's cluster
    configuration)"."""
    world = World(3)
    committed_elsewhere(world, *written(1, 2, 2))
    snapshot = state_at(base(3, 2))
    hear(world, snapshot, 2)
    assert world[A].taken_in == [snapshot]
    assert world[A].core.voters == snapshot.base.voters


def test_a_retransmission_that_describes_a_prefix_keeps_what_follows() -> None:
    """§7: "If instead the follower receives a snapshot that describes a prefix of its log (due to
    retransmission or by mistake), then log entries covered by the snapshot are deleted but entries
    following the snapshot are still valid and must be retained". Ours are deleted when this peer
    takes its own."""
    world = behind()
    late = world[A].core.snapshots.latest
    assert late is not None
    world.propose(A, b"x")
    world.deliver()
    world.beat(A)
    before = terms_of(world[B].disk.batches)
    world.hear(A, B, piece_of(late, 2))
    assert terms_of(world[B].disk.batches) == before
    assert world[B].core.log.last_index == late.base.index + 1


def test_pieces_count_as_contact_with_the_leader() -> None:
    """§5.2 with figure 13: a piece is an RPC from the current leader, so that a follower that is
    sent a long snapshot stands for no election."""
    world = World(3, terms={A: 2})
    snapshot = state_at(base(9, 2), 300)
    world.wait(world.timing.election_timeout_seconds)
    world.hear(B, A, piece_of(snapshot, 2, 0, snapshot.data[:100]))
    assert world[A].core.is_leader_heard(world.now)
    assert world[A].core.role is Role.FOLLOWER


def test_snapshots_of_one_log_are_equal_wherever_they_are_taken() -> None:
    """§7, "each server takes snapshots independently": at an equal index they are the same, so that
    what one leader has begun to send another can go on with."""
    world = behind()
    assert world.compact(B, size=350) == world[A].core.snapshots.latest


def test_a_peer_that_lacks_what_a_snapshot_holds_is_not_elected() -> None:
    """§5.4.1 with §7: the last included entry counts as the last of the log, so that what is in a
    snapshot alone still keeps a candidate without it from being elected."""
    world = behind()
    world.compact(B, size=350)
    world.isolate(A)
    world.wait(2 * world.timing.election_timeout_seconds)
    world.stand(C)
    world.deliver()
    assert world[C].core.role is not Role.LEADER
    world.stand(B)
    world.deliver()
    assert world[B].core.role is Role.LEADER
