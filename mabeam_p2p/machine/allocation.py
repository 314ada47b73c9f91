"""Which agent does which task, at the least cost: a pure function, in integers.

A task goes to one agent or to none; an agent takes tasks up to its capacity; not every agent can
do every task. Of all that is possible:

1. as many tasks as possible are given out, of those that the budget pays for together;
2. for that many, at the least cost together;
3. of equal cost, the one that is first in order of (agent of task 0, agent of task 1, ...), an
   agent being its position and no agent coming last.

So the result depends on nothing but the arguments, and on no order of computing. It is the
minimum-cost flow by successive shortest paths with potentials (Edmonds, Karp 1972; Ahuja,
Magnanti, Orlin 1993, §9.7): after k of them the flow is the cheapest of k tasks, and each path
costs no less than the one before. That is why the budget, too, is spent optimally.

What is left over is said with its reason. Tasks that no agent has room for come with the agents
that all of them compete for: these are full, and there are more tasks than room (Hall 1935).
"""

import heapq
from collections.abc import Sequence

from msgspec import Struct

NOBODY = -1
"""In the place of an agent: the task is given to none."""


class Allocation(Struct, frozen=True, gc=False):
    """agents: position of the agent for each task, or NOBODY. cost: of all tasks given out.

    blocked, contested: where room is what is missing. Nobody but the contested agents can do the
    blocked tasks, given out or not, and these are more than the agents have room for.
    over_budget: the tasks that are left where the budget does not pay for one more.
    """

    agents: tuple[int, ...]
    cost: int
    blocked: tuple[int, ...]
    contested: tuple[int, ...]
    over_budget: tuple[int, ...]

    @property
    def is_complete(self) -> bool:
        return NOBODY not in self.agents


def allocate(
    costs: Sequence[Sequence[int | None]],
    capacities: Sequence[int],
    *,
    budget: int | None = None,
) -> Allocation:
    """costs: for each task, what each agent asks for it, 0 or more; None: it cannot do it.
    capacities: how many tasks each agent takes, 0 or more. budget: of the cost together; None:
    without end. Raises ValueError for arguments of other shapes.

    Takes time in proportion to tasks squared times agents.
    """
    _check(costs, capacities, budget)
    flow = _Flow(costs, capacities)
    cost = 0
    while True:
        path = flow.shortest_path()
        if not path:
            break
        step = flow.cost_of(path)
        if budget is not None and cost + step > budget:
            break
        flow.augment(path)
        cost += step
    left = flow.left()
    blocked, contested = ((), ()) if path else flow.bottleneck()
    return Allocation(tuple(flow.agents), cost, blocked, contested, left if path else ())


def _check(
    costs: Sequence[Sequence[int | None]], capacities: Sequence[int], budget: int | None
) -> None:
    for task, row in enumerate(costs):
        if len(row) != len(capacities):
            raise ValueError(
                f"task {task} has {len(row)} costs for {len(capacities)} agents; give one each, "
                "None where an agent cannot do it"
            )
        for agent, cost in enumerate(row):
            if cost is not None and not _is_count(cost):
                raise ValueError(
                    f"task {task} costs {cost} by agent {agent}; a cost is a whole number, "
                    "0 or more"
                )
    for agent, capacity in enumerate(capacities):
        if not _is_count(capacity):
            raise ValueError(
                f"agent {agent} has capacity {capacity}; it is a whole number, 0 or more"
            )
    if budget is not None and not _is_count(budget):
        raise ValueError(
            f"the budget is {budget}; it is a whole number, 0 or more, or None for no limit"
        )


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


class _Flow:
    """The tasks given out so far, the cheapest for their number.

    Behind each cost stands the place of its agent, a digit in base agents + 1, that of the first
    task in front: rule 3 is a part of the cost. The digit of nobody is 0, so that those of agents
    are below 0. All numbers are exact, however long.
    """

    def __init__(self, costs: Sequence[Sequence[int | None]], capacities: Sequence[int]) -> None:
        self.agents = [NOBODY] * len(costs)
        """Of each task."""
        self._costs = costs
        self._spare = list(capacities)
        self._held: list[dict[int, None]] = [{} for _ in capacities]
        """Tasks of each agent."""
        base = len(capacities) + 1
        scale = base ** len(costs)
        self._edges: list[list[tuple[int, int]]] = []
        """For each task, (agent, cost with place) where it can be done."""
        weight = scale
        for row in costs:
            weight //= base
            edges = [
                (agent, cost * scale + (agent + 1 - base) * weight)
                for agent, cost in enumerate(row)
                if cost is not None
            ]
            self._edges.append(edges)
        # With these, no edge's reduced cost (cost + its task's - its agent's) is below 0. It is
        # 0 where a task is given out, and the potential of a task that is not stays 0.
        self._of_tasks = [0] * len(costs)
        self._of_agents = [0] * len(capacities)
        for edges in self._edges:
            for agent, cost in edges:
                self._of_agents[agent] = min(self._of_agents[agent], cost)
        self._of_end = min(self._of_agents, default=0)
        """Behind all agents with room: no greater than theirs."""

    def shortest_path(self) -> list[tuple[int, int]]:
        """The cheapest way to give out one task more: (task, its new agent), first the agent that
        has room, last the task that had nobody. Empty: there is no way.

        Dijkstra over reduced costs, from all tasks that have nobody.
        """
        came: dict[int, int] = {}
        """To an agent, from which task."""
        lengths: dict[int, int] = {}
        done: dict[int, int] = {}
        heap: list[tuple[int, int]] = []
        end: tuple[int, int] | None = None
        """Length to the end, and the agent before it."""
        self._relax(self.left(), 0, done, lengths, came, heap)
        while heap:
            length, agent = heapq.heappop(heap)
            if agent in done:
                continue
            if end is not None and length >= end[0]:
                break
            done[agent] = length
            if self._spare[agent] > 0:
                total = length + self._of_agents[agent] - self._of_end
                if end is None or total < end[0]:
                    end = (total, agent)
            self._relax(tuple(self._held[agent]), length, done, lengths, came, heap)
        if end is None:
            return []
        self._raise_potentials(done, end[0])
        path = []
        agent = end[1]
        while agent != NOBODY:
            task = came[agent]
            path.append((task, agent))
            agent = self.agents[task]
        return path

    def _relax(
        self,
        tasks: tuple[int, ...],
        length: int,
        done: dict[int, int],
        lengths: dict[int, int],
        came: dict[int, int],
        heap: list[tuple[int, int]],
    ) -> None:
        """Look at the agents that `tasks`, all at `length`, could be given to."""
        for task in tasks:
            before = length + self._of_tasks[task]
            for agent, cost in self._edges[task]:
                if agent in done:
                    continue
                there = before + cost - self._of_agents[agent]
                assert there >= length
                if agent not in lengths or there < lengths[agent]:
                    lengths[agent] = there
                    came[agent] = task
                    heapq.heappush(heap, (there, agent))

    def _raise_potentials(self, done: dict[int, int], end: int) -> None:
        for agent, held in enumerate(self._held):
            raised = min(done.get(agent, end), end)
            self._of_agents[agent] += raised
            for task in held:
                self._of_tasks[task] += raised
        self._of_end += end

    def cost_of(self, path: list[tuple[int, int]]) -> int:
        """What the cost rises by."""
        rise = 0
        for task, agent in path:
            cost, old = self._costs[task][agent], self.agents[task]
            assert cost is not None
            rise += cost
            if old != NOBODY:
                saved = self._costs[task][old]
                assert saved is not None
                rise -= saved
        return rise

    def augment(self, path: list[tuple[int, int]]) -> None:
        self._spare[path[0][1]] -= 1
        for task, agent in path:
            old = self.agents[task]
            if old != NOBODY:
                del self._held[old][task]
            self.agents[task] = agent
            self._held[agent][task] = None

    def left(self) -> tuple[int, ...]:
        """The tasks that nobody has."""
        return tuple(task for task, agent in enumerate(self.agents) if agent == NOBODY)

    def bottleneck(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """When there is no way: the tasks left with all that could make room for them, and the
        agents that these could be given to."""
        tasks = list(self.left())
        agents: dict[int, None] = {}
        for task in tasks:
            for agent, _ in self._edges[task]:
                if agent not in agents:
                    agents[agent] = None
                    tasks.extend(self._held[agent])
        return tuple(sorted(tasks)), tuple(sorted(agents))
