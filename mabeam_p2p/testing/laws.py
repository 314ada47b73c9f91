"""The laws that a resolver must keep, as a test for a user's own function.

    from mabeam_p2p.testing.laws import check_merge

    def test_longest_keeps_the_laws() -> None:
        check_merge(longest, ["a", "bb", "cc", ""])

Peers meet concurrent values in any order, any grouping and more than once. If `merge` breaks one of
the laws, they show different values for ever, and nobody notices.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import product
from random import Random

from mabeam_p2p.protocol.resolvers import Merge, order

TRIPLES_MAX = 2_000
"""Triples of values that are tried; of more, this many are drawn."""


class LawBroken(AssertionError):
    """A law does not hold. `law` names it; `values` are the values that show it."""

    def __init__(self, law: str, values: Sequence[object], detail: str) -> None:
        super().__init__(f"the merge is not {law} for {list(values)!r}: {detail}")
        self.law = law
        self.values = tuple(values)


def check_merge(
    merge: Merge, values: Sequence[object], *, key: Callable[[object], object] = order
) -> None:
    """Raise LawBroken unless `merge` keeps every law for these values and what it makes of them.

    merge: takes a sequence of one or more values, returns one; must not change what it is given.
    values: plain data; choose those that meet in practice, equal and extreme ones among them.
    key: equal for values that count as the same.

    Laws: deterministic, preserving (of its arguments), idempotent, commutative, associative.
    """
    if not values:
        raise ValueError("no values to try the merge on")

    def merged(*parts: object) -> object:
        given = deepcopy(list(parts))
        result = merge(given)
        if [key(part) for part in given] != [key(part) for part in parts]:
            raise LawBroken("preserving its arguments", parts, f"they became {given!r}")
        if key(merge(deepcopy(list(parts)))) != key(result):
            raise LawBroken("deterministic", parts, "two calls gave two results")
        return result

    def agree(law: str, parts: tuple[object, ...], left: object, right: object) -> None:
        if key(left) != key(right):
            raise LawBroken(law, parts, f"{left!r} is not {right!r}")

    for value in values:
        agree("idempotent", (value,), merged(value), value)
        agree("idempotent", (value, value), merged(value, value), value)
    for a, b, c in _triples(values):
        parts = (a, b, c)
        pair = merged(a, b)
        agree("commutative", (a, b), pair, merged(b, a))
        agree("idempotent", (a, b), merged(pair, pair), pair)
        whole = merged(a, b, c)
        agree("commutative", parts, whole, merged(c, a, b))
        agree("associative", parts, whole, merged(pair, c))
        agree("associative", parts, whole, merged(a, merged(b, c)))
        agree("idempotent", (a, b, b), merged(pair, b), pair)


def _triples(values: Sequence[object]) -> Iterable[tuple[object, object, object]]:
    if len(values) ** 3 <= TRIPLES_MAX:
        return product(values, values, values)
    random = Random(0)
    return [
        (random.choice(values), random.choice(values), random.choice(values))
        for _ in range(TRIPLES_MAX)
    ]
