"""What was said over a connection, and somebody who says it again over another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from mabeam_p2p.addresses import split_address

SECONDS = 60.0
GREETING_BYTES = 64
"""That each end of a connection says first (RFC 23)."""


class Recording:
    """What was said over one connection by whoever began it."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        """Each with how many bytes had been answered before it was said."""
        self._answered = 0

    @property
    def data(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    def says(self, data: bytes) -> None:
        self.pieces.append((self._answered, data))

    def is_answered(self, data: bytes) -> None:
        self._answered += len(data)


def pieces(recording: Recording, way: str) -> list[tuple[int, bytes]]:
    """What is said, each once so many bytes were answered."""
    data = recording.data
    half = len(data) // 2
    return {
        "in step": recording.pieces,
        "in halves": [(0, data[:half]), (GREETING_BYTES + 1, data[half:])],
        "at once": [(0, data)],
    }[way]


@dataclass
class Replay:
    """A connection of somebody who has a recording, and nothing else."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answer: bytearray = field(default_factory=bytearray)

    async def say(self, recording: Recording, way: str) -> None:
        """As far as it is answered as it was then."""
        for answered, data in pieces(recording, way):
            while len(self.answer) < answered and await self._hears():
                pass
            self.writer.write(data)

    async def ended(self) -> None:
        """Returns once the other end has closed it."""
        while await self._hears():
            pass

    async def _hears(self) -> bool:
        """Whether there was anything before the end."""
        data = b""
        with suppress(ConnectionError):  # The other end had not read everything.
            async with asyncio.timeout(SECONDS):
                data = await self.reader.read(65_536)
        self.answer += data
        return bool(data)


@asynccontextmanager
async def replay_to(address: str) -> AsyncIterator[Replay]:
    reader, writer = await asyncio.open_connection(*split_address(address))
    try:
        yield Replay(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
