"""The three published ways in which single-server changes lose what was committed, if a leader may
change the voters before an entry of its own term is committed (Ongaro, raft-dev, 2015)."""

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.replication import Objection, Role
from tests.protocol.raft_world import A, B, C, D, E, F, World
from tests.protocol.test_configuration import led, settle


def two_leaders_that_change_the_voters(
    world: World, first: tuple[PeerId, ...], second: tuple[PeerId, ...], helpers: tuple[PeerId, ...]
) -> None:
    """A changes the voters to `first`, which reaches `helpers` at most. B is elected by B, C, D
    and changes them to `second`, which reaches B, C and who is new in it. Then A tries to win a
    majority of `first` without B and C. If both changes stood, it would, and what B committed be
    lost."""
    led(world, A)
    settle(world, A)
    for peer in (B, C, D):
        world.cut(A, peer)
        world.cut(peer, A)
    assert world.configure(A, *first) is Objection.NONE
    world.deliver()
    world.isolate(A, *helpers)
    world.wait(2.0)
    for peer in (A, B, C, D):
        world.tick(peer)
    world.stand(B)
    world.deliver_until(lambda: world[B].core.role is Role.LEADER)
    world.cut(B, D)
    if world.configure(B, *second) is Objection.NONE:
        world.deliver()
        settle(world, B)
    else:
        # The rule: first an entry of its own term, held by a majority of all four.
        world.deliver()
        world.heal()
        world.isolate(A, *helpers)
        settle(world, B)
        assert world.configure(B, *second) is Objection.NONE
        world.cut(B, D)
        world.deliver()
        settle(world, B)
    assert world[B].core.log.is_configured
    world.heal()
    world.isolate(B, C)
    world.wait(2.0)
    for _ in range(3):
        world.stand(A)
        world.deliver()
    assert world[A].core.role is not Role.LEADER, "what B has committed would be lost"
    world.heal()
    world.wait(2.0)
    world.elect(B)
    settle(world, B)
    assert world[B].core.voters == tuple(sorted(second))


def test_counter_example_of_an_added_and_a_removed_server() -> None:
    world = World(4, learners=(E,))
    two_leaders_that_change_the_voters(world, (A, B, C, D, E), (B, C, D), (E,))


def test_counter_example_of_two_added_servers() -> None:
    world = World(4, learners=(E, F))
    two_leaders_that_change_the_voters(world, (A, B, C, D, E), (A, B, C, D, F), (E,))


def test_counter_example_of_two_removed_servers() -> None:
    world = World(4)
    two_leaders_that_change_the_voters(world, (A, C, D), (B, C, D), ())
