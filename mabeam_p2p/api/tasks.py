"""Asking for work: one task, and one for each item of many.

A task is asked for by the name under which agents offer it; its arguments and its result are data,
and nothing is pickled. It has an id of its own, so that asking again is the same task. Once it is
in the log it goes on without its submitter, until it has ended or is cancelled.
"""

import asyncio
import contextlib
import secrets
import weakref
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, TypeAlias, get_args

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results.tasks import STRATEGIES, StrategyWord, TaskFacts, TaskResult
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.streams import Stream
from mabeam_p2p.api.values import microseconds
from mabeam_p2p.api.work import Work
from mabeam_p2p.commands import CancelTask, RetryTask, SubmitTask
from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    InvalidValue,
    MabeamError,
    MabeamTimeout,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
    Rejected,
    UnknownTask,
)
from mabeam_p2p.ids import CLUSTER_SESSION, TaskId, check_key, scoped
from mabeam_p2p.records import Task, TaskOrder
from mabeam_p2p.requests import Committed, Failed, TaskQuery
from mabeam_p2p.wire.cbor import encode_value

Requires: TypeAlias = Mapping[str, int] | Iterable[str]
"""Capabilities: with how much of each is taken up, or names that are only to be there."""

OnError = Literal["raise", "return"]

END_GRACE_SECONDS = 10.0
"""How much later than its deadline the end of a task may reach its submitter."""

SLICE_SECONDS = 30.0
"""How long one question for the end of a task waits. Then it is looked whether the task is still
remembered."""

RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 2.0

MAP_WINDOW = 256
"""Tasks of one map that are in the log at a time."""

NAME_ATTRIBUTE = "__mabeam_task__"
"""Where a function that was declared under another name than its own says so."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a task is to be done."""

    strategy: StrategyWord = "resource_aware"
    requires: Requires | None = None
    priority: int = 0
    retries: int = 0
    timeout: float | None = None
    attempt_timeout: float | None = None
    key: str = ""
    wait: bool = False


def name_of(function: Callable[..., object] | str) -> str:
    """The name of a task: as declared, or the function's qualified name."""
    if isinstance(function, str):
        return function
    declared = getattr(function, NAME_ATTRIBUTE, None)
    if isinstance(declared, str):
        return declared
    name = getattr(function, "__qualname__", None)
    if name is None:
        raise InvalidValue(f"{function!r} has no name of its own: give one, as name='...'")
    return f"{function.__module__}.{name}"


def amounts_of(requires: Requires | None) -> dict[str, int]:
    """Sorted. Raises InvalidValue."""
    if requires is None:
        return {}
    if isinstance(requires, str):
        raise InvalidValue(f"requires {requires!r} is one text: give a list, as [{requires!r}]")
    pairs = requires.items() if isinstance(requires, Mapping) else ((one, 0) for one in requires)
    amounts = dict(sorted(pairs))
    for what, amount in amounts.items():
        check_key(what, "capability")
        if type(amount) is not int or amount < 0:
            raise InvalidValue(f"requires {amount!r} of {what!r}: take a whole number from 0")
    return amounts


class TaskHandle:
    """One task. Made by `submit_task` and `task_handle`."""

    def __init__(self, attachment: Attachment, session: Session, task: str, name: str = "") -> None:
        self.id = check_key(task, "task")
        self.name = name
        """Empty if it is not known here."""
        self._attachment = attachment
        self._session = session

    async def result(self, timeout: float | None = None) -> TaskResult:
        """How it ended, once it has.

        timeout: seconds; None waits as long as it takes. Raises RemoteTaskError if its function
        raised, TaskDead if it was given up otherwise, TaskCancelled, MabeamTimeout (it goes on),
        UnknownTask if it is not remembered.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            ends = loop.time() + SLICE_SECONDS
            is_last = deadline is not None and deadline <= ends
            found = await self._attachment.settled(
                TaskQuery(TaskId(self.id)),
                self._what("waiting for"),
                deadline if is_last and deadline is not None else ends,
            )
            if found is not None:
                return TaskResult.of(found.tasks[0])
            if is_last:
                raise MabeamTimeout(
                    f"{self._what('waiting for')}: not ended within {timeout:g} s; it goes on: "
                    f"see `mabeam tasks show {self.id}`"
                )
            with contextlib.suppress(NoQuorum, MabeamTimeout, Overloaded, DaemonNotRunning):
                await self._record(linearizable=True)

    async def status(self) -> TaskFacts:
        """As the log has it now. Raises UnknownTask, NoQuorum."""
        return TaskFacts.of(await self._record(linearizable=True))

    async def cancel(self) -> None:
        """It gets no result any more; who works on it is told to stop. Cancelling twice is
        cancelling. Raises UnknownTask; Rejected with reason task_finished if it has ended."""
        await self._commit(CancelTask(CLUSTER_SESSION, 0, TaskId(self.id)), "cancelling")

    async def retry(self) -> None:
        """Queue it again if it was given up, as if it had not been tried. Raises UnknownTask;
        Rejected with reason task_finished if it is done or cancelled."""
        await self._commit(RetryTask(CLUSTER_SESSION, 0, TaskId(self.id)), "retrying")

    async def _commit(self, command: CancelTask | RetryTask, doing: str) -> None:
        seconds = self._attachment.timing.request_timeout_seconds
        await self._session.commit(command, self._what(doing), seconds)

    async def _record(self, *, linearizable: bool) -> Task:
        what = self._what("looking for")
        query = TaskQuery(TaskId(self.id))
        found = await self._attachment.find(query, what, linearizable=linearizable)
        if found.tasks:
            return found.tasks[0]
        raise UnknownTask(
            f"{what}: peer {self._attachment.peer_name} does not know it: it is too old to be "
            "remembered, or never was; see `mabeam tasks list`",
            reason="unknown_task",
        )

    def _what(self, doing: str) -> str:
        return f"{doing} task {self.id}" + (f" ({self.name})" if self.name else "")


class Tasks:
    """The submitter's side of one agent in one group."""

    def __init__(self, attachment: Attachment, session: Session, work: Work, group: str) -> None:
        self._attachment = attachment
        self._session = session
        self._work = work
        self._group = group

    def name(self, function: Callable[..., object] | str) -> str:
        """As it is called in the log."""
        return check_key(scoped(self._group, name_of(function)), "task")

    async def submit(
        self,
        function: Callable[..., object] | str,
        positional: Iterable[object],
        keyword: Mapping[str, object],
        options: Options,
        id: str | None = None,
    ) -> TaskHandle:
        """The task, once it is in the log."""
        name = self.name(function)
        order = self._order(name, positional, keyword, options)
        task = TaskId(check_key(id or secrets.token_hex(8), "task"))
        command = SubmitTask(CLUSTER_SESSION, 0, task, order, options.wait)
        if self._work.find(name) is not None:
            # What is declared here can be asked for at once.
            await self._work.offered()
        handle = TaskHandle(self._attachment, self._session, task, name)
        with self._cancelling(handle):
            await self._commit(command, f"submitting task {task} ({name})")
        return handle

    async def done(self, handle: TaskHandle, timeout: float | None) -> TaskResult:
        """The result. Who does not wait for it any more cancels the task."""
        with self._cancelling(handle):
            patience = None if timeout is None else timeout + END_GRACE_SECONDS
            return await handle.result(patience)

    @contextlib.contextmanager
    def _cancelling(self, handle: TaskHandle) -> Iterator[None]:
        """Cancel the task if the block is."""
        try:
            yield
        except asyncio.CancelledError:
            self._work.see_out(asyncio.create_task(_cancel(handle), name=f"cancel {handle.id}"))
            raise

    def _order(
        self,
        name: str,
        positional: Iterable[object],
        keyword: Mapping[str, object],
        options: Options,
    ) -> TaskOrder:
        limits, timing = self._attachment.limits, self._attachment.timing
        if options.strategy not in STRATEGIES:
            words = ", ".join(get_args(StrategyWord))
            raise InvalidValue(f"strategy {options.strategy!r}: take one of {words}")
        for what, number in (("priority", options.priority), ("retries", options.retries)):
            if type(number) is not int:
                raise InvalidValue(f"{what} {number!r}: take a whole number")
        requires = options.requires
        if requires is None:
            declared = self._work.find(name)
            requires = None if declared is None else declared.requires
        argument = encode_value([list(positional), dict(keyword)], limits.task_argument_bytes_max)
        return TaskOrder(
            name,
            argument,
            STRATEGIES[options.strategy],
            tuple(amounts_of(requires).items()),
            options.priority,
            options.retries,
            microseconds(timing.task_backoff_seconds),
            0 if options.timeout is None else microseconds(options.timeout),
            0 if options.attempt_timeout is None else microseconds(options.attempt_timeout),
            check_key(options.key, "key") if options.key else "",
        )

    async def _commit(self, command: SubmitTask, what: str) -> None:
        """Asked until it is known: the id makes another copy the same task, in any session."""
        loop = asyncio.get_running_loop()
        seconds = self._attachment.timing.request_timeout_seconds
        deadline = loop.time() + seconds
        is_unknown = False
        while True:
            left = max(0.0, deadline - loop.time())
            try:
                answer = await self._session.ask(command, left)
            except MabeamError as fault:
                if is_unknown:
                    told = f"{what} may have been done before this: {fault}"
                    raise OutcomeUnknown(told) from fault
                raise
            if isinstance(answer, Committed):
                return
            is_unknown |= isinstance(answer, Failed) and answer.reason in ("unknown", "timeout")
            if not is_unknown or loop.time() + RETRY_SECONDS >= deadline:
                error = self._attachment.error(answer, what)
                raise OutcomeUnknown(str(error)) if is_unknown else error
            await asyncio.sleep(RETRY_SECONDS)


async def _cancel(handle: TaskHandle) -> None:
    """Until the log has heard it, or the agent has ended: nobody else will say it."""
    pause = RETRY_SECONDS
    while True:
        try:
            await handle.cancel()
        except (Closed, Rejected):
            # It may have ended, or never have come.
            return
        except MabeamError:
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
        else:
            return


class TaskStream(Stream[TaskResult]):
    """The results of a map, in the order in which they come. Ends when all have come, or with
    `close`, which cancels the tasks that are left; `async with` closes it."""

    def __init__(
        self,
        submit: Callable[[object], Any],
        items: Iterable[object] | AsyncIterable[object],
        *,
        window: int,
        on_error: OnError,
    ) -> None:
        """Not for users. submit: the coroutine of one item's result."""
        super().__init__()
        if on_error not in get_args(OnError):
            raise InvalidValue(f"on_error {on_error!r}: take raise or return")
        if window < 1:
            raise InvalidValue(f"window {window!r}: take 1 or more")
        self._total = len(items) if isinstance(items, Sized) else None
        self._done = 0
        self._on_error = on_error
        self._ready: deque[TaskResult | Exception] = deque()
        self._fault: BaseException | None = None
        """What the items raised."""
        self._feed = _Feed(submit, items, window, weakref.ref(self))
        weakref.finalize(self, self._feed.stop)

    @property
    def ending(self) -> "asyncio.Task[None]":
        """Not for users: done when nothing of it is under way any more."""
        return self._feed.ending

    @property
    def done(self) -> int:
        """Results that have come."""
        return self._done

    @property
    def total(self) -> int | None:
        """Items; None while it is not known."""
        return self._total

    async def __aenter__(self) -> "TaskStream":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ask for no more results; cancel what has not ended. Idempotent."""
        self._feed.stop()
        super().close()

    def put(self, index: int, result: TaskResult | Exception) -> None:
        """Not for users: the item at `index` has come to this."""
        self._done += 1
        if isinstance(result, TaskResult):
            result = replace(result, index=index)
        elif self._on_error == "return" and isinstance(result, MabeamError):
            task = getattr(result, "task", "")
            agent = getattr(result, "agent", "")
            result = TaskResult(task, None, agent, 0.0, 0, index, result)
        self._ready.append(result)
        self._woken.set()

    def end(self, total: int, fault: BaseException | None) -> None:
        """Not for users: all have come, or the items have failed."""
        self._total = total
        self._fault = fault
        super().close()

    def _take(self) -> TaskResult | None:
        if self._ready:
            ready = self._ready.popleft()
            if isinstance(ready, TaskResult):
                return ready
            self._ready.clear()
            self.close()
            raise ready
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        return None


class _Feed:
    """Keeps a window of tasks under way for a stream, which it does not keep alive."""

    def __init__(
        self,
        submit: Callable[[object], Any],
        items: Iterable[object] | AsyncIterable[object],
        window: int,
        stream: "weakref.ref[TaskStream]",
    ) -> None:
        self._submit = submit
        self._window = asyncio.Semaphore(window)
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._pulling = asyncio.create_task(self._pull(items), name="items of a map")
        self.ending = asyncio.create_task(self._run(), name="map")
        """Never cancelled: done when all that was begun has ended, also after `stop`."""

    def stop(self) -> None:
        if self._loop.is_closed():
            return
        # A finalizer may run in any thread.
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._pulling.cancel()
        for task in tuple(self._tasks):
            task.cancel()

    async def _run(self) -> None:
        await asyncio.wait({self._pulling})
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        if not self._pulling.cancelled() and (stream := self._stream()) is not None:
            # What the items raise is heard by whoever iterates, behind the results that came.
            count, fault = self._pulling.result()
            stream.end(count, fault)

    async def _pull(
        self, items: Iterable[object] | AsyncIterable[object]
    ) -> tuple[int, BaseException | None]:
        """Begin a task for each item: how many there were, and what they raised."""
        count = 0
        try:
            async for item in _each(items):
                await self._window.acquire()
                task = asyncio.create_task(self._one(count, item), name=f"map {count}")
                self._tasks[task] = None
                task.add_done_callback(lambda done: self._tasks.pop(done, None))
                count += 1
        except Exception as error:
            return count, error
        except asyncio.CancelledError as error:
            if self._pulling.cancelling():
                raise
            # The items raise it by themselves, as those that await what was cancelled.
            return count, error
        return count, None

    async def _one(self, index: int, item: object) -> None:
        result: TaskResult | Exception
        try:
            result = await self._submit(item)
        except Exception as error:
            result = error
        finally:
            self._window.release()
        if (stream := self._stream()) is not None:
            stream.put(index, result)


async def _each(items: Iterable[object] | AsyncIterable[object]) -> Any:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
