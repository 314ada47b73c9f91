"""Version vectors form a lattice, and foreign ones are judged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.vector_clock import (
    COUNTER_MAX,
    Order,
    Vector,
    advance,
    compare,
    counter_of,
    covers,
    dominates,
    is_vector,
    join,
)

A, B, C = (PeerId(letter * 16) for letter in "abc")


def vectors() -> st.SearchStrategy[Vector]:
    entries = st.dictionaries(st.sampled_from([A, B, C]), st.integers(1, 4))
    return entries.map(lambda counters: tuple(sorted(counters.items())))


def test_a_missing_actor_counts_as_nothing_seen() -> None:
    assert counter_of(((A, 3),), B) == 0
    assert not covers(((A, 3),), B, 1)
    assert covers(((A, 3),), A, 3)
    assert not covers(((A, 3),), A, 4)


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ((), (), Order.EQUAL),
        ((), ((A, 1),), Order.BEFORE),
        (((A, 2),), ((A, 1),), Order.AFTER),
        (((A, 1), (B, 1)), ((A, 1),), Order.AFTER),
        (((A, 2), (B, 1)), ((A, 1), (B, 2)), Order.CONCURRENT),
        (((A, 1),), ((B, 1),), Order.CONCURRENT),
    ],
)
def test_comparison_knows_four_cases(left: Vector, right: Vector, order: Order) -> None:
    assert compare(left, right) is order


@given(vectors(), vectors(), vectors())
def test_join_is_commutative_associative_and_idempotent(a: Vector, b: Vector, c: Vector) -> None:
    assert join(a, b) == join(b, a)
    assert join(a, join(b, c)) == join(join(a, b), c)
    assert join(a, a) == a


@given(vectors(), vectors())
def test_join_is_the_least_vector_that_dominates_both(a: Vector, b: Vector) -> None:
    both = join(a, b)
    assert dominates(both, a)
    assert dominates(both, b)
    assert all(counter in (counter_of(a, actor), counter_of(b, actor)) for actor, counter in both)
    assert is_vector(both, 3)


@given(vectors(), vectors())
def test_comparison_follows_from_domination(a: Vector, b: Vector) -> None:
    expected = {
        (True, True): Order.EQUAL,
        (True, False): Order.AFTER,
        (False, True): Order.BEFORE,
        (False, False): Order.CONCURRENT,
    }
    assert compare(a, b) is expected[dominates(a, b), dominates(b, a)]


@given(vectors(), st.sampled_from([A, B, C]))
def test_advancing_sees_one_more_write_and_forgets_none(vector: Vector, actor: PeerId) -> None:
    advanced = advance(vector, actor, counter_of(vector, actor) + 1)
    assert dominates(advanced, vector)
    assert counter_of(advanced, actor) == counter_of(vector, actor) + 1


@pytest.mark.parametrize(
    "entries",
    [
        ((B, 1), (A, 1)),
        ((A, 1), (A, 2)),
        ((A, 0),),
        ((A, -1),),
        ((A, COUNTER_MAX),),
        ((A, 2**64),),
        ((PeerId(""), 1),),
        ((PeerId("A" * 16), 1),),
        ((A, 1), (B, 1), (C, 1)),
    ],
)
def test_entries_that_form_no_vector_are_seen(entries: Vector) -> None:
    assert not is_vector(entries, 2)


def test_a_vector_may_be_empty_and_as_long_as_allowed() -> None:
    assert is_vector((), 2)
    assert is_vector(((A, 1), (B, COUNTER_MAX - 1)), 2)
