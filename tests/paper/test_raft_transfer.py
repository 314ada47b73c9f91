"""The claims of Ongaro's thesis (2014) about leadership transfer: §3.10, and its votes, §4.2.3. One
test each."""

import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.replication import Objection, Role
from mabeam_p2p.protocol.replication.transfer import BEHIND, UNANSWERED
from mabeam_p2p.records import Standing
from tests.protocol.raft_world import NOBODY, A, B, C, D, World, terms_of, written


def led(count: int = 3, **facts: dict[PeerId, int]) -> World:
    """A leads in term 2, and everybody holds its log."""
    world = World(count, **facts)  # type: ignore[arg-type]
    world.elect(A)
    world.beat(A)
    world.beat(A)
    return world


def hand_over(world: World, target: PeerId) -> None:
    leadership = world[A].core.leadership
    assert leadership is not None
    world.act(A, lambda _: leadership.hand_over(target, world.now))


def failure(world: World) -> str:
    leadership = world[A].core.leadership
    assert leadership is not None
    return leadership.transfer_failure


# ---- the leader ------------------------------------------------------------------------------


def test_a_leader_that_hands_over_takes_no_commands() -> None:
    """§3.10, step 1: the prior leader stops accepting new client requests."""
    world = led()
    world.isolate(A)
    hand_over(world, B)
    assert not world[A].core.propose(1, b"late")
    assert world[A].core.is_handing_over
    last_index = world[A].core.log.last_index
    world.act(A, lambda core: core.flush(world.now))
    assert world[A].core.log.last_index == last_index


def test_a_leader_that_hands_over_does_not_change_the_voters() -> None:
    """§3.10, step 1: a configuration is an entry like any other, and the target's log has to end
    where the leader's does."""
    world = led()
    hand_over(world, B)
    assert world.configure(A, A, B) is Objection.PENDING
    assert world[A].core.voters == (A, B, C)
    world.deliver()
    assert world[B].core.role is Role.LEADER


def test_the_target_has_the_whole_log_before_it_is_told_to_stand() -> None:
    """§3.10, step 2: the prior leader fully updates the target's log to match its own."""
    world = led()
    world.propose(A, b"one", b"two")
    hand_over(world, B)
    assert world.under_way(TimeoutNow) == []
    world.deliver_until(lambda: bool(world.under_way(TimeoutNow)))
    assert world[B].disk.holds(4, 2), "durably"
    assert [p.message for p in world.under_way(TimeoutNow)] == [TimeoutNow(0, 2, 4)]


def test_a_log_that_the_target_holds_in_memory_alone_does_not_count() -> None:
    """As above: what it has not written, it would not have after a crash."""
    world = led()
    world[B].is_slow = True
    world.propose(A, b"one")
    hand_over(world, B)
    world.deliver()
    assert world[A].core.is_handing_over
    assert world[B].core.role is Role.FOLLOWER
    world.write(B)
    world.deliver_until(lambda: world[B].core.role is Role.CANDIDATE)


def test_the_target_stands_at_once_in_a_new_term() -> None:
    """§3.10, step 3: TimeoutNow has the effect of an election timer: the target increments its term
    and becomes a candidate. No pre-vote: the leader is still heard by all."""
    world = led()
    hand_over(world, B)
    world.deliver_until(lambda: world[B].core.role is not Role.FOLLOWER)
    assert world[B].core.role is Role.CANDIDATE
    assert world[B].core.term == 3
    requests = [p.message for p in world.under_way(VoteRequest, B)]
    assert requests == [VoteRequest(0, 3, world[B].standing(), False, True)] * 2


def test_the_target_leads_and_the_prior_leader_follows() -> None:
    """§3.10: its next message holds the new term, and causes the prior leader to step down."""
    world = led()
    world.propose(A, b"kept")
    hand_over(world, B)
    world.deliver()
    assert [world[p].core.role for p in (A, B, C)] == [Role.FOLLOWER, Role.LEADER, Role.FOLLOWER]
    assert [world[p].core.leader for p in (A, B, C)] == [B, B, B]
    assert world[B].core.term == 3, "after one election"
    assert world[A].core.vote == B, "with the vote of the one that wanted it so"
    assert terms_of(world[A].core.log.between(0, 4)) == [1, 2, 2, 3]


def test_what_was_taken_before_is_committed_all_the_same() -> None:
    """§3.10: the log that the target is brought up to holds it."""
    world = led()
    world.cut(A, C)
    world.propose(A, b"taken")
    hand_over(world, B)
    world.deliver()
    world.beat(B)
    assert world.ghost.committed.last_index == 4
    assert [b.blob for b in world.ghost.committed.between(2, 3)] == [b"taken"]


def test_a_hand_over_without_a_successor_ends_after_an_election_timeout() -> None:
    """§3.10: if it does not complete after about an election timeout, the prior leader aborts it
    and resumes accepting client requests."""
    world = led()
    world.crash(B)
    hand_over(world, B)
    for _ in range(3):
        world.beat(A)
        assert world[A].core.is_handing_over
        assert not world[A].core.propose(1, b"early")
    world.beat(A)
    assert not world[A].core.is_handing_over
    assert world[A].core.role is Role.LEADER
    assert failure(world) == UNANSWERED
    world.propose(A, b"served")
    world.deliver()
    assert world.ghost.committed.last_index == 3


def test_a_target_that_does_not_catch_up_is_never_told_to_stand() -> None:
    """As above, when the target cannot be brought up to date in time."""
    world = led()
    world.cut(A, B)
    world.propose(A, b"one")
    hand_over(world, B)
    told = []
    for _ in range(5):
        world.beat(A)
        told += world.under_way(TimeoutNow)
    assert told == []
    assert failure(world) == BEHIND
    assert world[B].core.term == 2


def test_a_word_that_was_lost_is_said_again_with_the_next_heartbeats() -> None:
    """§3.10 supposes a reliable channel; ours is not."""
    world = led()
    hand_over(world, B)
    world.lose(*world.under_way(TimeoutNow))
    world.beat(A)
    assert world[B].core.role is Role.LEADER


def test_a_target_that_fails_leaves_a_cluster_that_elects() -> None:
    """§3.10: if the prior leader was mistaken about the target, the cluster is at worst without a
    leader for a moment, and no request was taken that is lost."""
    world = led()
    world.propose(A, b"kept")
    hand_over(world, B)
    world.deliver_until(lambda: world[C].core.term == 3)
    world.crash(B)
    world.deliver()
    assert world[A].core.role is Role.FOLLOWER, "it has voted for the one that died"
    world.elect(C)
    world.beat(C)
    assert [b.blob for b in world.ghost.committed.between(2, 3)] == [b"kept"]


# ---- the target ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "told", "why"),
    [
        (A, TimeoutNow(0, 1, 2), "of an older term"),
        (A, TimeoutNow(0, 3, 2), "of a term that nobody leads"),
        (C, TimeoutNow(0, 2, 2), "of another peer than the leader"),
        (A, TimeoutNow(0, 2, 1), "of a time when the log was shorter"),
        (A, TimeoutNow(0, 2, 3), "of a log that is longer"),
    ],
)
def test_only_the_word_of_the_present_leader_is_obeyed(
    source: PeerId, told: TimeoutNow, why: str
) -> None:
    """§3.10 leaves open what becomes of a word that comes late, or from the wrong one."""
    world = led()
    world.hear(source, B, told)
    assert world[B].core.role is Role.FOLLOWER, why
    assert world[B].core.term == 2
    assert world.under_way(VoteRequest) == []


def test_a_word_that_comes_when_the_leader_has_gone_on_is_not_obeyed() -> None:
    """As above: the hand-over has ended, and commands were taken since."""
    world = led()
    hand_over(world, B)
    (late,) = world.under_way(TimeoutNow)
    world.lose(late)
    world.cut(A, B)
    for _ in range(5):
        world.beat(A)
    world.heal()
    world.propose(A, b"taken since")
    world.beat(A)
    world.arrive(late)
    world.deliver()
    assert world[A].core.role is Role.LEADER
    assert world[B].core.term == 2


def test_a_word_that_comes_with_everything_else_that_was_held_back_is_not_obeyed() -> None:
    """As above: the target was stopped, or its link was, and the log that it knows is as old as the
    word. What is not old is said again with the next heartbeats."""
    world = led()
    hand_over(world, B)
    (late,) = world.under_way(TimeoutNow)
    world.lose(late)
    world.cut(A, B)
    for _ in range(5):
        world.beat(A)
    world.heal()
    world.propose(A, b"taken since")
    world.lose(*world.under_way(AppendEntries, A, B))
    world.hear(A, B, Heartbeat(0, 2, 2, 1))
    world.arrive(late)
    world.deliver()
    assert world[A].core.role is Role.LEADER
    assert world[B].core.term == 2


def test_who_has_no_vote_does_not_obey() -> None:
    """etcd-io/etcd 816fc51: TimeoutNow after removal made a removed member campaign."""
    world = World(3, learners=(D,))
    world.elect(A)
    world.beat(A)
    world.hear(A, D, TimeoutNow(0, 2, 2))
    assert world[D].core.role is Role.LEARNER
    assert world[D].core.term == 2


def test_who_may_not_lead_does_not_obey() -> None:
    """Whatever the leader has heard of it."""
    world = led()
    idle = Standing(2, 2, 0, 0, eligible=False)
    world.act(B, lambda core: core.receive(A, TimeoutNow(0, 2, 2), idle, False, world.now))
    assert world[B].core.role is Role.FOLLOWER


def test_a_leader_that_is_told_to_stand_goes_on_leading() -> None:
    """A word of its own term can only be a stray one."""
    world = led()
    world.hear(A, A, TimeoutNow(0, 2, 2))
    assert (world[A].core.role, world[A].core.term) == (Role.LEADER, 2)


# ---- the voters ------------------------------------------------------------------------------


def flagged(term: int, *, last_index: int = 2, pre: bool = False) -> VoteRequest:
    return VoteRequest(0, term, Standing(2, last_index, 0, 0), pre, True)


def test_a_voter_that_hears_the_leader_votes_for_its_successor() -> None:
    """§4.2.3: RequestVotes of a legitimate transfer have a flag, by which they are heard although a
    leader is."""
    world = led()
    assert world[C].core.is_leader_heard(world.now)
    world.hear(B, C, flagged(3))
    assert world[C].core.vote == B
    assert world.under_way(VoteReply, C, B)[0].message == VoteReply(0, 3, True, False, False)


def test_a_request_without_the_flag_is_not_heard_beside_a_leader() -> None:
    """§4.2.3: servers that hear a leader do not grant, and keep their term."""
    world = led()
    world.hear(B, C, VoteRequest(0, 3, Standing(2, 2, 0, 0), False, False))
    assert (world[C].core.term, world[C].core.vote) == (2, A)


def test_the_flag_outranks_no_log() -> None:
    """§3.6.1 holds for transfers, too: a log that lacks an entry is not voted for."""
    world = led()
    world.hear(B, C, flagged(3, last_index=1))
    assert world[C].core.vote == NOBODY
    assert world.under_way(VoteReply, C, B)[0].message == VoteReply(0, 3, False, False, False)


@pytest.mark.parametrize("asked", [flagged(4), flagged(2), flagged(3, pre=True)])
def test_the_flag_counts_in_the_next_term_and_for_votes_alone(asked: VoteRequest) -> None:
    """What a transfer leads to is one real election, in the term behind the leader's."""
    world = led()
    world.hear(B, C, asked)
    assert (world[C].core.term, world[C].core.vote) == (2, A)
    assert world[C].core.is_leader_heard(world.now)


def test_a_leader_gives_way_to_nobody_but_its_target() -> None:
    """It knows best whether it hands over."""
    world = led()
    world.hear(B, A, flagged(3))
    assert world[A].core.role is Role.LEADER
    world.isolate(A)
    hand_over(world, B)
    world.hear(C, A, flagged(3))
    assert world[A].core.role is Role.LEADER
    world.hear(B, A, flagged(3))
    assert (world[A].core.role, world[A].core.vote) == (Role.FOLLOWER, B)


def test_one_vote_a_term_holds_for_transfers() -> None:
    """Raft §5.2: the vote of term 3 has been given."""
    world = led()
    world.hear(B, C, flagged(3))
    world.hear(A, C, flagged(3))
    assert world[C].core.vote == B


def test_a_follower_that_lags_is_brought_up_first() -> None:
    """§3.10: if the target's log is behind, it takes a little longer."""
    world = World(3, logs={B: written(1)}, terms={B: 1})
    world.elect(A)
    world.cut(A, B)
    for number in range(20):
        world.propose(A, str(number).encode())
        world.deliver()
    world.heal()
    hand_over(world, B)
    world.beat(A)
    world.beat(A)
    world.beat(A)
    assert world[B].core.role is Role.LEADER
    assert world[B].core.log.last_index == 23
    assert not world.under_way(AppendEntries)
    assert not world.under_way(AppendReply)
