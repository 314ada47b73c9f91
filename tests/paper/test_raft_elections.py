"""Raft's claims about terms, votes and elections, one test each, by section of the paper (Ongaro
and Ousterhout 2014) or of Ongaro's thesis (2014)."""

import pytest

from mabeam_p2p.config import Timing
from mabeam_p2p.effects import Persist
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.records import HardState, LogAppend, Standing
from tests.protocol.raft_world import NOBODY, PEERS, A, B, C, D, E, World, written

UP_TO_DATE = Standing(1, 1, 0, 0)


def vote_request(term: int, standing: Standing = UP_TO_DATE, *, pre: bool = False) -> VoteRequest:
    return VoteRequest(0, term, standing, pre, False)


# ---- terms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        AppendEntries(0, 7, 1, 1, 0, ()),
        Heartbeat(0, 7, 0, 1),
        vote_request(7),
        AppendReply(0, 7, False, 0, 0),
        HeartbeatReply(0, 7, 1),
        VoteReply(0, 7, False, False, False),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
def test_a_larger_term_makes_anybody_a_follower(message: Message, role: Role) -> None:
    """§5.1: "If a candidate or leader discovers that its term is out of date, it immediately
    reverts to follower state." Leaders and those who hear one ignore only a candidate (§6)."""
    world = World(3)
    if role is Role.LEADER:
        world.elect(A)
    elif role is not Role.FOLLOWER:
        world.stand(A)
        if role is Role.CANDIDATE:
            world.arrive(world.under_way(VoteRequest)[0])
            world.arrive(world.under_way(VoteReply)[0])
    assert world[A].core.role is role
    world.hear(B, A, message)
    if role is Role.LEADER and isinstance(message, VoteRequest):
        assert world[A].core.role is Role.LEADER
        return
    assert world[A].core.role is Role.FOLLOWER
    assert world[A].core.term == 7
    assert world[A].disk.state == HardState(0, 7, B if isinstance(message, VoteRequest) else NOBODY)


@pytest.mark.parametrize("message", [AppendEntries(0, 2, 1, 1, 1, ()), Heartbeat(0, 2, 1, 1)])
def test_a_leader_of_an_older_term_is_told_the_newer_one(message: Message) -> None:
    """§5.1: "If a server receives a request with a stale term number, it rejects the request." The
    answer carries the newer term, which deposes the sender."""
    world = World(3, terms={A: 5})
    world.hear(B, A, message)
    assert world[A].core.leader is None
    assert world[A].core.commit_index == 0
    [answer] = world.under_way(AppendReply) + world.under_way(HeartbeatReply)
    assert isinstance(answer.message, AppendReply | HeartbeatReply)
    assert answer.message.term == 5
    assert isinstance(answer.message, HeartbeatReply) or not answer.message.success


@pytest.mark.fault("L12")
def test_terms_survive_a_restart_of_everybody() -> None:
    """§5.1, figure 2: currentTerm and votedFor are persistent: no old term is used again."""
    world = World(3)
    world.elect(A)
    world.elect(B)
    term = world[B].core.term
    for peer in PEERS[:3]:
        world.crash(peer)
    for peer in PEERS[:3]:
        world.start(peer)
        assert world[peer].core.term == term
        assert world[peer].core.vote == B


def test_term_and_vote_are_one_record() -> None:
    """Figure 2: between term and vote there is no moment at which a crash could part them."""
    world = World(3)
    world[A].is_slow = True
    world.hear(B, A, vote_request(2))
    assert [p.record for p in world[A].unwritten] == [HardState(0, 2, B)]


# ---- elections -------------------------------------------------------------------------------


def test_a_candidate_asks_in_a_new_term_with_its_own_vote_stored() -> None:
    """§5.2: "a follower increments its current term and transitions to candidate state. It then
    votes for itself and issues RequestVote RPCs in parallel to each of the other servers"."""
    world = World(3)
    world.stand(A)
    world[A].is_slow = True
    world.arrive(world.under_way(VoteRequest, A, B)[0])
    world.lose(*world.under_way(VoteRequest))
    world.arrive(world.under_way(VoteReply, B, A)[0])
    assert world[A].core.role is Role.CANDIDATE
    assert [p.record for p in world[A].unwritten] == [HardState(0, 2, A)]
    assert world.under_way(VoteRequest) == []
    world.write(A)
    requests = world.under_way(VoteRequest)
    assert [r.target for r in requests] == [B, C]
    assert [r.message for r in requests] == [vote_request(2)] * 2


@pytest.mark.parametrize("count", range(1, 8))
def test_a_majority_elects_and_one_less_does_not(count: int) -> None:
    """§5.2: "A candidate wins an election if it receives votes from a majority of the servers"."""
    world = World(count)
    others = PEERS[1:count]
    needed = count // 2
    for silent in others[needed:]:
        world.cut(silent, A)
    if needed:
        world.cut(others[needed - 1], A)
        world.stand(A)
        world.deliver()
        assert world[A].core.role is Role.PRE_CANDIDATE
        world.cuts.remove((others[needed - 1], A))
        world.wait(1.0)
    world.stand(A)
    world.deliver()
    assert world[A].core.role is Role.LEADER


def test_each_server_votes_for_the_first_who_asks_in_a_term() -> None:
    """§5.2: "Each server will vote for at most one candidate in a given term, on a
    first-come-first-served basis"."""
    world = World(3)
    world.hear(A, C, vote_request(2))
    world.hear(B, C, vote_request(2))
    replies = {p.target: p.message for p in world.under_way(VoteReply)}
    assert replies == {
        A: VoteReply(0, 2, True, False, False),
        B: VoteReply(0, 2, False, False, False),
    }


def test_a_vote_asked_again_is_given_again() -> None:
    """§5.5: a request that is repeated because its answer was lost does no harm."""
    world = World(3)
    for _ in range(2):
        world.hear(A, C, vote_request(2))
    assert [p.message for p in world.under_way(VoteReply)] == [
        VoteReply(0, 2, True, False, False)
    ] * 2


@pytest.mark.fault("L12")
def test_a_vote_survives_a_restart() -> None:
    """§5.2, figure 2: votedFor is stored before the answer: nobody votes twice in a term."""
    world = World(3)
    world.hear(A, C, vote_request(2))
    world.restart(C)
    world.hear(B, C, vote_request(2))
    assert world.under_way(VoteReply, C, B)[0].message == VoteReply(0, 2, False, False, False)


def test_a_vote_that_was_not_stored_was_never_sent() -> None:
    """Figure 2: "Updated on stable storage before responding to RPCs"."""
    world = World(3)
    world[C].is_slow = True
    world.hear(A, C, vote_request(2))
    assert world.under_way(VoteReply) == []
    world.restart(C)
    assert world[C].core.vote == NOBODY
    world.hear(B, C, vote_request(2))
    world.write(C)
    assert world.under_way(VoteReply, C, B)[0].message == VoteReply(0, 2, True, False, False)


def test_a_refusal_waits_for_the_term_that_it_names() -> None:
    """Figure 2: a newer term is stored before anybody hears that this server is in it."""
    stale = Standing(0, 0, 0, 0)
    world = World(3)
    world[C].is_slow = True
    world.hear(A, C, vote_request(9, stale))
    assert world.under_way(VoteReply) == []
    world.write(C)
    assert world.under_way(VoteReply)[0].message == VoteReply(0, 9, False, False, False)


def test_the_leader_of_the_same_term_ends_a_candidacy() -> None:
    """§5.2: a leader's term that is at least the candidate's makes it "legitimate", and the
    candidate "returns to follower state"."""
    world = World(3)
    world.stand(A)
    world.arrive(world.under_way(VoteRequest, A, C)[0])
    world.arrive(world.under_way(VoteReply, C, A)[0])
    assert world[A].core.role is Role.CANDIDATE
    world.hear(B, A, Heartbeat(0, 2, 0, 1))
    assert world[A].core.role is Role.FOLLOWER
    assert world[A].core.leader == B
    assert world[A].core.vote == A, "the vote of a term is spent, whoever leads it"


def test_a_candidate_ignores_a_leader_of_an_older_term() -> None:
    """§5.2: "If the term in the RPC is smaller than the candidate's current term, then the
    candidate rejects the RPC and continues in candidate state"."""
    world = World(3)
    world.stand(A)
    world.arrive(world.under_way(VoteRequest, A, C)[0])
    world.arrive(world.under_way(VoteReply, C, A)[0])
    world.hear(B, A, AppendEntries(0, 1, 1, 1, 1, ()))
    assert world[A].core.role is Role.CANDIDATE
    assert world.under_way(AppendReply)[0].message == AppendReply(0, 2, False, 0, 1)


@pytest.mark.fault("L3")
def test_a_split_vote_ends_with_a_new_term() -> None:
    """§5.2: "each candidate will time out and start a new election by incrementing its term"."""
    world = World(4)
    world.stand(A)
    world.stand(B)
    for parcel in world.under_way(VoteRequest):
        world.arrive(parcel)
    for parcel in world.under_way(VoteReply):
        world.arrive(parcel)
    world.cut(A, D)
    world.cut(B, C)
    world.deliver()
    assert [world[p].core.role for p in (A, B)] == [Role.CANDIDATE] * 2
    world.heal()
    world.stand(A)
    world.deliver()
    assert world[A].core.role is Role.LEADER
    assert world[A].core.term == 3


@pytest.mark.parametrize("pre", [True, False])
def test_the_same_voter_counts_once(pre: bool) -> None:
    """§5.2: a majority is one of servers, not of answers."""
    world = World(5)
    world.stand(A)
    if not pre:
        for target in (B, C):
            world.arrive(world.under_way(VoteRequest, A, target)[0])
            world.arrive(world.under_way(VoteReply, target, A)[0])
    role = world[A].core.role
    term = world[A].core.term + pre
    for _ in range(3):
        world.hear(B, A, VoteReply(0, term, True, pre, False))
    assert world[A].core.role is role


@pytest.mark.parametrize(
    "reply",
    [
        VoteReply(0, 1, True, False, False),
        VoteReply(0, 1, True, True, False),
        VoteReply(0, 2, True, True, False),
        VoteReply(0, 2, False, False, False),
        VoteReply(0, 3, True, True, False),
    ],
)
def test_answers_of_another_term_or_phase_elect_nobody(reply: VoteReply) -> None:
    """§5.2: the votes that count are those "for the same term", and a pre-vote is none."""
    world = World(3)
    world.stand(A)
    world.arrive(world.under_way(VoteRequest, A, C)[0])
    world.arrive(world.under_way(VoteReply, C, A)[0])
    assert (world[A].core.role, world[A].core.term) == (Role.CANDIDATE, 2)
    world.hear(B, A, reply)
    assert (world[A].core.role, world[A].core.term) == (Role.CANDIDATE, 2)


def test_votes_of_an_earlier_candidacy_do_not_elect_in_a_later_one() -> None:
    """§5.2: votes are counted for one term."""
    world = World(5)
    world.stand(A)
    for target in (B, C):
        world.arrive(world.under_way(VoteRequest, A, target)[0])
        world.arrive(world.under_way(VoteReply, target, A)[0])
    world.arrive(next(p for p in world.under_way(VoteRequest, A, B) if not _is_pre(p.message)))
    [late] = [p for p in world.under_way(VoteReply, B, A) if not _is_pre(p.message)]
    world.lose(*world.flying)
    world.stand(A)
    for target in (D, E):
        world.arrive(world.under_way(VoteRequest, A, target)[0])
        world.arrive(world.under_way(VoteReply, target, A)[0])
    assert (world[A].core.role, world[A].core.term) == (Role.CANDIDATE, 3)
    world.arrive(late)
    world.hear(C, A, VoteReply(0, 2, True, False, False))
    assert world[A].core.role is Role.CANDIDATE


def _is_pre(message: Message) -> bool:
    return isinstance(message, VoteRequest | VoteReply) and message.pre


@pytest.mark.fault("L4")
def test_only_voters_stand_and_only_voters_count() -> None:
    """Thesis §4.2.1: servers that are no members of the configuration do not count to majorities,
    and start no elections."""
    world = World(3, learners=(D, E))
    world.stand(D)
    assert world.flying == []
    assert world[D].core.role is Role.NONE
    world.stand(A)
    for learner in (D, E):
        world.hear(learner, A, VoteReply(0, 2, True, True, False))
    assert world[A].core.role is Role.PRE_CANDIDATE
    world.hear(D, A, vote_request(9))
    assert world[A].core.term == 1


# ---- the vote restriction --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("voter", "candidate", "granted"),
    [
        ((1,), (1, 1), True),
        ((1, 1), (1, 1), True),
        ((1, 1), (1,), False),
        ((1, 1, 1), (1, 2), True),
        ((1, 2), (1, 1, 1), False),
        ((1, 2), (1, 3), True),
    ],
)
@pytest.mark.parametrize("pre", [True, False])
def test_only_a_candidate_with_an_up_to_date_log_is_voted_for(
    voter: tuple[int, ...], candidate: tuple[int, ...], granted: bool, pre: bool
) -> None:
    """§5.4.1: "If the logs have last entries with different terms, then the log with the later term
    is more up-to-date. If the logs end with the same term, then whichever log is longer"."""
    world = World(3, logs={B: written(*voter)})
    standing = Standing(candidate[-1], len(candidate), 0, 0)
    world.hear(A, B, vote_request(4, standing, pre=pre))
    [reply] = [p.message for p in world.under_way(VoteReply)]
    assert isinstance(reply, VoteReply)
    assert reply.granted is granted


@pytest.mark.fault("L8")
def test_score_never_outranks_the_log() -> None:
    """§5.4.1: nothing but the log decides whether a vote may be given."""
    world = World(3, logs={B: written(1, 1)})
    world.hear(A, B, vote_request(4, Standing(1, 1, 10, 999)))
    assert world.under_way(VoteReply)[0].message == VoteReply(0, 4, False, False, False)


# ---- alone, and stored first -----------------------------------------------------------------


def test_a_single_voter_leads_alone() -> None:
    """§5.2: one of one is a majority; the term is stored all the same before the log is used."""
    world = World(1)
    world[A].is_slow = True
    world.stand(A)
    assert world[A].core.role is Role.LEADER
    assert world[A].core.commit_index == 0
    kinds = [type(p.record) for p in world[A].unwritten]
    assert kinds == [HardState, LogAppend]
    world.write(A)
    assert world[A].core.commit_index == 2


def test_leaders_send_nothing_before_their_term_is_stored() -> None:
    """Figure 2: also the leader of one, with learners, is no leader before its disk says so."""
    world = World(1, learners=(B,))
    world[A].is_slow = True
    world.stand(A)
    assert world.flying == []
    world.crash(A)
    world.start(A)
    assert world[A].core.term == 1


def test_persists_are_numbered_in_order() -> None:
    """Figure 2: what a message waits for is a number; numbers grow by one."""
    world = World(3)
    world[A].is_slow = True
    for term in (2, 5, 6):
        world.hear(B, A, vote_request(term))
    assert world[A].unwritten == [
        Persist(1, HardState(0, 2, B)),
        Persist(2, HardState(0, 5, B)),
        Persist(3, HardState(0, 6, B)),
    ]


def test_heartbeats_are_several_in_an_election_timeout() -> None:
    """§5.6: broadcast time is far below the election timeout, as the defaults are chosen."""
    timing = Timing()
    assert 3 * timing.heartbeat_seconds <= timing.election_timeout_seconds
