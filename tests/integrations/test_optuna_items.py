"""What stands in the journal for Optuna's logs."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.integrations.optuna.items import (
    PART_BYTES,
    PARTS_MAX,
    Assembler,
    Author,
    Item,
    Log,
    packed,
)

ANN = Author("ann@one", 7)
BEN = Author("ben@two", 9)


def logs_of(assembler: Assembler, *items: Item) -> list[Log]:
    return [log for item in items for _, log in assembler.take(item.value(), "here")]


def long_log(mark: str, parts: int) -> Log:
    """One that takes so many items."""
    return {"mark": mark, "text": "x" * ((parts - 1) * PART_BYTES)}


def test_logs_come_back_in_order_with_their_author() -> None:
    logs: list[Log] = [{"op_code": 0}, {"op_code": 4, "values": [1.5, None, "ü", {"a": []}]}]
    (item,) = packed(ANN, "w", 1, logs)
    taken = list(Assembler().take(item.value(), "here"))
    assert taken == [(ANN, log) for log in logs]


def test_numbers_that_no_value_can_hold_come_back() -> None:
    (item,) = packed(ANN, "w", 1, [{"v": [math.nan, math.inf, -math.inf, 2**70, -(2**70)]}])
    (log,) = logs_of(Assembler(), item)
    assert math.isnan(log["v"][0])
    assert log["v"][1:] == [math.inf, -math.inf, 2**70, -(2**70)]


def test_long_log_counts_where_its_last_part_stands() -> None:
    items = packed(ANN, "w", 1, [long_log("long", 3)])
    assert [(item.part, item.part_count) for item in items] == [(0, 3), (1, 3), (2, 3)]
    assembler = Assembler()
    (between,) = packed(BEN, "v", 1, [{"mark": "between"}])
    taken = logs_of(assembler, items[0], items[1], between, items[2])
    assert [log["mark"] for log in taken] == ["between", "long"]
    assert taken[1] == long_log("long", 3)


def test_copies_count_once() -> None:
    first = packed(ANN, "w", 1, [long_log("first", 2)])
    (second,) = packed(ANN, "w", 2, [{"mark": "second"}])
    order = [first[0], first[0], first[1], first[1], first[0], second, first[1], second]
    assert [log["mark"] for log in logs_of(Assembler(), *order)] == ["first", "second"]


def test_text_that_was_given_up_never_counts() -> None:
    first = packed(ANN, "w", 1, [long_log("first", 3)])
    (second,) = packed(ANN, "w", 2, [{"mark": "second"}])
    order = [first[0], first[1], second, first[2], first[1]]
    assert [log["mark"] for log in logs_of(Assembler(), *order)] == ["second"]
    assert logs_of(Assembler(), first[1], first[2]) == []


def test_log_beyond_all_parts_is_refused_in_words() -> None:
    assert len(packed(ANN, "w", 1, [long_log("most", PARTS_MAX - 1)])) == PARTS_MAX - 1
    with pytest.raises(InvalidValue, match="in a file"):
        packed(ANN, "w", 1, [long_log("more", PARTS_MAX + 1)])
    with pytest.raises(TypeError, match="JSON"):
        packed(ANN, "w", 1, [{"v": object()}])


@pytest.mark.parametrize(
    "value",
    [
        None,
        "log",
        {"op_code": 0},
        [],
        [2, "a@b", 1, "w", 1, 0, 1, "[]"],
        [1, "a@b", -1, "w", 1, 0, 1, "[]"],
        [1, "a@b", 1, "w", 0, 0, 1, "[]"],
        [1, "a@b", 1, "w", 1, 0, PARTS_MAX + 1, "[]"],
        [1, "a@b", 1, "w", 1, 0, 1, b"[]"],
        [1, "a@b", 1, "w", 1, 0, 1, "[]", "more"],
        [1, "a@b", 1, "w", 1, 0, 1, "["],
        [1, "a@b", 1, "w", 1, 0, 1, "[1]"],
        [1, "a@b", 1, "w", 1, 0, 1, "[" * 50_000],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_none_of_ours_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(InvalidValue, match=r"^item 3 of journal 'x/0' "):
        list(Assembler().take(value, "item 3 of journal 'x/0'"))


@settings(max_examples=200)
@given(st.data())
def test_every_order_of_sendings_counts_each_text_at_most_once(data: st.DataObject) -> None:
    """Writers append part after part; any of them may stand again at any later place, and a text
    may be given up. What is complete counts, once, in the order of each writer."""
    sent: list[Item] = []
    whole: dict[str, list[str]] = {"w": [], "v": []}
    for number in range(1, data.draw(st.integers(1, 6)) + 1):
        writer = data.draw(st.sampled_from(["w", "v"]))
        parts = data.draw(st.integers(1, 3))
        items = packed(ANN, writer, number, [long_log(f"{writer}{number}", parts)])
        kept = data.draw(st.integers(0, len(items)))
        if kept == len(items):
            whole[writer].append(f"{writer}{number}")
        for item in items[:kept]:
            sent.append(item)
            sent.extend(data.draw(st.lists(st.sampled_from(sent), max_size=2)))
    taken = [log["mark"] for log in logs_of(Assembler(), *sent)]
    for writer, marks in whole.items():
        assert [mark for mark in taken if mark[0] == writer] == marks
