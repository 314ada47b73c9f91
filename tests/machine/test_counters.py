import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.events import CounterChanged
from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.records import Counter
from mabeam_p2p.requests import Committed, CounterQuery
from tests.machine.recipes_log import RecipesLog
from tests.machine.written_log import reason


def test_adding_answers_with_what_the_counter_is_then() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    assert log.value() == 0
    assert log.add(one, 5) == Committed(3, 1, 5)
    assert log.events == (CounterChanged(Counter("c", 5)),)
    assert log.add(two, -7) == Committed(4, 1, -2)
    assert log.value() == -2


def test_adding_nothing_changes_nothing() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.add(one, 3)
    assert log.add(one, 0) == Committed(3, 1, 3)
    assert log.events == ()


def test_it_is_set_only_from_what_was_expected() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    assert log.set(one, 4, expected=0) == Committed(2, 1, 4)
    refused = log.set(one, 9, expected=3)
    assert reason(refused) == "counter_changed"
    assert "4" in str(refused)
    assert log.value() == 4
    assert log.set(one, 9) == Committed(4, 1, 9)


def test_a_counter_that_is_zero_takes_no_room() -> None:
    log = RecipesLog(Limits(counters_max=1))
    (one,) = log.attached(1)
    log.add(one, 1, "a")
    assert reason(log.add(one, 1, "b")) == "limit"
    log.set(one, 0, counter="a")
    assert log.machine.find(CounterQuery("")).counters == ()
    assert log.add(one, 1, "b") == Committed(5, 1, 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_counter_does_not_leave_its_range(sign: int) -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.add(one, sign * INTEGER_MAX)
    assert reason(log.add(one, sign)) == "out_of_range"
    assert log.value() == sign * INTEGER_MAX


def test_a_counter_needs_a_usable_name() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    assert reason(log.add(one, 1, "")) == "invalid"
    assert reason(log.set(one, 1, counter="a\n")) == "invalid"


def test_all_counters_are_listed_by_name() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    for name in ("b", "a"):
        log.add(one, 1, name)
    listed = log.machine.find(CounterQuery("")).counters
    assert [counter.name for counter in listed] == ["a", "b"]
