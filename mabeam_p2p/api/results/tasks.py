"""What the API gives back of tasks, and what is made of their ends."""

from dataclasses import dataclass
from typing import Literal

from mabeam_p2p.api.results.base import Decoded, Result, decoded, seconds
from mabeam_p2p.errors import MabeamError, RemoteTaskError, TaskCancelled, TaskDead
from mabeam_p2p.records import Strategy, Task, TaskStatus, TaskWorker

StrategyWord = Literal[
    "resource_aware",
    "round_robin",
    "least_loaded",
    "power_of_two",
    "capability",
    "performance_weighted",
    "rendezvous",
]
TaskStatusWord = Literal["queued", "leased", "done", "dead", "cancelled"]

STRATEGIES: dict[StrategyWord, Strategy] = {
    "resource_aware": Strategy.RESOURCE_AWARE,
    "round_robin": Strategy.ROUND_ROBIN,
    "least_loaded": Strategy.LEAST_LOADED,
    "power_of_two": Strategy.POWER_OF_TWO,
    "capability": Strategy.CAPABILITY,
    "performance_weighted": Strategy.PERFORMANCE_WEIGHTED,
    "rendezvous": Strategy.RENDEZVOUS,
}
STATUSES: dict[TaskStatusWord, TaskStatus] = {
    "queued": TaskStatus.QUEUED,
    "leased": TaskStatus.LEASED,
    "done": TaskStatus.DONE,
    "dead": TaskStatus.DEAD,
    "cancelled": TaskStatus.CANCELLED,
}
_STRATEGY_WORDS = {strategy: word for word, strategy in STRATEGIES.items()}
_STATUS_WORDS = {status: word for word, status in STATUSES.items()}

PACE = 1_000


@dataclass(frozen=True, slots=True)
class TaskFacts(Result):
    """A task as the log has it. Times are seconds by the log's clock."""

    id: str
    name: str
    status: TaskStatusWord
    agent: str | None
    """Who works on it, has worked on it last, or has it in its queue."""
    submitter: str
    strategy: StrategyWord
    requires: dict[str, int]
    priority: int
    retries: int
    failures: int
    """Attempts that failed."""
    losses: int
    """Attempts that ended with their agent."""
    steals: int
    """Attempts that another agent took over."""
    submitted: float
    seconds: float | None
    """From the last lease to the end; None while it has not ended."""
    error: str | None
    """Of the last attempt that failed: TYPE: message."""
    traceback: str | None
    reason: str
    """Why it was given up, or by whom it was cancelled."""
    token: int
    index: int
    """Log index of its end; 0 while it has not ended."""

    @staticmethod
    def of(record: Task) -> "TaskFacts":
        error, order = record.error, record.order
        has_ended = record.finished_index > 0
        return TaskFacts(
            str(record.id),
            order.name,
            _STATUS_WORDS[record.status],
            str(record.agent) or None,
            str(record.submitter),
            _STRATEGY_WORDS[order.strategy],
            dict(order.requires),
            order.priority,
            order.retries,
            record.failures,
            record.losses,
            record.steals,
            seconds(record.submitted_clock),
            _duration(record) if has_ended else None,
            None if error is None else f"{error.kind}: {error.message}",
            None if error is None else error.traceback,
            record.reason,
            record.token,
            record.finished_index,
        )


@dataclass(frozen=True, slots=True)
class WorkerFacts(Result):
    """An agent that offers to work."""

    agent: str
    names: tuple[str, ...]
    slots: int
    running: int
    queued: int
    """Tasks that wait for it."""
    done: int
    """Tasks that it has done in this session."""
    pace: float
    """How long it takes for a task, as a multiple of what others do."""
    silent: bool
    """It has said nothing for too long: it gets nothing until it is heard of."""

    @staticmethod
    def of(record: TaskWorker) -> "WorkerFacts":
        return WorkerFacts(
            str(record.agent),
            record.names,
            record.slots,
            record.running,
            record.queued,
            record.done,
            record.pace / PACE,
            record.is_silent,
        )


@dataclass(frozen=True, slots=True)
class TaskResult(Result):
    """The end of one task."""

    id: str
    value: Decoded
    """What the function returned; None if there is an error."""
    agent: str
    """Who has done it."""
    seconds: float
    """From the lease to the result, by the log's clock."""
    attempts: int
    """How often it was begun, at least."""
    index: int = 0
    """In a map: the position of its item, from 0."""
    error: MabeamError | None = None
    """In a map with on_error="return": why there is no value."""

    @staticmethod
    def of(record: Task) -> "TaskResult":
        """Of a task that is done. Raises what `failure` makes of another end."""
        error = failure(record)
        if error is not None:
            raise error
        return TaskResult(
            str(record.id),
            decoded(record.result),
            str(record.agent),
            _duration(record),
            1 + record.failures + record.losses + record.steals,
        )

    def to_dict(self) -> dict[str, object]:
        # Through the base by name: the class was made anew for its slots.
        facts = Result.to_dict(self)
        return facts | {"error": None if self.error is None else str(self.error)}


def failure(record: Task) -> MabeamError | None:
    """Why a finished task has no result; None: it has one."""
    task, name, error = str(record.id), record.order.name, record.error
    if record.status is TaskStatus.CANCELLED:
        by = record.reason
        return TaskCancelled(f"task {task} ({name}) was cancelled by {by}", task=task, by=by)
    if record.status is not TaskStatus.DEAD:
        return None
    after = f"after {record.failures} failed attempts" if record.failures > 1 else "at once"
    if record.reason == "failed" and error is not None:
        return RemoteTaskError(
            f"task {task} ({name}) raised {error.kind} at {record.agent}: {error.message}; given "
            f"up {after}: see `mabeam tasks show {task}`, mend it, and `mabeam tasks retry {task}`",
            task=task,
            reason=record.reason,
            failures=record.failures,
            kind=error.kind,
            text=error.message,
            traceback=error.traceback,
            agent=str(record.agent),
        )
    why = {
        "timeout": "its time is over",
        "lost": f"{record.losses} agents ended while they worked on it: it may be what ends them",
    }.get(record.reason, record.reason)
    return TaskDead(
        f"task {task} ({name}) was given up: {why}; see `mabeam tasks show {task}`, and "
        f"`mabeam tasks retry {task}` to queue it again",
        task=task,
        reason=record.reason,
        failures=record.failures,
    )


def _duration(record: Task) -> float:
    begun = record.leased_clock or record.submitted_clock
    return seconds(max(0, record.finished_clock - begun))
