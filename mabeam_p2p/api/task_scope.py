"""Tasks in one group: declaring them, asking for them, looking at them."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import Decoded, Level
from mabeam_p2p.api.results.tasks import (
    STATUSES,
    StrategyWord,
    TaskFacts,
    TaskResult,
    TaskStatusWord,
    WorkerFacts,
)
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.tasks import (
    MAP_WINDOW,
    NAME_ATTRIBUTE,
    OnError,
    Options,
    Requires,
    TaskHandle,
    Tasks,
    TaskStream,
    amounts_of,
    name_of,
)
from mabeam_p2p.api.work import Work
from mabeam_p2p.errors import InvalidValue, Overloaded
from mabeam_p2p.ids import GROUP_ALL
from mabeam_p2p.requests import TasksQuery, WorkersQuery

F = TypeVar("F", bound=Callable[..., Any])

LIST_LENGTH = 100

OVERLOADED_SECONDS = 0.5
"""Pause of a map before it submits again what the cluster has no room for."""


class TaskScope:
    """The part of a Scope that is about tasks. A task's name is the function's qualified name; in a
    group it is `GROUP:NAME` elsewhere."""

    def __init__(self, group: str, attachment: Attachment, session: Session, work: Work) -> None:
        """Not for users."""
        self._prefix = "" if group == GROUP_ALL else f"{group}:"
        self._tie = attachment
        self._task_session = session
        self._work = work
        self._tasks = Tasks(attachment, session, work, group)

    # ---- working -----------------------------------------------------------------------------

    @overload
    def task(self, function: F, /) -> F: ...

    @overload
    def task(
        self, function: None = None, /, *, name: str | None = None, requires: Requires | None = None
    ) -> Callable[[F], F]: ...

    def task(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        requires: Requires | None = None,
    ) -> Any:
        """Offer the decorated function to the cluster: `@agent.task`, or `@agent.task(name=...)`.

        A coroutine function runs in the agent's loop, a plain one in a thread of its own. It may
        be begun more than once, by several agents in turn, and has one accepted result: write it so
        that a second beginning does no harm. name: under which it is offered; its qualified name
        otherwise. requires: what its tasks need unless their submitter says, when they are
        submitted here. Raises InvalidName, InvalidValue.
        """

        def declare(function: F) -> F:
            own = name_of(function) if name is None else name
            scoped_name = self._tasks.name(own)
            amounts = None if requires is None else amounts_of(requires)
            if name is not None:
                # A bound method has no attributes of its own; it is asked for by name.
                with contextlib.suppress(AttributeError):
                    setattr(function, NAME_ATTRIBUTE, name)
            self._work.declare(scoped_name, function, amounts)
            return function

        return declare if function is None else declare(function)

    async def work(self, slots: int | None = None) -> None:
        """Return once the cluster knows what this agent offers.

        slots: how many tasks it works on at a time from now on, in all groups together; 4 unless
        said. 0 finishes what runs and takes nothing new. Raises Overloaded if it offers too much,
        and NoQuorum if the cluster was not reached: it goes on being offered.
        """
        if slots is not None:
            self._work.set_slots(slots)
        await self._work.offered()

    def withdraw(self, function: Callable[..., object] | str) -> None:
        """Offer a task no more. What runs goes on; what is queued goes to others."""
        self._work.withdraw(self._tasks.name(function))

    # ---- asking ------------------------------------------------------------------------------

    async def submit(
        self,
        function: Callable[..., object] | str,
        /,
        *arguments: object,
        kwargs: Mapping[str, object] | None = None,
        strategy: StrategyWord = "resource_aware",
        requires: Requires | None = None,
        priority: int = 0,
        retries: int = 0,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        key: str = "",
        wait: bool = False,
        id: str | None = None,
    ) -> Decoded:
        """Have a task done by some agent that offers it; return what it returned.

        function: a function, or the name of one. arguments, kwargs: data that can travel.
        strategy: see docs/load_balancing.md. requires: capabilities of the agent, `{"gpu": 1}` to
        take one up while it runs, `["linux"]` to have it there. priority: -100 to 100, the greater
        one first. retries: new attempts after one has failed, with pauses that double. timeout:
        seconds until the task is given up, by the log's clock; None is never. attempt_timeout:
        seconds until an attempt counts as failed. key: for rendezvous, tasks of one key go to one
        agent. wait: queue it although nobody offers it yet. id: asking again is the same task.

        Cancelling the wait cancels the task. Raises NoWorker, InvalidValue (before anything is
        sent), RemoteTaskError if the function raised, TaskDead, TaskCancelled, NoQuorum (certainly
        not submitted), OutcomeUnknown (it may have been), Overloaded.
        """
        options = Options(
            strategy, requires, priority, retries, timeout, attempt_timeout, key, wait
        )
        handle = await self._tasks.submit(function, arguments, kwargs or {}, options, id)
        return (await self._tasks.done(handle, timeout)).value

    async def submit_task(
        self,
        function: Callable[..., object] | str,
        /,
        *arguments: object,
        kwargs: Mapping[str, object] | None = None,
        strategy: StrategyWord = "resource_aware",
        requires: Requires | None = None,
        priority: int = 0,
        retries: int = 0,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        key: str = "",
        wait: bool = False,
        id: str | None = None,
    ) -> TaskHandle:
        """As `submit`, but return as soon as the task is in the log, with a handle of it. It goes
        on whether anybody waits for it or not."""
        options = Options(
            strategy, requires, priority, retries, timeout, attempt_timeout, key, wait
        )
        return await self._tasks.submit(function, arguments, kwargs or {}, options, id)

    def map(
        self,
        function: Callable[..., object] | str,
        items: Iterable[object] | AsyncIterable[object],
        *,
        strategy: StrategyWord = "resource_aware",
        requires: Requires | None = None,
        priority: int = 0,
        retries: int = 0,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        wait: bool = False,
        window: int = MAP_WINDOW,
        on_error: OnError = "raise",
    ) -> TaskStream:
        """One task for each item, its only argument; iterate over the results as they come.

        Each result has `.value`, `.index` of its item, `.agent` and `.seconds`; the stream has
        `.done` and `.total`. window: how many are in the log at a time; items are taken as there is
        room. What they raise, a CancelledError too, ends the iteration behind the results.
        on_error: "raise" ends it with the first error of a task and cancels the rest; "return"
        gives results with `.error`. The rest as in `submit`; timeout is each task's own.
        """
        options = Options(strategy, requires, priority, retries, timeout, attempt_timeout, "", wait)

        async def one(item: object) -> TaskResult:
            handle = await self._submit_with_patience(function, item, options)
            return await self._tasks.done(handle, timeout)

        self._tasks.name(function)
        return self._listed(TaskStream(one, items, window=window, on_error=on_error))

    def task_handle(self, id: str) -> TaskHandle:
        """Of any task in the cluster, to look at, wait for, cancel or retry."""
        return TaskHandle(self._tie, self._task_session, id)

    # ---- looking -----------------------------------------------------------------------------

    async def tasks(
        self, *statuses: TaskStatusWord, limit: int = LIST_LENGTH, level: Level = "local"
    ) -> tuple[TaskFacts, ...]:
        """Those of the group that are remembered: open ones, dead ones, then the finished, each the
        newest first. statuses: these alone, as "dead". limit: of all groups together."""
        for word in statuses:
            if word not in STATUSES:
                raise InvalidValue(f"status {word!r}: take one of {', '.join(STATUSES)}")
        wanted = tuple(STATUSES[word] for word in statuses or STATUSES)
        found = await self._tie.find(
            TasksQuery(wanted, limit), "tasks", linearizable=level == "linearizable"
        )
        return tuple(
            TaskFacts.of(record)
            for record in found.tasks
            if record.order.name.startswith(self._prefix)
        )

    async def workers(self, *, level: Level = "local") -> tuple[WorkerFacts, ...]:
        """The agents that offer tasks of the group, by id."""
        found = await self._tie.find(
            WorkersQuery(), "workers", linearizable=level == "linearizable"
        )
        workers = (
            WorkerFacts.of(record)
            for record in found.workers
            if any(name.startswith(self._prefix) for name in record.names)
        )
        return tuple(sorted(workers, key=lambda worker: worker.agent))

    # ---- within ------------------------------------------------------------------------------

    async def _submit_with_patience(
        self, function: Callable[..., object] | str, item: object, options: Options
    ) -> TaskHandle:
        """A map has many to come: it waits for room."""
        if self._work.find(self._tasks.name(function)) is not None:
            # An offer that was refused is not accepted later, as a task is.
            await self._work.offered()
        while True:
            try:
                return await self._tasks.submit(function, (item,), {}, options)
            except Overloaded:
                await asyncio.sleep(OVERLOADED_SECONDS)

    def _listed(self, stream: TaskStream) -> TaskStream:
        self._work.streams.add(stream)
        self._work.see_out(stream.ending)
        return stream
