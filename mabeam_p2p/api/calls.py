"""Calling what users have declared: coroutine functions in the agent's loop, plain ones in threads.

Not in the loop's pool: a function that hangs would keep its place there for ever, and the program
from ending.
"""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from mabeam_p2p.api.values import text_of

T = TypeVar("T")

THREADS_MAX = 64
"""Plain functions of one agent that run, or hang, at a time."""


class SelfCancelled(RuntimeError):
    """A function ended as cancelled though nobody has cancelled its caller: what it awaited was."""


class Calls:
    """The calls of one kind of one agent. what: names them in errors, as `evaluators`. threads_max:
    how many plain functions run, or hang, at a time."""

    def __init__(self, what: str, threads_max: int = THREADS_MAX) -> None:
        self._what = what
        self._threads_max = threads_max
        self._threads = threading.BoundedSemaphore(threads_max)

    async def call(self, function: Callable[[], T | Awaitable[T]]) -> T:
        """What `function` returns. Raises what it raises, and RuntimeError if too many hang, or if
        it raised in its thread what would end a program or an iteration; SelfCancelled in place of
        a CancelledError of its own, which would end its caller without a word."""
        if inspect.iscoroutinefunction(getattr(function, "func", function)):
            result = function()
        else:
            result = await self._in_thread(function)
        if not inspect.isawaitable(result):
            return result
        try:
            return await result
        except asyncio.CancelledError as error:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise SelfCancelled("the function cancelled itself") from error

    async def _in_thread(self, function: Callable[[], T | Awaitable[T]]) -> T | Awaitable[T]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[tuple[T | Awaitable[T] | None, BaseException | None]]
        outcome = loop.create_future()
        if not self._threads.acquire(blocking=False):
            raise RuntimeError(f"{self._threads_max} {self._what} are still running")

        def settle(value: T | Awaitable[T] | None, error: BaseException | None) -> None:
            # As a result: a future does not take every exception.
            if not outcome.done():
                outcome.set_result((value, error))

        def run() -> None:
            value: T | Awaitable[T] | None = None
            fault: BaseException | None = None
            try:
                value = function()
            except BaseException as error:
                fault = error
            self._threads.release()
            # The agent's loop may have ended before a slow function does.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, value, fault)

        threading.Thread(target=run, name=f"mabeam {self._what}", daemon=True).start()
        value, error = await outcome
        if error is None:
            return cast(T | Awaitable[T], value)
        # What ends a program, or an iteration, ends a call here, and no more.
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise error
        raise RuntimeError(f"{type(error).__name__}: {text_of(error)}") from error
