"""Deadlines of many things: each comes once, the last that was set, in order."""

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.protocol.deadlines import UNWANTED_MAX, Deadlines


def test_nothing_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    assert deadlines.next() == inf
    assert deadlines.take_due(inf) == []


def test_a_thing_is_due_once_at_its_last_deadline() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("a", 3.0)
    deadlines.set("b", 2.0)
    assert deadlines.take_due(1.5) == []
    assert deadlines.take_due(3.0) == ["b", "a"]
    assert deadlines.take_due(9.0) == []


def test_a_deadline_that_is_brought_forward_comes_first() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 9.0)
    deadlines.set("a", 1.0)
    assert deadlines.take_due(1.0) == ["a"]
    assert deadlines.take_due(9.0) == []


def test_what_is_dropped_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.drop("a")
    deadlines.drop("unknown")
    assert deadlines.take_due(2.0) == []
    deadlines.set("a", 3.0)
    assert deadlines.take_due(3.0) == ["a"]


def test_what_is_dropped_wakes_nobody() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("b", 2.0)
    deadlines.set("b", 5.0)
    deadlines.drop("a")
    assert deadlines.next() == 5.0
    deadlines.drop("b")
    assert deadlines.next() == inf


def test_memory_follows_what_is_wanted() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for thing in range(20 * UNWANTED_MAX):
        deadlines.set(thing, 1e9)
        if thing:
            deadlines.drop(thing)
    assert len(deadlines._heap) <= UNWANTED_MAX + 3
    assert deadlines.take_due(1e9) == [0]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 6)), max_size=30))
def test_it_does_what_a_plain_table_does(steps: list[tuple[int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    table: dict[int, int] = {}
    for thing, deadline in steps:
        if deadline < 0:
            deadlines.drop(thing)
            table.pop(thing, None)
        elif thing == 4:
            due = [(when, what) for what, when in table.items() if when <= deadline]
            assert deadlines.take_due(deadline) == [what for _, what in sorted(due)]
            for _, what in due:
                del table[what]
        else:
            deadlines.set(thing, deadline)
            table[thing] = deadline
        assert deadlines.next() == min(table.values(), default=inf)
