"""What tools/strategies says is what it has measured."""

import math

import pytest

from mabeam_p2p.records import Strategy
from tools.strategies import (
    ALONE,
    BEGIN,
    END,
    PAGE,
    SHIPPED,
    Load,
    Work,
    Worker,
    Workshop,
    bound,
    draw,
    ratio,
    waves,
)


def plain(*sizes: float) -> list[Work]:
    return [Work(size, False) for size in sizes]


@pytest.mark.parametrize(
    ("tasks", "workers", "seconds"),
    [
        (plain(1, 1, 1, 1), [Worker(1, 1, False), Worker(1, 1, False)], 2),
        (plain(8, 1), [Worker(1, 1, False), Worker(2, 1, False)], 4),
        (plain(6, 6, 1), [Worker(2, 2, False), Worker(1, 1, False)], 3),
        ([Work(4, True), Work(4, True)], [Worker(1, 1, True), Worker(9, 9, False)], 8),
    ],
)
def test_the_bound_is_what_no_schedule_can_beat(
    tasks: list[Work], workers: list[Worker], seconds: float
) -> None:
    assert math.isclose(bound(tasks, workers), seconds)


def test_one_worker_takes_as_long_as_the_bound_says() -> None:
    load = Load(plain(1, 2, 3), [Worker(2, 1, False)])
    taken = Workshop(load, Strategy.RESOURCE_AWARE, SHIPPED).run(range(3))
    assert 3.0 <= taken < 3.01


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
def test_no_strategy_beats_the_bound_and_equal_seeds_give_equal_figures(strategy: Strategy) -> None:
    load = draw(0)
    part = [range(200)]
    first = ratio(load, strategy, SHIPPED, part)
    assert first >= 1.0
    assert ratio(load, strategy, SHIPPED, part) == first
    assert ratio(load, strategy, ALONE, part) >= 1.0


@pytest.mark.slow
def test_taking_over_pays() -> None:
    load = draw(0)
    for parts in ([range(1000)], waves(load)):
        alone = ratio(load, Strategy.RESOURCE_AWARE, ALONE, parts)
        assert ratio(load, Strategy.RESOURCE_AWARE, SHIPPED, parts) < alone


def test_the_page_has_a_row_for_each_strategy() -> None:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    table, end, _ = rest.partition(END)
    assert end
    for strategy in Strategy:
        assert f"| `{strategy.name.lower()}` |" in table
