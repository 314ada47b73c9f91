"""What comes to a peer's ROUTER, delivered in turns of the loop.

Rules
1. A wake-up drains until EAGAIN, or books the rest: no further edge announces what is still queued.
2. While a turn is booked for the next turn of the loop nothing else begins one. In it no party
   takes the time of others (`inbox`).
3. A connection that talks nonsense at length is not read for a while (`strikes`).
4. A message is delivered only if the key of its connection may speak at that moment.
"""

import asyncio
from collections.abc import Callable

import zmq

from mabeam_p2p.ids import PeerId
from mabeam_p2p.ports import Gatekeeper
from mabeam_p2p.transport.callers import Callers
from mabeam_p2p.transport.curve import key_named, user_of
from mabeam_p2p.transport.inbox import Inbox
from mabeam_p2p.transport.intake import Intake
from mabeam_p2p.transport.strikes import Strikes

DRAIN_MESSAGES_MAX = 256
DRAIN_BYTES_MAX = 8 * 1024 * 1024
"""Messages, and bytes, taken in in one turn of the loop, so that timers and sends get their share.
What is delivered of them is decided in `inbox`."""
SPEAKERS_MAX = 8_192
"""Keys that are remembered as they were read; others are read anew from each message."""


class Reception:
    """Of one socket, which somebody else opens, binds and closes."""

    def __init__(
        self, router: "zmq.Socket[bytes]", keys: Gatekeeper | None, counters: dict[str, int]
    ) -> None:
        """keys: None hears everybody. counters: `received`, `multipart`, `muted`, `overrun` and
        `refused_key` are counted there."""
        self.speaker: PeerId | None = None
        """While a message is received: whose key it came under; None: there are no keys."""
        self._router = router
        self._intake = Intake(router, 2, counters, "multipart")
        self._keys = keys
        self._counters = counters
        self._known_keys: dict[str, bytes] = {}
        """By what libzmq calls them; the oldest give way."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Callable[[bytes], None] = lambda _: None
        self._strikes = Strikes()
        self._inbox: Inbox[tuple[bytes, bytes, bytes]] | None = None
        """Connection, message, and the key that it came under."""
        self._speaking: tuple[bytes, int] = b"", 0
        """The connection whose message is being received, and its size."""
        self._booked: asyncio.Handle | None = None
        self._is_next = False
        """Whether what is booked is the next turn of the loop."""

    def start(self, receive: Callable[[bytes], None], callers: Callers | None) -> None:
        """callers: who is told what came over which connection, and cuts one."""
        self._receive, self._intake.callers = receive, callers
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._loop.time)
        self._loop.add_reader(self._router.FD, self._wake)
        # What came before the reader was set has used up its edge.
        self._book(0.0)

    def blame(self) -> None:
        """What is being received made no sense."""
        assert self._loop is not None
        self._strikes.blame(*self._speaking, self._loop.time())

    def close(self) -> None:
        """Before the socket is closed. Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._router.FD)
            self._loop = None
        self._cancel()

    # ---- turns -----------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._is_next:
            self._turn()

    def _book(self, seconds: float | None) -> None:
        """The next turn; None: the next message wakes it."""
        self._cancel()
        if self._loop is None or seconds is None:
            return
        self._is_next = seconds <= 0
        if self._is_next:
            self._booked = self._loop.call_soon(self._turn)
        else:
            self._booked = self._loop.call_later(seconds, self._turn)

    def _cancel(self) -> None:
        if self._booked is not None:
            self._booked.cancel()
        self._booked, self._is_next = None, False

    def _turn(self) -> None:
        """Take in what has come, then deliver some of it."""
        if self._loop is None:
            return
        assert self._inbox is not None
        is_drained = False
        try:
            is_drained = self._take_in(self._inbox, self._loop.time())
            for connection, data, key in self._inbox.turn():
                self._deliver(connection, data, key)
                if self._loop is None:  # What was received made the peer stop.
                    return
        finally:
            self.speaker = None
            self._book(self._inbox.rest() if is_drained else 0.0)

    def _deliver(self, connection: bytes, data: bytes, key: bytes) -> None:
        """Unless its key was revoked, or its connection has lost its voice, since it came."""
        assert self._loop is not None
        if not self._is_heard(key):
            return
        if self._strikes.is_out(connection, self._loop.time()):
            self._counters["muted"] += 1
            return
        self._counters["received"] += 1
        self._speaking = connection, len(data)
        try:
            self._receive(data)
        except Exception as error:
            # It costs its sender what it took, and nobody else's message.
            facts = {"message": "a message could not be received", "exception": error}
            asyncio.get_running_loop().call_exception_handler(facts)

    def _take_in(self, inbox: Inbox[tuple[bytes, bytes, bytes]], now: float) -> bool:
        """Whether nothing is left in the socket."""
        counters, size = self._counters, 0
        try:
            for _ in range(DRAIN_MESSAGES_MAX):
                frames = self._intake.take()
                if frames is None:
                    return False  # Dropping takes its time, too.
                # The connection's routing id. A client can choose it: it is nobody's name.
                connection, frame = frames[0].bytes, frames[1]
                key = b"" if self._keys is None else self._key_of(frame)
                if self._strikes.is_out(connection, now):  # Dropped without a copy.
                    counters["muted"] += 1
                elif not self._is_heard(key):
                    # It comes again, and is not let in.
                    self._intake.cut(frame)
                elif inbox.is_full(party := self.speaker or connection):
                    counters["overrun"] += 1
                else:
                    data = frame.bytes
                    inbox.put(party, len(data), (connection, data, key))
                    size += len(data)
                    if size > DRAIN_BYTES_MAX:
                        return False
        except zmq.Again:
            return True
        return False

    def _is_heard(self, key: bytes) -> bool:
        """Whether what came under it counts now; then `speaker` is whose it is."""
        self.speaker = None
        if self._keys is None:
            return True
        self.speaker = self._keys.speaker(key)
        if self.speaker is None:
            self._counters["refused_key"] += 1
        return self.speaker is not None

    def _key_of(self, frame: zmq.Frame) -> bytes:
        """The key that a message came under; empty: none. It is asked of each message, as whoever
        comes later can have the routing id of who was here before; only what its text stands for
        is remembered."""
        name = user_of(frame)
        key = self._known_keys.get(name)
        if key is None:
            key = self._known_keys[name] = key_named(name) or b""
            if len(self._known_keys) > SPEAKERS_MAX:
                del self._known_keys[next(iter(self._known_keys))]
        return key
