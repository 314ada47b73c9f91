"""A dashboard over a fake peer, and readers that say and take exactly what a test wants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from mabeam_p2p.addresses import split_address
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.config import Config
from mabeam_p2p.dashboard.serving import Dashboard, prepared
from tests.api.fakes import FakePeer, attachment

Headers = dict[str, str]

SECONDS = 60.0
"""Deadline of every wait: reached by a failure only."""


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: str


class Events:
    """One open stream of server-sent events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def next(self) -> tuple[str, dict[str, object]] | None:
        """The next event; None: the stream has ended."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    block = await self._block()
                except (asyncio.IncompleteReadError, ConnectionError):
                    return None
                lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
                if "event" in lines:
                    data = msgspec.json.decode(lines["data"], type=dict[str, object])
                    return lines["event"], data

    async def until(self, name: str) -> dict[str, object]:
        """The data of the next event of this name."""
        while (event := await self.next()) is not None:
            if event[0] == name:
                return event[1]
        raise AssertionError(f"the stream ended without {name!r}")

    async def _block(self) -> str:
        """One chunk of the answer's body: the server writes each event as one."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        if not size:
            raise ConnectionResetError
        return data.decode()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


_writers: list[asyncio.StreamWriter] = []
"""Of connections that are closed with the dashboard, unless they were before."""


async def dialled(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which nothing was said yet."""
    reader, writer = await asyncio.open_connection(*split_address(address))
    _writers.append(writer)
    return reader, writer


async def _hang_up() -> None:
    while _writers:
        writer = _writers.pop()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def asked(
    address: str, path: str = "/", headers: Headers | None = None, *, method: str = "GET"
) -> tuple[Response, asyncio.StreamReader, asyncio.StreamWriter]:
    """The answer without its body."""
    reader, writer = await dialled(address)
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {text}" for name, text in ({"Host": address} | (headers or {})).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    response = Response(int(head[0].split()[1]), {k.lower(): v for k, v in pairs}, "")
    return response, reader, writer


async def get(
    address: str, path: str = "/", headers: Headers | None = None, *, method: str = "GET"
) -> Response:
    """One request on a connection of its own."""
    response, reader, writer = await asked(address, path, headers, method=method)
    async with asyncio.timeout(SECONDS):
        size = 0 if method == "HEAD" else int(response.headers.get("content-length", 0))
        body = await reader.readexactly(size)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return Response(response.status, response.headers, body.decode())


async def stream(address: str, headers: Headers | None = None) -> Events:
    response, reader, writer = await asked(address, "/events", headers)
    assert response.status == 200, response
    return Events(reader, writer)


@asynccontextmanager
async def served(
    peer: FakePeer | None = None, *, dashboard: str = "127.0.0.1:0", token_file: str = ""
) -> AsyncIterator[tuple[Dashboard, Attachment]]:
    """The dashboard of a fake peer."""
    config = Config(name="ant", dashboard=dashboard, dashboard_token=token_file)
    tie = attachment(peer or FakePeer())
    try:
        with prepared(config) as prepared_one:
            async with prepared_one.serving(tie) as running:
                yield running, tie
    finally:
        await _hang_up()
        await tie.close()
