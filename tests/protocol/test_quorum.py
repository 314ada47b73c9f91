"""How many are enough, for every number of voters that there can be."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.quorum import (
    held_by_majority,
    held_by_majority_since,
    is_quorum,
    majority,
)

VOTERS = [PeerId(f"{number:016x}") for number in range(9)]


@pytest.mark.parametrize(
    ("count", "enough"),
    [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (8, 5), (9, 5)],
)
def test_a_majority_is_more_than_half(count: int, enough: int) -> None:
    assert majority(count) == enough


@pytest.mark.parametrize("count", range(1, 10))
def test_any_two_majorities_share_a_voter_and_none_is_smaller(count: int) -> None:
    voters = VOTERS[:count]
    quorums = list(combinations(voters, majority(count)))
    for left in quorums:
        assert is_quorum(left, voters)
        assert not is_quorum(left[1:], voters)
        assert all(any(voter in right for voter in left) for right in quorums)


def test_a_voter_counts_once_and_a_stranger_never() -> None:
    voters = VOTERS[:3]
    assert not is_quorum([voters[0]] * 3, voters)
    assert not is_quorum([voters[0], *VOTERS[3:]], voters)
    assert is_quorum([voters[2], voters[0], VOTERS[5]], voters)


def test_no_voters_have_no_quorum() -> None:
    assert not is_quorum(VOTERS, ())
    assert not is_quorum((), ())


@pytest.mark.parametrize("count", range(1, 10))
def test_a_falsy_id_is_a_voter_like_any_other(count: int) -> None:
    voters = [PeerId(""), *VOTERS[1:count]]
    assert is_quorum(voters, voters)
    assert is_quorum([PeerId("")], voters) is (count == 1)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9))
def test_a_position_is_held_if_a_majority_has_reached_it(positions: list[int]) -> None:
    held = held_by_majority(positions)
    enough = majority(len(positions))
    assert sum(position >= held for position in positions) >= enough
    assert sum(position > held for position in positions) < enough


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_a_majority_was_heard_since_the_latest_such_time(times: list[float]) -> None:
    since = held_by_majority_since(times)
    enough = majority(len(times))
    assert sum(time >= since for time in times) >= enough
    assert sum(time > since for time in times) < enough
