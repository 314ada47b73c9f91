"""The shipped law test lets lawful merges pass and names the law that another one breaks."""

from collections.abc import Callable, Sequence
from itertools import count

import pytest

from mabeam_p2p.testing.laws import LawBroken, check_merge

NUMBERS: list[object] = [0, 1, 2, 3]


def greatest(values: Sequence[object]) -> object:
    return max(numbers(values))


def numbers(values: Sequence[object]) -> list[int]:
    return [value for value in values if isinstance(value, int)]


def average(values: Sequence[object]) -> object:
    return sum(numbers(values)) // len(values)


def first(values: Sequence[object]) -> object:
    return values[0]


def total(values: Sequence[object]) -> object:
    return sum(numbers(values))


def halfway(values: Sequence[object]) -> object:
    """Idempotent and commutative, but grouping matters."""
    return (max(numbers(values)) + min(numbers(values))) // 2


def emptying(values: Sequence[object]) -> object:
    kept = greatest(values)
    if isinstance(values, list):
        values.clear()
    return kept


def fickle() -> Callable[[Sequence[object]], object]:
    calls = count()
    return lambda values: next(calls)


def test_a_lawful_merge_passes() -> None:
    check_merge(greatest, NUMBERS)


@pytest.mark.parametrize(
    ("merge", "law"),
    [
        (first, "commutative"),
        (total, "idempotent"),
        (average, "associative"),
        (halfway, "associative"),
        (emptying, "preserving its arguments"),
        (fickle(), "deterministic"),
    ],
)
def test_the_law_that_is_broken_is_named(
    merge: Callable[[Sequence[object]], object], law: str
) -> None:
    with pytest.raises(LawBroken) as caught:
        check_merge(merge, NUMBERS)
    assert caught.value.law == law
    assert caught.value.values


def test_many_values_are_tried_in_drawn_triples() -> None:
    check_merge(greatest, list(range(40)))
    with pytest.raises(LawBroken):
        check_merge(first, list(range(40)))


def test_without_values_nothing_would_be_tested() -> None:
    with pytest.raises(ValueError, match="no values"):
        check_merge(greatest, [])


def test_the_key_says_what_counts_as_the_same() -> None:
    def first_ignoring_case(values: Sequence[object]) -> object:
        return values[0]

    check_merge(first_ignoring_case, ["a", "A"], key=lambda value: str(value).lower())
