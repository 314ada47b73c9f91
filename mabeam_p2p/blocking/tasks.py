"""Tasks without `await`."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar, overload

from mabeam_p2p.api import task_scope, tasks
from mabeam_p2p.api.results import Decoded, Level
from mabeam_p2p.api.results.tasks import (
    StrategyWord,
    TaskFacts,
    TaskResult,
    TaskStatusWord,
    WorkerFacts,
)
from mabeam_p2p.api.tasks import MAP_WINDOW, OnError, Requires
from mabeam_p2p.blocking.loop import LOOP, Stream

F = TypeVar("F", bound=Callable[..., Any])


class TaskHandle:
    def __init__(self, own: tasks.TaskHandle) -> None:
        self.id = own.id
        self.name = own.name
        self._own = own

    def result(self, timeout: float | None = None) -> TaskResult:
        return LOOP.run(self._own.result(timeout))

    def status(self) -> TaskFacts:
        return LOOP.run(self._own.status())

    def cancel(self) -> None:
        LOOP.run(self._own.cancel())

    def retry(self) -> None:
        LOOP.run(self._own.retry())


class TaskStream(Stream[TaskResult]):
    def __init__(self, own: tasks.TaskStream) -> None:
        super().__init__(own)
        self._own = own

    @property
    def done(self) -> int:
        return self._own.done

    @property
    def total(self) -> int | None:
        return self._own.total

    def __enter__(self) -> "TaskStream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TaskScope:
    """The part of a Scope that is about tasks."""

    def __init__(self, own: task_scope.TaskScope) -> None:
        self._own_tasks = own

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
        own = self._own_tasks

        def declare(function: F) -> F:
            return LOOP.call(lambda: own.task(name=name, requires=requires)(function))

        return declare if function is None else declare(function)

    def work(self, slots: int | None = None) -> None:
        LOOP.run(self._own_tasks.work(slots))

    def withdraw(self, function: Callable[..., object] | str) -> None:
        LOOP.call(lambda: self._own_tasks.withdraw(function))

    def submit(
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
        return LOOP.run(
            self._own_tasks.submit(
                function,
                *arguments,
                kwargs=kwargs,
                strategy=strategy,
                requires=requires,
                priority=priority,
                retries=retries,
                timeout=timeout,
                attempt_timeout=attempt_timeout,
                key=key,
                wait=wait,
                id=id,
            )
        )

    def submit_task(
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
        own = self._own_tasks.submit_task(
            function,
            *arguments,
            kwargs=kwargs,
            strategy=strategy,
            requires=requires,
            priority=priority,
            retries=retries,
            timeout=timeout,
            attempt_timeout=attempt_timeout,
            key=key,
            wait=wait,
            id=id,
        )
        return TaskHandle(LOOP.run(own))

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
        def begin() -> tasks.TaskStream:
            return self._own_tasks.map(
                function,
                items,
                strategy=strategy,
                requires=requires,
                priority=priority,
                retries=retries,
                timeout=timeout,
                attempt_timeout=attempt_timeout,
                wait=wait,
                window=window,
                on_error=on_error,
            )

        return TaskStream(LOOP.call(begin))

    def task_handle(self, id: str) -> TaskHandle:
        return TaskHandle(self._own_tasks.task_handle(id))

    def tasks(
        self,
        *statuses: TaskStatusWord,
        limit: int = task_scope.LIST_LENGTH,
        level: Level = "local",
    ) -> tuple[TaskFacts, ...]:
        return LOOP.run(self._own_tasks.tasks(*statuses, limit=limit, level=level))

    def workers(self, *, level: Level = "local") -> tuple[WorkerFacts, ...]:
        return LOOP.run(self._own_tasks.workers(level=level))
