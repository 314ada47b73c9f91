"""How many multicast packets are looked at: reading one costs a third of a millisecond, and anybody
can send thousands.

What is too much is dropped unread. Announcements are repeated, and hints: a lost one costs seconds.
As little traffic as a network of hundreds of services has is never touched.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zeroconf import Zeroconf

PACKETS_PER_SECOND = 100
PACKETS_AT_ONCE = 300
"""Looked at without a pause: as many answers come at once to a question."""

_log = logging.getLogger(__name__)


class Throttle(asyncio.DatagramProtocol):
    """Stands before the protocol of a socket and passes on what there is time for. clock: seconds
    that only grow."""

    def __init__(self, behind: Any, clock: Callable[[], float]) -> None:
        self.dropped_count = 0
        self._behind = behind
        self._clock = clock
        self._room = float(PACKETS_AT_ONCE)
        self._looked_at = clock()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        now = self._clock()
        self._room += (now - self._looked_at) * PACKETS_PER_SECOND
        self._room = min(self._room, PACKETS_AT_ONCE)
        self._looked_at = now
        if self._room < 1:
            self.dropped_count += 1
            return
        self._room -= 1
        self._behind.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._behind.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind.connection_lost(exc)


async def install(zeroconf: "Zeroconf") -> tuple[Throttle, ...]:
    """Before every socket that the stack reads from, on the running loop."""
    await zeroconf.async_wait_for_start()
    loop = asyncio.get_running_loop()
    throttles: list[Throttle] = []
    # The stack offers no place of its own for this.
    for reader in zeroconf.engine.readers:
        throttles.append(Throttle(reader.transport.get_protocol(), loop.time))
        reader.transport.set_protocol(throttles[-1])
    if not throttles:
        _log.warning("mDNS: floods of packets are not held back with this release of zeroconf")
    return tuple(throttles)
