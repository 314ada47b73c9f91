"""Who has connected to a bound socket: how many at a time that have proved nothing yet, for how
long, and how much may have come from all that was not read yet. libzmq bounds none of these. Each
connection holds a descriptor that members, clients and the disk need, and what waits is in memory.

Rules
1. Of too many the oldest give way: whoever means it is done within milliseconds.
2. A connection is cut by its descriptor, which libzmq owns: only through a copy of it that is a
   connection to its very port. Whatever else has the number by now is left alone.
3. The table may know connections that have gone, never the other way round: libzmq does not tell
   of each end.
4. Of too much that waits, the connection with the most gives way, whosever it is.
5. libzmq tells that a handshake has succeeded, and not whose. So a connection is free of all limits
   once a message has come over it, or once it is older than a handshake may be.
"""

import asyncio
import math
import os
import resource
import socket
from collections.abc import Callable
from contextlib import suppress

import zmq
from zmq.utils.monitor import parse_monitor_message

from mabeam_p2p.transport.backlog import Backlog

CALLERS_MAX = 512
"""Where the system allows as many descriptors."""
CALLERS_LEAST = 64
LOOK_SECONDS = 0.1
"""Between two looks at who has been there for too long, and has sent too much: as much more as it
can send in that time may wait."""
PROVED_SECONDS = 3.0
"""Who is there for so long has finished the handshake: libzmq ends the others after two seconds
(HANDSHAKE_IVL of `options`)."""

_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED


def callers_max() -> int:
    """An eighth of the descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CALLERS_MAX
    return min(CALLERS_MAX, max(CALLERS_LEAST, soft // 8))


class Callers:
    """Of one socket, which has been bound to this port; until `close`. For one thread: it calls
    `look`, or has the running loop do it by `start`."""

    def __init__(
        self,
        bound: "zmq.Socket[bytes]",
        port: int,
        waiting_bytes_max: int,
        *,
        seconds_max: float | None = None,
        words_max: int | None = None,
        on_cut: Callable[[], None] = lambda: None,
    ) -> None:
        """waiting_bytes_max: of all connections together. seconds_max: that any of them may last;
        None: over which something has come is free of all other limits. words_max: that may be said
        over any one, where `may_speak` is asked. on_cut: told of each that was ended."""
        self._on_cut = on_cut
        self._bound = bound
        self._ports = [port]
        self._seconds_max = seconds_max
        self._words_max = words_max
        self._waiting_bytes_max = waiting_bytes_max
        self._backlog = Backlog()
        self._weighed_at = -math.inf
        self._words: dict[int, int] = {}
        """By descriptor: how many came over it. Of one that was cut, until it has gone."""
        self._count_max = callers_max()
        self._since: dict[int, float] = {}
        """By descriptor: when it came; the oldest first."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        address = f"inproc://callers-{port}-{id(self)}"
        bound.monitor(address, _EVENTS)
        self._told: zmq.Socket[bytes] = bound.context.socket(zmq.PAIR)
        self._told.linger = 0
        # With a limit the thread that tells would wait for this one, also when this one closes it.
        self._told.rcvhwm = 0
        self._told.connect(address)

    @property
    def told(self) -> "zmq.Socket[bytes]":
        """Readable when there is something to `look` at."""
        return self._told

    @property
    def are_there(self) -> bool:
        return len(self._backlog) > 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._told.FD, self._look)
        self._loop.call_soon(self._look_again)

    def took(self, descriptor: int, size: int) -> None:
        """A part of so many bytes that has come over it was taken out: its key was let in."""
        self._backlog.took(descriptor, size)
        if self._seconds_max is None:
            self._since.pop(descriptor, None)

    def may_speak(self, descriptor: int) -> bool:
        """A word has come over it. False: it is one too many, and the connection ends."""
        if self._words_max is None or descriptor < 0:
            return True
        count = self._words[descriptor] = self._words.get(descriptor, 0) + 1
        if count == self._words_max + 1:
            self.cut(descriptor)
        return count <= self._words_max

    def also_at(self, port: int) -> None:
        """The socket has been bound to this one, too."""
        self._ports.append(port)

    def close(self) -> None:
        """Before its socket is closed. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._told.closed:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._told.FD)
        self._bound.disable_monitor()
        self._told.close(0)

    def look(self, now: float) -> None:
        """Take in who has come and gone, and end those that are too many, or there too long. now:
        monotonic seconds."""
        if self._told.closed:
            return
        with suppress(zmq.Again):
            while True:
                told = parse_monitor_message(self._told.recv_multipart(zmq.NOBLOCK))
                self._hear(told["event"], int(told["value"]), now)
        seconds_max = PROVED_SECONDS if self._seconds_max is None else self._seconds_max
        for descriptor, since in tuple(self._since.items()):
            if now - since < seconds_max:
                break
            if self._seconds_max is None:
                del self._since[descriptor]
            else:
                self.cut(descriptor)
        while len(self._since) > self._count_max:
            self.cut(next(iter(self._since)))
        if now - self._weighed_at >= LOOK_SECONDS:
            self._weighed_at = now
            self._weigh()

    def _weigh(self) -> None:
        """End those by which too much waits."""
        waiting = self._backlog.waiting()
        total = sum(waiting.values())
        for descriptor in sorted(waiting, key=waiting.__getitem__, reverse=True):
            if total <= self._waiting_bytes_max:
                break
            total -= waiting[descriptor]
            self.cut(descriptor)

    def _look(self) -> None:
        assert self._loop is not None
        self.look(self._loop.time())

    def _look_again(self) -> None:
        if self._told.closed:
            return
        assert self._loop is not None
        self._look()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look_again)

    def _hear(self, event: int, descriptor: int, now: float) -> None:
        self._since.pop(descriptor, None)
        self._words.pop(descriptor, None)
        self._backlog.gone(descriptor)
        if event == zmq.EVENT_ACCEPTED:
            self._since[descriptor] = now
            self._backlog.came(descriptor)

    def cut(self, descriptor: int) -> None:
        """End this connection, if there is one to our port under this number."""
        self._since.pop(descriptor, None)
        self._backlog.gone(descriptor)
        with suppress(OSError), _copy_of(descriptor) as copy:
            if copy.family in (socket.AF_INET, socket.AF_INET6) and self._is_ours(copy):
                copy.shutdown(socket.SHUT_RDWR)
                self._on_cut()

    def _is_ours(self, connection: socket.socket) -> bool:
        """Raises OSError if nobody is at the other end."""
        connection.getpeername()
        return connection.getsockname()[1] in self._ports


def _copy_of(descriptor: int) -> socket.socket:
    """Raises OSError if it has been closed, or is no socket by now."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
