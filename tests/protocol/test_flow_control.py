"""How much is on the way to one follower: bounded in number and in bytes, and never for good."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
)
from tests.protocol.raft_world import A, B, C
from tests.protocol.snapshots_world import (
    led,
    progress_of,
)


def test_a_follower_that_probes_has_one_append_under_way() -> None:
    world = led()
    world.isolate(B, C)
    world.act(A, lambda core: core.restarted(B))
    world.flying.clear()
    for blob in (b"x", b"y", b"z"):
        world.propose(A, blob)
    assert progress_of(world, A, B).probing
    assert len(world.under_way(AppendEntries, target=B)) == 1
    assert len(world.under_way(AppendEntries, target=C)) == 3


def test_what_is_under_way_to_a_follower_is_bounded_in_bytes() -> None:
    world = led(limits=Limits(inflight_bytes_max=250))
    for _ in range(5):
        world.propose(A, bytes(100))
    assert len(world.under_way(AppendEntries, target=B)) == 3
    assert progress_of(world, A, B).inflight_bytes == 300
    world.deliver()
    assert world[B].core.log.last_index == world[A].core.log.last_index


@pytest.mark.parametrize(("most", "sent"), [(299, 3), (300, 3), (301, 4)])
def test_a_window_that_is_full_to_the_byte_takes_no_more(most: int, sent: int) -> None:
    world = led(limits=Limits(inflight_bytes_max=most))
    for _ in range(5):
        world.propose(A, bytes(100))
    assert len(world.under_way(AppendEntries, target=B)) == sent


def test_bytes_under_way_are_counted_down_and_forgotten_with_what_was_under_way() -> None:
    """Catalogue 30: a counter that leaks would pause the follower for good."""
    world = led(limits=Limits(inflight_bytes_max=250))
    progress = progress_of(world, A, B)
    for _ in range(3):
        for _ in range(4):
            world.propose(A, bytes(100))
        lost = world.under_way(AppendEntries, target=B)
        world.lose(*lost)
        world.deliver()
        for _ in range(6):
            world.beat(A)
        assert (progress.inflight_bytes, len(progress.inflight)) == (0, 0)
    assert world[B].core.log.last_index == world[A].core.log.last_index == 14
    leadership = world[A].core.leadership
    assert leadership is not None
    assert leadership.uncommitted_bytes == 0


def test_a_paused_follower_goes_on_with_the_first_answer() -> None:
    world = led(limits=Limits(inflight_appends_max=1))
    world.propose(A, b"x")
    world.propose(A, b"y")
    assert len(world.under_way(AppendEntries, target=B)) == 1
    [parcel] = world.under_way(AppendEntries, target=B)
    world.arrive(parcel)
    [answer] = world.under_way(AppendReply, B)
    world.arrive(answer)
    assert len(world.under_way(AppendEntries, target=B)) == 1
    world.deliver()
    assert world[B].core.log.last_index == 4
