import asyncio
import math

import msgspec
import pytest

from mabeam_p2p.dashboard.fitting import (
    AT_ONCE,
    NAMES_MAX,
    NOT_SHOWN,
    ROWS_BYTES_MAX,
    VALUE_LENGTH_MAX,
    Latest,
    cut,
    rows,
    shown,
    some,
    stored,
)
from mabeam_p2p.wire.cbor import encode_value
from tests.in_loop import in_loop


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text as it is", "text as it is"),
        (0.003, "0.003"),
        (None, "null"),
        (True, "true"),
        (2**62 + 1, "4611686018427387905"),
        ({"a": [1, "b"]}, '{"a":[1,"b"]}'),
        (b"\x00\xff", '"AP8="'),
        (math.inf, "null"),
    ],
    ids=repr,
)
def test_a_value_is_shown_as_the_command_line_prints_it(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "value", ["x" * 9_999, ["y"] * 9_999, {str(n): n for n in range(9_999)}, [["z" * 9_999]]]
)
def test_of_a_large_value_its_beginning_is_shown(value: object) -> None:
    text = shown(value)
    assert len(text) == VALUE_LENGTH_MAX
    assert text.endswith("…")


def test_what_is_no_value_is_said_to_be_none() -> None:
    assert stored(b"\xff\xff") == NOT_SHOWN
    assert stored(encode_value([1], 100)) == "[1]"


def test_a_text_that_fits_is_not_cut() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"


def test_of_many_names_the_first_are_told_and_all_are_counted() -> None:
    names = [f"n{number}" for number in range(100)]
    assert some(names, 100) == {"shown": names[:NAMES_MAX], "count": 100}


def texts(listed: dict[str, object]) -> list[object]:
    return msgspec.convert(msgspec.json.decode(msgspec.json.encode(listed["shown"])), list[object])


def test_no_more_rows_are_made_than_are_shown() -> None:
    made = []

    def row(number: int) -> dict[str, object]:
        made.append(number)
        return {"id": number}

    listed = rows(range(1_000), row, 1_000, rows_max=3)
    assert texts(listed) == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert listed["count"] == 1_000
    assert len(made) <= 4


def test_rows_that_are_large_end_a_list_early() -> None:
    listed = rows(range(100), lambda n: {"id": "x" * (ROWS_BYTES_MAX // 4)}, 100, rows_max=50)
    assert len(texts(listed)) == 3


def test_what_is_gone_has_no_row_and_is_not_counted() -> None:
    listed = rows(range(5), lambda n: {"id": n} if n % 2 else None, 0, rows_max=50)
    assert texts(listed) == [{"id": 1}, {"id": 3}]
    assert listed["count"] == 2


@in_loop
async def test_the_latest_keys_are_kept_and_told_in_order() -> None:
    latest: Latest[str] = Latest(3)
    await latest.fill({"a": 1, "b": 9, "c": 5, "d": 7}, lambda rank: rank)
    assert list(latest) == ["b", "c", "d"]
    latest.put("a")
    # The one of the lowest rank has changed longest ago.
    assert list(latest) == ["a", "b", "d"]
    latest.put("d")
    latest.put("e")
    assert list(latest) == ["a", "d", "e"]


@in_loop
async def test_a_key_that_is_dropped_leaves_its_place_to_the_next_one() -> None:
    latest: Latest[str] = Latest(2)
    entries: dict[str, int | None] = {"a": 1, "b": 9, "c": 5, "d": None}
    await latest.fill(entries, lambda rank: rank)
    # All are counted but what is gone.
    assert (list(latest), len(latest)) == (["b", "c"], 3)
    latest.put("e")
    latest.drop("b")
    assert (list(latest), len(latest)) == (["c", "e"], 3)
    latest.drop("e")
    assert (list(latest), len(latest)) == (["a", "c"], 2)


@in_loop
async def test_what_changes_while_the_keys_are_looked_through_stays_so() -> None:
    entries: dict[str, int | None] = {f"{n:04}": -n for n in range(2 * AT_ONCE)}
    latest: Latest[str] = Latest(3)
    filling = asyncio.ensure_future(latest.fill(entries, lambda rank: rank))
    await asyncio.sleep(0)
    # The first half has been looked at: one of the highest rank goes, and one to come.
    for gone in ("0000", f"{2 * AT_ONCE - 1:04}"):
        entries[gone] = None
        latest.drop(gone)
    latest.put("0500")
    await filling
    assert (list(latest), len(latest)) == (["0001", "0002", "0500"], 2 * AT_ONCE - 2)
