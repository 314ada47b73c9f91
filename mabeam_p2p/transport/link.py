"""One link: the DEALER that sends to one target, and what waits until it can.

While a link opens it keeps a few young messages, so that a greeting is not lost to the introduction
and the handshake. It opens when it is made, and anew when another introduction has told where to
dial. Once it was open there it queues nothing for a peer that is down.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import zmq

OPENING_MESSAGES_MAX = 64
OPENING_BYTES_MAX = 1024 * 1024
OPENING_SECONDS_MAX = 1.0
"""What a link keeps until the handshake: this much, this young."""


class Link:
    """`_opening` is what waits for the handshake; None once that has come."""

    __slots__ = (
        "_counters", "_dealer", "_descriptor", "_end_visit", "_loop", "_opening", "_opening_bytes",
        "_retry", "address", "introduced_at", "pause", "place",
    )  # fmt: skip

    def __init__(
        self, address: str, loop: asyncio.AbstractEventLoop, counters: dict[str, int]
    ) -> None:
        self.address = address
        """That it was opened for."""
        self.place: tuple[bytes, str] | None = None
        """The key that has to answer, and where; None: it speaks without keys, or does not know."""
        self.introduced_at = 0.0
        """By the loop's clock: when that was last asked for."""
        self.pause = 0.0
        """Seconds until it is asked for again, after a failure."""
        self._loop = loop
        self._counters = counters
        self._dealer: zmq.Socket[bytes] | None = None
        self._descriptor = -1
        self._opening: deque[tuple[float, bytes]] | None = deque()
        self._opening_bytes = 0
        self._end_visit: Callable[[], None] | None = None
        self._retry: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether there was a handshake; the connection may have broken since."""
        return self._opening is None

    @property
    def is_asking(self) -> bool:
        return self._end_visit is not None or self._retry is not None

    def asks(self, end: Callable[[], None]) -> None:
        """An introduction is under way, which `end` would end."""
        self._end_visit = end
        self.introduced_at = self._loop.time()

    def asked(self, retry: asyncio.TimerHandle | None = None) -> None:
        """It has ended, and is tried again when `retry` rings."""
        self._end_visit, self._retry = None, retry

    def dial(self, dealer: "zmq.Socket[bytes]", linger: int = 0) -> None:
        """Send over this one, which was told to connect, from now on. What an older one has taken
        still leaves it for `linger` milliseconds."""
        if self._dealer is not None:
            if self._opening is not None:
                self._loop.remove_reader(self._descriptor)
            self._dealer.close(linger)
        self._dealer = dealer
        if self._opening is None:
            self._opening, self._opening_bytes = deque(), 0
        # With IMMEDIATE the socket gets its pipe, and this descriptor its edge, at the handshake.
        self._descriptor = dealer.FD
        self._loop.add_reader(self._descriptor, self._settle)

    def hang_up(self) -> None:
        """Send nothing any more to who is there; an introduction may find somebody else."""
        if self._dealer is not None:
            self._end_opening()
            self._dealer.close(0)
            self._dealer, self.place = None, None

    def send(self, data: bytes) -> bool:
        """Whether the message was taken."""
        if self._opening is not None and self._dealer is not None:
            self._settle()
        if self._opening is None:
            return self._send_now(data)
        return self._keep(data)

    def close(self, linger: int) -> None:
        """linger: milliseconds for messages that a live connection has not yet written."""
        if self._end_visit is not None:
            self._end_visit()
        if self._retry is not None:
            self._retry.cancel()
        self.asked()
        self._end_opening()
        if self._dealer is not None:
            self._dealer.close(linger)

    def _send_now(self, data: bytes) -> bool:
        if self._dealer is None:
            return False
        try:
            self._dealer.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _keep(self, data: bytes) -> bool:
        assert self._opening is not None
        size = len(data)
        now = self._loop.time()
        self._expire(now)
        if (
            len(self._opening) >= OPENING_MESSAGES_MAX
            or self._opening_bytes + size > OPENING_BYTES_MAX
        ):
            return False
        self._opening.append((now + OPENING_SECONDS_MAX, data))
        self._opening_bytes += size
        return True

    def _expire(self, now: float) -> None:
        while self._opening and self._opening[0][0] <= now:
            self._opening_bytes -= len(self._opening.popleft()[1])
            self._counters["expired"] += 1

    def _settle(self) -> None:
        """Once the handshake has come, send what is still young, and end the opening."""
        if self._opening is None or self._dealer is None:
            return
        self._expire(self._loop.time())
        # Asking also takes the edge back: the descriptor would stay raised.
        if not self._dealer.poll(0, zmq.POLLOUT):
            return
        kept = self._opening
        self._end_opening()
        for _, data in kept:
            if not self._send_now(data):
                self._counters["expired"] += 1

    def _end_opening(self) -> None:
        if self._opening is not None:
            self._opening = None
            if self._dealer is not None:
                self._loop.remove_reader(self._descriptor)
