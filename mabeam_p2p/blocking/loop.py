"""The one loop that carries everything blocking, and the plain iterator over what happens there."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Generic, TypeVar

from mabeam_p2p import forks
from mabeam_p2p.api import streams

T = TypeVar("T")


class LoopThread:
    """The loop that carries everything here; begun by its first use."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin as new, as in a forked child."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[object, object, T]) -> T:
        """The result of `work`, done on the loop. An interruption cancels it."""
        loop = self._running()
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "mabeam_p2p.blocking was called from its own loop, which would wait for itself: "
                "make the evaluator a plain function"
            )
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """The result of `function`, called on the loop: what it reads is not changed meanwhile."""

        async def work() -> T:
            return function()

        return self.run(work())

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="mabeam-blocking", daemon=True
                )
                self._thread.start()
            return self._loop


LOOP = LoopThread()
forks.watch(LOOP)


class Stream(Generic[T]):
    """A plain iterator over events or changes."""

    def __init__(self, stream: streams.Stream[T]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            return LOOP.run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        LOOP.call(self._stream.close)
