"""How far a leader thinks that a follower is."""

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import AppendEntries, AppendReply, Heartbeat, HeartbeatReply
from tests.protocol.raft_world import TIMING, A, B, C, D, World


def test_what_a_late_answer_shows_to_be_there_is_not_sent_again() -> None:
    world = World(3, limits=Limits(append_batches_max=1))
    world.elect(A)
    world.isolate(C)
    for _ in range(3):
        world.propose(A, b"x")
    while asked := world.under_way(AppendEntries, A, B):
        world.arrive(asked[0])
    answers = world.under_way(AppendReply, B, A)
    world.lose(*answers)
    world.wait(TIMING.append_timeout_seconds)
    world.tick(A)
    leadership = world[A].core.leadership
    assert leadership is not None
    assert leadership.progress[B].sent_index < 5, "unanswered, it begins anew with the first"
    world.lose(*world.under_way(AppendEntries, A, B))
    world.hear(B, A, AppendReply(0, 2, True, 5, 4))
    assert world.under_way(AppendEntries, A, B) == []
    assert leadership.progress[B].sent_index == 5
    world.propose(A, b"y")
    [sent] = [parcel.message for parcel in world.under_way(AppendEntries, A, B)]
    assert isinstance(sent, AppendEntries)
    assert sent.previous_index == 5


def test_a_refusal_of_any_append_under_way_is_followed_at_once() -> None:
    """One of several was lost: the follower refuses those behind it, and no timeout is waited
    for."""
    world = World(3)
    world.elect(A)
    for blob in (b"x", b"y", b"z"):
        world.propose(A, blob)
    lost, second, _ = world.under_way(AppendEntries, A, B)
    world.lose(lost)
    world.arrive(second)
    world.deliver()
    assert world[B].core.log.last_index == world[A].core.log.last_index


def test_a_refusal_of_what_is_under_way_no_more_changes_nothing() -> None:
    world = World(3)
    world.elect(A)
    leadership = world[A].core.leadership
    assert leadership is not None
    progress = leadership.progress[B]
    last = world[A].core.log.last_index
    assert (progress.match_index, progress.probing) == (last, False)
    world.propose(A, b"x", b"y")
    world.isolate(B)
    world.deliver()
    world.lose(*world.under_way(AppendEntries, A, B))
    world.hear(B, A, AppendReply(0, 2, False, last, last + 9))
    assert not progress.probing
    assert world.under_way(AppendEntries, A, B) == []


def test_who_is_probed_or_unknown_is_not_caught_up_though_it_holds_what_is_committed() -> None:
    """What is between the two logs is not known then; and a stranger may be asked about as well."""
    world = World(3)
    world.elect(A)
    leadership = world[A].core.leadership
    assert leadership is not None
    world.beat(A)
    assert leadership.is_caught_up(B, world.now)
    world.propose(A, b"x")
    world.lose(*world.under_way(AppendEntries))
    world.wait(TIMING.append_timeout_seconds)
    world.tick(A)
    for kind in (Heartbeat, HeartbeatReply):
        for parcel in world.under_way(kind):
            world.arrive(parcel)
    assert leadership.is_heard(B, world.now)
    assert leadership.progress[B].probing
    assert leadership.progress[B].match_index == world[A].core.log.commit_index
    assert not leadership.is_caught_up(B, world.now)
    assert not leadership.is_caught_up(D, world.now)
