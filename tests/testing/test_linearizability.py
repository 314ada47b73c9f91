"""Every kind of anomaly is found in a history that holds one, and none in histories without."""

import pytest

from mabeam_p2p.testing.linearizability import (
    Append,
    Operation,
    Read,
    Result,
    anomalies,
)


def append(item: bytes, invoked: int, returned: int = -1, **rest: object) -> Append:
    result = Result.OPEN if returned < 0 else Result.DONE
    return Append("writer", "k", item, invoked, returned, **{"result": result, **rest})  # type: ignore[arg-type]


def read(items: bytes, invoked: int, returned: int, linearizable: bool = True) -> Read:
    """One item a letter."""
    return Read("reader", "k", tuple(bytes([b]) for b in items), invoked, returned, linearizable)


def kinds(*history: Operation) -> list[str]:
    return [anomaly.kind for anomaly in anomalies(history)]


def test_sequential_history_is_linearizable() -> None:
    assert kinds(append(b"a", 0, 1), read(b"a", 2, 3), append(b"b", 4, 5), read(b"ab", 6, 7)) == []


def test_concurrent_operations_may_take_effect_in_either_order() -> None:
    assert kinds(append(b"a", 0, 9), append(b"b", 1, 8), read(b"ba", 10, 11)) == []
    assert kinds(append(b"a", 0, 9), read(b"", 1, 8), read(b"a", 10, 11)) == []
    assert kinds(append(b"a", 0, 9), read(b"a", 1, 8), read(b"a", 10, 11)) == []


def test_operations_that_touch_in_time_are_concurrent() -> None:
    assert kinds(append(b"a", 0, 5), read(b"", 5, 6), read(b"a", 7, 8)) == []


def test_unknown_outcome_may_take_effect_late_or_never() -> None:
    assert kinds(append(b"a", 0), read(b"", 1, 2), read(b"", 8, 9)) == []
    assert kinds(append(b"a", 0), read(b"", 1, 2), read(b"a", 8, 9)) == []


def test_item_that_stands_twice_is_a_duplicate() -> None:
    assert kinds(append(b"a", 0, 1), read(b"aa", 2, 3)) == ["duplicate"]


def test_reads_that_are_no_prefixes_of_one_list_diverge() -> None:
    history = (append(b"a", 0, 9), append(b"b", 0, 9), read(b"ab", 10, 11), read(b"b", 1, 2))
    assert kinds(*history) == ["divergence"]


def test_acknowledged_item_that_nobody_sees_is_lost() -> None:
    assert kinds(append(b"a", 0, 1), read(b"", 2, 3)) == ["lost ack"]


def test_refused_item_that_is_seen_is_a_phantom() -> None:
    history = (append(b"a", 0, 1, result=Result.NOT_DONE), read(b"a", 2, 3))
    assert kinds(*history) == ["phantom"]


def test_item_that_nobody_appended_is_a_phantom() -> None:
    assert kinds(read(b"x", 2, 3)) == ["phantom"]


def test_answered_position_must_be_the_place_in_the_list() -> None:
    assert kinds(append(b"a", 0, 1, position=1), read(b"a", 2, 3)) == []
    assert kinds(append(b"a", 0, 1, position=2), read(b"a", 2, 3)) == ["position"]


def test_read_that_begins_after_an_acknowledgement_must_see_the_item() -> None:
    history = (append(b"a", 0, 1), read(b"", 2, 3), read(b"a", 4, 5))
    assert kinds(*history) == ["stale read"]


def test_read_that_begins_after_a_newer_read_must_not_see_less() -> None:
    history = (append(b"a", 0), read(b"a", 1, 2), read(b"", 3, 4))
    assert kinds(*history) == ["stale read"]


def test_stale_read_is_allowed_when_it_is_labelled() -> None:
    history = (append(b"a", 0, 1), read(b"", 2, 3, linearizable=False), read(b"a", 4, 5))
    assert kinds(*history) == []


def test_labelled_read_still_proves_what_exists() -> None:
    history = (append(b"a", 0), read(b"a", 1, 2, linearizable=False), read(b"", 3, 4))
    assert kinds(*history) == ["stale read"]


def test_append_that_begins_after_another_returned_stands_behind_it() -> None:
    history = (append(b"a", 0, 1), append(b"b", 2, 3), read(b"ba", 4, 5))
    assert kinds(*history) == ["reordered"]


def test_item_is_not_read_before_it_was_appended() -> None:
    history = (read(b"a", 0, 1), append(b"a", 2, 3), read(b"a", 4, 5))
    assert kinds(*history) == ["reordered"]


def test_lists_are_judged_apart() -> None:
    other = Append("writer", "other", b"z", 0, 1, Result.DONE)
    found = list(anomalies((append(b"a", 0, 1), read(b"a", 2, 3), other)))
    assert [(anomaly.kind, anomaly.key) for anomaly in found] == [("lost ack", "other")]


@pytest.mark.parametrize("size", [1, 7])
def test_duplicate_is_named(size: int) -> None:
    items = bytes(range(65, 65 + size)) + b"A"
    appends = [append(bytes([b]), 0, 1) for b in items[:-1]]
    (anomaly,) = anomalies([*appends, read(items, 2, 3)])
    assert anomaly.kind == "duplicate"
    assert "b'A'" in anomaly.detail
