"""Which multicast packets are looked at: reading one costs a third of a millisecond, and anybody
can send thousands.

1. What is too much is dropped unread. Announcements are repeated, and hints: a lost one costs
   seconds. As little traffic as a network of hundreds of services has is never touched.
2. So is a packet with a name that could not be said again: zeroconf takes it in, and can ask no
   more questions as long as it remembers it.
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

NAME_BYTES_MAX = 253
LABEL_BYTES_MAX = 63
_NAME_FIELDS = ("alias", "server", "next_name")

_log = logging.getLogger(__name__)


class Throttle(asyncio.DatagramProtocol):
    """Stands before the protocol of a socket and passes on what there is time for. clock: seconds
    that only grow."""

    def __init__(
        self,
        behind: Any,
        clock: Callable[[], float],
        is_sound: Callable[[bytes], bool] = lambda data: True,
    ) -> None:
        self.dropped_count = 0
        self._is_sound = is_sound
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
        if not self._is_sound(data):
            self.dropped_count += 1
            return
        self._behind.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._behind.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind.connection_lost(exc)


def is_sound(data: bytes) -> bool:
    """Whether it is a message of DNS whose names can be said again (RFC 1035 §2.3.4)."""
    from zeroconf import DNSIncoming  # type: ignore[attr-defined]  # Public, but for its __all__.

    try:
        message = DNSIncoming(data)
        records = message.answers()
        names = [question.name for question in message.questions]
    except Exception:
        # What came from the network may be anything, and is read by somebody else's code.
        return False
    for record in records:
        names.append(record.name)
        names += [getattr(record, field, "") for field in _NAME_FIELDS]
    return message.valid and all(map(_can_be_said, names))


def _can_be_said(name: str) -> bool:
    encoded = name.encode(errors="replace")
    return len(encoded) <= NAME_BYTES_MAX and all(
        len(label) <= LABEL_BYTES_MAX for label in encoded.split(b".")
    )


async def install(zeroconf: "Zeroconf") -> tuple[Throttle, ...]:
    """Before every socket that the stack reads from, on the running loop."""
    await zeroconf.async_wait_for_start()
    loop = asyncio.get_running_loop()
    throttles: list[Throttle] = []
    # The stack offers no place of its own for this.
    for reader in zeroconf.engine.readers:
        throttles.append(Throttle(reader.transport.get_protocol(), loop.time, is_sound))
        reader.transport.set_protocol(throttles[-1])
    if not throttles:
        _log.warning("mDNS: floods of packets are not held back with this release of zeroconf")
    return tuple(throttles)
