"""Snapshots between peers: taken, sent in pieces, gone on with (Raft §7)."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    SnapshotReply,
)
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.protocol.replication.progress import FollowerState
from mabeam_p2p.records import SnapshotStored
from tests.protocol.raft_world import A, B, C, World, state_at, terms_of
from tests.protocol.snapshots_world import (
    VOTERS,
    answers,
    base,
    begun,
    behind,
    hear,
    led,
    piece_of,
    pieces,
    progress_of,
    snapshot_of,
)

# ---- taking ------------------------------------------------------------------------------------


def test_a_snapshot_takes_the_place_of_the_log_up_to_its_last_entry() -> None:
    world = led()
    world.propose(A, b"x", b"y")
    world.deliver()
    snapshot = world.compact(A)
    log, disk = world[A].core.log, world[A].disk
    assert (log.base, len(log), disk.base, disk.batches) == (snapshot.base, 0, snapshot.base, [])
    assert disk.snapshot == snapshot
    assert (log.last_index, log.last_term, log.voters) == (4, 2, VOTERS)


def test_some_entries_before_it_stay_for_slow_followers() -> None:
    world = led()
    for blob in (b"x", b"y", b"z"):
        world.propose(A, blob)
        world.deliver()
    snapshot = world.compact(A, trailing=2)
    log = world[A].core.log
    assert (snapshot.base.index, log.base.index, len(log)) == (5, 3, 2)
    assert [batch.index for batch in world[A].disk.batches] == [4, 5]


def test_snapshot_and_log_change_in_one_record() -> None:
    """No crash finds the one without the other: the prefix goes with what takes its place."""
    world = led()
    world[A].is_slow = True
    world.propose(A, b"x")
    world.deliver()
    world.write(A)
    world.deliver()
    world.compact(A)
    records = [persist.record for persist in world[A].unwritten]
    assert [type(record) for record in records] == [SnapshotStored]
    assert len(world[A].disk.batches) == 3
    world.restart(A)
    assert world[A].core.log.last_index == 3


def test_a_snapshot_never_goes_ahead_of_what_is_committed_nor_back() -> None:
    world = led()
    world.isolate(A)
    world.propose(A, b"x")
    log = world[A].core.log
    ahead = log.base_at(log.last_index)
    assert ahead is not None
    with pytest.raises(AssertionError, match="goes ahead"):
        world[A].core.store_snapshot(state_at(ahead), world.now)
    world.compact(A)
    with pytest.raises(AssertionError, match="goes back"):
        world.compact(A)


def test_what_a_peer_takes_itself_it_is_not_sent_any_more() -> None:
    world = behind()
    log = world[B].core.log
    other = state_at(base(11, 2), 300)
    for target in (99, 11):
        coming = state_at(base(target, 2), 300) if target > 11 else other
        world[C].core.snapshots.receive(A, piece_of(coming, 2 if target > 11 else 3, 0, b"x" * 9))
        world[C].outbox.take()
    assert world[C].core.snapshots.partial_bytes == 9
    world.hear(A, C, AppendEntries(0, 3, 2, 2, 11, tuple(log.between(2, 11))))
    assert world[C].core.commit_index == 11
    world.compact(C)
    assert world[C].core.snapshots.partial_bytes == 0


def test_a_snapshot_of_its_own_does_not_end_the_coming_of_a_later_one() -> None:
    world = led()
    world[C].core.snapshots.receive(A, piece_of(state_at(base(99, 2), 300), 2, 0, b"x" * 9))
    world[C].outbox.take()
    world.compact(C)
    assert world[C].core.snapshots.partial_bytes == 9


def test_a_peer_starts_from_its_snapshot_and_what_follows() -> None:
    world = behind()
    world.propose(A, b"later")
    world.deliver()
    world.restart(A)
    core = world[A].core
    assert core.commit_index == core.snapshots.index == core.log.base.index == 11
    assert terms_of(core.log.between(11, 12)) == [2]
    world.elect(A)
    assert world[A].core.commit_index == 13


# ---- sending -----------------------------------------------------------------------------------


def test_a_follower_that_needs_what_the_log_lacks_gets_the_snapshot_and_what_follows() -> None:
    world = behind()
    world.propose(A, b"later")
    world.deliver()
    world.beat(A)
    world.beat(A)
    assert world[C].taken_in == [snapshot_of(world)]
    assert world[C].core.log.base == snapshot_of(world).base
    assert world[C].core.commit_index == world[A].core.commit_index == 12
    assert progress_of(world, A, C).state is FollowerState.REPLICATE


def test_a_transfer_asks_first_how_much_is_there_and_sends_one_piece_at_a_time() -> None:
    world = behind()
    seen: list[tuple[int, int]] = []
    for _ in range(200):
        if not world.flying:
            world.wait(world.timing.heartbeat_seconds)
            world.tick(A)
        assert len(pieces(world, C)) <= 1
        seen += [(piece.offset, len(piece.data)) for piece in pieces(world, C)]
        world.arrive(world.flying[0])
    # The same piece is seen once for each message that arrives while it is under way.
    assert list(dict.fromkeys(seen)) == [(0, 0), (0, 100), (100, 100), (200, 100), (300, 50)]
    assert world[C].core.commit_index == world[A].core.commit_index


def test_a_transfer_goes_on_where_it_was_after_a_loss() -> None:
    """What stays unanswered is followed by the question alone: to who is gone nothing is sent."""
    world = behind()
    world.lose(begun(world, 200))
    world.deliver()
    world.wait(world.timing.append_timeout_seconds)
    world.tick(A)
    assert [(piece.offset, piece.data) for piece in pieces(world, C)] == [(200, b"")]
    world.deliver()
    assert world[C].taken_in == [snapshot_of(world)]
    assert world[C].core.dropped_count == 0


def test_a_follower_that_has_installed_counts_at_once_and_is_sent_what_follows() -> None:
    world = behind()
    begun(world, 300)
    world.propose(A, b"later")
    world.deliver_until(lambda: any(answer.installed for answer in answers(world)))
    [parcel] = world.under_way(SnapshotReply, C)
    world.arrive(parcel)
    progress = progress_of(world, A, C)
    assert (progress.match_index, progress.transfer) == (11, None)
    [append] = [p.message for p in world.under_way(AppendEntries, target=C)]
    assert isinstance(append, AppendEntries)
    assert (append.previous_index, len(append.batches)) == (11, 1)


def test_an_answer_about_another_snapshot_is_none() -> None:
    world = behind()
    begun(world, 100)
    progress, snapshot = progress_of(world, A, C), snapshot_of(world)
    for index, digest in ((7, snapshot.digest), (11, snapshot.digest + 1)):
        world.hear(C, A, SnapshotReply(0, 2, index, digest, 0, installed=True))
        assert progress.transfer is not None
        assert progress.match_index < 7


def test_a_new_leader_goes_on_with_the_same_snapshot_where_the_old_one_was() -> None:
    world = behind()
    world.compact(B, size=350)
    begun(world, 200)
    world.flying.clear()
    world.isolate(A)
    sent: list[int] = []

    def note_pieces() -> bool:
        sent.extend(piece.offset for piece in pieces(world, C) if piece.data)
        return False

    world.wait(2 * world.timing.election_timeout_seconds)
    world.stand(B)
    for _ in range(4):
        world.deliver_until(note_pieces)
        world.wait(world.timing.heartbeat_seconds)
        world.tick(B)
    assert list(dict.fromkeys(sent)) == [200, 300]
    assert world[C].taken_in == [snapshot_of(world)]


def test_a_follower_that_restarted_begins_the_transfer_anew() -> None:
    world = behind()
    begun(world, 200)
    world.restart(C)
    world.flying.clear()
    for _ in range(3):
        world.beat(A)
    assert world[C].taken_in == [snapshot_of(world)]


def test_commits_go_on_while_a_snapshot_is_on_its_way() -> None:
    world = behind()
    begun(world, 100)
    held = [p for p in world.flying if p.target == C or p.source == C]
    world.lose(*held)
    world.propose(A, b"meanwhile")
    world.deliver()
    assert world[A].core.commit_index == world[B].core.commit_index == 12
    assert progress_of(world, A, C).state is FollowerState.SNAPSHOT


def test_a_follower_that_waits_for_a_snapshot_is_sent_no_entries() -> None:
    world = behind()
    begun(world, 100)
    world.propose(A, b"meanwhile")
    assert world.under_way(AppendEntries, target=C) == []
    assert world.under_way(AppendEntries, target=B)


def test_a_transfer_goes_on_with_what_it_began_and_the_log_behind_it_waits() -> None:
    """A snapshot taken meanwhile must not begin the transfer anew, nor drop what comes next."""
    world = behind()
    begun(world, 100)
    first = snapshot_of(world)
    for blob in (b"p", b"q"):
        world.lose(*[p for p in world.flying if C in (p.source, p.target)])
        world.propose(A, blob)
        world.deliver()
    second = world.compact(A, size=350)
    assert second.base.index > first.base.index
    assert world[A].core.log.base == first.base
    for _ in range(8):
        world.beat(A)
    assert world[C].taken_in == [first]
    assert world[C].core.commit_index == 13


def test_of_a_follower_that_is_gone_nothing_is_held_back() -> None:
    world = behind()
    begun(world, 100)
    world.isolate(C)
    world.wait(4 * world.timing.append_timeout_seconds)
    world.flying.clear()
    world.act(A, lambda core: None)
    world.propose(A, b"x")
    world.deliver()
    second = world.compact(A)
    assert world[A].core.log.base == second.base


def test_a_copy_of_an_answer_brings_no_copy_of_a_piece() -> None:
    world = behind()
    parcel = begun(world, 100)
    world.arrive(parcel)
    [answer] = world.under_way(SnapshotReply)
    world.arrive(answer)
    assert [piece.offset for piece in pieces(world, C)] == [200]
    world.arrive(answer)
    world.arrive(answer)
    assert [piece.offset for piece in pieces(world, C)] == [200]


def test_a_follower_that_caught_up_otherwise_needs_the_snapshot_no_more() -> None:
    world = behind(entry_count=3)
    begun(world, 0)
    progress = progress_of(world, A, C)
    assert progress.transfer is not None
    log = world[B].core.log
    world.hear(A, C, AppendEntries(0, 2, 2, 2, 5, tuple(log.between(2, log.last_index))))
    [answer] = world.under_way(AppendReply, C)
    world.arrive(answer)
    assert progress.transfer is None
    assert progress.state is FollowerState.REPLICATE


def test_an_answer_of_a_later_term_makes_the_leader_follow() -> None:
    world = behind()
    world.hear(C, A, SnapshotReply(0, 9, 11, 0, 0, installed=False))
    assert (world[A].core.role, world[A].core.term) == (Role.FOLLOWER, 9)


def test_a_piece_of_an_older_term_is_answered_with_the_newer_one() -> None:
    world = World(3, terms={A: 5})
    hear(world, state_at(base(7, 1)), 2)
    assert answers(world) == [SnapshotReply(0, 5, 7, state_at(base(7, 1)).digest, 0, False)]
    assert world[A].taken_in == []


# ---- time and bounds ---------------------------------------------------------------------------


def answer_slowly(world: World, pauses: int) -> None:
    """Let so many answers of C come, each after most of the time that A has patience for."""
    for _ in range(pauses):
        world.wait(0.75 * world.timing.append_timeout_seconds)
        for parcel in [p for p in world.flying if p.target == C]:
            world.arrive(parcel)
        world.wait(0.75 * world.timing.append_timeout_seconds)
        for parcel in world.under_way(SnapshotReply, C):
            world.arrive(parcel)


def test_of_a_follower_that_answers_slowly_what_comes_next_is_held_back() -> None:
    world = behind(size=1_000)
    begun(world, 100)
    first = snapshot_of(world)
    answer_slowly(world, 4)
    assert progress_of(world, A, C).transfer is not None
    world.propose(A, b"x")
    for parcel in [p for p in world.flying if C not in (p.source, p.target)]:
        world.arrive(parcel)
    for parcel in world.under_way(AppendReply, B):
        world.arrive(parcel)
    second = world.compact(A)
    assert second.base.index > first.base.index
    assert world[A].core.log.base == first.base


def test_a_piece_that_was_just_sent_is_not_asked_about() -> None:
    world = behind(size=1_000)
    begun(world, 100)
    answer_slowly(world, 3)
    [piece] = pieces(world, C)
    world.wait(0.5 * world.timing.append_timeout_seconds)
    world.tick(A)
    assert pieces(world, C) == [piece]


@pytest.mark.parametrize(
    ("size", "held"),
    [(100, [True, False]), (400, [True, True, False])],
    ids=["four times what makes one due", "its own size"],
)
def test_what_is_held_back_for_a_transfer_is_bounded(size: int, held: list[bool]) -> None:
    """A large state travels for longer, so that more comes to stand behind it."""
    limits = Limits(snapshot_chunk_bytes=50, snapshot_bytes=50)
    world = behind(size=size, limits=limits)
    begun(world, 50)
    for is_held in held:
        world.lose(*[p for p in world.flying if C in (p.source, p.target)])
        world.propose(A, bytes(150))
        world.deliver()
        progress_of(world, A, C).transfer.answered_at = world.now  # type: ignore[union-attr]
        base_index = world[A].core.log.base.index
        snapshot = world.compact(A, size=size)
        expected = base_index if is_held else snapshot.base.index
        assert world[A].core.log.base.index == expected


def test_entries_that_stay_take_at_most_a_quarter_of_what_makes_a_snapshot_due() -> None:
    world = led(limits=Limits(snapshot_bytes=400))
    for _ in range(3):
        world.propose(A, bytes(50))
        world.deliver()
    snapshot = world.compact(A, trailing=99)
    assert (snapshot.base.index, world[A].core.log.base.index) == (5, 3)
