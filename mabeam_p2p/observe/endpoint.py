"""The metrics of one daemon: what it is asked for at each reading, counted and served."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import mabeam_p2p
from mabeam_p2p.addresses import split_address
from mabeam_p2p.ids import PeerId
from mabeam_p2p.inquiries import Figures, ReadFigures
from mabeam_p2p.observe.metrics import Exposition, library
from mabeam_p2p.observe.server import PageServer
from mabeam_p2p.observe.tally import Tally
from mabeam_p2p.requests import Answer, Request

LOOPBACK = "127.0.0.1"


def listen_address(text: str) -> str:
    """HOST:PORT of what a user wrote: a port alone is one of this host alone. Raises
    AddressError."""
    address = f"{LOOPBACK}:{text}" if text.isdecimal() else text
    split_address(address)
    return address


class Metrics:
    """Made before the peer, so that nothing that it tells goes uncounted. Raises ConfigError, if
    what it needs is not installed, and AddressError."""

    def __init__(self, listen: str) -> None:
        library()
        self.tally = Tally()
        self._listen = listen_address(listen)
        self._server = PageServer(self._page)
        self._has_begun = asyncio.Event()

    @property
    def address(self) -> str:
        return self._server.address

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Within, the port is held, and who asks waits for `begin`. Raises AddressError."""
        await self._server.start(self._listen)
        try:
            yield
        finally:
            await self.close()

    def begin(
        self,
        ask: Callable[[Request], Awaitable[Answer]],
        *,
        name: str,
        peer: PeerId,
        cluster: str,
    ) -> None:
        """Answer, until `close`: there is a peer."""
        self._ask = ask
        self._exposition = Exposition(
            name=name, peer=peer, cluster=cluster, version=mabeam_p2p.__version__
        )
        self._has_begun.set()

    async def close(self) -> None:
        """Idempotent."""
        await self._server.close()

    async def _page(self, accept: str) -> tuple[bytes, str]:
        await self._has_begun.wait()
        told = await self._ask(ReadFigures())
        assert isinstance(told, Figures), "a peer that runs tells its figures"
        figures = (*told.figures, *self.tally.figures())
        return self._exposition.write(figures, told.histograms, accept)
