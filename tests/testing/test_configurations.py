"""I11 is broken by hand, rule by rule, and seen; and what is lawful is let pass."""

import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import CommitAdvance
from mabeam_p2p.records import Batch
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.configurations import can_lose, in_effect, is_core, without_leavers
from mabeam_p2p.testing.disk import LogView
from tests.testing.checked_world import FIRST, A, B, C, World, entry

D, E = PeerId("d"), PeerId("e")


def change(index: int, term: int, *voters: PeerId, count: int = 1) -> Batch:
    return Batch(index, count, term, 0, b"configure", tuple(sorted(voters)))


@pytest.fixture
def world() -> World:
    """A leads in term 2, and nothing of that is committed."""
    world = World()
    world.elect(A, 2)
    world.append(A, entry(2, 2), B)
    return world


def commit(world: World, index: int) -> None:
    world.send(A, B, CommitAdvance(0, 2, index))


def test_a_change_of_one_voter_after_a_commit_in_the_leaders_term_is_lawful(world: World) -> None:
    commit(world, 2)
    world.append(A, change(3, 2, A, B), B)
    commit(world, 3)
    world.append(A, change(4, 2, A, B, D), B)


def test_a_change_before_the_leaders_term_has_a_commit_is_seen(world: World) -> None:
    with pytest.raises(Violation, match=r"I11.*nothing of term 2 is committed"):
        world.append(A, change(3, 2, A, B))


def test_a_second_change_while_one_is_uncommitted_is_seen(world: World) -> None:
    commit(world, 2)
    world.append(A, change(3, 2, A, B))
    with pytest.raises(Violation, match=r"I11.*is not committed before"):
        world.append(A, change(4, 2, A, B, D))


@pytest.mark.parametrize("voters", [(A, D), (A,), (A, B, C, D, E), (A, B, C), (A, B, D)])
def test_a_change_of_more_or_less_than_one_voter_is_seen(
    world: World, voters: tuple[PeerId, ...]
) -> None:
    commit(world, 2)
    with pytest.raises(Violation, match=r"I11.*change at once"):
        world.append(A, change(3, 2, *voters))


def test_a_configuration_that_shares_its_batch_is_seen(world: World) -> None:
    commit(world, 2)
    with pytest.raises(Violation, match=r"I11.*shares its batch"):
        world.append(A, change(3, 2, A, B, count=2))


def test_a_commit_by_a_majority_of_an_older_configuration_is_seen(world: World) -> None:
    """I6 counts by the configuration in effect: two of A, B, C and D are none."""
    commit(world, 2)
    world.append(A, change(3, 2, A, B, C, D), B)
    with pytest.raises(Violation, match="I6"):
        commit(world, 3)


def test_what_can_be_lost_is_a_minority_of_every_configuration_that_may_be_in_effect() -> None:
    committed = LogView()
    committed.append(FIRST)
    effective = in_effect((), committed)
    assert effective == [(A, B, C)]
    assert can_lose(A, (), effective)
    assert not can_lose(A, (B,), effective)
    assert can_lose(A, (A, D), effective)
    assert is_core((A, B), effective)
    assert not is_core((A, D), effective)
    shrunk = committed.copy()
    shrunk.append(change(2, 1, A, B))
    effective = in_effect((shrunk, committed, shrunk), committed)
    assert effective == [(A, B, C), (A, B)]
    assert can_lose(C, (), effective)
    assert not can_lose(B, (), effective)
    assert is_core((A, B), effective)
    assert not is_core((A, C), effective), "it may need B"
    assert not can_lose(A, (), in_effect((), LogView()))


def test_a_configuration_without_a_voter_that_said_goodbye_may_be_in_effect_at_any_moment() -> None:
    effective = [(A, B, C), (A, B, C, D)]
    assert without_leavers(effective, ()) == effective
    assert without_leavers(effective, (D,)) == [(A, B, C), (A, B, C, D)], "it is there already"
    possible = without_leavers(effective, (C,))
    assert possible == [(A, B, C), (A, B, C, D), (A, B), (A, B, D)]
    assert can_lose(D, (), effective)
    assert can_lose(D, (), possible)
    assert can_lose(A, (), effective)
    assert not can_lose(A, (), possible), "then B is all that is left of two"
    assert not is_core((A, C), possible)
