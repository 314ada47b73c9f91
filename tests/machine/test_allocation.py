from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mabeam_p2p.machine.allocation import NOBODY, Allocation, allocate

Costs = Sequence[Sequence[int | None]]


def assignments(costs: Costs, capacities: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every possible one with its cost."""
    agents = [*range(len(capacities)), NOBODY]
    for given_out in product(agents, repeat=len(costs)):
        count = Counter(agent for agent in given_out if agent != NOBODY)
        asked = [
            0 if agent == NOBODY else costs[task][agent] for task, agent in enumerate(given_out)
        ]
        if None not in asked and all(count[n] <= room for n, room in enumerate(capacities)):
            yield sum(cost for cost in asked if cost is not None), given_out


def stated(costs: Costs, capacities: Sequence[int], budget: int | None) -> tuple[int, ...]:
    """The three rules, by trying everything."""
    last = len(capacities)

    def order(one: tuple[int, tuple[int, ...]]) -> tuple[int, int, tuple[int, ...]]:
        cost, agents = one
        placed = tuple(last if agent == NOBODY else agent for agent in agents)
        return agents.count(NOBODY), cost, placed

    possible = [one for one in assignments(costs, capacities) if budget is None or one[0] <= budget]
    return min(possible, key=order)[1]


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[int | None]], list[int], int | None]:
    agent_count = draw(st.integers(0, 3))
    cost = st.one_of(st.none(), st.integers(0, 4), st.sampled_from([0, 1]))
    row = st.lists(cost, min_size=agent_count, max_size=agent_count)
    costs = draw(st.lists(row, max_size=5))
    capacities = draw(st.lists(st.integers(0, 3), min_size=agent_count, max_size=agent_count))
    return costs, capacities, draw(st.none() | st.integers(0, 12))


@settings(max_examples=400)
@given(problems())
def test_the_result_is_the_one_that_the_rules_state(
    problem: tuple[list[list[int | None]], list[int], int | None],
) -> None:
    costs, capacities, budget = problem
    found = allocate(costs, capacities, budget=budget)
    assert found.agents == stated(costs, capacities, budget)
    asked = (costs[task][agent] for task, agent in enumerate(found.agents) if agent != NOBODY)
    assert found.cost == sum(cost for cost in asked if cost is not None)


@settings(max_examples=400)
@given(problems())
def test_what_is_left_over_has_one_reason_that_holds(
    problem: tuple[list[list[int | None]], list[int], int | None],
) -> None:
    costs, capacities, budget = problem
    found = allocate(costs, capacities, budget=budget)
    left = {task for task, agent in enumerate(found.agents) if agent == NOBODY}
    assert found.is_complete == (not left)
    if found.over_budget:
        assert set(found.over_budget) == left
        assert found.blocked == found.contested == ()
        assert budget is not None
        assert allocate(costs, capacities, budget=None).agents.count(NOBODY) < len(left)
        return
    assert bool(left) == bool(found.blocked)
    assert left <= set(found.blocked)
    able = {
        agent
        for task in found.blocked
        for agent, cost in enumerate(costs[task])
        if cost is not None
    }
    assert able == set(found.contested)
    room = sum(capacities[agent] for agent in able)
    assert len(found.blocked) == room + len(left), "the agents are full, and no more is possible"


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_cost_is_that_of_scipy(tasks: int, agents: int, seed: int) -> None:
    costs = numpy.random.default_rng(seed).integers(0, 30, (tasks, agents))
    rows, columns = linear_sum_assignment(costs)
    found = allocate(costs.tolist(), [1] * agents)
    assert found.cost == int(costs[rows, columns].sum())
    assert found.agents.count(NOBODY) == max(0, tasks - agents)


@pytest.mark.parametrize("seed", range(5))
def test_with_capacities_the_cost_is_that_of_scipy_with_an_agent_for_each_place(seed: int) -> None:
    draw = numpy.random.default_rng(seed)
    capacities = draw.integers(0, 6, 8).tolist()
    costs = draw.integers(0, 1_000_000_000, (20, 8))
    places = [agent for agent, room in enumerate(capacities) for _ in range(room)]
    rows, columns = linear_sum_assignment(costs[:, places])
    found = allocate(costs.tolist(), capacities)
    assert found.cost == int(costs[:, places][rows, columns].sum())
    assert found.agents.count(NOBODY) == max(0, 20 - sum(capacities))
    taken = Counter(found.agents)
    assert all(taken[agent] <= room for agent, room in enumerate(capacities))


def test_many_equal_tasks_fill_the_agents_in_order() -> None:
    found = allocate([[7, 7, 7]] * 5, [2, 2, 2])
    assert found == Allocation((0, 0, 1, 1, 2), 35, (), (), ())


def test_a_cheap_agent_that_is_full_makes_room_where_it_costs_least() -> None:
    assert allocate([[1, 2], [1, 9]], [1, 1]).agents == (1, 0)


def test_a_cost_of_any_size_is_exact() -> None:
    huge = 10**40
    found = allocate([[huge + 1, huge], [huge, huge]], [1, 1])
    assert found.agents == (1, 0)
    assert found.cost == 2 * huge


def test_tasks_without_room_come_with_the_agents_that_they_compete_for() -> None:
    found = allocate([[1, None], [1, None], [5, 5], [2, None]], [2, 1])
    assert found == Allocation((0, 0, 1, NOBODY), 7, (0, 1, 3), (0,), ())
    assert not found.is_complete


def test_a_task_that_nobody_can_do_is_blocked_by_itself() -> None:
    found = allocate([[1], [None]], [2])
    assert found == Allocation((0, NOBODY), 1, (1,), (), ())


@pytest.mark.fault("A9")
def test_the_budget_pays_for_as_many_tasks_as_it_can() -> None:
    costs = [[6], [3], [4]]
    assert allocate(costs, [3], budget=12).over_budget == (0,)
    assert allocate(costs, [3], budget=12).agents == (NOBODY, 0, 0)
    assert allocate(costs, [3], budget=13).is_complete
    assert allocate(costs, [3], budget=2) == Allocation((NOBODY,) * 3, 0, (), (), (0, 1, 2))


def test_nothing_to_do_and_nobody_to_do_it_are_answers_too() -> None:
    assert allocate([], [1]) == Allocation((), 0, (), (), ())
    assert allocate([[]], []) == Allocation((NOBODY,), 0, (0,), (), ())


@pytest.mark.parametrize(
    ("costs", "capacities", "budget", "words"),
    [
        ([[1, 2], [1]], [1, 1], None, "task 1 has 1 costs for 2 agents"),
        ([[1, -2]], [1, 1], None, "task 0 costs -2 by agent 1"),
        ([[1]], [-1], None, "agent 0 has capacity -1"),
        ([[1]], [1], -1, "the budget is -1"),
        ([[0.5]], [1], None, "task 0 costs 0.5 by agent 0; a cost is a whole number"),
        ([[True]], [1], None, "task 0 costs True by agent 0"),
        ([[1]], [1.0], None, "agent 0 has capacity 1.0"),
        ([[1]], [1], 1.5, "the budget is 1.5"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(
    costs: Costs, capacities: Sequence[int], budget: int | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        allocate(costs, capacities, budget=budget)
