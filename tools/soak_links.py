"""The links between the peers of a soak: one proxy for each direction of each pair, in one process.

A link carries what its source says to its target; back come only handshakes and heartbeats. What a
link can do to its connections:

1. Held: no byte passes, as while a partition retransmits, and nobody is told. New connections are
   taken, and wait, too. Afterwards the bytes come late, or the connections are reset and they never
   come. One direction alone can be held: the words of the source, or the answers.
2. Slow: bytes wait for a while before they go on, in order.
3. Reset: what is open breaks at once.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


class Lane:
    """One direction of a link's connections."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self._open = asyncio.Event()
        self._open.set()

    @property
    def is_held(self) -> bool:
        return not self._open.is_set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the source ends, or the target has gone."""
        while data := await reader.read(CHUNK_BYTES):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            await self._open.wait()
            writer.write(data)
            await writer.drain()

    async def passable(self) -> None:
        await self._open.wait()


class Link:
    """From one peer to another: a port that leads to the target's."""

    def __init__(self, target: str) -> None:
        """target: HOST:PORT of the peer itself."""
        self.words = Lane()
        self.answers = Lane()
        self.connection_count = 0
        """Connections that were made so far."""
        self.address = ""
        """What the source dials in place of the target."""
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, None] = {}
        self._carriers: dict[asyncio.Task[None], None] = {}
        self._is_closed = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    def cut(self) -> None:
        """Hold both directions."""
        self.words.hold()
        self.answers.hold()

    def heal(self, *, reset: bool = False) -> None:
        """All passes again, at once. reset: what was held is lost with its connections."""
        for lane in (self.words, self.answers):
            lane.delay_seconds = 0.0
            lane.release()
        if reset:
            self.reset()

    def reset(self) -> None:
        """Break every open connection."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    @property
    def is_fair(self) -> bool:
        lanes = (self.words, self.answers)
        return not any(lane.is_held or lane.delay_seconds for lane in lanes)

    async def close(self) -> None:
        """Every connection ends first. Idempotent."""
        self._is_closed = True
        if self._server is not None:
            self._server.close()
            self.heal(reset=True)
            await asyncio.gather(*self._carriers, return_exceptions=True)
            await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrier = asyncio.current_task()
        assert carrier is not None
        self._carriers[carrier] = None
        self._writers[writer] = None
        try:
            with suppress(OSError):
                await self._carry_to_target(reader, writer)
        finally:
            self._forget(writer)
            self._carriers.pop(carrier)

    async def _carry_to_target(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self.words.passable()
        host, _, port = self._target.rpartition(":")
        back, forth = await asyncio.open_connection(host, int(port))
        if self._is_closed:
            forth.transport.abort()
            return
        self._writers[forth] = None
        self.connection_count += 1
        pumps = [
            asyncio.create_task(self.words.pump(reader, forth)),
            asyncio.create_task(self.answers.pump(back, writer)),
        ]
        try:
            # Neither end is half-closed by these peers: when one direction ends, both have.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._forget(forth)

    def _forget(self, writer: asyncio.StreamWriter) -> None:
        self._writers.pop(writer, None)
        writer.transport.abort()


class Links:
    """Every link among peers that are known by number."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = tuple(addresses)
        peers = range(len(self._addresses))
        self._links = {
            (source, target): Link(self._addresses[target])
            for source in peers
            for target in peers
            if source != target
        }

    async def start(self) -> None:
        for link in self._links.values():
            await link.start()

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()

    def routes(self, source: int) -> Mapping[str, str]:
        """What a peer has to dial in place of each other peer's own address."""
        return {
            self._addresses[target]: link.address
            for (end, target), link in self._links.items()
            if end == source
        }

    def between(self, sources: Iterable[int], targets: Iterable[int]) -> list[Link]:
        """Those from any of `sources` to any of `targets`, which may overlap."""
        ends = tuple(targets)
        return [self._links[s, t] for s in sources for t in ends if s != t]

    def all(self) -> list[Link]:
        return list(self._links.values())

    def heal(self, *, reset: bool = False) -> None:
        """All links; `reset` only those that were not fair."""
        for link in self._links.values():
            link.heal(reset=reset and not link.is_fair)
