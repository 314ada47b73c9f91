"""How long clients are heard before the loop that they share with the peer goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turns:
    """After `seconds_max` of hearing, whomever, the loop turns before more is heard."""

    def __init__(self, seconds_max: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_max = seconds_max
        self._clock = clock
        self._seconds = 0.0
        self._hearing = asyncio.Lock()

    @asynccontextmanager
    async def hear(self) -> AsyncIterator[None]:
        """Within, somebody is heard; in the order in which they came."""
        async with self._hearing:
            began = self._clock()
            try:
                yield
            finally:
                self._seconds += self._clock() - began
            if self._seconds >= self._seconds_max:
                self._seconds = 0.0
                # With the lock: who waits for it is not heard in this turn either.
                await asyncio.sleep(0)
