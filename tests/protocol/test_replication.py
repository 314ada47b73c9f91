"""One peer's part in the log beyond what the papers claim: idle leaders, restarts, odd messages."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Heartbeat,
    HeartbeatReply,
    ReadIndexReply,
    ReplicationMessage,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.replication import Replication, Role
from mabeam_p2p.records import Batch, HardState, LogAppend, Standing
from tests.protocol.raft_world import (
    NOBODY,
    TIMING,
    A,
    B,
    C,
    D,
    World,
    terms_of,
    written,
)


def blank(outbox: Outbox) -> Replication:
    """A peer that has no log yet."""
    return Replication(
        A, hard_state=None, batches=(), timing=TIMING, limits=Limits(), outbox=outbox, now=0.0
    )


# ---- an idle leader --------------------------------------------------------------------------


def test_a_restarted_follower_of_an_idle_leader_learns_what_is_committed() -> None:
    world = World(3)
    world.elect(A)
    world.propose(A, b"one")
    world.deliver()
    world.restart(B)
    assert world[B].core.commit_index == 0
    for _ in range(3):
        world.beat(A)
    assert world[B].core.commit_index == 3


def test_a_newcomer_gets_the_log_of_an_idle_leader() -> None:
    world = World(3, learners=(D,))
    for actor in world:
        actor.core.set_learners((), world.now)
    world.elect(A)
    assert world[D].core.log.last_index == 0
    world.act(A, lambda core: core.set_learners((D,), world.now))
    world.deliver()
    for _ in range(3):
        world.beat(A)
    assert world[D].core.log.last_index == 2
    assert world[D].core.commit_index == 2
    assert world[D].core.role is Role.LEARNER


def test_a_follower_that_stood_in_vain_goes_on_with_the_same_leader() -> None:
    world = World(3)
    world.elect(A)
    world.propose(A, b"one")
    world.lose(*world.under_way(AppendEntries, A, C))
    announced = world.under_way(CommitAdvance)
    world.lose(*announced)
    for parcel in world.under_way(AppendEntries, A, B):
        world.arrive(parcel)
    world.lose(*[p for p in world.flying if p.source == A])
    world.stand(B)
    assert world[B].core.role is Role.PRE_CANDIDATE
    for _ in range(6):
        world.beat(A)
    assert world[B].core.leader == A
    assert [actor.core.commit_index for actor in world] == [3, 3, 3]


def test_an_idle_leader_sends_no_appends() -> None:
    world = World(3)
    world.elect(A)
    for _ in range(3):
        world.beat(A)
    world.wait(TIMING.heartbeat_seconds)
    world.tick(A)
    assert {type(parcel.message) for parcel in world.flying} == {Heartbeat}


def test_a_silent_follower_is_sent_one_append_in_each_timeout() -> None:
    world = World(3)
    world.elect(A)
    world.isolate(C)
    for _ in range(10):
        world.propose(A, b"x")
    sent = 0
    for _ in range(16):
        world.wait(TIMING.heartbeat_seconds)
        world.tick(A)
        sent += len(world.under_way(AppendEntries, A, C))
        world.deliver()
    assert sent <= 10 + 16 * TIMING.heartbeat_seconds / TIMING.append_timeout_seconds


# ---- the disk --------------------------------------------------------------------------------


def test_a_leader_elected_again_counts_only_what_its_disk_has() -> None:
    world = World(1)
    world.elect(A)
    world[A].is_slow = True
    world.propose(A, b"one")
    world.act(A, lambda core: core.stored(world[A].durable))
    world.act(A, lambda core: core.resign())
    assert world[A].core.role is Role.FOLLOWER
    world.stand(A)
    assert world[A].core.role is Role.LEADER
    assert world[A].core.commit_index == 2
    world.write(A)
    assert world[A].core.commit_index == 4


def test_a_crash_between_any_two_records_keeps_the_peer_able_to_vote_and_follow() -> None:
    for kept in range(4):
        world = World(3, logs={A: written(1, 2, 2)}, terms={B: 3, C: 3})
        world[A].is_slow = True
        world.hear(B, A, Heartbeat(0, 3, 0, 1))
        world.hear(B, A, AppendEntries(0, 3, 1, 1, 0, (Batch(2, 2, 3, 3, b"xy"),)))
        world.restart(A, kept)
        world[A].is_slow = False
        assert world[A].core.term == (2, 3, 3, 3)[kept]
        assert world[A].core.log.last_term == (2, 2, 3, 3)[kept]
        world.elect(B if kept < 2 else A)
        for _ in range(4):
            world.beat(B if kept < 2 else A)
        assert len({tuple(actor.disk.batches) for actor in world}) == 1


def test_a_log_of_a_newer_term_than_the_hard_state_rules() -> None:
    outbox = Outbox()
    core = Replication(
        A,
        hard_state=HardState(0, 2, B),
        batches=written(1, 3),
        timing=TIMING,
        limits=Limits(),
        outbox=outbox,
        now=0.0,
    )
    assert (core.term, core.vote) == (3, NOBODY)


# ---- the first batch -------------------------------------------------------------------------


def test_the_first_batch_is_committed_with_the_cluster() -> None:
    outbox = Outbox()
    core = blank(outbox)
    roles = [core.role]
    first = written(1)[0]
    core.bootstrap(first)
    roles.append(core.role)
    assert roles == [Role.NONE, Role.FOLLOWER]
    assert (core.commit_index, core.term, core.voters) == (1, 1, (A, B, C))
    records = [effect.record for effect in outbox.take() if hasattr(effect, "record")]
    assert records == [LogAppend(0, 0, (first,)), HardState(0, 1, NOBODY)]
    with pytest.raises(AssertionError, match="never bootstraps"):
        core.bootstrap(first)


def test_a_newcomer_learns_the_voters_from_the_log() -> None:
    outbox = Outbox()
    core = blank(outbox)
    message = AppendEntries(0, 1, 0, 0, 1, written(1, voters=(B, C, D)))
    core.receive(B, message, Standing(0, 0, 0, 0), False, 1.0)
    core.flush(1.0)
    assert core.voters == (B, C, D)
    assert core.role is Role.LEARNER
    assert core.commit_index == 1


# ---- leadership and its loss -----------------------------------------------------------------


def test_nobody_but_the_leader_takes_proposals() -> None:
    world = World(3)
    assert not world[B].core.propose(1, b"x")
    world.elect(A)
    assert not world[B].core.propose(1, b"x")
    assert world[A].core.propose(1, b"x")


def test_a_peer_that_resigns_leads_no_more_and_frees_no_vote() -> None:
    world = World(3)
    world.elect(A)
    world.act(A, lambda core: core.resign())
    assert world[A].core.role is Role.FOLLOWER
    assert (world[A].core.term, world[A].core.vote) == (2, A)
    world.act(B, lambda core: core.resign())
    assert world[B].core.role is Role.FOLLOWER
    assert world[B].core.leader == A


def test_a_leader_that_says_goodbye_is_heard_no_more() -> None:
    world = World(3)
    world.elect(A)
    assert not world[B].core.leader_left(C)
    assert world[B].core.is_leader_heard(world.now)
    assert world[B].core.leader_left(A)
    assert not world[B].core.is_leader_heard(world.now)


@pytest.mark.parametrize(
    "message", [Heartbeat(0, 2, 9, 1), AppendEntries(0, 2, 1, 1, 9, ()), CommitAdvance(0, 2, 9)]
)
def test_a_leader_hears_no_other_leader_of_its_term(message: Heartbeat) -> None:
    world = World(3)
    world.elect(A)
    world.lose(*world.flying)
    world.hear(B, A, message)
    assert world.flying == []
    assert (world[A].core.leader, world[A].core.commit_index) == (A, 2)


@pytest.mark.parametrize("message", [Heartbeat(0, 9, 9, 1), AppendEntries(0, 9, 1, 1, 9, ())])
def test_who_is_no_voter_leads_nobody(message: Heartbeat) -> None:
    world = World(3)
    world.hear(D, A, message)
    assert world.flying == []
    assert (world[A].core.leader, world[A].core.term) == (None, 1)


def test_a_commit_index_from_anybody_but_the_leader_is_dropped() -> None:
    world = World(3)
    world.elect(A)
    world[B].core.log.commit_index = world[B].committed_index = 1
    for source, message in [(C, CommitAdvance(0, 2, 2)), (A, CommitAdvance(0, 1, 2))]:
        world.hear(source, B, message)
        assert world[B].core.commit_index == 1
    world.hear(A, B, CommitAdvance(0, 2, 2))
    assert world[B].core.commit_index == 2


def test_an_ok_of_a_higher_peer_is_noted_for_the_election() -> None:
    world = World(3)
    world.hear(C, A, VoteReply(0, 1, False, True, True))
    assert not world[A].core.candidacy.answered_ok, "it asked nobody"
    world.stand(A)
    world.hear(C, A, VoteReply(0, 1, False, True, True))
    assert world[A].core.candidacy.answered_ok
    assert world[A].core.role is Role.PRE_CANDIDATE


def test_a_vote_for_another_is_noted_for_the_election() -> None:
    world = World(3)
    world.stand(B)
    world.deliver()
    assert world[C].core.candidacy.vote_given
    assert not world[B].core.candidacy.vote_given


def test_pre_votes_are_refused_by_who_takes_over() -> None:
    world = World(3)
    world.stand(B)
    [parcel] = [p for p in world.flying if p.target == A]
    message, standing = parcel.message, world[A].standing()
    world.act(A, lambda core: core.receive(B, message, standing, True, world.now))  # type: ignore[arg-type]
    [answer] = world.under_way(VoteReply)
    assert answer.message == VoteReply(0, 1, granted=False, pre=True, higher=True)


def test_a_learner_that_has_gone_is_sent_nothing() -> None:
    world = World(3, learners=(D,))
    world.elect(A)
    assert world[A].core.learners == (D,)
    world.act(A, lambda core: core.set_learners((), world.now))
    world.propose(A, b"x")
    assert {parcel.target for parcel in world.flying} == {B, C}
    world.act(A, lambda core: core.restarted(D))
    world.act(B, lambda core: core.restarted(D))
    world.deliver()
    assert world[D].core.log.last_index == 2


def test_a_quorum_is_there_as_long_as_the_leader_is_heard_or_hears_it() -> None:
    world = World(3)
    assert not world[B].core.has_quorum(world.now)
    world.elect(A)
    for peer in (A, B):
        assert world[peer].core.has_quorum(world.now)
        assert not world[peer].core.has_quorum(world.now + TIMING.election_timeout_seconds)


def test_a_leader_wakes_for_its_next_heartbeat_and_no_later_than_its_office_ends() -> None:
    world = World(3)
    world.elect(A)
    assert world[A].core.next_deadline() == world.now + TIMING.heartbeat_seconds
    world.isolate(A)
    for _ in range(3):
        world.beat(A)
    due = world[A].core.next_deadline()
    world.wait(due - world.now)
    world.tick(A)
    assert world[A].core.role is Role.FOLLOWER


# ---- limits ----------------------------------------------------------------------------------


def test_a_leader_takes_no_more_than_it_may_hold_uncommitted() -> None:
    world = World(3, limits=Limits(uncommitted_bytes_max=100))
    world.elect(A)
    world.isolate(A)
    core = world[A].core
    assert core.propose(1, bytes(60))
    assert not core.propose(1, bytes(60)), "what waits for its batch counts"
    world.propose(A, bytes(40))
    world.deliver()
    assert not core.propose(1, b"x")
    world.heal()
    for _ in range(6):
        world.beat(A)
    assert core.commit_index == 4
    world.propose(A, bytes(100))
    assert core.leadership is not None
    assert core.leadership.uncommitted_bytes == 100


def test_a_leader_takes_no_more_than_may_wait_for_its_own_disk() -> None:
    """Its followers commit without it; a disk that hangs must not fill its memory."""
    world = World(3, limits=Limits(uncommitted_bytes_max=100))
    world.elect(A)
    core = world[A].core
    world[A].is_slow = True
    world.propose(A, bytes(60))
    world.deliver()
    assert core.commit_index == 3
    assert not core.propose(1, bytes(60))
    world.write(A)
    assert core.propose(1, bytes(60))


def test_the_count_of_uncommitted_bytes_starts_anew_with_each_leadership() -> None:
    world = World(3, limits=Limits(uncommitted_bytes_max=100))
    world.elect(A)
    world.isolate(A)
    world.propose(A, bytes(90))
    world.deliver()
    world.heal()
    world.elect(A)
    world.propose(A, bytes(90))
    world.deliver()
    leadership = world[A].core.leadership
    assert leadership is not None
    assert leadership.uncommitted_bytes == 0


def test_a_turns_commands_become_batches_within_their_limits() -> None:
    world = World(3, limits=Limits(batch_bytes_max=10, batch_commands_max=3))
    world.elect(A)
    world.lose(*world.flying)
    world.propose(A, b"1234", b"1234", b"1234", b"too long for one batch", b"", b"", b"", b"")
    batches = world[A].core.log.between(2, 99)
    assert [(batch.index, batch.count, len(batch.blob)) for batch in batches] == [
        (3, 2, 8),
        (5, 1, 4),
        (6, 1, 22),
        (7, 3, 0),
        (10, 1, 0),
    ]


def test_a_batch_is_filled_to_the_byte() -> None:
    world = World(3, limits=Limits(batch_bytes_max=10))
    world.elect(A)
    world.lose(*world.flying)
    world.propose(A, b"12345", b"12345", b"1")
    batches = world[A].core.log.between(2, 99)
    assert [(batch.count, len(batch.blob)) for batch in batches] == [(2, 10), (1, 1)]


def test_the_logs_clock_goes_on_from_where_the_log_ends() -> None:
    world = World(3, logs=dict.fromkeys((A, B, C), (*written(1), Batch(2, 1, 1, 10**15, b"x"))))
    world.elect(A)
    world.wait(1.5)
    world.propose(A, b"x")
    world.deliver()
    world.elect(B)
    world.propose(B, b"x")
    clocks = [batch.clock - 10**15 for batch in world[B].core.log.between(2, 99)]
    assert clocks == [0, 1_500_000, 1_500_000, 1_500_000]


# ---- odd messages ----------------------------------------------------------------------------


def test_nothing_that_a_member_says_stops_a_follower() -> None:
    """Whatever passes the frame's schema is checked, and dropped where it cannot be true."""
    odd = [
        AppendEntries(0, 3, 0, 0, 9, (Batch(1, 1, 3, 3, b"another first"),)),
        AppendEntries(0, 3, 0, 7, 9, ()),
        AppendEntries(0, 3, 2, 2, 9, (Batch(3, 1, 1, 3, b"an older term"),)),
        AppendEntries(0, 3, 2, 2, 9, (Batch(3, 1, 9, 3, b"a newer term than its leader's"),)),
        AppendEntries(0, 3, 2, 2, 9, (Batch(3, 1, 3, 0, b"an older clock"),)),
        AppendEntries(0, 3, 2, 2, 9, (Batch(3, 1, 3, 9, b"falling"), Batch(4, 1, 2, 9, b"terms"))),
        AppendEntries(0, 3, 2, 2, 9, (Batch(3, 1, 3, 9, b"falling"), Batch(4, 1, 3, 8, b"clocks"))),
    ]
    world = World(3)
    world.ghost.committed.append(written(1, 2))
    world.hear(B, A, AppendEntries(0, 3, 1, 1, 2, written(1, 2)[1:]))
    world.lose(*world.flying)
    assert world[A].core.commit_index == 2
    for message in odd:
        world.hear(B, A, message)
        assert terms_of(world[A].core.log.between(0, 99)) == [1, 2], message
        assert [p for p in world.flying if getattr(p.message, "success", False)] == [], message


def test_nothing_that_a_member_says_stops_a_leader() -> None:
    world = World(3)
    world.elect(A)
    for match_index in (0, 1, 2, 3, 99):
        for previous_index in (0, 1, 2, 99):
            for success in (True, False):
                world.hear(B, A, AppendReply(0, 2, success, match_index, previous_index))
    for beat_round in (0, 5, 99):
        world.hear(B, A, HeartbeatReply(0, 2, beat_round))
        world.hear(D, A, HeartbeatReply(0, 2, beat_round))
    world.hear(D, A, AppendReply(0, 2, True, 2, 1))
    world.hear(D, A, ReadIndexReply(0, 1, 5))
    world.beat(A)
    assert world[A].core.role is Role.LEADER
    assert world[B].core.log.last_index == 2


FAR = 2**53 - 1


@pytest.mark.parametrize("role", [Role.LEADER, Role.FOLLOWER])
@pytest.mark.parametrize(
    "message",
    [
        Heartbeat(0, FAR, 2, 1),
        AppendEntries(0, FAR, 2, 2, 2, ()),
        AppendReply(0, FAR, False, 0, 0),
        HeartbeatReply(0, FAR, 1),
        VoteReply(0, FAR, False, True, False),
        VoteReply(0, FAR, False, False, False),
        VoteRequest(0, FAR, Standing(FAR, FAR, 0, 0), False, True),
    ],
)
def test_a_term_that_no_elections_can_have_reached_moves_nobody(
    role: Role, message: ReplicationMessage
) -> None:
    """The last term there is would be the end of all elections."""
    world = World(3)
    world.elect(A)
    peer = A if role is Role.LEADER else B
    world.hear(C, peer, message)
    assert (world[peer].core.term, world[peer].core.role) == (2, role)
    assert world[peer].core.dropped_count == 1
    assert world.flying == []


@pytest.mark.parametrize(
    "message",
    [AppendReply(0, 3, False, 0, 0), HeartbeatReply(0, 3, 1), VoteReply(0, 3, False, True, False)],
)
def test_who_is_no_voter_deposes_nobody(message: ReplicationMessage) -> None:
    world = World(3, learners=(D,))
    world.elect(A)
    world.hear(D, A, message)
    assert (world[A].core.term, world[A].core.role) == (2, Role.LEADER)


def test_a_newcomer_takes_the_clusters_term_however_high() -> None:
    peer = blank(Outbox())
    peer.receive(B, Heartbeat(0, 10**9, 0, 1), Standing(0, 0, 0, 0), False, 0.0)
    assert peer.term == 10**9


def test_effects_of_a_quiet_turn_are_none() -> None:
    world = World(3)
    world[A].core.tick(world.now)
    world[A].core.flush(world.now)
    assert world[A].outbox.take() == ()
    assert world[A].core.next_deadline() == float("inf")
    assert world[A].core.learners == ()
