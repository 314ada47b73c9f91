"""Raft's claims about who stays in office: pre-votes, leaders that are heard, leaders without a
quorum. One test each, by section of the paper (Ongaro and Ousterhout 2014) or of Ongaro's thesis
(2014)."""

import pytest

from mabeam_p2p.messages import Heartbeat, HeartbeatReply, VoteReply, VoteRequest
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.records import Standing
from tests.protocol.raft_world import NOBODY, TIMING, A, B, C, World

UP_TO_DATE = Standing(1, 1, 0, 0)


def vote_request(term: int, standing: Standing = UP_TO_DATE, *, pre: bool = False) -> VoteRequest:
    return VoteRequest(0, term, standing, pre, False)


# ---- pre-vote --------------------------------------------------------------------------------


def test_a_pre_vote_changes_nothing() -> None:
    """Thesis §9.6: a candidate only increments its term if it first learns that a majority would
    vote for it; asking changes neither side, and stores nothing."""
    world = World(3)
    for actor in world:
        actor.is_slow = True
    world.stand(A)
    world.arrive(world.under_way(VoteRequest, A, B)[0])
    world.hear(C, B, vote_request(2, pre=True))
    assert world[A].unwritten == world[B].unwritten == []
    assert (world[A].core.term, world[B].core.term, world[B].core.vote) == (1, 1, NOBODY)
    granted = VoteReply(0, 2, True, True, False)
    assert [p.message for p in world.under_way(VoteReply, B)] == [granted, granted]


def test_a_peer_that_cannot_win_does_not_inflate_its_term() -> None:
    """Thesis §9.6: a partitioned server's term stays, so that it disrupts nobody on return."""
    world = World(3)
    world.elect(A)
    world.isolate(C)
    for _ in range(8):
        world.beat(A)
        if not world[C].core.is_leader_heard(world.now):
            world.stand(C)
            world.deliver()
    assert world[C].core.role is Role.PRE_CANDIDATE
    world.heal()
    world.beat(A)
    assert world[A].core.role is Role.LEADER
    assert [world[p].core.term for p in (A, B, C)] == [2, 2, 2]


def test_a_restarted_candidate_of_an_older_term_catches_up_and_wins() -> None:
    """Thesis §9.6: a refused pre-vote carries the voter's term, else a server behind in terms could
    ask for ever."""
    world = World(3, terms={B: 5, C: 5})
    world.stand(A)
    world.deliver()
    assert world[A].core.term == 5
    world.stand(A)
    world.deliver()
    assert world[A].core.role is Role.LEADER
    assert world[A].core.term == 6


def test_granting_a_pre_vote_does_not_hide_that_the_leader_is_gone() -> None:
    """Thesis §9.6: a pre-vote is no contact with a leader, and binds nobody: two may have it."""
    world = World(3)
    for candidate in (A, B):
        world.hear(candidate, C, vote_request(2, pre=True))
    assert not world[C].core.is_leader_heard(world.now)
    assert not world[C].core.candidacy.vote_given
    assert all(
        isinstance(p.message, VoteReply) and p.message.granted for p in world.under_way(VoteReply)
    )


# ---- leaders stay ----------------------------------------------------------------------------


@pytest.mark.parametrize("pre", [True, False])
def test_nobody_votes_while_a_leader_is_heard(pre: bool) -> None:
    """§6: "if a server receives a RequestVote RPC within the minimum election timeout of hearing
    from a current leader, it does not update its term or grant its vote"."""
    world = World(3)
    world.elect(A)
    for peer in (A, B):
        world.hear(C, peer, vote_request(9, Standing(9, 9, 0, 0), pre=pre))
        assert world[peer].core.term == 2
    assert world[A].core.role is Role.LEADER
    granted = [p for p in world.under_way(VoteReply) if p.message != _refusal(2)]
    assert granted == []


def _refusal(term: int) -> VoteReply:
    return VoteReply(0, term, granted=False, pre=True, higher=False)


def test_a_leader_that_is_silent_for_the_election_timeout_is_heard_no_more() -> None:
    """§6: the refusal lasts for the minimum election timeout, and no longer."""
    world = World(3)
    world.elect(A)
    world.wait(TIMING.election_timeout_seconds)
    world.hear(C, B, vote_request(3, Standing(2, 2, 0, 0)))
    assert world.under_way(VoteReply, B, C)[0].message == VoteReply(0, 3, True, False, False)


@pytest.mark.fault("L2")
def test_a_leader_without_its_quorum_steps_down() -> None:
    """Thesis §6.2: a leader steps down if an election timeout passes without a successful round of
    heartbeats to a majority of its cluster."""
    world = World(5)
    world.elect(A)
    world.isolate(A, B)
    for _ in range(3):
        world.beat(A)
        assert world[A].core.role is Role.LEADER
    world.beat(A)
    world.tick(A)
    assert world[A].core.role is Role.FOLLOWER
    assert world[A].core.term == 2
    assert world[A].core.vote == A, "a step down within a term frees no vote"


def test_leadership_that_only_sends_ends() -> None:
    """Thesis §6.2: one-way links keep nobody in office: contact is an answer."""
    world = World(3)
    world.elect(A)
    for peer in (B, C):
        world.cut(peer, A)
    for _ in range(5):
        world.beat(A)
    assert world[A].core.role is Role.FOLLOWER


def test_contact_counts_from_the_sending_of_the_heartbeat() -> None:
    """Thesis §6.2, §6.4.1: an answer says only that the follower was there after the question left;
    so leadership ends before a successor's election can begin."""
    world = World(3)
    world.elect(A)
    world.wait(TIMING.heartbeat_seconds)
    world.tick(A)
    beats = world.under_way(Heartbeat)
    sent_at = world.now
    for beat in beats:
        world.arrive(beat)
    answers = world.under_way(HeartbeatReply)
    world.lose(*world.flying)
    world.wait(TIMING.election_timeout_seconds - 0.0625)
    for answer in answers:
        world.arrive(answer)
    assert world[A].core.has_quorum(sent_at + TIMING.election_timeout_seconds - 0.03125)
    assert not world[A].core.has_quorum(sent_at + TIMING.election_timeout_seconds)


def test_a_deposed_leader_leaves_office_before_a_successor_is_elected() -> None:
    """§6 and thesis §6.2 together: followers wait an election timeout from what they heard, the
    leader one from what it sent."""
    world = World(3)
    world.elect(A)
    world.beat(A)
    world.isolate(A)
    world.wait(TIMING.election_timeout_seconds)
    world.tick(A)
    assert world[A].core.role is Role.FOLLOWER
    world.stand(B)
    world.deliver()
    assert world[B].core.role is Role.LEADER
