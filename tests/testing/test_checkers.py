"""Every invariant is broken by hand once, and seen; and what is lawful is let pass."""

from copy import copy

import pytest
from msgspec.structs import replace

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    CommitAdvance,
    HeartbeatReply,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.records import Batch, HardState, LogAppend
from mabeam_p2p.testing.checkers import Checkers, Violation
from mabeam_p2p.testing.disk import Disk
from tests.testing.checked_world import (
    FIRST,
    PROMISED,
    STANDING,
    VOTERS,
    A,
    B,
    C,
    World,
    acknowledged,
    broken,
    entry,
    granted,
    heartbeat,
)


@pytest.fixture
def world() -> World:
    return World()


def test_lawful_election_replication_and_commitment_pass(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2), B)
    world.send(B, A, acknowledged(2, 2))
    world.checkers.matched(world[A], B, 2)
    world.send(A, B, CommitAdvance(0, 2, 2))
    world.checkers.stepped(world[B], False, 2, 2)
    world.elect(B, 3)
    assert world.checkers.committed.index == 2
    assert world.checkers.leaders == {2: A, 3: B}


def test_i1_two_leaders_in_one_term_are_seen(world: World) -> None:
    world.elect(A, 2)
    with broken("I1"):
        world.send(B, C, heartbeat(2))


def test_i1_leader_whom_no_majority_voted_for_is_seen(world: World) -> None:
    world.write(A, HardState(0, 2, A))
    world.sync(A)
    world.send(A, B, VoteRequest(0, 2, STANDING, pre=False, transfer=False))
    with broken("I1"):
        world.send(A, B, heartbeat(2))


def test_i1_who_votes_alone_is_elected_by_its_own_vote_on_its_disk(world: World) -> None:
    """It asks nobody, and speaks to learners first."""
    world.elect(A, 2)
    for index, voters in ((2, ()), (3, (A, B)), (4, (A,))):
        configured = replace(entry(index, 2), voters=voters)
        world.append(A, configured, B)
        world.send(B, A, acknowledged(2, index))
        world.send(A, B, CommitAdvance(0, 2, index))
    world.write(A, HardState(0, 3, A))
    unsynced = copy(world.checkers.leaders)
    with broken("I3"):
        world.send(A, B, heartbeat(3))
    world.checkers.leaders = unsynced
    world.sync(A)
    world.send(A, B, heartbeat(3))
    assert world.checkers.leaders == {2: A, 3: A}


def test_i2_leader_that_has_voted_for_another_is_seen(world: World) -> None:
    world.write(A, HardState(0, 2, B))
    world.sync(A)
    world.send(A, B, granted(2))
    world.disks[A].hard_state = HardState(0, 2, A)
    with broken("I2"):
        world.send(A, C, heartbeat(2))


def test_i2_second_vote_in_one_term_is_seen(world: World) -> None:
    world.elect(A, 2)
    with broken("I2"):
        world.send(C, B, granted(2))


def test_i2_candidacy_after_a_vote_in_the_same_term_is_seen(world: World) -> None:
    world.elect(A, 2)
    with broken("I2"):
        world.send(C, B, VoteRequest(0, 2, STANDING, pre=False, transfer=False))


def test_i2_votes_are_remembered_over_a_crash(world: World) -> None:
    world.elect(A, 2)
    disk = world.disks[C]
    disk.hard_state = HardState(0, 0, PeerId(""))
    world.ghosts[C] = world.checkers.started(C, disk)
    world.write(C, HardState(0, 2, B))
    world.sync(C)
    with broken("I2"):
        world.send(C, B, granted(2))


def test_i3_vote_that_is_not_on_disk_is_seen(world: World) -> None:
    world.write(B, HardState(0, 2, A))
    with broken("I3"):
        world.send(B, A, granted(2))


def test_i3_vote_on_disk_for_somebody_else_is_seen(world: World) -> None:
    world.write(B, HardState(0, 2, C))
    world.sync(B)
    with broken("I3"):
        world.send(B, A, granted(2))


def test_i3_candidacy_that_is_not_on_disk_is_seen(world: World) -> None:
    world.write(A, HardState(0, 2, A))
    with broken("I3"):
        world.send(A, B, VoteRequest(0, 2, STANDING, pre=False, transfer=False))


def test_i3_pre_vote_needs_nothing_on_disk(world: World) -> None:
    world.send(A, B, VoteRequest(0, 9, STANDING, pre=True, transfer=False))
    world.send(B, A, VoteReply(0, 9, granted=True, pre=True, higher=False))
    assert world.checkers.votes == {}


def test_i3_term_that_is_not_on_disk_is_seen(world: World) -> None:
    world.write(B, HardState(0, 2, PeerId("")))
    for message in (
        HeartbeatReply(0, 2, 1),
        acknowledged(2, 1),
        VoteReply(0, 2, granted=False, pre=False, higher=False),
    ):
        with broken("I3"):
            world.send(B, A, message)


def test_i3_acknowledged_batch_that_is_not_on_disk_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    world.write(B, LogAppend(0, 1, (entry(2, 2),)))
    with broken("I3"):
        world.send(B, A, acknowledged(2, 2))


def test_i3_answer_of_a_term_that_one_write_ended_and_replaced_is_lawful(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    world.write(B, LogAppend(0, 1, (entry(2, 2),)), HardState(0, 3, PeerId("")))
    world.write(B, LogAppend(0, 1, (entry(2, 3, count=2),)))
    world.sync(B)
    world.send(B, A, acknowledged(2, 2))


def test_i3_answer_of_a_past_term_for_what_was_never_on_disk_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    world.write(B, HardState(0, 3, PeerId("")))
    world.write(B, LogAppend(0, 1, (entry(2, 3, count=2),)))
    world.sync(B)
    with broken("I3"):
        world.send(B, A, acknowledged(2, 2))


def test_i3_leader_without_its_term_on_disk_is_seen(world: World) -> None:
    world.write(A, HardState(0, 2, A))
    with broken("I3"):
        world.send(A, B, heartbeat(2))


def test_i4_term_that_goes_back_is_seen(world: World) -> None:
    world.write(A, HardState(0, 5, A))
    with broken("I4"):
        world.write(A, HardState(0, 4, A))


def test_i4_vote_that_is_cleared_in_its_term_is_seen(world: World) -> None:
    world.write(A, HardState(0, 5, B))
    with broken("I4"):
        world.write(A, HardState(0, 5, PeerId("")))


def test_i4_commit_index_that_goes_back_is_seen(world: World) -> None:
    world.checkers.stepped(world[A], False, 1, 0)
    with broken("I4"):
        world.checkers.stepped(world[A], False, 0, 0)


def test_i5_equal_position_with_another_content_is_seen(world: World) -> None:
    world.append(A, entry(2, 2, b"one"))
    with broken("I5"):
        world.append(B, entry(2, 2, b"other"))


def test_i5_equal_position_behind_another_log_is_seen(world: World) -> None:
    world.append(A, entry(2, 2))
    world.append(A, entry(3, 4))
    world.append(B, entry(2, 3))
    with broken("I5"):
        world.append(B, entry(3, 4))


def test_i5_batch_that_a_crash_took_back_with_its_term_never_was(world: World) -> None:
    world.write(A, HardState(0, 2, A), LogAppend(0, 1, (entry(2, 2, b"lost"),)))
    disk = world.disks[A]
    disk.pending.clear()
    world.ghosts[A] = world.checkers.started(A, disk)
    world.elect(A, 2)
    world.append(A, entry(2, 2, b"another"), B)
    with broken("I5"):
        world.append(C, entry(2, 2, b"lost"))


def test_i5_batch_that_was_sent_is_remembered_though_its_disk_is_lost(world: World) -> None:
    world.elect(A, 2)
    world.write(A, LogAppend(0, 1, (entry(2, 2, b"sent"),)))
    world.send(A, B, AppendEntries(0, 2, 1, 1, 1, (entry(2, 2, b"sent"),)))
    with broken("I5"):
        world.append(C, entry(2, 2, b"another"))


def test_i5_gap_and_split_batch_are_seen(world: World) -> None:
    with broken("I5"):
        world.write(A, LogAppend(0, 1, (entry(3, 2),)))
    world.write(B, LogAppend(0, 1, (entry(2, 2, count=3),)))
    with broken("I5"):
        world.write(B, LogAppend(0, 3, ()))


def test_i5_leader_that_truncates_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    with broken("I5"):
        world.write(A, LogAppend(0, 1, (entry(2, 2, b"again"),)))


def test_i5_append_that_is_not_of_the_leaders_log_is_seen(world: World) -> None:
    world.elect(A, 2)
    with broken("I5"):
        world.send(A, B, AppendEntries(0, 2, 1, 1, 0, (entry(2, 2),)))


def test_i6_commit_without_a_majority_on_disk_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    world.write(B, LogAppend(0, 1, (entry(2, 2),)))
    with broken("I6"):
        world.send(A, B, heartbeat(2, commit_index=2))
    world.sync(B)
    world.send(A, B, heartbeat(2, commit_index=2))


def test_i6_commit_of_an_older_term_by_counting_is_seen(world: World) -> None:
    """Figure 8 of the Raft paper."""
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    world.elect(B, 3)
    world.elect(A, 4)
    world.append(B, entry(2, 2))
    with broken("I6"):
        world.send(A, B, CommitAdvance(0, 4, 2))


def test_i6_follower_that_commits_what_no_leader_did_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2), B, C)
    with broken("I6"):
        world.checkers.stepped(world[B], False, 2, 0)


def test_i6_leader_that_resigns_commits_in_that_turn_and_in_no_later_one(world: World) -> None:
    world.elect(A, 2)
    world.checkers.stepped(world[A], True, 1, 1)
    world.append(A, entry(2, 2), B)
    world.checkers.stepped(world[A], False, 2, 2)
    assert world.checkers.committed.index == 2
    world.append(A, entry(3, 2), B)
    with broken("I6"):
        world.checkers.stepped(world[A], False, 3, 3)


def test_i6_commit_of_another_log_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2, b"one"), B)
    world.send(A, B, CommitAdvance(0, 2, 2))
    world.append(C, entry(2, 3, b"other"))
    world.checkers.leaders[3] = C
    with broken("I6"):
        world.send(C, A, CommitAdvance(0, 3, 2))


def test_i7_leader_without_what_lower_terms_committed_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2), B)
    world.send(A, B, CommitAdvance(0, 2, 2))
    with broken("I7"):
        world.elect(C, 3)


def test_i7_leader_of_an_older_term_need_not_hold_what_came_later(world: World) -> None:
    world.write(C, HardState(0, 2, C))
    world.sync(C)
    world.checkers.votes.update({(2, B): C, (2, C): C, (3, A): A, (3, B): A})
    for peer in (A, B):
        world.write(peer, HardState(0, 3, A))
        world.sync(peer)
    world.send(A, B, heartbeat(3))
    world.append(A, entry(2, 3), B)
    world.send(A, B, CommitAdvance(0, 3, 2))
    world.send(C, A, heartbeat(2))
    assert world.checkers.leaders == {2: C, 3: A}


def test_i8_truncation_of_what_is_committed_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2), B)
    world.send(A, B, CommitAdvance(0, 2, 2))
    world.checkers.stepped(world[B], False, 2, 2)
    with broken("I8"):
        world.write(B, LogAppend(0, 1, (entry(2, 3),)))


def test_i8_applying_beyond_the_commit_index_is_seen(world: World) -> None:
    with broken("I8"):
        world.checkers.stepped(world[A], False, 1, 2)


def test_i8_applying_another_log_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2, b"one"), B)
    world.send(A, B, CommitAdvance(0, 2, 2))
    world.append(C, entry(2, 3, b"other"))
    with broken("I8"):
        world.checkers.stepped(world[C], False, 2, 2)


def test_i11_second_cluster_is_seen(world: World) -> None:
    stranger = PeerId("d")
    disk = Disk()
    ghost = world.checkers.started(stranger, disk)
    other = Batch(1, 1, 1, 0, b"another", (stranger,))
    with broken("I11"):
        world.checkers.persisted(ghost, LogAppend(0, 0, (other,)))


def test_i11_cluster_that_not_every_voter_has_promised_is_seen() -> None:
    checkers = Checkers()
    disks = {peer: Disk() for peer in VOTERS}
    ghosts = {peer: checkers.started(peer, disks[peer]) for peer in VOTERS}
    disks[B].bootstrap = PROMISED
    with broken("I11"):
        checkers.persisted(ghosts[A], LogAppend(0, 0, (FIRST,)))
    disks[C].bootstrap = PROMISED
    disks[A].bootstrap = replace(PROMISED, formed=False)
    checkers.persisted(ghosts[A], LogAppend(0, 0, (FIRST,)))
    assert checkers.committed.index == 0, "its founder may withdraw after a crash"
    disks[A].bootstrap = PROMISED
    checkers.synced(ghosts[A])
    assert checkers.committed.index == 1


def test_i11_cluster_of_one_that_a_crash_took_back_never_was() -> None:
    checkers, disk = Checkers(), Disk()
    first, second = (Batch(1, 1, 1, 0, blob, (A,)) for blob in (b"first", b"second"))
    checkers.persisted(checkers.started(A, disk), LogAppend(0, 0, (first,)))
    assert checkers.committed.index == 0
    ghost = checkers.started(A, disk)
    disk.write(LogAppend(0, 0, (second,)))
    checkers.persisted(ghost, LogAppend(0, 0, (second,)))
    disk.sync(1)
    checkers.synced(ghost)
    assert checkers.committed.log.batches == [second]
    with broken("I11"):
        checkers.persisted(checkers.started(B, Disk()), LogAppend(0, 0, (first,)))


def configuration(index: int, term: int, *voters: PeerId) -> Batch:
    return Batch(index, 1, term, 0, b"configure", voters)


def in_office(world: World) -> None:
    """A leads in term 2, and has committed in it."""
    world.elect(A, 2)
    world.append(A, entry(2, 2), B)
    world.send(A, B, CommitAdvance(0, 2, 2))


def test_i11_voters_that_change_one_at_a_time_are_lawful(world: World) -> None:
    in_office(world)
    world.append(A, configuration(3, 2, A, B), B)
    world.send(A, B, CommitAdvance(0, 2, 3))
    world.append(A, configuration(4, 2, A, B, PeerId("d")), B)
    world.append(B, entry(5, 2))


def test_i11_second_change_before_the_first_is_committed_is_seen(world: World) -> None:
    in_office(world)
    world.append(A, configuration(3, 2, A, B), B)
    with broken("I11"):
        world.append(A, configuration(4, 2, A, B, C))


def test_i11_change_of_two_voters_at_once_is_seen(world: World) -> None:
    in_office(world)
    with broken("I11"):
        world.append(A, configuration(3, 2, A, B, PeerId("d")))


def test_i11_change_before_a_commit_in_the_leaders_term_is_seen(world: World) -> None:
    world.elect(A, 2)
    with broken("I11"):
        world.append(A, configuration(2, 2, A, B))


def test_a_violation_gets_from_one_process_to_another() -> None:
    error = copy(Violation("I6", "a detail"))
    assert (error.rule, error.detail, str(error)) == ("I6", "a detail", "I6: a detail")
