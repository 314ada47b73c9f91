"""Who works: what an agent offers, what it has, what it is busy with, and how fast it is."""

import hashlib
from bisect import bisect_left, insort

from msgspec import Struct

from mabeam_p2p.ids import AgentId, TaskId
from mabeam_p2p.records import Task, TaskOrder, TaskWorker

PACE = 1_000
"""The pace of one who takes as long as the others."""

LOG_UNIT = 256
"""Logarithms of base two are kept in these parts: durations spread over orders of magnitude, and
the mean of their logarithms says more of an agent than that of a few long ones."""

PRIOR_COUNT = 4
"""How many tasks of average pace an agent is credited with: shrinks the mean of a few towards
that of all (James and Stein 1961)."""

MEMORY_COUNT = 64
"""Where the counts are halved: what was long ago weighs ever less."""

Place = tuple[int, int, TaskId]
"""Of a task in a queue: the greater priority first, then the earlier submission."""

Requires = tuple[tuple[str, int], ...]


def draw(text: str) -> int:
    """64 bits that depend on `text` alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


class Average(Struct):
    """Mean of the last values, in whole numbers, with exponential forgetting."""

    count: int = 0
    total: int = 0

    def add(self, value: int) -> None:
        self.count += 1
        self.total += value
        if self.count >= MEMORY_COUNT:
            self.count //= 2
            self.total //= 2


def log_of(value: int) -> int:
    """LOG_UNIT times the logarithm of a positive number, straight between powers of two."""
    whole = value.bit_length() - 1
    return whole * LOG_UNIT + (value * LOG_UNIT >> whole) - LOG_UNIT


def power_of(log: int, scale: int) -> int:
    """`scale` times the number of this logarithm; the inverse of log_of."""
    whole, part = divmod(log, LOG_UNIT)
    value = scale * (LOG_UNIT + part)
    return (value << whole if whole >= 0 else value >> -whole) // LOG_UNIT


class WorkerState(Struct, frozen=True, array_like=True):
    """A worker in a snapshot. What it holds is said by the tasks."""

    agent: AgentId
    names: tuple[str, ...]
    slots: int
    lease: int
    capacities: Requires
    heard_clock: int
    look_clock: int
    is_silent: bool
    changed_index: int
    done: int
    pace_count: int
    pace_total: int


class Worker:
    """An agent that has offered to work, while its session lives."""

    __slots__ = (
        "agent",
        "capacities",
        "changed_index",
        "done",
        "heard_clock",
        "is_silent",
        "lease",
        "look_clock",
        "lot",
        "names",
        "paces",
        "pledged",
        "queue",
        "running",
        "slots",
        "used",
    )

    def __init__(self, agent: AgentId, capacities: Requires) -> None:
        self.agent = agent
        self.lot = draw(agent)
        self.names: dict[str, None] = {}
        """Sorted."""
        self.slots = 0
        self.lease = 0
        self.capacities = dict(capacities)
        self.heard_clock = 0
        """When it was heard of last, or began to work after a rest."""
        self.look_clock = 0
        """When it is looked whether it was heard of; 0: it has nothing to be silent about."""
        self.is_silent = False
        self.changed_index = 0
        self.done = 0
        self.paces = Average()
        """Logarithms of how many times as long it took as the others."""
        self.running: dict[TaskId, None] = {}
        self.queue: list[Place] = []
        """Of the tasks that wait for it, sorted."""
        self.used: dict[str, int] = {}
        """What the running tasks take up."""
        self.pledged: dict[str, int] = {}
        """What the running and the queued ones do."""

    # ---- what it can do --------------------------------------------------------------------

    def covers(self, name: str, requires: Requires) -> bool:
        """Whether it offers `name` and has all that is required when it has nothing else to do."""
        return (
            self.slots > 0
            and name in self.names
            and all(self.capacities.get(what, -1) >= amount for what, amount in requires)
        )

    @property
    def has_slot(self) -> bool:
        return len(self.running) < self.slots and not self.is_silent

    def lacks(self, requires: Requires) -> list[str]:
        """The capabilities of which too little is left just now."""
        used = self.used
        return [
            what
            for what, amount in requires
            if amount and self.capacities.get(what, 0) - used.get(what, 0) < amount
        ]

    def fits(self, order: TaskOrder) -> bool:
        """Whether it can do the task, and has enough of what it requires left; a slot aside."""
        return self.covers(order.name, order.requires) and not self.lacks(order.requires)

    @property
    def in_flight(self) -> int:
        return len(self.running) + len(self.queue)

    @property
    def pace(self) -> int:
        """Thousandths of what others take."""
        return max(1, power_of(self.paces.total // (PRIOR_COUNT + self.paces.count), PACE))

    @property
    def wait(self) -> int:
        """How long a task at the end of its queue waits, in thousandths of a task's mean."""
        return len(self.queue) * self.pace // max(1, self.slots)

    # ---- what it holds ---------------------------------------------------------------------

    def take(self, task: Task) -> None:
        self.running[task.id] = None
        _add(self.used, task.order.requires, 1)
        _add(self.pledged, task.order.requires, 1)

    def drop(self, task: Task) -> None:
        del self.running[task.id]
        _add(self.used, task.order.requires, -1)
        _add(self.pledged, task.order.requires, -1)

    def enqueue(self, task: Task) -> None:
        insort(self.queue, place_of(task))
        _add(self.pledged, task.order.requires, 1)

    def dequeue(self, task: Task) -> None:
        remove(self.queue, place_of(task))
        _add(self.pledged, task.order.requires, -1)

    # ---- records ---------------------------------------------------------------------------

    def record(self) -> TaskWorker:
        return TaskWorker(
            self.agent,
            tuple(self.names),
            self.slots,
            len(self.running),
            len(self.queue),
            self.done,
            self.pace,
            self.is_silent,
            self.changed_index,
        )

    def state(self) -> WorkerState:
        return WorkerState(
            self.agent,
            tuple(self.names),
            self.slots,
            self.lease,
            tuple(self.capacities.items()),
            self.heard_clock,
            self.look_clock,
            self.is_silent,
            self.changed_index,
            self.done,
            self.paces.count,
            self.paces.total,
        )

    @staticmethod
    def of(state: WorkerState) -> "Worker":
        worker = Worker(state.agent, state.capacities)
        worker.names = dict.fromkeys(state.names)
        worker.slots = state.slots
        worker.lease = state.lease
        worker.heard_clock = state.heard_clock
        worker.look_clock = state.look_clock
        worker.is_silent = state.is_silent
        worker.changed_index = state.changed_index
        worker.done = state.done
        worker.paces = Average(state.pace_count, state.pace_total)
        return worker


def needs(requires: Requires, some: dict[str, None]) -> bool:
    """Whether something is required of one of these capabilities."""
    return any(amount and what in some for what, amount in requires)


def place_of(task: Task) -> Place:
    return -task.order.priority, task.submitted_index, task.id


def remove(places: list[Place], place: Place) -> None:
    """Out of a sorted list, which holds it."""
    at = bisect_left(places, place)
    assert places[at] == place, (places[at], place)
    del places[at]


def _add(amounts: dict[str, int], requires: Requires, sign: int) -> None:
    for what, amount in requires:
        if amount:
            amounts[what] = amounts.get(what, 0) + sign * amount
