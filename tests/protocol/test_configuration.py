"""Changes of the voters: what a leader may append, whom a peer of an old configuration hears, and
that no order of events makes two majorities that do not know of each other."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadIndexReply,
    ReplicationMessage,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.replication import Objection, Role
from mabeam_p2p.protocol.replication.configuration import CatchUp, is_ahead, may_stand
from mabeam_p2p.records import Batch, Standing
from tests.protocol.raft_world import NOBODY, TIMING, A, B, C, D, E, World, written


def led(world: World, leader: PeerId) -> None:
    """`leader` leads, and has committed an entry of its term."""
    world.elect(leader)
    world.beat(leader)
    assert world[leader].core.log.commit_index == world[leader].core.log.last_index


def settle(world: World, leader: PeerId) -> None:
    for _ in range(4):
        world.beat(leader)


# ---- what a leader may append ------------------------------------------------------------------


def test_a_leader_changes_the_voters_only_once_an_entry_of_its_term_is_committed() -> None:
    world = World(3, learners=(D,))
    world.wait(1.0)
    world.stand(A)
    world.deliver_until(lambda: world[A].core.role is Role.LEADER)
    assert world.configure(A, A, B, C, D) is Objection.NOT_READY
    world.deliver()
    assert world.configure(A, A, B, C, D) is Objection.NONE


def test_only_one_change_is_uncommitted_at_a_time() -> None:
    world = World(3, learners=(D, E))
    led(world, A)
    assert world.configure(A, A, B, C, D) is Objection.NONE
    assert world.configure(A, A, B, C, D, E) is Objection.PENDING
    world.deliver()
    assert world.configure(A, A, B, C, D, E) is Objection.NONE


def test_two_changes_in_one_turn_are_one() -> None:
    world = World(3, learners=(D, E))
    led(world, A)
    index = world[A].core.log.configuration_index
    answers: list[Objection] = []

    def twice(core: object) -> None:
        for last in (D, E):
            voters = (A, B, C, last)
            answers.append(world[A].core.configure(voters, b"voters", index))

    world.act(A, twice)
    assert answers == [Objection.NONE, Objection.PENDING]


@pytest.mark.parametrize(
    "voters",
    [(A, B, C), (), (A,), (A, B, C, D, E), (A, B, D), (B, A), (A, A, B, C), (C, B, A, D)],
)
def test_a_configuration_differs_from_the_one_before_by_one_voter(
    voters: tuple[PeerId, ...],
) -> None:
    world = World(3, learners=(D, E))
    led(world, A)
    core = world[A].core
    assert core.configure(voters, b"x", core.log.configuration_index) is Objection.INVALID


def test_no_more_vote_than_the_limit_says() -> None:
    world = World(3, learners=(D,), limits=Limits(voters_max=3))
    led(world, A)
    assert world.configure(A, A, B, C, D) is Objection.INVALID


def test_a_change_made_on_another_configuration_is_refused() -> None:
    world = World(3, learners=(D, E))
    led(world, A)
    index = world[A].core.log.configuration_index
    assert world.configure(A, A, B, C, D, index=index) is Objection.NONE
    world.deliver()
    assert world.configure(A, A, B, C, D, E, index=index) is Objection.CONFLICT
    assert world[A].core.voters == (A, B, C, D)


def test_a_follower_changes_nothing() -> None:
    world = World(3, learners=(D,))
    led(world, A)
    assert world.configure(B, A, B, C, D) is Objection.NOT_LEADER


def test_a_configuration_is_a_batch_of_its_own_among_commands_of_one_turn() -> None:
    world = World(3, learners=(D,))
    led(world, A)
    core, first = world[A].core, world[A].core.log.last_index + 1

    def deed(core: object) -> None:
        log = world[A].core.log
        assert world[A].core.propose(1, b"before")
        assert world[A].core.configure((A, B, C, D), b"voters", log.configuration_index) == ""
        assert world[A].core.propose(1, b"behind")
        assert world[A].core.propose(1, b"it")

    world.act(A, deed)
    world.deliver()
    batches = core.log.between(first - 1, core.log.last_index)
    assert [(b.blob, b.voters) for b in batches] == [
        (b"before", ()),
        (b"voters", (A, B, C, D)),
        (b"behindit", ()),
    ]
    assert core.log.configuration_index == first + 1


def test_a_follower_takes_no_configuration_that_shares_its_batch() -> None:
    world = World(3)
    led(world, A)
    log = world[B].core.log
    shared = Batch(log.last_index + 1, 2, 2, log.last_clock, b"xy", (A, B))
    message = AppendEntries(0, 2, log.last_index, log.last_term, 1, (shared,))
    world.hear(A, B, message)
    assert world[B].core.voters == (A, B, C)
    assert world[B].core.dropped_count == 1


# ---- in effect with the log, forward and back --------------------------------------------------


def test_a_configuration_that_is_truncated_is_in_effect_no_more() -> None:
    world = World(3, learners=(D,))
    led(world, A)
    world.isolate(A)
    assert world.configure(A, A, B, C, D) is Objection.NONE
    assert world[A].core.voters == (A, B, C, D)
    world.lose(*world.flying)
    world.elect(B)
    world.heal()
    settle(world, B)
    assert world[A].core.voters == (A, B, C)
    assert world[A].core.log.configuration_index == 1


def test_a_restarted_peer_goes_on_with_the_configuration_of_its_log() -> None:
    world = World(3, learners=(D,))
    led(world, A)
    world.configure(A, A, B, C, D)
    world.deliver()
    for peer in (A, B, C, D):
        world.restart(peer)
        assert world[peer].core.voters == (A, B, C, D)


def test_a_compacted_log_and_its_snapshot_keep_the_configuration_and_its_index() -> None:
    world = World(3, learners=(D, E))
    led(world, A)
    world.crash(E)
    world.configure(A, A, B, C, D)
    world.deliver()
    for _ in range(4):
        world.propose(A, b"x")
        world.beat(A)
    index = world[A].core.log.configuration_index
    world.compact(A)
    assert world[A].core.log.base.index > index
    for peer in (A, E):
        world.restart(peer)
    world.elect(A)
    for _ in range(12):
        world.beat(A)
    for peer in (A, B, E):
        log = world[peer].core.log
        assert (log.voters, log.configuration_index) == ((A, B, C, D), index)
    assert world.configure(A, A, B, C, index=index) is Objection.NONE


def test_a_majority_is_one_of_the_latest_configuration_for_all_that_is_uncommitted() -> None:
    world = World(3, learners=(D,))
    led(world, A)
    world.isolate(A, D)
    before = world[A].core.log.commit_index
    world.configure(A, A, B, C, D)
    world.propose(A, b"x")
    world.deliver()
    world.beat(A)
    assert world[A].core.log.commit_index == before, "two of four are none"


# ---- who is heard ------------------------------------------------------------------------------


def test_a_peer_that_votes_without_knowing_it_gives_its_vote() -> None:
    """Else a group whose newest voter has not heard of it could be stuck for ever."""
    world = World(3, learners=(D,))
    led(world, A)
    for peer in (C, D):
        world.cut(A, peer)
    world.configure(A, A, B, C, D)
    world.deliver()
    assert world[D].core.role is Role.LEARNER
    world.crash(A)
    world.heal()
    world.elect(B)
    settle(world, B)
    assert world[D].core.role is Role.FOLLOWER
    assert world[B].core.log.is_configured


def test_a_candidate_that_votes_here_unknown_is_voted_for() -> None:
    """A has added C to A and B, and dies: B does not know C, and C cannot win without B."""
    world = World(2, learners=(C,))
    led(world, A)
    world.cut(A, B)
    world.configure(A, A, B, C)
    world.deliver()
    assert (world[A].core.log.is_configured, world[B].core.voters) == (True, (A, B))
    world.crash(A)
    world.heal()
    world.elect(C)
    settle(world, C)
    assert world[B].core.voters == (A, B, C)


def test_a_leader_that_is_no_voter_here_is_heard_again_after_a_candidacy_in_vain() -> None:
    world = World(2, learners=(C,))
    led(world, A)
    world.cut(A, B)
    world.configure(A, A, B, C)
    world.deliver()
    world.crash(A)
    world.heal()
    world.wait(1.0)
    world.stand(C)
    world.deliver_until(lambda: world[C].core.role is Role.LEADER)
    world.lose(*world.flying)
    world.stand(B)
    world.deliver()
    settle(world, C)
    assert world[B].core.leader == C


def test_who_is_no_voter_and_not_ahead_is_not_answered() -> None:
    world = World(3, learners=(D,))
    led(world, A)
    settle(world, A)
    world.wait(2.0)
    for pre in (True, False):
        world.lose(*world.flying)
        world.hear(D, B, VoteRequest(0, 9, world[D].standing(), pre, transfer=False))
        assert world.flying == []
        assert (world[B].core.term, world[B].core.vote) == (2, A)


def test_who_is_no_voter_does_not_depose_a_leader_that_is_heard() -> None:
    world = World(3, learners=(D,))
    led(world, A)
    ahead = Standing(99, 99, 0, 0)
    last = Batch(100, 1, 99, 99, b"x")
    claims: list[ReplicationMessage] = [
        VoteRequest(0, 100, ahead, False, False),
        AppendEntries(0, 100, 99, 99, 2, (last,)),
        Heartbeat(0, 100, 2, 1),
        CommitAdvance(0, 100, 2),
    ]
    for claim in claims:
        world.lose(*world.flying)
        world.hear(D, B, claim)
        assert (world[B].core.term, world[B].core.leader) == (2, A)


@pytest.mark.parametrize(
    "message",
    [
        VoteRequest(0, 2, Standing(2, 2, 0, 0), False, False),
        VoteReply(0, 2, True, False, False),
        VoteReply(0, 3, True, True, False),
        AppendReply(0, 2, True, 2, 1),
        AppendReply(0, 2, False, 0, 1),
        Heartbeat(0, 2, 2, 1),
        HeartbeatReply(0, 2, 1),
        CommitAdvance(0, 2, 2),
        ReadIndex(0, 4),
        ReadIndexReply(0, 4, 2),
        AppendEntries(0, 2, 1, 1, 1, ()),
    ],
)
def test_what_a_stranger_to_the_log_says_changes_nothing(message: ReplicationMessage) -> None:
    world = World(3, learners=(D, E))
    led(world, A)
    world.act(A, lambda core: core.set_learners((), world.now))
    for peer in (A, B):
        core = world[peer].core
        before = core.role, core.term, core.leader, core.commit_index, core.voters
        world.hear(E, peer, message)
        assert (core.role, core.term, core.leader, core.commit_index, core.voters) == before


def test_a_removed_peer_that_comes_back_disturbs_nobody() -> None:
    """It stands with the configuration that it knows, as often as it likes."""
    world = World(4)
    led(world, A)
    world.crash(D)
    world.configure(A, A, B, C)
    world.deliver()
    settle(world, A)
    world.restart(D)
    for _ in range(5):
        world.wait(0.125)
        world.tick(A)
        world.stand(D)
        world.deliver()
        assert world[D].core.role is Role.PRE_CANDIDATE
    assert (world[A].core.role, world[A].core.term) == (Role.LEADER, 2)


def test_a_removed_peer_never_wins_also_while_nobody_leads() -> None:
    world = World(4)
    led(world, A)
    world.crash(D)
    world.configure(A, A, B, C)
    world.deliver()
    settle(world, A)
    world.crash(A)
    world.restart(D)
    world.wait(2.0)
    for _ in range(5):
        world.stand(D)
        world.deliver()
        assert world[D].core.role is Role.PRE_CANDIDATE
    assert [world[peer].core.term for peer in (B, C)] == [2, 2]


def test_a_removed_peer_that_is_here_learns_that_it_votes_no_more() -> None:
    world = World(4, learners=())
    led(world, A)
    world.learners = (D,)
    world.configure(A, A, B, C)
    world.deliver()
    settle(world, A)
    assert world[D].core.role is Role.LEARNER
    assert not world[D].core.may_stand


def test_a_learner_neither_stands_nor_counts() -> None:
    world = World(3, learners=(D, E))
    led(world, A)
    world.isolate(A, D, E)
    world.propose(A, b"x")
    before = world[A].core.commit_index
    world.deliver()
    settle(world, A)
    assert world[D].core.log.last_index == world[A].core.log.last_index
    assert world[A].core.commit_index == before
    world.stand(D)
    assert world[D].core.role is Role.LEARNER
    world.wait(TIMING.election_timeout_seconds)
    world.tick(A)
    assert world[A].core.role is not Role.LEADER, "learners are no quorum"


def test_a_learner_of_a_newer_term_is_taken_up_in_the_end() -> None:
    """It was a voter once, and stood in vain: it would refuse the leader of an older term for ever,
    and must not depose it at will."""
    world = World(3, terms={D: 7}, learners=(D,))
    world.elect(A)
    settle(world, A)
    assert (world[A].core.role, world[D].core.log.last_index) == (Role.LEADER, 0)
    for _ in range(100):
        world.beat(A)
    assert world[A].core.term == 7
    world.elect(A)
    settle(world, A)
    assert world[D].core.log.last_index == world[A].core.log.last_index


# ---- a leader that removes itself --------------------------------------------------------------


def test_a_leader_that_removes_itself_does_not_count_itself() -> None:
    world = World(3)
    led(world, A)
    world.isolate(A, B)
    world.configure(A, B, C)
    world.deliver()
    settle(world, A)
    assert not world[A].core.log.is_configured, "B alone is no majority of B and C"


def test_a_leader_that_removes_itself_steps_down_once_that_is_committed() -> None:
    world = World(3)
    led(world, A)
    world.configure(A, B, C)
    assert world[A].core.role is Role.LEADER
    world.deliver()
    assert world[A].core.role is Role.LEARNER
    assert [world[peer].core.log.is_configured for peer in (B, C)] == [True, True]
    world.elect(B)


def test_a_leader_that_has_removed_itself_stands_until_that_is_committed() -> None:
    """Thesis §4.2.2: of two, the one that is to stay has a shorter log, and cannot win."""
    world = World(2)
    led(world, A)
    world.cut(A, B)
    world.configure(A, B)
    world.deliver()
    world.restart(A)
    world.heal()
    assert world[A].core.may_stand
    world.wait(2.0)
    world.stand(B)
    world.deliver()
    assert world[B].core.role is Role.PRE_CANDIDATE
    world.wait(2.0)
    world.stand(A)
    world.deliver()
    assert world[B].core.log.is_configured
    world.elect(B)
    assert world[A].core.role is Role.LEARNER
    assert not world[A].core.may_stand


def test_a_read_is_confirmed_by_the_voters_of_the_latest_configuration() -> None:
    world = World(2, learners=(C, D))
    led(world, A)
    world.isolate(A, B)
    world.configure(A, A, B, C)
    world.deliver()
    world.configure(A, A, B, C, D)
    world.act(A, lambda core: core.read(5))
    world.deliver()
    world.beat(A)
    assert world[A].core.granted_reads == [], "two of four"
    world.heal()
    world.beat(A)
    world.beat(A)
    [(number, _)] = world[A].core.granted_reads
    assert number == 5


# ---- rounds ------------------------------------------------------------------------------------


def test_a_learner_has_caught_up_when_a_round_took_less_than_an_election_timeout() -> None:
    catch_up = CatchUp(1000, 0.0)
    catch_up.matched(900, 1200, 0.5, 10.0)
    assert not catch_up.is_caught_up(0.5, 900, 10.0)
    catch_up.matched(1000, 1200, 0.5, 11.0)
    assert not catch_up.is_near, "that round took eleven seconds"
    catch_up.matched(1200, 1210, 0.5, 11.6)
    assert not catch_up.is_near
    catch_up.matched(1210, 1211, 0.5, 11.9)
    assert catch_up.is_caught_up(0.5, 1210, 12.0)


def test_a_learner_of_an_idle_leader_has_caught_up_when_it_has_everything() -> None:
    catch_up = CatchUp(10, 0.0)
    catch_up.matched(10, 10, 0.5, 3.0)
    assert catch_up.is_caught_up(0.5, 10, 99.0)


def test_a_learner_that_has_stopped_has_caught_up_no_more() -> None:
    catch_up = CatchUp(10, 0.0)
    catch_up.matched(10, 20, 0.5, 0.25)
    assert catch_up.is_caught_up(0.5, 10, 0.5)
    assert not catch_up.is_caught_up(0.5, 10, 0.75)
    assert catch_up.is_caught_up(0.5, 20, 99.0)


def test_who_may_stand_and_who_may_be_heard() -> None:
    log = World(3, logs={A: written(1, 1)})[A].core.log
    assert may_stand(A, log)
    assert not may_stand(D, log)
    assert not may_stand(NOBODY, log)
    assert is_ahead(1, 3, log)
    assert is_ahead(2, 1, log)
    assert not is_ahead(1, 2, log)
