"""Raft's claims about the log and commitment, one test each, by section of the paper (Ongaro and
Ousterhout 2014) or of Ongaro's thesis (2014)."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import AppendEntries, AppendReply, CommitAdvance, Heartbeat, Message
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.records import Batch, LogAppend
from tests.protocol.raft_world import (
    PEERS,
    A,
    B,
    C,
    D,
    E,
    World,
    terms_of,
    written,
)

SEVEN = PEERS[:7]


def entries(
    term: int, previous: tuple[int, int], *batches: Batch, commit_index: int = 0
) -> AppendEntries:
    """previous: index and term."""
    return AppendEntries(0, term, previous[0], previous[1], commit_index, batches)


def entry(index: int, term: int, blob: bytes = b"x") -> Batch:
    return Batch(index, 1, term, term, blob)


def replies(world: World, source: object = None) -> list[AppendReply]:
    found = [p.message for p in world.under_way(AppendReply) if source in (None, p.source)]
    return [message for message in found if isinstance(message, AppendReply)]


# ---- consistency check -----------------------------------------------------------------------


def test_entries_are_appended_behind_the_position_that_both_logs_hold() -> None:
    """§5.3: AppendEntries names the index and term of the entry that precedes the new ones."""
    world = World(3)
    world.hear(B, A, entries(2, (1, 1), entry(2, 2), entry(3, 2)))
    assert terms_of(world[A].disk.batches) == [1, 2, 2]
    assert replies(world) == [AppendReply(0, 2, True, 3, 1)]


@pytest.mark.parametrize("previous", [(3, 2), (5, 2), (3, 1), (2, 1)])
def test_entries_behind_another_position_are_refused(previous: tuple[int, int]) -> None:
    """§5.3: "If the follower does not find an entry in its log with the same index and term, then
    it refuses the new entries"."""
    world = World(3, logs={A: written(1, 3)})
    world.hear(B, A, entries(4, previous, entry(previous[0] + 1, 4), commit_index=9))
    assert terms_of(world[A].core.log.between(0, 9)) == [1, 3]
    [reply] = replies(world)
    assert not reply.success
    assert reply.previous_index == previous[0]
    assert reply.match_index < previous[0], "each refusal takes the leader further back"
    assert world[A].core.commit_index == 0


def test_a_conflicting_tail_gives_way_to_the_leaders() -> None:
    """§5.3: "conflicting entries in follower logs will be overwritten with entries from the
    leader's log"; and so on disk, in one record."""
    world = World(3, logs={A: written(1, 2, 2, 2)})
    world[A].is_slow = True
    world.hear(B, A, entries(3, (2, 2), entry(3, 3)))
    assert terms_of(world[A].core.log.between(0, 9)) == [1, 2, 3]
    assert world[A].unwritten[-1].record == LogAppend(0, 2, (entry(3, 3),))
    world.write(A)
    assert terms_of(world[A].disk.batches) == [1, 2, 3]


def test_entries_that_do_not_conflict_stay() -> None:
    """Figure 2, AppendEntries rule 3: only a conflict deletes; a late or doubled request whose
    entries are all there removes nothing behind them."""
    world = World(3)
    early = entries(2, (1, 1), entry(2, 2))
    world.hear(B, A, early)
    world.hear(B, A, entries(2, (2, 2), entry(3, 2), entry(4, 2)))
    for message in (early, entries(2, (1, 1)), early):
        world.hear(B, A, message)
        assert terms_of(world[A].core.log.between(0, 9)) == [1, 2, 2, 2]
        assert terms_of(world[A].disk.batches) == [1, 2, 2, 2]


def test_what_is_committed_is_never_replaced() -> None:
    """§5.3, Leader Append-Only and State Machine Safety: the truncation of a committed entry is a
    fault of ours, and stops the peer."""
    log = Log(written(1, 2, 2))
    log.commit(2)
    with pytest.raises(AssertionError, match="committed"):
        log.truncate(1)


def test_a_leader_never_overwrites_its_own_log() -> None:
    """§5.3: "A leader never overwrites or deletes entries in its log", whoever says so."""
    world = World(3)
    world.elect(A)
    world.propose(A, b"one")
    world.lose(*world.flying)
    world.hear(B, A, entries(2, (1, 1), entry(2, 2)))
    assert world[A].core.log.last_index == 3
    assert world[A].core.leadership is not None


FIGURE_7 = {
    A: written(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, voters=SEVEN),
    B: written(1, 1, 1, 4, 4, 5, 5, 6, 6, voters=SEVEN),
    C: written(1, 1, 1, 4, voters=SEVEN),
    D: written(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6, voters=SEVEN),
    E: written(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7, voters=SEVEN),
    PEERS[5]: written(1, 1, 1, 4, 4, 4, 4, voters=SEVEN),
    PEERS[6]: written(1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, voters=SEVEN),
}


@pytest.mark.parametrize("batches_max", [1, 2, 64])
def test_a_leader_brings_every_log_of_figure_7_to_its_own(batches_max: int) -> None:
    """§5.3, figure 7: missing and extraneous entries, and both, are all repaired."""
    limits = Limits(append_batches_max=batches_max, inflight_appends_max=3)
    world = World(7, logs=dict(FIGURE_7), terms=dict.fromkeys(SEVEN, 7), limits=limits)
    world.elect(A)
    for _ in range(20):
        world.beat(A)
    expected = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8]
    for actor in world:
        assert terms_of(actor.disk.batches) == expected
        assert actor.disk.batches == world[A].disk.batches
        assert actor.core.commit_index == 11


def test_figure_7s_long_follower_costs_few_refusals() -> None:
    """§5.3: with a hint "one AppendEntries RPC will be required for each term with conflicting
    entries, rather than one RPC per entry"."""
    voters = (A, B, C)
    logs = {A: written(1, *[4] * 50), B: written(1, *[2] * 30, *[3] * 30), C: written(1, *[4] * 50)}
    world = World(3, logs=logs, terms=dict.fromkeys(voters, 4))
    world.wait(1.0)
    world.stand(A)
    refusals = 0
    while world.flying:
        message = world.flying[0].message
        refusals += isinstance(message, AppendReply) and not message.success
        world.arrive(world.flying[0])
    assert refusals <= 4
    assert world[B].disk.batches == world[A].disk.batches


def test_equal_positions_mean_equal_logs_before_them() -> None:
    """§5.3, Log Matching: entries of different logs with the same index and term hold the same
    command, and what precedes them is the same."""
    world = World(3)
    world.elect(A)
    world.isolate(A)
    world.propose(A, b"lost")
    world.elect(B)
    world.propose(B, b"kept", b"too")
    world.deliver()
    world.heal()
    for _ in range(8):
        world.beat(B)
    logs = [actor.core.log.between(0, 99) for actor in world]
    assert logs[0] == logs[1] == logs[2]
    assert b"lost" not in [batch.blob for batch in logs[0]]


# ---- commitment ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_an_entry_is_committed_when_a_majority_has_stored_it(count: int) -> None:
    """§5.3: "A log entry is committed once the leader that created the entry has replicated it on a
    majority of the servers"."""
    world = World(count)
    world.elect(A)
    world.isolate(*PEERS[count // 2 + 1 : count])
    if count > 1:
        world.isolate(PEERS[count // 2])
    before = world[A].core.commit_index
    world.propose(A, b"one")
    world.deliver()
    assert world[A].core.commit_index == (before + 1 if count == 1 else before)
    world.heal()
    world.isolate(*PEERS[count // 2 + 1 : count])
    for _ in range(6):
        world.beat(A)
    assert world[A].core.commit_index == before + 1


def test_a_follower_has_stored_what_it_acknowledges() -> None:
    """Figure 2: "Updated on stable storage before responding to RPCs"."""
    world = World(3)
    world.elect(A)
    world[B].is_slow = world[C].is_slow = True
    world.propose(A, b"one")
    world.deliver()
    assert world[A].core.commit_index == 2
    world.write(B)
    world.deliver()
    assert world[A].core.commit_index == 3


def test_a_repeated_request_is_not_acknowledged_before_the_first_is_stored() -> None:
    """Figure 2: an acknowledgement covers what is on disk, whoever asks how often."""
    world = World(3)
    world[A].is_slow = True
    for _ in range(2):
        world.hear(B, A, entries(2, (1, 1), entry(2, 2)))
    world.hear(B, A, entries(2, (2, 2)))
    assert replies(world) == []
    world.write(A)
    assert {reply.match_index for reply in replies(world)} == {2}


def test_requests_of_one_turn_get_one_acknowledgement_of_all() -> None:
    """§5.3: an acknowledgement says up to where the logs agree; the last one says everything."""
    world = World(3)

    def deed(core: object) -> None:
        del core
        for index in (2, 3, 4):
            message = entries(2, (index - 1, 2 if index > 2 else 1), entry(index, 2))
            receiver = world[A].core
            receiver.receive(B, message, world[A].standing(), False, world.now)

    world.act(A, deed)
    assert [reply.match_index for reply in replies(world)] == [4]


def test_an_old_acknowledgement_takes_nothing_back() -> None:
    """Figure 2: matchIndex "increases monotonically"."""
    world = World(3)
    world.elect(A)
    for _ in range(3):
        world.propose(A, b"x")
    world.deliver()
    leadership = world[A].core.leadership
    assert leadership is not None
    for late in (AppendReply(0, 2, True, 2, 1), AppendReply(0, 2, False, 0, 4)):
        world.hear(B, A, late)
        assert leadership.progress[B].match_index == 5
        assert leadership.progress[B].sent_index == 5
    assert world[A].core.commit_index == 5


@pytest.mark.parametrize(
    "reply",
    [
        AppendReply(0, 1, True, 3, 2),
        AppendReply(0, 2, True, 99, 2),
        AppendReply(0, 2, True, 4, 2),
        AppendReply(0, 2, False, 0, 7),
    ],
)
def test_an_answer_that_fits_no_question_commits_nothing(reply: AppendReply) -> None:
    """§5.4.2: only what a follower of this term has verified counts. Index 4 is the middle of a
    batch; a reply of term 1 was meant for another leader."""
    world = World(3)
    world.elect(A)
    world.isolate(A)
    world.propose(A, b"three", b"four", b"five")
    world.hear(B, A, reply)
    assert world[A].core.commit_index == 2


def test_replies_of_strangers_count_for_nothing() -> None:
    """Figure 2: a majority is one of the servers of the configuration."""
    world = World(3, learners=(D,))
    world.elect(A)
    world.isolate(A, D)
    world.propose(A, b"three")
    world.deliver()
    world.hear(E, A, AppendReply(0, 2, True, 3, 2))
    assert terms_of(world[D].disk.batches) == [1, 2, 2]
    assert world[A].core.commit_index == 2


def test_the_leader_announces_a_commitment_at_once() -> None:
    """§5.3: "The leader keeps track of the highest index it knows to be committed, and it includes
    that index in future AppendEntries RPCs"; here in a message of its own, and in heartbeats."""
    world = World(3)
    world.elect(A)
    world.propose(A, b"one")
    world.deliver()
    assert [actor.core.commit_index for actor in world] == [3, 3, 3]
    world.cut(A, C)
    world.propose(A, b"two")
    world.deliver()
    assert world[C].core.commit_index == 3
    world.heal()
    for _ in range(8):
        world.beat(A)
    assert world[C].core.commit_index == 4


@pytest.mark.parametrize(
    "message",
    [CommitAdvance(0, 5, 4), Heartbeat(0, 5, 4, 1), entries(5, (2, 2), commit_index=4)],
    ids=lambda message: type(message).__name__,
)
def test_a_follower_commits_no_further_than_it_has_verified(message: Message) -> None:
    """Figure 2, AppendEntries rule 5: "commitIndex = min(leaderCommit, index of last new entry)";
    what stands behind it may be another leader's and wrong."""
    world = World(3, logs={A: written(1, 2, 2, 2)})
    world.ghost.committed.append(written(1, 2, 5, 5))
    world.hear(B, A, entries(5, (1, 1), entry(2, 2, b"2.2"), commit_index=1))
    world.hear(B, A, message)
    assert world[A].core.commit_index == 2


def test_what_was_verified_for_one_leader_is_not_for_the_next() -> None:
    """§5.3: the consistency check is made against the leader's log, so a new leader checks anew."""
    world = World(3)
    world.ghost.committed.append(written(1, 3))
    world.hear(B, A, entries(2, (1, 1), entry(2, 2), commit_index=1))
    world.hear(C, A, Heartbeat(0, 3, 2, 1))
    assert world[A].core.commit_index == 1
    assert terms_of(world[A].core.log.between(0, 9)) == [1, 2]


def test_a_commit_index_in_the_middle_of_a_batch_commits_none_of_it() -> None:
    """§5.3: a batch is committed whole, as one leader made it."""
    world = World(3)
    world.ghost.committed.append(written(1))
    world.hear(B, A, entries(2, (1, 1), Batch(2, 3, 2, 2, b"xyz"), commit_index=3))
    assert world[A].core.commit_index == 1


def test_figure_8_an_old_entry_is_not_committed_by_counting() -> None:
    """§5.4.2, figure 8: "Raft never commits log entries from previous terms by counting replicas.
    Only log entries from the leader's current term are committed by counting replicas"."""
    five = PEERS[:5]
    logs = dict.fromkeys(five, written(1, voters=five))
    world = World(5, logs=logs)
    world.elect(A)
    world.isolate(A, B)
    world.propose(A, b"two")
    world.deliver()
    world.crash(A)
    # E is elected by C and D, and its first entry reaches nobody.
    world.heal()
    world.isolate(B)
    world.wait(1.0)
    world.stand(E)
    world.deliver_until(lambda: world[E].core.leadership is not None)
    world.crash(E)
    world.lose(*world.flying)
    world.heal()
    # A leads again. Its old entry gets to B and C, its new term's entry to nobody.
    world.restart(A)
    world.wait(1.0)
    world.stand(A)
    world.deliver()
    world.stand(A)
    world.deliver_until(lambda: world[A].core.leadership is not None)
    assert world[A].core.term == 4
    world.lose(*world.flying)
    old_index = 3
    old = world[A].core.log.between(old_index - 1, old_index)
    assert terms_of(old) == [2]
    for peer in (B, C):
        message = entries(world[A].core.term, (1, 1), *world[A].core.log.between(1, old_index))
        world.hear(A, peer, message)
    for parcel in world.under_way(AppendReply):
        world.arrive(parcel)
    holders = [actor.peer for actor in world if actor.disk.holds(old_index, 2)]
    assert holders == [A, B, C]
    assert world[A].core.commit_index < old_index
    # Only an entry of the new term on a majority commits both.
    world.deliver()
    for _ in range(8):
        world.beat(A)
    assert world[A].core.commit_index == world[A].core.log.last_index > old_index


def test_a_leaders_first_entry_commits_what_earlier_terms_left() -> None:
    """§8: "each leader commit[s] a blank no-op entry into the log at the start of its term"."""
    world = World(3, logs=dict.fromkeys((A, B, C), written(1, 1, 1)))
    world.elect(A)
    assert world[A].core.log.last_index == 4
    assert [actor.core.commit_index for actor in world] == [4, 4, 4]


# ---- pipelining ------------------------------------------------------------------------------


def test_followers_write_while_the_leader_writes() -> None:
    """Thesis §10.2.1: "the leader can write to its disk in parallel with replicating to the
    followers and them writing to their disks"."""
    world = World(3)
    world.elect(A)
    world[A].is_slow = True
    world.propose(A, b"one")
    assert [p.target for p in world.under_way(AppendEntries, A)] == [B, C]
    world.deliver()
    assert world[A].core.commit_index == 3, "a majority without the leader's own disk"
    assert not world[A].disk.holds(3, 2)


def test_the_leader_counts_itself_when_its_disk_has_the_entry() -> None:
    """Thesis §10.2.1: an entry may be committed before the leader's own disk has it, if a majority
    of followers have; of three, one follower and no leader's disk are none."""
    world = World(3)
    world.elect(A)
    world.isolate(C)
    world[A].is_slow = True
    world.propose(A, b"one")
    world.deliver()
    assert world[A].core.commit_index == 2
    world.write(A)
    assert world[A].core.commit_index == 3


def test_appends_follow_each_other_without_waiting() -> None:
    """Thesis §10.2.1: the leader pipelines: it need not wait for an answer to send the next."""
    world = World(3, limits=Limits(inflight_appends_max=3))
    world.elect(A)
    for _ in range(5):
        world.propose(A, b"x")
    sent = world.under_way(AppendEntries, A, B)
    assert len(sent) == 3
    for parcel in sent:
        world.arrive(parcel)
    for parcel in world.under_way(AppendReply, B):
        world.arrive(parcel)
    assert len(world.under_way(AppendEntries, A, B)) == 1, "what was held back leaves together"


def test_the_first_append_of_a_term_goes_alone() -> None:
    """Thesis §10.2.1: only when the logs are known to agree are requests pipelined."""
    world = World(3)
    world.stand(A)
    world.deliver_until(lambda: world[A].core.leadership is not None)
    first = world.under_way(AppendEntries)
    assert [parcel.target for parcel in first] == [B, C]
    world.lose(*first)
    world.propose(A, b"x")
    world.propose(A, b"y")
    assert world.under_way(AppendEntries) == []
    world.beat(A)
    assert world[A].core.commit_index == 0
    for _ in range(2):
        world.beat(A)
    assert [actor.core.commit_index for actor in world] == [4, 4, 4]


@pytest.mark.parametrize("victim", range(4))
@pytest.mark.parametrize("delayed", [False, True])
def test_a_hole_in_the_pipeline_is_mended(victim: int, delayed: bool) -> None:
    """Thesis §10.2.1: if requests are lost or reordered, the consistency check refuses, and the
    leader falls back to the position that is known."""
    world = World(3)
    world.elect(A)
    for _ in range(4):
        world.propose(A, b"x")
    lost = world.under_way(AppendEntries, A, B)[victim]
    world.lose(lost)
    world.deliver()
    if delayed:
        world.arrive(lost)
        world.deliver()
    for _ in range(8):
        world.beat(A)
    assert world[B].disk.batches == world[A].disk.batches
    assert world[B].core.commit_index == 6
