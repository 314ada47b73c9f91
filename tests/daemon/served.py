"""A server over a fake peer, and clients that say exactly what the test wants."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from msgspec.structs import replace

from mabeam_p2p.api.sockets import Listener
from mabeam_p2p.commands import OpenSession
from mabeam_p2p.config import Limits
from mabeam_p2p.daemon.admission import OwnCommand
from mabeam_p2p.daemon.server import Server
from mabeam_p2p.events import Event
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.requests import (
    Answer,
    Committed,
    ReadStatus,
    Request,
    StatusAnswer,
    Submit,
)
from mabeam_p2p.wire.local import (
    LOCAL_VERSION,
    Answered,
    Ask,
    ClientMessage,
    DaemonMessage,
    Greet,
    Welcome,
    daemon_messages,
    encode,
)
from tests.api.fakes import status
from tests.eventually import eventually

PEER = PeerId("00000000000000aa")
SESSION = SessionId(7)


class FakePeer:
    """A Backend whose answers the test gives."""

    peer = PEER
    peer_name = "hill"
    cluster = "default"

    def __init__(self) -> None:
        self.asked: list[tuple[Request, asyncio.Future[Answer]]] = []
        self.listeners: list[Callable[[Event], None]] = []

    def ask(self, request: Request) -> Awaitable[Answer]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.asked.append((request, answer))
        return answer

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    async def close(self) -> None:
        pass

    def tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def requests(self) -> list[Request]:
        return [request for request, _ in self.asked]


class Connection:
    """A client of the local socket that says exactly what the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._frames = daemon_messages()
        self._heard: list[DaemonMessage] = []

    def say(self, *messages: ClientMessage) -> None:
        for message in messages:
            self.writer.write(encode(message))

    async def hear(self) -> DaemonMessage | None:
        """The next message; None at the end of the connection."""
        async with asyncio.timeout(60):
            while not self._heard:
                try:
                    data = await self.reader.read(65536)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                self._heard += self._frames.feed(data)
        return self._heard.pop(0)

    async def greet(self, name: str = "", session: int = 0) -> DaemonMessage | None:
        self.say(Greet(LOCAL_VERSION, name, SessionId(session)))
        return await self.hear()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Daemon:
    """A server over a fake peer, and its clients."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.peer = FakePeer()
        self.said: list[OwnCommand] = []
        self.leaves = 0
        self.server = Server(
            self.peer,
            epoch=3,
            limits=Limits(events_pending_max=4),
            own_name="hill",
            say=self._say,
            on_leave=self._on_leave,
        )
        self._connections: list[Connection] = []

    async def _say(self, command: OwnCommand, seconds: float | None) -> Answer:
        self.said.append(command)
        return Committed(9, 1)

    def _on_leave(self) -> None:
        self.leaves += 1

    async def connect(self) -> Connection:
        connection = Connection(*await asyncio.open_unix_connection(self.path))
        self._connections.append(connection)
        return connection

    async def attach(self, name: str, session: SessionId = SESSION) -> Connection:
        """A client with a name whose session is being opened."""
        connection = await self.connect()
        assert isinstance(await connection.greet(name, session), Welcome)
        agent = AgentId(f"{name}@hill")
        opening = OpenSession(session, 1, agent, PeerId("ff" * 8), 0, (), True, True)
        known = len(self.peer.asked)
        connection.say(Ask(1, Submit(opening)))
        await eventually(lambda: len(self.peer.asked) > known)
        return connection

    async def counters(self) -> dict[str, int]:
        """As a client is told them, behind those of the peer."""
        connection = await self.connect()
        await connection.greet()
        known = len(self.peer.asked)
        connection.say(Ask(1, ReadStatus()))
        await eventually(lambda: len(self.peer.asked) > known)
        self.peer.asked[-1][1].set_result(StatusAnswer(replace(status(), counters=(("own", 1),))))
        answered = await connection.hear()
        assert isinstance(answered, Answered)
        assert isinstance(answered.answer, StatusAnswer)
        own, *others = answered.answer.status.counters
        assert own == ("own", 1)
        return dict(others)

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()
        await self.server.close()


def counters(**counts: int) -> dict[str, int]:
    """Those that are given, and 0 for the others."""
    names = ("daemon_clients", "daemon_clients_refused")
    return dict.fromkeys((*names, "daemon_events_dropped", "daemon_overloaded"), 0) | counts


@contextlib.asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[Daemon]:
    path = folder / "d.sock"
    listener = Listener(path, os.open(folder / "d.lock", os.O_RDWR | os.O_CREAT, 0o600))
    listener.bind(str(path))
    listener.listen()
    running = Daemon(str(path))
    await running.server.start(listener)
    try:
        yield running
    finally:
        await running.close()
