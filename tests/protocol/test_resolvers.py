"""Each resolver is a join, shows what its word says, and bears whatever a peer may have written."""

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.errors import ConfigError, InvalidValue
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.resolvers import (
    ABSENT,
    Written,
    counter_add,
    map_put,
    map_remove,
    order,
    resolve,
    resolver_of,
    state,
)
from mabeam_p2p.records import RESOLVERS
from mabeam_p2p.testing.laws import check_merge

BUILT_IN = [word for word in RESOLVERS if word != "function"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(width=16),
    st.text("ab", max_size=2),
    st.binary(max_size=1),
)
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("kl"), inner, max_size=2),
    max_leaves=5,
)
counters = st.dictionaries(st.sampled_from("xyz"), st.lists(st.integers(0, 5), max_size=3))
maps = st.dictionaries(
    st.sampled_from("kl"),
    st.tuples(st.integers(0, 2), st.sampled_from("xy")).flatmap(
        lambda head: st.sampled_from([[*head], [*head, 1], [*head, "one"]])
    ),
)


@st.composite
def siblings(draw: st.DrawFn) -> list[Written]:
    """Up to four siblings with distinct dots, some of them tombstones."""
    values = draw(st.lists(st.one_of(data, counters, maps, st.just(ABSENT)), max_size=4))
    return [
        Written(PeerId(str(n) * 16), n + 1, draw(st.integers(0, 2)), value)
        for n, value in enumerate(values)
    ]


def written(*values: object) -> list[Written]:
    """Siblings, each a second later than the one before it."""
    return [Written(PeerId("f" * 16), n, 1_000_000 * n, v) for n, v in enumerate(values, 1)]


@pytest.mark.parametrize("word", BUILT_IN)
@given(found=siblings())
def test_the_order_of_siblings_never_matters(word: str, found: list[Written]) -> None:
    first = resolve(word, found)
    for shuffled in permutations(found):
        again = resolve(word, shuffled)
        assert again is first is ABSENT or order(again) == order(first)


@pytest.mark.slow
@pytest.mark.parametrize("word", [word for word in BUILT_IN if word != "lww"])
@given(values=st.lists(st.one_of(data, counters, maps), min_size=1, max_size=3))
def test_every_built_in_merge_keeps_the_laws(word: str, values: list[object]) -> None:
    resolver = resolver_of(word)
    check_merge(resolver.merge, [resolver.lift(sibling) for sibling in written(*values)])


def test_last_writer_wins_keeps_the_laws() -> None:
    merge = resolver_of("lww").merge
    check_merge(merge, written("a", ABSENT, "a", "b"), key=repr)


def test_the_last_writer_wins_by_clock_then_actor_then_counter() -> None:
    a, b = PeerId("a" * 16), PeerId("b" * 16)
    assert resolve("lww", [Written(a, 9, 5, "later"), Written(b, 1, 4, "earlier")]) == "later"
    assert resolve("lww", [Written(a, 9, 5, "low"), Written(b, 1, 5, "high")]) == "high"
    assert resolve("lww", [Written(a, 1, 5, "first"), Written(a, 2, 5, "second")]) == "second"


def test_a_later_tombstone_wins_for_lww_only() -> None:
    both = written(3, ABSENT)
    assert resolve("lww", both) is ABSENT
    assert resolve("lww", list(reversed(written(ABSENT, 3)))) == 3
    assert resolve("max", both) == 3
    assert resolve("min", both) == 3
    assert resolve("multi_value", both) == [3]
    assert resolve("function", both, lambda values: values[0]) == 3


@pytest.mark.parametrize("word", BUILT_IN)
def test_nothing_but_tombstones_is_absent(word: str) -> None:
    assert resolve(word, written(ABSENT, ABSENT)) is ABSENT
    assert resolve(word, []) is ABSENT
    assert state(word, []) is ABSENT


def test_max_and_min_choose_by_the_order_of_plain_data() -> None:
    assert resolve("max", written(1, 3.5, 2)) == 3.5
    assert resolve("min", written(1, 3.5, 2)) == 1
    assert resolve("max", written(10, "a", True, None, float("nan"))) == "a"
    assert resolve("min", written(10, "a", True, None)) is None


def test_plain_data_is_ordered_type_by_type() -> None:
    ascending: list[object] = [
        None, False, True, float("nan"), float("-inf"), -1, -0.0, 1, 1.0, 2, "", "a", b"", [],
        [1], [1, 2], [2], {}, {"a": 1}, {"a": 2}, {"b": 0},
    ]  # fmt: skip
    keys = [order(value) for value in ascending]
    assert keys == sorted(keys)
    assert len(keys) == len(dict.fromkeys(keys))


@given(st.lists(data, max_size=5))
def test_any_plain_data_can_be_sorted(values: list[object]) -> None:
    ordered = sorted(values, key=order)
    assert [order(v) for v in ordered] == sorted(order(v) for v in reversed(values))


def test_what_is_not_plain_data_has_no_order() -> None:
    with pytest.raises(TypeError, match="object is not plain data"):
        order([object()])


def test_concurrent_increments_all_count() -> None:
    base = counter_add(ABSENT, "ann", 5)
    ann = counter_add(base, "ann", 2)
    bob = counter_add(base, "bob", -1)
    both = written(ann, bob)
    assert resolve("counter", both) == 6
    assert resolve("counter", written(counter_add(state("counter", both), "cy", 10))) == 16


def test_a_counter_ignores_what_is_no_counter() -> None:
    junk = written(7, {"x": [1]}, {"x": [True, 0]}, {"x": [-5, 0]}, {"x": [2**62, 0]}, {"x": "ab"})
    assert resolve("counter", [*junk, *written({"y": [3, 1]})]) == 2


def test_a_counter_refuses_to_outgrow_its_bound() -> None:
    nearly = counter_add(ABSENT, "ann", 2**62 - 1)
    with pytest.raises(InvalidValue, match="beyond"):
        counter_add(nearly, "ann", 1)


def test_a_set_keeps_what_any_sibling_holds() -> None:
    assert resolve("set", written(["b", "a", "a"], ["c"], "no list")) == ["a", "b", "c"]
    assert resolve("set", written([1, True], [1.0])) == [True, 1, 1.0]


def test_concurrent_changes_to_different_keys_of_a_map_all_stand() -> None:
    base = map_put(ABSENT, "ann", "x", 0)
    ann = map_put(base, "ann", "y", 1)
    bob = map_put(base, "bob", "x", 2)
    assert resolve("map", written(ann, bob)) == {"x": 2, "y": 1}
    assert resolve("map", written(bob, ann)) == {"x": 2, "y": 1}


def test_an_untouched_key_never_beats_a_change_however_late_it_was_copied() -> None:
    base = map_put(ABSENT, "ann", "x", 0)
    changed = map_put(base, "bob", "x", 1)
    copied_later = map_put(base, "cy", "z", 9)
    assert resolve("map", written(changed, copied_later)) == {"x": 1, "z": 9}


def test_a_removed_key_stays_removed_until_it_is_put_again() -> None:
    base = map_put(ABSENT, "ann", "x", 0)
    removed = map_remove(base, "bob", "x")
    assert resolve("map", written(removed, base)) == {}
    again = map_put(state("map", written(removed, base)), "ann", "x", 4)
    assert resolve("map", written(again, removed)) == {"x": 4}


def test_a_map_ignores_what_is_no_entry() -> None:
    junk = written({"a": 1, "b": [], "c": ["n", "x", 1], "d": [1, "x", 1, 1], "e": [-1, "x", 1]})
    assert resolve("map", [*junk, *written([1, 2])]) == {}


def test_multi_value_shows_each_distinct_value_once() -> None:
    assert resolve("multi_value", written("b", "a", "b")) == ["a", "b"]
    assert resolve("multi_value", written("a")) == ["a"]


def test_a_function_gets_the_values_and_decides() -> None:
    def mean_of_extremes(values: Sequence[object]) -> object:
        numbers = [value for value in values if isinstance(value, int)]
        return max(numbers) - min(numbers)

    assert resolve("function", written(3, 10, 4), mean_of_extremes) == 7


def test_an_unknown_word_or_missing_function_is_an_error_of_the_reader() -> None:
    with pytest.raises(ConfigError, match="declare it here"):
        resolve("function", written(1))
    with pytest.raises(ConfigError, match="no resolver is called 'newest'"):
        resolve("newest", written(1))


def test_every_word_of_the_records_has_a_resolver() -> None:
    for word in RESOLVERS:
        assert resolver_of(word, lambda values: values[0]) is not None
