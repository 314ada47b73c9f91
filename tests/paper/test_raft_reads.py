"""What Ongaro's thesis (2014, §6.4) claims of reads that write no entry, one test each."""

import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import AppendEntries, Heartbeat, HeartbeatReply, ReadIndex, ReadIndexReply
from mabeam_p2p.protocol.replication import Replication, Role
from tests.protocol.raft_world import TIMING, A, B, C, D, E, Parcel, World


def ask(world: World, peer: PeerId, number: int = 7) -> None:
    """A read of the peer's own clients."""
    world.act(peer, lambda core: core.read(number))


def granted(world: World, peer: PeerId) -> list[tuple[int, int]]:
    return world[peer].core.granted_reads


def test_a_read_is_confirmed_by_a_round_of_heartbeats() -> None:
    """Step 3: the leader "issues a new round of heartbeats and waits for their acknowledgments from
    a majority of the cluster"."""
    world = World(3)
    world.elect(A)
    ask(world, A)
    assert granted(world, A) == []
    assert [p.target for p in world.under_way(Heartbeat)] == [B, C], "at once, not with the next"
    world.deliver()
    assert granted(world, A) == [(7, 2)]


def test_a_round_that_began_before_the_read_confirms_nothing() -> None:
    """Step 3: an answer to an older round may have been given before a successor came."""
    world = World(3)
    world.elect(A)
    world.wait(TIMING.heartbeat_seconds)
    world.tick(A)
    older = world.under_way(Heartbeat)
    ask(world, A)
    for parcel in older:
        world.arrive(parcel)
    for parcel in world.under_way(HeartbeatReply):
        world.arrive(parcel)
    assert granted(world, A) == []
    world.deliver()
    assert granted(world, A) == [(7, 2)]


def test_copies_of_one_acknowledgement_are_no_majority() -> None:
    """Step 3: a majority is one of servers."""
    world = World(5)
    world.elect(A)
    world.isolate(C, D, E)
    ask(world, A)
    world.arrive(world.under_way(Heartbeat, A, B)[0])
    [reply] = world.under_way(HeartbeatReply)
    for _ in range(5):
        world.arrive(reply)
    assert granted(world, A) == []


def test_acknowledgements_of_learners_confirm_nothing() -> None:
    """Step 3, §4.2.1: learners count to no majority."""
    world = World(3, learners=(D,))
    world.elect(A)
    world.isolate(B, C)
    ask(world, A)
    world.deliver()
    assert granted(world, A) == []


def test_a_new_leader_confirms_no_read_before_it_has_committed_in_its_term() -> None:
    """Step 1: "If the leader has not yet marked an entry from its current term committed, it waits
    until it has done so": its commit index may be behind its predecessor's."""
    world = World(3)
    world.elect(A)
    world.propose(A, b"written")
    world.deliver()
    world.wait(1.0)
    world.tick(A)
    world.stand(B)
    world.deliver_until(lambda: world[B].core.leadership is not None)
    for parcel in world.under_way(AppendEntries, B):
        world.lose(parcel)
    ask(world, B)
    for kind in (Heartbeat, HeartbeatReply):
        for parcel in world.under_way(kind):
            world.arrive(parcel)
    assert granted(world, B) == []
    for _ in range(4):
        world.beat(B)
    assert granted(world, B) == [(7, 4)]


def test_a_read_sees_everything_that_was_acknowledged_before_it() -> None:
    """Step 2: the read index is at least the commit index when the read was asked."""
    world = World(3)
    world.elect(A)
    for number in range(1, 6):
        world.propose(A, b"x")
        world.deliver()
        ask(world, A, number)
        world.deliver()
    assert granted(world, A) == [(number, number + 2) for number in range(1, 6)]


def test_many_reads_share_a_round() -> None:
    """§6.4: "a single round of heartbeats" serves any number of reads that have accumulated."""
    world = World(3)
    world.elect(A)

    for number in (1, 2, 3):
        assert world[A].core.read(number)
    world.tick(A)
    assert len(world.under_way(Heartbeat)) == 2
    world.deliver()
    assert granted(world, A) == [(1, 2), (2, 2), (3, 2)]


def test_a_follower_asks_the_leader_for_the_index() -> None:
    """§6.4: "the follower could issue a request to the leader that just asked for a current
    readIndex"."""
    world = World(3)
    world.elect(A)
    ask(world, B, 5)
    assert world.under_way(ReadIndex, B, A)[0].message == ReadIndex(0, 5)
    world.deliver()
    assert granted(world, B) == [(5, 2)]


def test_who_knows_no_leader_asks_nobody() -> None:
    """§6.4: a read needs a leader; who has none says so."""
    world = World(3)
    assert not world[A].core.read(1)
    assert world.flying == []


def test_who_does_not_lead_refuses() -> None:
    """§6.4: only a leader knows what is committed; a refusal is index 0."""
    world = World(3)
    world.elect(A)
    world.hear(C, B, ReadIndex(0, 9))
    assert world.under_way(ReadIndexReply, B, C)[0].message == ReadIndexReply(0, 9, 0)


@pytest.mark.parametrize("how", ["newer term", "no quorum", "resigns"])
def test_a_deposed_leader_refuses_every_read_that_waits(how: str) -> None:
    """§6.4: a leader that cannot know that it still leads answers no read, and says so at once."""
    world = World(3)
    world.elect(A)
    world.isolate(A)
    ask(world, A, 1)
    world.hear(B, A, ReadIndex(0, 2))

    def two_more(core: Replication) -> None:
        core.read(3)
        core.receive(B, ReadIndex(0, 4), world[A].standing(), False, world.now)

    world.act(A, two_more)
    world.lose(*world.flying)
    if how == "newer term":
        world.hear(C, A, Heartbeat(0, 9, 0, 1))
    elif how == "resigns":
        world.act(A, lambda core: core.resign())
    else:
        world.wait(TIMING.election_timeout_seconds)
        world.tick(A)
    assert world[A].core.role is Role.FOLLOWER
    assert sorted(granted(world, A)) == [(1, 0), (3, 0)]
    refusals = [p.message for p in world.under_way(ReadIndexReply, A, B)]
    assert len(refusals) == 2
    assert all(refusal in refusals for refusal in (_refusal(2), _refusal(4)))


def _refusal(number: int) -> ReadIndexReply:
    return ReadIndexReply(0, number, 0)


def test_a_read_that_was_asked_before_a_pause_sees_what_it_may() -> None:
    """§6.4: no clock decides: a leader that was suspended and succeeded answers no read that came
    after its successor's writes."""
    world = World(3)
    world.elect(A)
    world.isolate(A)
    world.elect(B)
    world.propose(B, b"newer")
    world.deliver()
    world.heal()
    ask(world, A)
    world.deliver()
    assert granted(world, A) in ([], [(7, 0)])
    assert world[A].core.role is Role.FOLLOWER


def test_a_single_voter_confirms_its_own_reads() -> None:
    """§6.4: a majority of one; but not before its first entry is on disk."""
    world = World(1)
    world[A].is_slow = True
    world.stand(A)
    ask(world, A)
    assert granted(world, A) == []
    world.write(A)
    assert granted(world, A) == [(7, 2)]


@pytest.mark.slow
def test_reads_beyond_number_over_a_slow_link_depose_no_leader() -> None:
    """Step 3: each turn with a read begins a round, so that hundreds may be under way at once; each
    of their answers is a contact (check-quorum, §6.2)."""
    world = World(3)
    world.elect(A)
    world.lose(*world.flying)
    under_way: list[tuple[float, Parcel]] = []
    # They are kept: one that is freed would lend its id to another.
    seen: dict[int, Parcel] = {}
    for number in range(1500):
        world.wait(1 / 1024)
        world.tick(A)
        ask(world, A, number)
        for parcel in world.flying:
            if id(parcel) not in seen:
                seen[id(parcel)] = parcel
                under_way.append((world.now + 0.1, parcel))
        while under_way and under_way[0][0] <= world.now:
            world.arrive(under_way.pop(0)[1])
        assert world[A].core.role is Role.LEADER, f"after {number} reads"
    assert len(granted(world, A)) > 1000
