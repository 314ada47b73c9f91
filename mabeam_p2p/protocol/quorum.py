"""Majorities. The one place that says how many are enough."""

from collections.abc import Sequence

from mabeam_p2p.ids import PeerId


def majority(count: int) -> int:
    """Smallest number of `count` voters such that any two sets of it share a voter."""
    return count // 2 + 1


def is_quorum(granted: Sequence[PeerId], voters: Sequence[PeerId]) -> bool:
    """Whether distinct voters in `granted` are a majority. No voters have no quorum."""
    agreeing = sum(1 for voter in voters if voter in granted)
    return bool(voters) and agreeing >= majority(len(voters))


def held_by_majority(positions: Sequence[int]) -> int:
    """The greatest position that a majority of the voters, one position each, has reached."""
    return sorted(positions, reverse=True)[majority(len(positions)) - 1]


def held_by_majority_since(times: Sequence[float]) -> float:
    """The latest time since which a majority has been heard, one time of last contact each."""
    return sorted(times, reverse=True)[majority(len(times)) - 1]
