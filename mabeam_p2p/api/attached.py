"""The Backend of agents that live in a process of their own: a client of a daemon's local socket.

1. One connection serves one agent, or none: an agent's session is named in the greeting and ends
   with the connection.
2. A lost connection fails what was asked on it with DaemonNotRunning and is reported to `on_lost`;
   `open` makes another one, to the same daemon. Listeners stay. A daemon that stops is one that is
   lost: that its peer has been closed is true of this peer's life, not of the agent's.
3. At most PENDING_MAX questions are at the daemon at a time; the others wait here, in order.
4. Who closes says nothing more, and hears the daemon out until that hangs up: the agent's name is
   free there then.
5. A forked child has no part in the connection, which ends with this process (`forks`).
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

from mabeam_p2p import forks
from mabeam_p2p.api import sockets
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    MabeamError,
    NameTaken,
    Overloaded,
    PeerRefused,
    RemoteProtocolError,
)
from mabeam_p2p.events import Event
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.requests import Answer, Failed, Request
from mabeam_p2p.wire import local
from mabeam_p2p.wire.local import (
    LOCAL_VERSION,
    Answered,
    Ask,
    Cancel,
    DaemonMessage,
    Goodbye,
    Greet,
    Subscribe,
    Told,
    Welcome,
    daemon_messages,
    encode,
)

_log = logging.getLogger(__name__)

GREETING_SECONDS = 5.0
"""How long a daemon may take to say Welcome before the next one is tried."""

PENDING_MAX = 1_000
"""Somewhat less than a daemon takes from one client."""

READ_BYTES = 256 * 1024

END_SECONDS = 1.0
"""How long a daemon may take to hang up behind an agent that closes."""


class AttachedBackend:
    """The Backend of `ports` over a local socket. Connected by `open`."""

    def __init__(
        self, name: str, *, cluster: str, addr: str | None = None, limits: Limits | None = None
    ) -> None:
        """name: of the agent; empty for none. addr: a socket's path or a peer's name; None means
        `$MABEAM_ADDR`, else the first daemon of the cluster that answers."""
        self.peer = PeerId("")
        self.peer_name = ""
        self.cluster = cluster
        self.on_lost: Callable[[], object] = lambda: None
        """Called when the connection has ended and nobody here has closed it."""
        self.has_left = False
        """Whether the last one ended with the word that the peer leaves the cluster."""
        self._name = name
        self._addr = addr or os.environ.get(sockets.ADDRESS_VARIABLE)
        self._pending_max = (limits or Limits()).pending_requests_max
        self._connection: _Connection | None = None
        self._listeners: dict[int, Callable[[Event], None]] = {}
        self._numbers = itertools.count(1)
        self._is_closed = False
        forks.watch(self)

    async def open(self, session: SessionId) -> int:
        """Connect and greet as the agent's session; return the peer's epoch.

        session: 0 without an agent. Raises DaemonNotRunning, NameTaken, Overloaded (it has as many
        clients as it takes), PeerRefused (another version), Closed.
        """
        if self._is_closed:
            raise self._closed()
        await self._disconnect()
        faults: list[str] = []
        full: Overloaded | None = None
        for path in sockets.candidates(self.cluster, self._addr):
            try:
                connection, welcome = await _connect(path, self._name, session)
            except (OSError, TimeoutError, RemoteProtocolError) as error:
                fault = getattr(error, "strerror", None) or str(error) or type(error).__name__
                faults.append(f"{path}: {fault}")
                continue
            except Overloaded as error:
                full = error
                continue
            if self._is_closed:
                await connection.close(0)
                raise self._closed()
            # An agent's name holds its peer's: it is at home at this one from now on.
            self._addr = str(path)
            self.peer, self.peer_name = welcome.peer, welcome.peer_name
            self.cluster = welcome.cluster
            self._connection = connection
            connection.start(self._tell, self._on_end)
            return welcome.epoch
        raise full or self._missing(faults)

    def ask(self, request: Request) -> "asyncio.Future[Answer]":
        if self._is_closed:
            raise self._closed()
        if self._connection is None:
            raise self._missing([])
        if self._connection.waiting_count >= self._pending_max:
            raise Overloaded(
                f"{self._pending_max} requests wait for peer {self.peer_name}: "
                "await some before you send more"
            )
        return self._connection.ask(request)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        key = next(self._numbers)
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    async def close(self) -> None:
        """The agent's name is free at the daemon then, unless that hangs."""
        self._is_closed = True
        await self._disconnect()

    def forget(self) -> None:
        """In a forked child: the connection is its parent's."""
        self._is_closed = True
        self._connection = None

    async def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close(END_SECONDS if self._name else 0)

    def _tell(self, event: Event) -> None:
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                # One event is not understood here; answers and the others come all the same.
                _log.exception("a listener raised at %s", type(event).__name__)

    def _on_end(self, connection: "_Connection") -> None:
        if self._connection is connection:
            self._connection = None
            self.has_left = connection.has_left
            self.on_lost()

    def _closed(self) -> Closed:
        return Closed(f"the connection to peer {self.peer_name or '?'} has been closed")

    def _missing(self, faults: list[str]) -> DaemonNotRunning:
        name = self.peer_name or self._addr or ""
        where, flags = f"of cluster {self.cluster!r}", ""
        if "/" in name:
            where = f"at {name}"
        elif name:
            where, flags = f"named {name!r} in cluster {self.cluster!r}", f" --name {name}"
        tried = f" (tried {'; '.join(faults)})" if faults else ""
        return DaemonNotRunning(
            f"no daemon {where} answers on this host{tried}: start one with "
            f"`mabeam up{flags} --cluster {self.cluster}`, or check --addr and --cluster"
        )


class _Connection:
    """One greeted connection."""

    def __init__(
        self, link: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """link: what the two read from and write to."""
        self._link = link
        self._reader = reader
        self._writer = writer
        self._frames = daemon_messages()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._waiting: deque[tuple[asyncio.Future[Answer], bytes, int]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._goodbye: Goodbye | None = None
        forks.watch(self)

    def forget(self) -> None:
        """In a forked child: no closing of the writer, whose loop shares its watch with that of the
        parent."""
        self._link.close()

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    @property
    def has_left(self) -> bool:
        """Whether the daemon has said that it stops."""
        return self._goodbye is not None and self._goodbye.reason == local.CLOSED

    async def greet(self, name: str, session: SessionId) -> tuple[Welcome, list[DaemonMessage]]:
        """Raises NameTaken, Overloaded, PeerRefused, OSError, RemoteProtocolError."""
        self._writer.write(encode(Greet(LOCAL_VERSION, name, session)))
        while True:
            data = await self._reader.read(READ_BYTES)
            if not data:
                raise ConnectionResetError("it hung up at the greeting")
            match self._frames.feed(data):
                case []:
                    continue
                case [Welcome() as welcome, *rest]:
                    self._writer.write(encode(Subscribe(True)))
                    return welcome, rest
                case [Goodbye(reason="name", detail=detail), *_]:
                    raise NameTaken(detail, reason="name_taken")
                case [Goodbye(reason="version", detail=detail), *_]:
                    raise PeerRefused(
                        f"the daemon runs another release: {detail}; install the same release for "
                        "the daemon and this program, and restart the daemon",
                        reason="version",
                    )
                case [Goodbye(reason=local.FULL, detail=detail), *_]:
                    raise Overloaded(detail)
                case [Goodbye(reason=reason, detail=detail), *_]:
                    raise ConnectionResetError(f"{reason} {detail}".strip())
                case _:
                    raise RemoteProtocolError("greeting", "no Welcome")

    def start(self, tell: Callable[[Event], None], ended: Callable[["_Connection"], None]) -> None:
        self._reading = asyncio.create_task(self._read(tell, ended), name="read daemon")

    def ask(self, request: Request) -> "asyncio.Future[Answer]":
        number = next(self._numbers)
        data = encode(Ask(number, request))
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if len(self._asked) < PENDING_MAX:
            self._send(asked, data, number)
        else:
            self._waiting.append((asked, data, number))
        return asked

    async def close(self, seconds: float) -> None:
        """To be asked nothing any more. seconds: how long the daemon may take to hang up."""
        self._fail(DaemonNotRunning("the connection was closed"))
        try:
            if self._reading is not None and seconds:
                with contextlib.suppress(OSError):
                    self._writer.write_eof()
                await asyncio.wait({self._reading}, timeout=seconds)
        finally:
            if self._reading is not None:
                self._reading.cancel()
            self._writer.transport.abort()
        if self._reading is not None:
            await asyncio.wait({self._reading})
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, asked: "asyncio.Future[Answer]", data: bytes, number: int) -> None:
        self._asked[number] = asked
        asked.add_done_callback(lambda done: self._on_done(done, number))
        self._write(data)

    def _write(self, data: bytes) -> None:
        # One that is broken fails what was asked as soon as its reader has noticed; asyncio would
        # log every byte that is written to it until then.
        if not self._writer.transport.is_closing():
            self._writer.write(data)

    def _on_done(self, asked: "asyncio.Future[Answer]", number: int) -> None:
        if asked.cancelled() and self._asked.pop(number, None) is not None:
            self._write(encode(Cancel(number)))
            self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and len(self._asked) < PENDING_MAX:
            asked, data, number = self._waiting.popleft()
            if not asked.done():
                self._send(asked, data, number)

    async def _read(
        self, tell: Callable[[Event], None], ended: Callable[["_Connection"], None]
    ) -> None:
        fault = "it hung up"
        try:
            while data := await self._reader.read(READ_BYTES):
                for message in self._frames.feed(data):
                    self._take(message, tell)
            if self._goodbye is not None:
                fault = f"it said goodbye ({self._goodbye.reason}: {self._goodbye.detail})"
        except (OSError, RemoteProtocolError) as error:
            fault = str(error)
        self._writer.close()
        self._fail(_gone(fault))
        ended(self)

    def _take(self, message: DaemonMessage, tell: Callable[[Event], None]) -> None:
        match message:
            case Told(event=event):
                tell(event)
            case Answered(number=number, answer=answer):
                asked = self._asked.pop(number, None)
                if asked is not None and not asked.done():
                    if isinstance(answer, Failed) and answer.reason == "closed":
                        asked.set_exception(_gone(answer.detail))
                    else:
                        asked.set_result(answer)
                self._send_waiting()
            case Goodbye():
                self._goodbye = message
            case Welcome():
                raise RemoteProtocolError("greeting", "a second Welcome")

    def _fail(self, error: MabeamError) -> None:
        asked = [*self._asked.values(), *(waiting[0] for waiting in self._waiting)]
        self._asked.clear()
        self._waiting.clear()
        for future in asked:
            if not future.done():
                future.set_exception(error)


def _gone(fault: str) -> DaemonNotRunning:
    return DaemonNotRunning(
        f"the daemon has gone: {fault}; an agent that has joined attaches again by itself, anybody "
        "else has to connect again once it runs (see `mabeam up`)"
    )


async def _connect(path: Path, name: str, session: SessionId) -> tuple[_Connection, Welcome]:
    """Raises OSError, TimeoutError, RemoteProtocolError, and what `greet` raises."""
    if len(os.fsencode(path)) > sockets.SOCKET_PATH_BYTES_MAX:
        raise OSError(f"a socket's path has at most {sockets.SOCKET_PATH_BYTES_MAX} bytes")
    async with asyncio.timeout(GREETING_SECONDS):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.setblocking(False)
            await asyncio.get_running_loop().sock_connect(link, str(path))
            sockets.check_user(link)
            reader, writer = await asyncio.open_unix_connection(sock=link)
        except BaseException:
            link.close()
            raise
        connection = _Connection(link, reader, writer)
        try:
            welcome, rest = await connection.greet(name, session)
            if rest:
                raise RemoteProtocolError("greeting", "answers before questions")
        except BaseException:
            writer.close()
            raise
        return connection, welcome
