"""Which agent gets a task: each strategy by its own rule, seen through the log."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import AgentId, TaskId
from mabeam_p2p.machine.tasks.placement import choose, dominant_share
from mabeam_p2p.machine.tasks.workers import (
    LOG_UNIT,
    PACE,
    Average,
    Worker,
    log_of,
    power_of,
)
from mabeam_p2p.records import Strategy
from tests.machine.tasks.task_log import TaskLog, order
from tests.machine.written_log import SECOND, reason

PINNED = Limits(task_steals_max=0, task_backlog_max=1_000)
"""Nothing moves once it was placed: the choice alone is seen."""


def placed(log: TaskLog, count: int, strategy: Strategy, **asked: Any) -> list[str]:
    tasks = [f"{strategy.name} {number}" for number in range(count)]
    for task in tasks:
        log.submitted(task, strategy=strategy, **asked)
    return log.holders(*tasks)


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_spreads_equal_tasks_over_equal_agents(strategy: Strategy) -> None:
    log = TaskLog(PINNED)
    for number in range(1, 5):
        log.worker(number)
    counts = Counter(placed(log, 120, strategy))
    assert sorted(counts) == ["a1", "a2", "a3", "a4"]
    exact = (Strategy.ROUND_ROBIN, Strategy.LEAST_LOADED, Strategy.RESOURCE_AWARE)
    assert min(counts.values()) == 30 if strategy in exact else min(counts.values()) >= 15


@pytest.mark.parametrize("strategy", Strategy)
def test_six_tasks_over_three_agents_are_two_each_once_all_may_help(strategy: Strategy) -> None:
    log = TaskLog()
    for number in range(1, 4):
        log.worker(number, slots=2)
    holders = placed(log, 6, strategy)
    if strategy is not Strategy.RENDEZVOUS:
        assert Counter(holders) == {"a1": 2, "a2": 2, "a3": 2}


def test_round_robin_goes_on_behind_the_last_one_though_agents_come_and_go() -> None:
    log = TaskLog(PINNED)
    for number in (1, 2, 4):
        log.worker(number)
    robin = Strategy.ROUND_ROBIN
    assert placed(log, 2, robin) == ["a1", "a2"]
    log.worker(3)
    log.submitted("x", strategy=robin)
    assert log.holders("x") == ["a3"]
    log.depart(4)
    log.submitted("y", strategy=robin)
    assert log.holders("y") == ["a1"]


def test_least_loaded_counts_what_is_queued_and_leased() -> None:
    log = TaskLog(PINNED)
    one, _ = log.worker(1, slots=3), log.worker(2, slots=1)
    least = Strategy.LEAST_LOADED
    assert Counter(placed(log, 4, least)) == {"a1": 2, "a2": 2}
    for task in log.leased(1):
        log.complete(one, task)
    for task in ("x", "y"):
        log.submitted(task, strategy=least)
    assert log.holders("x", "y") == ["a1", "a1"]


def test_resource_aware_weighs_by_capacity() -> None:
    log = TaskLog(PINNED)
    log.worker(1, slots=1)
    log.worker(2, slots=3)
    assert Counter(placed(log, 40, Strategy.RESOURCE_AWARE)) == {"a1": 10, "a2": 30}


def test_resource_aware_looks_at_the_dominant_share() -> None:
    log = TaskLog(PINNED)
    log.worker(1, slots=8, gpu=1)
    log.worker(2, slots=2, gpu=4)
    holders = placed(log, 5, Strategy.RESOURCE_AWARE, requires=[("gpu", 1)])
    assert Counter(holders) == {"a1": 1, "a2": 4} or Counter(holders) == {"a1": 2, "a2": 3}
    worker = Worker(log.task("RESOURCE_AWARE 0").agent, (("gpu", 4),))
    worker.slots = 2
    worker.pledged["gpu"] = 2
    assert dominant_share(worker, order(requires=[("gpu", 1)])) == 750_000
    assert dominant_share(worker, order()) == 500_000


def test_capability_keeps_specialists_free() -> None:
    log = TaskLog(PINNED)
    log.worker(1, slots=4, gpu=1)
    log.worker(2, slots=4)
    log.worker(3, slots=4, gpu=2, tpu=1)
    assert placed(log, 4, Strategy.CAPABILITY) == ["a2"] * 4
    log.submitted("x", strategy=Strategy.CAPABILITY, requires=[("gpu", 1)])
    assert log.holders("x") == ["a1"]


def test_power_of_two_never_takes_the_most_loaded_of_many() -> None:
    log = TaskLog(PINNED)
    for number in range(1, 4):
        log.worker(number)
    log.submitted(*(f"load {n}" for n in range(9)), strategy=Strategy.RENDEZVOUS, key="k")
    (loaded,) = set(log.holders(*(f"load {n}" for n in range(9))))
    assert loaded not in placed(log, 6, Strategy.POWER_OF_TWO)


def test_performance_weighted_prefers_the_fast_and_still_tries_the_slow() -> None:
    log = TaskLog(PINNED)
    fast, slow = log.worker(1), log.worker(2)
    for number in range(24):
        tasks = [f"warm {number} a", f"warm {number} b"]
        log.submitted(*tasks, strategy=Strategy.ROUND_ROBIN)
        log.complete(fast, tasks[0])
        log.clock += SECOND * 4
        log.renew(slow)
        log.complete(slow, tasks[1])
    assert log.worker_record(1).pace < PACE < log.worker_record(2).pace
    holders = []
    for number in range(100):
        log.submitted(f"t{number}", strategy=Strategy.PERFORMANCE_WEIGHTED)
        holders += log.holders(f"t{number}")
        log.cancel(f"t{number}")
    counts = Counter(holders)
    assert 1 <= counts["a2"] <= 15


def test_an_agent_is_not_judged_by_its_first_task() -> None:
    worker = Worker(AgentId("a@p"), ())
    assert worker.pace == PACE
    worker.paces.add(log_of(1_000))
    assert worker.pace < 5 * PACE
    for _ in range(40):
        worker.paces.add(log_of(4))
    assert 3 * PACE < worker.pace < 5 * PACE


@given(st.integers(1, 2**60))
def test_logarithms_keep_the_order_and_can_be_undone(value: int) -> None:
    assert log_of(value) <= log_of(value + 1)
    assert log_of(2 * value) == log_of(value) + LOG_UNIT
    assert abs(power_of(log_of(value), 1_000) - 1_000 * value) <= 1_000 * value // LOG_UNIT + 1
    assert power_of(-2 * LOG_UNIT, 1_000) == 250


def test_what_was_long_ago_weighs_ever_less() -> None:
    average = Average()
    for _ in range(1_000):
        average.add(10_000)
    for _ in range(128):
        average.add(1_000)
    assert average.count < 64
    assert average.total // average.count < 4_000


def test_rendezvous_keeps_a_key_at_its_agent_and_moves_few_when_another_comes() -> None:
    log = TaskLog(Limits(task_backlog_max=1))
    for number in range(1, 5):
        log.worker(number)

    def homes(round_: int) -> list[str]:
        tasks = [f"{round_} {key}" for key in range(60)]
        for key, task in enumerate(tasks):
            log.submitted(task, strategy=Strategy.RENDEZVOUS, key=f"key {key}")
        return log.holders(*tasks)

    before = homes(1)
    assert homes(2) == before
    log.worker(5)
    after = homes(3)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"a5"}
    assert 4 <= len(moved) <= 22


def test_a_task_goes_to_agents_that_have_what_it_requires() -> None:
    log = TaskLog()
    log.worker(1, slots=9)
    log.worker(2, slots=9, gpu=1, linux=1)
    log.submitted("t", requires=[("gpu", 1), ("linux", 0)])
    assert log.shown("t") == ("leased", "a2")
    log.submitted("u", requires=[("gpu", 1)])
    assert log.shown("u") == ("queued", "a2")
    # What is only to be there is not used up.
    log.submitted("v", requires=[("linux", 0)])
    assert log.shown("v") == ("leased", "a2")
    assert reason(log.submit("w", order(requires=[("gpu", 2)]))) == "no_worker"


def test_many_agents_are_compared_in_part_and_none_is_left_out_for_good() -> None:
    log = TaskLog(Limits(task_steals_max=0, task_backlog_max=50))
    for number in range(1, 91):
        log.worker(number)
    counts = Counter(placed(log, 400, Strategy.LEAST_LOADED))
    assert len(counts) == 90
    assert max(counts.values()) <= 12


def crew(count: int, *, slots: int = 1) -> list[Worker]:
    made = [Worker(AgentId(f"a{number}@p"), ()) for number in range(count)]
    for worker in made:
        worker.slots = slots
    return made


def chosen(strategy: Strategy, candidates: list[Worker], lot: int) -> int:
    one = choose(order(strategy=strategy), candidates, AgentId(""), lot, "")
    return candidates.index(one)


def test_power_of_two_compares_two_different_agents_whatever_lot_is_drawn() -> None:
    for idle in (0, 1):
        pair = crew(2)
        pair[1 - idle].running[TaskId("t")] = None
        assert {chosen(Strategy.POWER_OF_TWO, pair, lot) for lot in range(40)} == {idle}
    equals = crew(5)
    assert {chosen(Strategy.POWER_OF_TWO, equals, lot) for lot in range(40)} == {0, 1, 2, 3, 4}


def test_of_equal_agents_the_lot_decides() -> None:
    equals = crew(4)
    for strategy in (Strategy.LEAST_LOADED, Strategy.RESOURCE_AWARE, Strategy.CAPABILITY):
        assert [chosen(strategy, equals, lot) for lot in range(8)] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_of_agents_as_fast_as_each_other_the_one_with_more_slots_ends_sooner() -> None:
    narrow, wide = pair = crew(2)
    narrow.slots, wide.slots = 2, 3
    for number in range(2):
        narrow.running[TaskId(f"n{number}")] = wide.running[TaskId(f"w{number}")] = None
    explored = 0
    drawn = {chosen(Strategy.PERFORMANCE_WEIGHTED, pair, lot) for lot in range(1, 16)}
    assert drawn == {1}
    assert chosen(Strategy.PERFORMANCE_WEIGHTED, pair, explored) == 0, "one lot in 16 is for any"


def test_what_tasks_required_is_free_again_however_they_have_ended() -> None:
    log = TaskLog()
    one = log.worker(1, slots=2, gpu=4)
    worker = log.machine._parts.tasks._schedule.workers[AgentId("a1@p")]
    log.submitted("done", "failed", "cancelled", "queued", requires=[("gpu", 2)])
    assert (worker.used, worker.pledged) == ({"gpu": 4}, {"gpu": 8})
    log.complete(one, "done")
    log.fail(one, "failed")
    for task in ("cancelled", "queued"):
        log.cancel(task)
    assert sum(worker.used.values()) == sum(worker.pledged.values()) == 0
