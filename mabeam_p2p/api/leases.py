"""Leases: a session that must show, again and again, that its process still runs.

1. Whatever of the session is applied renews its lease. KeepAlive is said only when nothing else was
   for a third of the lease, so that two of them may be lost.
2. What counts is when a command was first sent, not when its answer came: the log cannot have
   applied it earlier.
3. It is said by the application's own loop. One that is blocked for longer than the lease is as
   good as dead, and its agent loses what it holds.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

from mabeam_p2p.api.values import TIMEOUT_SECONDS_MAX
from mabeam_p2p.errors import InvalidValue, MabeamError

LEASE_SECONDS = 30.0
"""Of an attached agent, unless it says otherwise."""

LEASE_SECONDS_MIN = 1.0
"""A shorter one would not outlast an election and a retry."""

SHARE = 1 / 3
"""Of the lease that may pass in silence."""

PAUSE_SHARE = 1 / 30
"""Of the lease, between two attempts when the first came to nothing."""


class Lease:
    """One session's. `say` commits a KeepAlive within so many seconds, or raises a MabeamError."""

    def __init__(self, seconds: float, say: Callable[[float], Awaitable[object]]) -> None:
        self.seconds = seconds
        self._say = say
        self._renewed_at = -math.inf
        """By the loop's clock."""
        self._keeping: asyncio.Task[None] | None = None

    @property
    def over_at(self) -> float:
        """When it is over at the earliest, by the loop's clock; the log may count from later."""
        return self._renewed_at + self.seconds

    def renewed(self, sent_at: float) -> None:
        """A command that was first sent then has been applied."""
        self._renewed_at = max(self._renewed_at, sent_at)

    def keep(self) -> None:
        """Begin. Idempotent."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name="keep lease")

    def end(self) -> None:
        """Say no more. Idempotent."""
        if self._keeping is not None:
            self._keeping.cancel()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            left = self._renewed_at + self.seconds * SHARE - loop.time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            before = self._renewed_at
            with contextlib.suppress(MabeamError):
                await self._say(self.seconds * SHARE)
            if self._renewed_at == before:
                await asyncio.sleep(self.seconds * PAUSE_SHARE)


def lease_microseconds(lease: float | None) -> int:
    """Seconds to the log's unit; None to 0, which is for ever. Raises InvalidValue."""
    if lease is None:
        return 0
    if isinstance(lease, bool) or not LEASE_SECONDS_MIN <= lease <= TIMEOUT_SECONDS_MAX:
        raise InvalidValue(
            f"lease {lease!r}: take {LEASE_SECONDS_MIN:g} to {TIMEOUT_SECONDS_MAX:g} seconds, or "
            "None for a session that lasts until it is closed or its peer is gone"
        )
    return round(lease * 1_000_000)
