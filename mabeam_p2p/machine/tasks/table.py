"""The tasks themselves: open, finished and dead ones, within their bounds, and how long tasks of a
name take. Knows nothing of agents."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import AgentId, TaskId
from mabeam_p2p.machine.tasks.workers import Average, log_of
from mabeam_p2p.records import Task, TaskStatus

FINISHED = (TaskStatus.DONE, TaskStatus.DEAD, TaskStatus.CANCELLED)


def digest_of(argument: bytes) -> bytes:
    return hashlib.blake2b(argument, digest_size=8).digest()


class NameState(Struct, frozen=True, array_like=True):
    """What is known of one name. count, total: of durations in microseconds; logs: of their
    logarithms."""

    name: str
    count: int
    total: int
    log_count: int
    log_total: int
    last_agent: AgentId


class TableState(Struct, frozen=True, array_like=True):
    """Each in its own order: of submission, of their end, of their end, of their last use."""

    open: tuple[Task, ...]
    finished: tuple[Task, ...]
    dead: tuple[Task, ...]
    names: tuple[NameState, ...]


class Name:
    """What the log knows of the tasks of one name."""

    __slots__ = ("durations", "last_agent", "logs")

    def __init__(self) -> None:
        self.durations = Average()
        self.logs = Average()
        """Logarithms of the durations."""
        self.last_agent = AgentId("")
        """Who got the last one by turns."""

    @property
    def mean(self) -> int:
        """Microseconds; 0: none was done yet."""
        count = self.durations.count
        return max(1, self.durations.total // count) if count else 0

    def learn(self, duration: int) -> int:
        """A task has taken so long; the logarithm of how many times as long as those before."""
        log = log_of(max(1, duration))
        ratio = log - self.logs.total // self.logs.count if self.logs.count else 0
        self.durations.add(duration)
        self.logs.add(log)
        return ratio


class Table:
    """Every task that is remembered."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.open: dict[TaskId, Task] = {}
        self._finished: OrderedDict[TaskId, Task] = OrderedDict()
        """Done and cancelled ones; the oldest leave first."""
        self._dead: OrderedDict[TaskId, Task] = OrderedDict()
        """So that successes do not drive failures out."""
        self._names: OrderedDict[str, Name] = OrderedDict()
        self._argument_bytes = 0
        """Of open tasks."""
        self._result_bytes = 0

    # ---- tasks -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.open) + len(self._finished) + len(self._dead)

    def find(self, task: TaskId) -> Task | None:
        return self.open.get(task) or self._finished.get(task) or self._dead.get(task)

    def lacks_room(self, task: Task) -> str:
        """Why it cannot be opened; empty: it can."""
        limits = self._limits
        if len(self.open) >= limits.open_tasks_max:
            return f"{limits.open_tasks_max} tasks are open"
        if self._argument_bytes + len(task.order.argument) > limits.tasks_bytes_max:
            return f"the arguments of open tasks take {limits.tasks_bytes_max} bytes"
        return ""

    def add(self, task: Task) -> None:
        """An open one, for which there is room."""
        self._dead.pop(task.id, None)
        self.open[task.id] = task
        self._argument_bytes += len(task.order.argument)

    def finish(self, task: Task) -> Task:
        """Move an open task, given as it ended, to those that are remembered; as it is kept."""
        limits = self._limits
        del self.open[task.id]
        self._argument_bytes -= len(task.order.argument)
        if task.status is TaskStatus.DEAD:
            self._dead[task.id] = task
            if len(self._dead) > limits.dead_tasks_max:
                self._dead.popitem(last=False)
            return task
        digest = digest_of(task.order.argument)
        kept = replace(task, order=replace(task.order, argument=b""), digest=digest)
        self._finished[kept.id] = kept
        self._result_bytes += len(kept.result)
        while (
            len(self._finished) > limits.finished_tasks_max
            or self._result_bytes > limits.tasks_bytes_max
        ):
            _, oldest = self._finished.popitem(last=False)
            self._result_bytes -= len(oldest.result)
        return kept

    def newest(self, statuses: Iterable[TaskStatus], limit: int) -> Iterator[Task]:
        """Of these statuses, the newest first; up to `limit`."""
        wanted = dict.fromkeys(statuses)
        tables = (self.open, self._dead, self._finished)
        newest = (task for table in tables for task in reversed(table.values()))
        return islice((task for task in newest if task.status in wanted), limit)

    # ---- names -----------------------------------------------------------------------------

    def name(self, name: str) -> Name:
        """To read from; what is not known is as if never used."""
        return self._names.get(name) or Name()

    def name_to_change(self, name: str) -> Name:
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = Name()
            if len(self._names) > self._limits.task_names_max:
                self._names.popitem(last=False)
        self._names.move_to_end(name)
        return known

    # ---- snapshots -------------------------------------------------------------------------

    def state(self) -> TableState:
        return TableState(
            tuple(self.open.values()),
            tuple(self._finished.values()),
            tuple(self._dead.values()),
            tuple(
                NameState(
                    name,
                    known.durations.count,
                    known.durations.total,
                    known.logs.count,
                    known.logs.total,
                    known.last_agent,
                )
                for name, known in self._names.items()
            ),
        )

    def load(self, state: TableState) -> None:
        self.open = {task.id: task for task in state.open}
        self._finished = OrderedDict((task.id, task) for task in state.finished)
        self._dead = OrderedDict((task.id, task) for task in state.dead)
        self._names = OrderedDict()
        for stored in state.names:
            name = self._names[stored.name] = Name()
            name.durations = Average(stored.count, stored.total)
            name.logs = Average(stored.log_count, stored.log_total)
            name.last_agent = stored.last_agent
        self._argument_bytes = sum(len(task.order.argument) for task in state.open)
        self._result_bytes = sum(len(task.result) for task in state.finished)


def stripped(task: Task) -> Task:
    """Without its argument and its result."""
    if not task.order.argument and not task.result:
        return task
    return replace(task, order=replace(task.order, argument=b""), result=b"")


def next_deadline(task: Task) -> int:
    """By the log's clock; 0: none."""
    order = task.order
    dues = [
        task.due_clock if task.status is TaskStatus.QUEUED else task.look_clock,
        task.submitted_clock + order.timeout if order.timeout else 0,
    ]
    if task.status is TaskStatus.LEASED and order.attempt_timeout:
        dues.append(task.leased_clock + order.attempt_timeout)
    return min((due for due in dues if due), default=0)
