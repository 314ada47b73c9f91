"""Calling what users have declared: coroutine functions in the agent's loop, plain ones in threads.

Not in the loop's pool: a function that hangs would keep its place there for ever, and the program
from ending.
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")

THREADS_MAX = 64
"""Plain functions of one agent that run, or hang, at a time."""


class Calls:
    """The calls of one kind of one agent. what: names them in errors, as `evaluators`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._threads = threading.BoundedSemaphore(THREADS_MAX)

    async def call(self, function: Callable[[], T | Awaitable[T]]) -> T:
        """What `function` returns. Raises what it raises, and RuntimeError if too many hang."""
        if inspect.iscoroutinefunction(getattr(function, "func", function)):
            result = function()
        else:
            result = await self._in_thread(function)
        return await result if inspect.isawaitable(result) else result

    async def _in_thread(self, function: Callable[[], T | Awaitable[T]]) -> T | Awaitable[T]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T | Awaitable[T]] = loop.create_future()
        if not self._threads.acquire(blocking=False):
            raise RuntimeError(f"{THREADS_MAX} {self._what} are still running")

        def settle(end: Callable[[], None]) -> None:
            if not outcome.done():
                end()

        def run() -> None:
            try:
                end = partial(outcome.set_result, function())
            except Exception as error:
                end = partial(outcome.set_exception, error)
            self._threads.release()
            # The agent's loop may have ended before a slow function does.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, end)

        threading.Thread(target=run, name=f"mabeam {self._what}", daemon=True).start()
        return await outcome
