"""Which agent a task goes to: one pure function for each strategy.

All of them choose among the agents that can do the task; they look at what the log has made of
these, count what is queued and leased as load, and draw lots from a hash of the task's id alone.
In whole numbers.

    ROUND_ROBIN           the next id behind the last one that got a task of this name
    LEAST_LOADED          the fewest tasks in flight
    POWER_OF_TWO          the less loaded of two that are drawn (Mitzenmacher 2001)
    RESOURCE_AWARE        the least dominant share of slots and required capabilities, once it has
                          the task (Ghodsi et al. 2011)
    CAPABILITY            the fewest capabilities that are not required, so that specialists stay
                          free; then the least loaded
    PERFORMANCE_WEIGHTED  the soonest end by its own pace; one time in EXPLORE_EVERY any, drawn, so
                          that nobody is judged for ever by its first tasks
    RENDEZVOUS            the highest hash of key and agent (Thaler and Ravishankar 1998)

Ties go to the first from a place that is drawn.
"""

from collections.abc import Callable, Sequence

from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.tasks.workers import PACE, Worker, draw
from mabeam_p2p.records import Strategy, TaskOrder

UNIT = 1_000_000
"""Shares and loads are compared in millionths."""

EXPLORE_EVERY = 16

WORD = 2**64


def choose(
    order: TaskOrder, candidates: Sequence[Worker], last: AgentId, lot: int, key: str
) -> Worker:
    """One of `candidates`, which are sorted by id and not empty.

    last: who got the last task of this name by turns. lot: what is drawn from. key: whose tasks
    go together, for RENDEZVOUS.
    """
    match order.strategy:
        case Strategy.ROUND_ROBIN:
            return next((one for one in candidates if one.agent > last), candidates[0])
        case Strategy.RENDEZVOUS:
            seed = draw(key)
            return max(candidates, key=lambda one: (_mixed(seed ^ one.lot), one.agent))
        case Strategy.POWER_OF_TWO:
            return _of_two(candidates, lot)
        case Strategy.LEAST_LOADED:
            return _least(candidates, lot, lambda one: one.in_flight)
        case Strategy.CAPABILITY:
            required = dict(order.requires)
            return _least(candidates, lot, lambda one: (_extra(one, required), _load(one)))
        case Strategy.PERFORMANCE_WEIGHTED:
            explored, lot = lot % EXPLORE_EVERY == 0, lot // EXPLORE_EVERY
            if explored:
                return candidates[lot % len(candidates)]
            return _least(candidates, lot, _soonest)
        case Strategy.RESOURCE_AWARE:
            return _least(candidates, lot, lambda one: dominant_share(one, order))


def dominant_share(worker: Worker, order: TaskOrder) -> int:
    """Of all that the task needs, the largest share that is in use or promised with it."""
    share = (worker.in_flight + 1) * UNIT // worker.slots
    for what, amount in order.requires:
        if amount:
            needed = worker.pledged.get(what, 0) + amount
            share = max(share, needed * UNIT // worker.capacities[what])
    return share


def _load(worker: Worker) -> int:
    return worker.in_flight * UNIT // worker.slots


def _soonest(worker: Worker) -> int:
    return (worker.in_flight + 1) * worker.pace * UNIT // (worker.slots * PACE)


def _extra(worker: Worker, required: dict[str, int]) -> int:
    return sum(1 for what in worker.capacities if what not in required)


def _of_two(candidates: Sequence[Worker], lot: int) -> Worker:
    count = len(candidates)
    first = lot % count
    second = (first + 1 + lot // count % max(1, count - 1)) % count
    one, other = candidates[first], candidates[second]
    return one if _load(one) <= _load(other) else other


def _least(
    candidates: Sequence[Worker], lot: int, measure: Callable[[Worker], int | tuple[int, int]]
) -> Worker:
    start = lot % len(candidates)
    turned = (*candidates[start:], *candidates[:start])
    # Of equals, min gives the first.
    return min(turned, key=measure)


def _mixed(word: int) -> int:
    """Every bit of the result depends on every bit of `word` (splitmix64)."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)
