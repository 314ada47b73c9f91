"""I15 is broken by hand: a checker that cannot fail is worth nothing."""

from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.core import Drops, Outbox
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.members import Beliefs, Said, check_members, differences

ME, A = PeerId("0" * 16), PeerId("a" * 16)


def record(peer: PeerId, raised: int = 0, state: MemberState = MemberState.ALIVE) -> Member:
    return Member(peer, peer[0], f"host:{ord(peer[0])}", 1, (1 << 16) + raised, state)


class World:
    """One peer that knows another, and the ghost."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.core = self.make(ME)
        self.said: Said = {A: (1, 1 << 16)}
        self.beliefs = Beliefs()
        self.core.met(record(A), 0.0)
        self.look()

    def make(self, peer: PeerId) -> Membership:
        return Membership(
            record(peer),
            timing=Timing(),
            limits=Limits(),
            random=Random(0),
            outbox=Outbox(),
            now=0.0,
            drop=Drops(Outbox(), 1).drop,
        )

    def look(self) -> None:
        check_members(self.said, self.beliefs, self.core, self.limits)

    def force(self, member: Member) -> None:
        """As a broken core would."""
        self.core._records.table.members[member.peer] = member
        self.core._records._view = None


def test_newer_records_are_no_violation() -> None:
    world = World()
    for member in (record(A, 0, MemberState.SUSPECT), record(A, 0, MemberState.DEAD)):
        world.force(member)
        world.look()
    world.said[A] = (1, (1 << 16) + 1)
    world.force(record(A, 1))
    world.look()


def test_a_member_that_comes_back_with_the_same_incarnation_is_seen() -> None:
    world = World()
    world.force(record(A, 0, MemberState.DEAD))
    world.look()
    world.force(record(A))
    with pytest.raises(Violation, match="takes"):
        world.look()


def test_a_member_that_comes_back_when_it_was_forgotten_is_seen() -> None:
    world = World()
    world.force(record(A, 0, MemberState.DEAD))
    world.look()
    world.core.forget(A)
    world.look()
    world.force(record(A))
    with pytest.raises(Violation, match="takes"):
        world.look()


def test_who_speaks_for_another_is_seen() -> None:
    world = World()
    world.force(record(A, 1))
    with pytest.raises(Violation, match="never said"):
        world.look()


def test_a_peer_that_goes_back_is_seen() -> None:
    world = World()
    world.said[ME] = (1, (1 << 16) + 5)
    world.core.describe(score=1)
    with pytest.raises(Violation, match="goes back"):
        world.look()


def test_a_table_and_a_queue_over_their_limits_are_seen() -> None:
    for limits in (Limits(members_max=0), Limits(rumours_max=0)):
        with pytest.raises(Violation, match=r"knows|to tell"):
            World(limits)


def test_views_that_differ_are_told() -> None:
    world = World()
    other = world.make(A)
    assert "sees None" in differences((world.core, other))
    other.met(world.core.mine, 0.0)
    assert differences((world.core, other)) == ""
    world.force(replace(record(A), state=MemberState.SUSPECT))
    assert "SUSPECT" in differences((world.core, other))
