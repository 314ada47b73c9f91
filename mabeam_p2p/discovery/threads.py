"""Blocking calls beside the loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def off_loop(call: Callable[[], T]) -> asyncio.Future[T]:
    """What `call` returns or raises, from a daemon thread of its own. An executor's threads would
    be waited for at exit, however long a name server is silent."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T may include None.

    def run() -> None:
        result, failure = None, None
        try:
            result = call()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(settle, result, failure)

    Thread(target=run, name="mabeam-lookup", daemon=True).start()
    return future
