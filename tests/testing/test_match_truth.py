"""I10: what a leader counts of a follower is on that follower's disk, or was in that term."""

import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import HardState, LogAppend
from tests.testing.checked_world import A, B, World, acknowledged, broken, entry


@pytest.fixture
def world() -> World:
    return World()


def test_i10_match_index_beyond_the_followers_disk_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    world.write(B, LogAppend(0, 1, (entry(2, 2),)))
    with broken("I10"):
        world.checkers.matched(world[A], B, 2)


def test_i10_match_index_over_another_log_is_seen(world: World) -> None:
    world.append(B, entry(2, 2))
    world.elect(A, 3)
    world.append(A, entry(2, 3))
    with broken("I10"):
        world.checkers.matched(world[A], B, 2)


def test_i10_count_of_what_a_follower_replaced_in_its_next_term_is_lawful(world: World) -> None:
    """A leader that was paused reads late what was true of its term (Raft §5.1)."""
    world.elect(A, 2)
    world.append(A, entry(2, 2), B)
    world.send(B, A, acknowledged(2, 2))
    world.write(B, HardState(0, 3, PeerId("")), LogAppend(0, 1, (entry(2, 3),)))
    world.sync(B)
    world.checkers.matched(world[A], B, 2)


def test_i10_count_of_what_a_follower_gave_up_in_the_leaders_term_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2), B)
    world.append(B, entry(2, 2, count=2))
    with broken("I10"):
        world.checkers.matched(world[A], B, 2)


def test_i10_late_count_of_what_was_never_on_the_followers_disk_is_seen(world: World) -> None:
    world.elect(A, 2)
    world.append(A, entry(2, 2))
    world.append(B, entry(2, 1))
    world.write(B, HardState(0, 3, PeerId("")), LogAppend(0, 1, (entry(2, 3),)))
    world.sync(B)
    with broken("I10"):
        world.checkers.matched(world[A], B, 2)


def test_i10_acknowledgement_of_another_log_is_seen(world: World) -> None:
    world.append(B, entry(2, 2))
    world.elect(A, 3)
    world.append(A, entry(2, 3))
    with broken("I10"):
        world.send(B, A, acknowledged(3, 2))


def test_i10_acknowledgement_of_what_the_leader_lost_in_a_crash_is_lawful(world: World) -> None:
    world.elect(A, 2)
    world.write(A, LogAppend(0, 1, (entry(2, 2),)))
    world.append(B, entry(2, 2))
    world.disks[A].pending.clear()
    world.ghosts[A] = world.checkers.started(A, world.disks[A])
    world.send(B, A, acknowledged(2, 2))
