"""Nothing that a member says stops a peer.

Members are trusted in what they say, not to be free of faults: one whose memory or program is
broken may cost the cluster its work, but never another peer its life.
"""

from random import Random

import pytest
from msgspec import Struct

from mabeam_p2p.protocol.replication import Role
from tests.protocol.hostile_member import KINDS, Desk

STEPS = 150
ROLES = (Role.NONE, Role.LEARNER, Role.FOLLOWER, Role.LEADER)


def desk_of(role: Role, seed: int) -> Desk:
    desk = Desk(role, Random(f"{role} {seed}"))
    assert desk.node.replication.role is role
    return desk


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_a_member_says_stops_a_peer(role: Role, seed: int) -> None:
    """No exception leaves the Node, others can decode each frame it sends, and it never spins."""
    desk = desk_of(role, seed)
    for number in range(STEPS):
        desk.step(number)
        desk.node.variables.check()


@pytest.mark.parametrize("role", ROLES)
def test_a_peer_hears_every_kind_of_message_in_each_role(role: Role) -> None:
    """The test above reaches what it is meant to: without this it could hold for want of noise."""
    heard: set[type[Struct]] = set()
    for seed in range(4):
        desk = desk_of(role, seed)
        for number in range(STEPS):
            desk.step(number)
        heard |= desk.heard[role]
    assert heard == set(KINDS)
