"""How far a leader thinks that a follower is."""

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import AppendEntries, AppendReply
from tests.protocol.raft_world import TIMING, A, B, C, World


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
