"""A board over a fake peer, as the page sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from mabeam_p2p.dashboard.board import Board
from mabeam_p2p.dashboard.fitting import ROWS_BYTES_MAX
from mabeam_p2p.events import Event
from tests.api.fakes import FakePeer, attachment


class Looked:
    """A board, and which sections it has said to have changed."""

    def __init__(self, peer: FakePeer) -> None:
        self.peer = peer
        self.tie = attachment(peer)
        self.changed: dict[str, None] = {}
        self.board = Board(self.tie, lambda section: self.changed.update({section: None}))

    async def read(self, section: str) -> dict[str, object]:
        """As the page gets it."""
        data = msgspec.json.encode(await self.board.read(section))
        assert len(data) <= 2 * ROWS_BYTES_MAX + 1_000
        return msgspec.json.decode(data, type=dict[str, object])

    async def rows(self, section: str, part: str = "") -> list[dict[str, object]]:
        facts: object = await self.read(section)
        if part:
            facts = msgspec.convert(facts, dict[str, object])[part]
        return msgspec.convert(facts, dict[str, object])["shown"]  # type: ignore[return-value]

    async def count(self, section: str, part: str = "") -> object:
        facts = await self.read(section)
        return (msgspec.convert(facts[part], dict[str, object]) if part else facts)["count"]

    def tell(self, *events: Event) -> list[str]:
        """The sections that the board says have changed."""
        self.changed.clear()
        for event in events:
            self.peer.tell(event)
        return list(self.changed)


@asynccontextmanager
async def looked(peer: FakePeer | None = None) -> AsyncIterator[Looked]:
    looked = Looked(peer or FakePeer())
    await looked.board.open()
    try:
        yield looked
    finally:
        looked.board.close()
        await looked.tie.close()
