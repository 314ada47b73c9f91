"""What is said of tasks, and what it comes to. Who gets which task stands in `schedule`."""

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyTaskCommand,
    CancelTask,
    CompleteTask,
    FailTask,
    OfferTasks,
    RenewTasks,
    RetryTask,
    SubmitTask,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import MachineEvent
from mabeam_p2p.ids import INTEGER_MAX, AgentId, TaskId, is_key
from mabeam_p2p.machine.core import Deadlines, Deals, Entry
from mabeam_p2p.machine.tasks.schedule import Schedule
from mabeam_p2p.machine.tasks.table import FINISHED, Table, TableState, digest_of, stripped
from mabeam_p2p.machine.tasks.workers import Worker, WorkerState
from mabeam_p2p.records import Agent, Task, TaskError, TaskOrder, TaskStatus, TaskWorker
from mabeam_p2p.requests import Outcome, Refused

PRIORITY_MAX = 100
"""Priorities are from minus this to this."""

BACKOFF_MAX = 300_000_000
"""Longest pause before an attempt, microseconds."""

ERROR_BYTES_MAX = 20_480
"""An error's texts together."""


class TasksState(Struct, frozen=True, array_like=True):
    table: TableState
    workers: tuple[WorkerState, ...]


class Tasks:
    """Every task, and every agent that offers to work."""

    def __init__(
        self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent], deals: Deals
    ) -> None:
        """deals: who has done a task and who has asked for it may rate each other."""
        self._limits = limits
        self._deals = deals
        self._table = Table(limits)
        self._schedule = Schedule(limits, deadlines, events, self._table)

    # ---- commands --------------------------------------------------------------------------

    def apply(self, entry: Entry, agent: Agent, command: AnyTaskCommand) -> Outcome:
        """agent: whose session the command stands in."""
        match command:
            case SubmitTask():
                outcome = self._submit(entry, agent.id, command)
            case CompleteTask():
                outcome = self._complete(entry, agent.id, command)
            case FailTask():
                outcome = self._fail(entry, agent.id, command)
            case OfferTasks():
                outcome = self._offer(entry, agent, command)
            case RenewTasks():
                outcome = self._renew(entry, agent.id)
            case CancelTask():
                outcome = self._cancel(entry, agent.id, command)
            case RetryTask():
                outcome = self._retry(entry, command)
            case _:
                assert_never(command)
        self._schedule.feed(entry)
        return outcome

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """The agent's session has ended: what it worked on is queued again. What it has submitted
        stays."""
        worker = self._schedule.workers.get(agent)
        if worker is not None:
            self._schedule.depart(entry, worker)
            self._schedule.feed(entry)

    def expire(self, entry: Entry, name: str) -> None:
        """The deadline `name` is past: of a task, or of an agent that may have fallen silent."""
        kind, _, key = name.partition(" ")
        if kind == "agent":
            self._schedule.look_at(entry, AgentId(key))
        else:
            self._expire_task(entry, self._table.open[TaskId(key)])
        self._schedule.feed(entry)

    # ---- those who work --------------------------------------------------------------------

    def _offer(self, entry: Entry, agent: Agent, command: OfferTasks) -> Outcome:
        """Refused: invalid, limit."""
        limits, names = self._limits, dict.fromkeys(command.names)
        if len(names) > limits.offers_per_agent_max:
            return Refused("limit", f"an agent offers {limits.offers_per_agent_max} names at most")
        if len(names) < len(command.names) or not all(map(is_key, names)):
            return Refused("invalid", "the names are not usable, or not different")
        if not 0 <= command.slots <= limits.task_slots_max:
            return Refused("invalid", f"slots are 0 to {limits.task_slots_max}")
        if not entry.can_wait(command.lease):
            return Refused("invalid", "lease is no positive number of microseconds")
        worker = self._schedule.workers.get(agent.id) or Worker(agent.id, agent.capabilities)
        worker.lease = command.lease
        self._schedule.offer(entry, worker, tuple(sorted(names)), command.slots)
        return entry.committed()

    def _renew(self, entry: Entry, agent: AgentId) -> Outcome:
        """Refused: not_a_worker."""
        worker = self._schedule.workers.get(agent)
        if worker is None:
            return Refused("not_a_worker", "the agent has offered nothing in this session")
        self._schedule.hear(entry, worker)
        return entry.committed()

    def _complete(self, entry: Entry, agent: AgentId, command: CompleteTask) -> Outcome:
        """Refused: unknown_task, stale_token, too_large."""
        self._heard(entry, agent)
        task = self._leased(agent, command.task, command.token)
        if isinstance(task, Refused):
            return task
        most = self._limits.task_result_bytes_max
        if len(command.result) > most:
            return Refused("too_large", f"a result has at most {most} bytes")
        self._schedule.release(entry, task, "")
        self._schedule.measure(entry, task)
        self._schedule.end(entry, replace(task, result=command.result), TaskStatus.DONE)
        self._deals.settled(entry, f"task/{task.id}", task.submitter, agent)
        return entry.committed()

    def _fail(self, entry: Entry, agent: AgentId, command: FailTask) -> Outcome:
        """Refused: unknown_task, stale_token, too_large."""
        self._heard(entry, agent)
        task = self._leased(agent, command.task, command.token)
        if isinstance(task, Refused):
            return task
        error = command.error
        size = sum(len(text.encode()) for text in (error.kind, error.message, error.traceback))
        if size > ERROR_BYTES_MAX:
            return Refused("too_large", f"an error has at most {ERROR_BYTES_MAX} bytes")
        self._fail_attempt(entry, task, "failed", error, command.is_final)
        return entry.committed()

    def _leased(self, agent: AgentId, task_id: TaskId, token: int) -> Task | Refused:
        """The task, if it is the agent's under this token."""
        task = self._table.find(task_id)
        if task is None:
            return Refused("unknown_task", "no such task is remembered")
        if task.status is TaskStatus.LEASED and (task.agent, task.token) == (agent, token):
            return task
        state = task.status.name.lower()
        by = f" by {task.agent} with token {task.token}" if task.agent else ""
        return Refused("stale_token", f"the lease has ended: the task is {state}{by}")

    def _heard(self, entry: Entry, agent: AgentId) -> None:
        worker = self._schedule.workers.get(agent)
        if worker is not None:
            self._schedule.hear(entry, worker)

    def _fail_attempt(
        self, entry: Entry, task: Task, reason: str, error: TaskError, is_final: bool
    ) -> None:
        order = task.order
        self._schedule.release(entry, task, reason)
        failed = replace(task, failures=task.failures + 1, error=error)
        if is_final or failed.failures > order.retries:
            self._schedule.end(entry, failed, TaskStatus.DEAD, reason)
            return
        # Bounded before it is shifted: retries may be many.
        pause = min(order.backoff << min(task.failures, 40), BACKOFF_MAX)
        self._schedule.queue(entry, failed, entry.clock + pause)

    def _expire_task(self, entry: Entry, task: Task) -> None:
        order = task.order
        if order.timeout and task.submitted_clock + order.timeout <= entry.clock:
            self._stop(entry, task, "timeout")
            self._schedule.end(entry, task, TaskStatus.DEAD, "timeout")
        elif (
            task.status is TaskStatus.LEASED
            and order.attempt_timeout
            and task.leased_clock + order.attempt_timeout <= entry.clock
        ):
            seconds = order.attempt_timeout / 1_000_000
            error = TaskError("TimeoutError", f"no result within {seconds:g} s", "")
            self._fail_attempt(entry, task, "timeout", error, is_final=False)
        else:
            self._schedule.expire(entry, task.id)

    def _stop(self, entry: Entry, task: Task, reason: str) -> None:
        """Take an open task from whoever works on it, or from its queue."""
        if task.status is TaskStatus.LEASED:
            self._schedule.release(entry, task, reason)
        else:
            self._schedule.withdraw(task)

    # ---- those who ask ---------------------------------------------------------------------

    def _submit(self, entry: Entry, agent: AgentId, command: SubmitTask) -> Outcome:
        """Committed.number is the index of the first submission.

        Refused: invalid, too_large, task_exists, limit, no_worker.
        """
        order = command.order
        existing = self._table.find(command.task)
        if existing is not None:
            if _is_same(existing, order):
                return entry.committed(existing.submitted_index)
            return Refused("task_exists", "a task of this id asks for something else")
        refusal = self._refusal(entry, command)
        if refusal is not None:
            return refusal
        task = Task(command.task, order, agent, entry.index, entry.clock)
        if lacking := self._table.lacks_room(task):
            return Refused("limit", lacking)
        if not command.wait and not self._schedule.can_be_done(task):
            needs = ", ".join(f"{what} {amount}" for what, amount in order.requires)
            having = f" and has {needs}" if needs else ""
            return Refused("no_worker", f"no agent offers {order.name!r}{having}")
        self._table.add(task)
        self._schedule.queue(entry, task)
        return entry.committed(entry.index)

    def _refusal(self, entry: Entry, command: SubmitTask) -> Refused | None:
        order, limits = command.order, self._limits
        # Deals are called by it, with a word in front.
        if not is_key(f"task/{command.task}"):
            return Refused("invalid", "the task has no usable id")
        if not is_key(order.name) or (order.key and not is_key(order.key)):
            return Refused("invalid", "the task's name or key is not usable")
        if len(order.argument) > limits.task_argument_bytes_max:
            most = limits.task_argument_bytes_max
            return Refused("too_large", f"the arguments have at most {most} bytes")
        names = dict(order.requires)
        if (
            len(order.requires) > limits.task_requirements_max
            or list(order.requires) != sorted(names.items())
            or not all(is_key(name) and 0 <= names[name] <= INTEGER_MAX for name in names)
        ):
            return Refused("invalid", "the requirements are not usable, or not sorted")
        if not -PRIORITY_MAX <= order.priority <= PRIORITY_MAX:
            return Refused("invalid", f"a priority is from -{PRIORITY_MAX} to {PRIORITY_MAX}")
        if not 0 <= order.retries <= limits.task_retries_max:
            return Refused("invalid", f"retries are 0 to {limits.task_retries_max}")
        if not 0 < order.backoff <= BACKOFF_MAX:
            return Refused("invalid", f"a pause is 1 to {BACKOFF_MAX} microseconds")
        for timeout in (order.timeout, order.attempt_timeout):
            if timeout and not entry.can_wait(timeout):
                return Refused("invalid", "a timeout is no positive number of microseconds")
        return None

    def _cancel(self, entry: Entry, agent: AgentId, command: CancelTask) -> Outcome:
        """Refused: unknown_task, task_finished. Cancelling twice is cancelling."""
        task = self._table.find(command.task)
        if task is None:
            return Refused("unknown_task", "no such task is remembered")
        if task.status is TaskStatus.CANCELLED:
            return entry.committed()
        if task.status in FINISHED:
            return Refused("task_finished", f"the task is {task.status.name.lower()}")
        self._stop(entry, task, "cancelled")
        self._schedule.end(entry, task, TaskStatus.CANCELLED, agent)
        return entry.committed()

    def _retry(self, entry: Entry, command: RetryTask) -> Outcome:
        """Refused: unknown_task, task_finished, limit. Of an open task it changes nothing."""
        task = self._table.find(command.task)
        if task is None:
            return Refused("unknown_task", "no such task is remembered")
        if task.status not in FINISHED:
            return entry.committed()
        if task.status is not TaskStatus.DEAD:
            return Refused("task_finished", f"the task is {task.status.name.lower()}")
        if lacking := self._table.lacks_room(task):
            return Refused("limit", lacking)
        anew = Task(
            task.id,
            task.order,
            task.submitter,
            task.submitted_index,
            entry.clock,
            token=task.token,
        )
        self._table.add(anew)
        self._schedule.queue(entry, anew)
        return entry.committed()

    # ---- queries ---------------------------------------------------------------------------

    def find(self, task: TaskId) -> tuple[Task, ...]:
        """The one of this id, or none."""
        found = self._table.find(task)
        return () if found is None else (found,)

    def tasks(self, statuses: tuple[TaskStatus, ...], limit: int) -> tuple[Task, ...]:
        """Of these statuses, without arguments and results, up to `limit`; open ones first, the
        newest of each first."""
        return tuple(map(stripped, self._table.newest(statuses, limit)))

    def work(self, agent: AgentId, seen_index: int) -> tuple[Task, ...]:
        """What the agent works on, by token; with arguments where leased behind `seen_index`."""
        worker = self._schedule.workers.get(agent)
        if worker is None:
            return ()
        held = sorted(
            (self._table.open[task] for task in worker.running),
            key=lambda task: (task.token, task.id),
        )
        return tuple(task if task.token > seen_index else stripped(task) for task in held)

    def worker(self, agent: AgentId) -> tuple[TaskWorker, ...]:
        """The one of this id, or none."""
        worker = self._schedule.workers.get(agent)
        return () if worker is None else (worker.record(),)

    def workers(self) -> tuple[TaskWorker, ...]:
        """All, in order of their first offers."""
        return tuple(worker.record() for worker in self._schedule.workers.values())

    # ---- snapshots -------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Tasks that are queued or worked on."""
        return len(self._table.open)

    @property
    def remembered_count(self) -> int:
        """Tasks of every status."""
        return len(self._table)

    def state(self) -> TasksState:
        return TasksState(self._table.state(), self._schedule.state())

    def load(self, state: TasksState) -> None:
        self._table.load(state.table)
        self._schedule.load(state.workers)


def _is_same(task: Task, order: TaskOrder) -> bool:
    """Whether `order` asks for the same."""
    if task.digest:
        return task.digest == digest_of(order.argument) and task.order == replace(
            order, argument=b""
        )
    return task.order == order
