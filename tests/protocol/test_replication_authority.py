"""Who may say what: only a leader answers for reads, and no flag makes a vote more than a vote."""

import pytest

from mabeam_p2p.messages import (
    AppendEntries,
    Heartbeat,
    InstallSnapshot,
    Message,
    ReadIndexReply,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.records import Batch, LogBase, Standing
from tests.protocol.raft_world import NOBODY, TIMING, A, B, C, D, World


def test_only_the_leader_answers_for_a_read() -> None:
    world = World(3)
    world.elect(A)
    world.hear(C, B, ReadIndexReply(0, 1, 5))
    assert world[B].core.granted_reads == []
    world.hear(A, B, ReadIndexReply(0, 2, 5))
    assert world[B].core.granted_reads == [(2, 5)]


def test_a_vote_asked_for_as_a_hand_over_does_not_disturb_a_leader_that_is_heard() -> None:
    world = World(3)
    world.elect(A)
    standing = world[C].standing()
    world.hear(C, B, VoteRequest(0, 9, standing, pre=False, transfer=True))
    assert world[B].core.term < 9
    assert world[B].core.leader == A


def test_who_is_no_voter_gets_no_vote_in_the_term_that_all_are_in() -> None:
    """Unless its log is ahead: then it may vote by a configuration that has not come."""
    world = World(3, learners=(D,))
    standing = Standing(1, 1, 0, 0)
    world.hear(D, A, VoteRequest(0, 1, standing, pre=False, transfer=False))
    assert world[A].core.vote == NOBODY
    assert world.under_way(VoteReply, A) == []
    world.hear(B, A, VoteRequest(0, 1, standing, pre=False, transfer=False))
    assert world[A].core.vote == B, "its vote was free"


def test_a_candidate_that_leaves_is_not_elected_by_votes_that_come_later() -> None:
    world = World(3)
    world.stand(B)
    for parcel in world.under_way(VoteRequest, B):
        world.arrive(parcel)
    for parcel in world.under_way(VoteReply, target=B):
        world.arrive(parcel)
    for parcel in world.under_way(VoteRequest, B):
        world.arrive(parcel)
    assert world[B].core.role is Role.CANDIDATE
    world.act(B, lambda core: core.resign())
    world.deliver()
    assert world[B].core.role is Role.FOLLOWER
    assert world[B].core.leadership is None


def test_the_leader_of_an_older_term_leads_nobody_in_a_newer_one() -> None:
    world = World(3)
    world.elect(A)
    world.wait(2 * TIMING.election_timeout_seconds)
    term = world[B].core.term + 1
    standing = world[C].standing()
    world.hear(C, B, VoteRequest(0, term, standing, pre=False, transfer=False))
    assert (world[B].core.term, world[B].core.vote, world[B].core.leader) == (term, C, None)
    assert not world[B].core.is_leader_heard(world.now)


@pytest.mark.parametrize(
    "claim",
    [
        Heartbeat(0, 2, 9, 1),
        AppendEntries(0, 2, 2, 2, 3, (Batch(3, 2, 1, 99, b"of the second one"),)),
        InstallSnapshot(0, 2, LogBase(9, 2, 99, (A, B, C)), 1, 1, 0, b"x"),
    ],
    ids=lambda claim: type(claim).__name__,
)
def test_a_second_leader_of_one_term_is_not_followed(claim: Message) -> None:
    """Raft §5.2: at most one leader is elected in a term. Whoever claims to be another one is
    dropped and counted, also once the first is silent, and one that was the first itself knows."""
    world = World(3)
    world.elect(A)
    assert world[A].core.term == 2
    world.beat(A)
    world.hear(C, B, claim)
    assert world[B].core.leader == A
    world.wait(2 * TIMING.election_timeout_seconds)
    world.act(A, lambda core: core.tick(world.now))
    assert world[A].core.leadership is None, "it hears no majority"
    for peer in (A, B):
        core = world[peer].core
        last_index, commit_index = core.log.last_index, core.commit_index
        dropped_count = core.dropped_count
        world.hear(C, peer, claim)
        assert core.leader != C
        assert not core.is_leader_heard(world.now)
        assert (core.log.last_index, core.commit_index) == (last_index, commit_index)
        assert core.dropped_count == dropped_count + 1
    world.hear(C, B, Heartbeat(0, 3, 0, 1))
    assert world[B].core.leader == C, "another term, another leader"


def test_who_has_no_vote_does_not_hide_the_leader_that_has_one() -> None:
    """A follower takes somebody unknown for the leader when its log is ahead: it may vote by a
    configuration that has not come. It is no voter after all, so the voter is believed."""
    world = World(3, learners=(D,))
    world.wait(2 * TIMING.election_timeout_seconds)
    ahead = AppendEntries(0, 2, 5, 2, 0, ())
    world.hear(D, B, ahead)
    assert world[B].core.leader == D
    world.hear(A, B, Heartbeat(0, 2, 0, 1))
    assert world[B].core.leader == A
    world.hear(D, B, ahead)
    assert world[B].core.leader == A


@pytest.mark.parametrize("pre", [True, False])
@pytest.mark.parametrize(
    ("eligible", "last_index", "is_outrun"),
    [(True, 1, True), (False, 1, False), (True, 9, False)],
)
def test_a_peer_notes_that_its_log_is_ahead_of_who_may_lead(
    pre: bool, eligible: bool, last_index: int, is_outrun: bool
) -> None:
    """Should it be the only one that holds so much, it must lead for the sake of its log."""
    world = World(3)
    world.elect(A)
    world.crash(A)
    world.wait(10 * TIMING.election_timeout_seconds)
    assert world[C].core.log.last_index == 2
    standing = Standing(2 if last_index == 9 else 1, last_index, 0, 0, eligible=eligible)
    world.hear(B, C, VoteRequest(0, 9, standing, pre=pre, transfer=False))
    assert world[C].core.candidacy.outran is is_outrun
