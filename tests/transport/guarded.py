"""Transports with keys, and a tap between two of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from mabeam_p2p.addresses import join_address, split_address
from mabeam_p2p.ids import PeerId
from mabeam_p2p.security.gatekeeper import Gatekeeper
from mabeam_p2p.transport.link import Link
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from tests.eventually import eventually
from tests.transport.ends import reserved
from tests.transport.keys import Cluster
from tests.transport.recordings import Recording

CANARY = b"canary-of-the-application"


class Peer:
    """A transport with keys, and what it has received from whom."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        kind: Callable[..., ZeroMqTransport] = ZeroMqTransport,
        listen: str = "127.0.0.1:0",
    ) -> None:
        self.gatekeeper = gatekeeper
        self.guard = gatekeeper.guard
        self.transport = kind(listen, frame_bytes_max=65_536, keys=gatekeeper)
        self.heard: list[tuple[PeerId | None, bytes]] = []
        self.failures: list[BaseException] = []
        self.transport.start(
            lambda data: self.heard.append((self.transport.speaker, data)), self.failures.append
        )

    @property
    def key(self) -> bytes:
        return self.guard.public_key

    @property
    def data_address(self) -> str:
        return join_address("127.0.0.1", self.transport._bound_port())

    async def say(self, other: "Peer", data: bytes) -> None:
        """Returns once the other has it."""
        count = len(other.heard)
        if str(other.guard.peer) not in self.transport._links:
            self.transport.connect(other.guard.peer, other.transport.address)
        await eventually(partial(self.transport.send, other.guard.peer, data))
        await eventually(lambda: len(other.heard) > count)


@asynccontextmanager
async def peers(count: int, cluster: Cluster | None = None) -> AsyncIterator[list[Peer]]:
    cluster = cluster or Cluster()
    made = [Peer(cluster.gatekeeper(), listen=reserved()) for _ in range(count)]
    try:
        yield made
    finally:
        for peer in made:
            peer.transport.close()


class Tap:
    """A port that leads to another one, and keeps every byte of both directions."""

    def __init__(self, target: str) -> None:
        self.seen = bytearray()
        self.recordings: list[Recording] = []
        """Of each connection, in the order in which they were begun."""
        self.address = ""
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._forth: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.address = join_address(*self._server.sockets[0].getsockname()[:2])

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            back, forth = await asyncio.open_connection(*split_address(self._target))
        except OSError:
            return
        self._writers.append(forth)
        self._forth.append(forth)
        self.recordings.append(recording := Recording())
        self._tasks += [
            asyncio.create_task(self._pump(reader, forth, recording.says)),
            asyncio.create_task(self._pump(back, writer, recording.is_answered)),
        ]

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        keep: Callable[[bytes], None],
    ) -> None:
        while data := await reader.read(65_536):
            self.seen += data
            keep(data)
            writer.write(data)
        writer.close()

    def slip_in(self, data: bytes) -> None:
        """Say this in the name of whoever began the last connection, over that one."""
        self._forth[-1].write(data)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)


class Tapped(ZeroMqTransport):
    """Dials data sockets by way of a tap."""

    tap: Tap | None = None

    def _dial(self, link: Link, key: bytes | None, where: str) -> bool:
        assert self.tap is not None
        return super()._dial(link, key, self.tap.address)
