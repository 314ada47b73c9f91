"""Raft's claims about changes of the voters, by section of Ongaro's thesis (2014), chapter 4."""

from itertools import combinations

import pytest

from mabeam_p2p.messages import AppendEntries, Heartbeat, VoteReply, VoteRequest
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Objection, Role
from tests.protocol.raft_world import TIMING, A, B, C, D, World
from tests.protocol.test_configuration import led, settle

# ---- §4.1 safety -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 9))
def test_majorities_of_configurations_that_differ_by_one_server_overlap(count: int) -> None:
    """§4.1: when adding or removing a single server, any majority of the old cluster overlaps with
    any majority of the new one (figure 4.3). With two at once some do not."""
    old = tuple(range(count))

    def disjoint(new: tuple[int, ...]) -> bool:
        return any(
            not [server for server in one if server in other]
            for one in combinations(old, majority(len(old)))
            for other in combinations(new, majority(len(new)))
        )

    assert not disjoint((*old, count))
    if count > 1:
        assert not disjoint(old[1:])
    if count % 2 == 0 and count > 2:
        assert disjoint((*old[2:], count, count + 1))


def test_a_configuration_is_used_as_soon_as_it_stands_in_the_log() -> None:
    """§4.1: the new configuration takes effect on each server as soon as it is added to that
    server's log; servers always use the latest one in their log, committed or not."""
    world = World(3, learners=(D,))
    led(world, A)
    world.configure(A, A, B, C, D)
    assert (world[A].core.voters, world[B].core.voters) == ((A, B, C, D), (A, B, C))
    for parcel in world.under_way(AppendEntries, A, B):
        world.arrive(parcel)
    assert world[B].core.voters == (A, B, C, D)
    assert not world[B].core.log.is_configured


def test_a_configuration_is_committed_by_a_majority_of_itself() -> None:
    """§4.1: the C_new entry is replicated to the C_new servers, and a majority of the new
    configuration is used to determine its commitment."""
    world = World(3, learners=(D,))
    led(world, A)
    world.cut(A, B)
    world.cut(A, C)
    world.configure(A, A, B, C, D)
    world.deliver()
    assert not world[A].core.log.is_configured, "A and D are two of four"
    world.heal()
    settle(world, A)
    assert world[A].core.log.is_configured


def test_the_next_change_waits_for_the_commit_of_the_last() -> None:
    """§4.1: once C_new is committed, further changes can be started; before that majorities of the
    one after the next would not overlap with those of the old."""
    world = World(3)
    led(world, A)
    assert world.configure(A, A, B) is Objection.NONE
    assert world.configure(A, A) is Objection.PENDING
    world.deliver()
    assert world.configure(A, A) is Objection.NONE


def test_a_server_falls_back_when_its_configuration_is_removed_from_its_log() -> None:
    """§4.1: a server must be prepared to fall back to the previous configuration in its log, as the
    entry can be removed while it is not committed."""
    world = World(3)
    led(world, A)
    world.isolate(A)
    world.configure(A, A, B)
    world.elect(C)
    world.heal()
    settle(world, C)
    assert world[A].core.voters == (A, B, C)


def test_servers_process_requests_with_no_regard_to_their_own_configuration() -> None:
    """§4.1: a server accepts AppendEntries from a leader that is not part of its latest
    configuration, and grants its vote to a candidate that is not, if that has a log sufficiently
    up-to-date: else a new server could be added to no cluster, nor a leader be elected."""
    world = World(2, learners=(C,))
    led(world, A)
    world.cut(A, B)
    world.configure(A, A, B, C)
    world.deliver()
    world.crash(A)
    assert C not in world[B].core.voters
    world.wait(2.0)
    world.stand(C)
    for kind in (VoteRequest, VoteReply, VoteRequest, VoteReply):
        for parcel in world.under_way(kind):
            if world[parcel.target].is_up:
                world.arrive(parcel)
    assert world[C].core.role is Role.LEADER
    assert C not in world[B].core.voters
    world.deliver()
    assert (world[B].core.leader, world[B].core.voters) == (C, (A, B, C))


# ---- §4.2 availability -------------------------------------------------------------------------


def test_a_new_server_joins_as_a_non_voting_member_until_it_has_caught_up() -> None:
    """§4.2.1: the leader replicates entries to it, but it is not counted towards majorities for
    voting or commitment; it is added once it has caught up with the rest."""
    world = World(3, learners=(D,))
    led(world, A)
    world.isolate(A, D)
    world.propose(A, b"x")
    world.deliver()
    assert world[D].core.log.last_index == world[A].core.log.last_index
    assert world[A].core.commit_index < world[A].core.log.last_index
    leadership = world[A].core.leadership
    assert leadership is not None
    assert leadership.has_caught_up(D, world.now)


def test_catching_up_goes_in_rounds_and_the_last_one_must_be_short() -> None:
    """§4.2.1: each round replicates what the leader's log held at its start; if the last round
    lasts less than an election timeout, the server is added."""
    world = World(1, learners=(B,))
    led(world, A)
    leadership = world[A].core.leadership
    assert leadership is not None
    world.cut(B, A)
    world.propose(A, *[b"x"] * 50)
    for _ in range(8):
        world.beat(A)
        world.propose(A, b"y")
    assert not leadership.has_caught_up(B, world.now), "nothing of it is known to be there"
    world.heal()
    for _ in range(3):
        world.beat(A)
    assert leadership.has_caught_up(B, world.now)
    world.isolate(B)
    for _ in range(int(TIMING.election_timeout_seconds / TIMING.heartbeat_seconds) + 1):
        world.beat(A)
    assert not leadership.has_caught_up(B, world.now), "it is not reached any more"


def test_a_leader_that_is_removed_leads_until_that_is_committed_and_counts_others_alone() -> None:
    """§4.2.2: it steps down once C_new is committed; until then it replicates to C_new, and does
    not count itself in majorities."""
    world = World(3)
    led(world, A)
    world.cut(A, C)
    world.configure(A, B, C)
    world.deliver()
    assert (world[A].core.role, world[A].core.log.is_configured) == (Role.LEADER, False)
    world.heal()
    settle(world, A)
    assert world[A].core.leadership is None
    assert world[B].core.log.is_configured


def test_a_server_that_is_not_in_its_own_latest_configuration_still_stands() -> None:
    """§4.2.2: it might still be needed until the C_new entry is committed (figure 4.6)."""
    world = World(2)
    led(world, A)
    world.cut(A, B)
    world.configure(A, B)
    world.deliver()
    world.wait(2.0)
    world.tick(A)
    world.heal()
    assert world[A].core.role is not Role.LEADER
    world.stand(A)
    world.deliver()
    assert world[B].core.voters == (B,)
    assert world[B].core.log.is_configured


def test_removed_servers_do_not_disrupt_those_that_are_not() -> None:
    """§4.2.3: they get no heartbeats, and stand; within an election timeout of a heartbeat nobody
    updates its term or grants a vote, whatever the log of the candidate."""
    world = World(3)
    led(world, A)
    world.cut(A, C)
    world.configure(A, A, B)
    world.deliver()
    assert world[C].core.voters == (A, B, C)
    for _ in range(6):
        world.beat(A)
        world.stand(C)
        world.hear(C, B, VoteRequest(0, 50, world[A].standing(), False, False))
    assert (world[A].core.role, world[A].core.term, world[B].core.term) == (Role.LEADER, 2, 2)


def test_whoever_hears_its_leader_refuses_also_a_longer_log() -> None:
    """§4.2.3: pre-vote alone is not enough, for the removed server may be up-to-date: leaders that
    send heartbeats are not deposed."""
    world = World(3)
    led(world, A)
    settle(world, A)
    standing = world[A].standing()
    world.hear(A, B, Heartbeat(0, 2, 1, 99))
    world.hear(C, B, VoteRequest(0, 3, standing, True, False))
    answer = [parcel.message for parcel in world.under_way(VoteReply, B, C)]
    assert answer == [VoteReply(0, 2, False, True, False)]
