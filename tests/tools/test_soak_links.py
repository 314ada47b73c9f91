"""The proxies between the peers of a soak, with two ends that speak plain TCP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.eventually import eventually
from tests.in_loop import in_loop
from tools.soak_links import Link, Links


class Target:
    """A server that keeps what it hears, and answers each word with itself."""

    def __init__(self) -> None:
        self.heard = b""
        self.connections = 0
        self.open = 0
        self.address = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        with suppress(ConnectionError):
            while data := await reader.read(100):
                self.heard += data
                writer.write(data)
        writer.transport.abort()
        self.open -= 1


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Target]]:
    target = Target()
    server = await target.start()
    link = Link(target.address)
    await link.start()
    try:
        yield link, target
    finally:
        await link.close()
        await eventually(lambda: target.open == 0)
        server.close()
        await server.wait_closed()


async def dial(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = link.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def broken(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends without another word."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


@in_loop
async def test_a_fair_link_carries_words_and_answers() -> None:
    async with linked() as (link, target):
        reader, writer = await dial(link)
        writer.write(b"word")
        assert await reader.readexactly(4) == b"word"
        assert target.heard == b"word"
        assert link.is_fair
        writer.transport.abort()


@in_loop
async def test_what_was_held_comes_late_and_in_order() -> None:
    async with linked() as (link, target):
        reader, writer = await dial(link)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        link.cut()
        assert not link.is_fair
        writer.write(b"b")
        other_reader, other = await dial(link)
        other.write(b"x")
        # A second link of the same loop has brought its words: these had as much time.
        async with linked() as (fair, _):
            fair_reader, fair_writer = await dial(fair)
            fair_writer.write(b"y")
            assert await fair_reader.readexactly(1) == b"y"
            fair_writer.transport.abort()
        assert (target.heard, target.connections) == (b"a", 1)
        link.heal()
        assert await reader.readexactly(1) == b"b"
        assert await other_reader.readexactly(1) == b"x"
        writer.transport.abort()
        other.transport.abort()


@in_loop
async def test_what_was_held_is_lost_when_the_link_heals_with_a_reset() -> None:
    async with linked() as (link, target):
        reader, writer = await dial(link)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        link.cut()
        writer.write(b"b")
        link.heal(reset=True)
        assert await broken(reader)
        again, writer = await dial(link)
        writer.write(b"c")
        assert await again.readexactly(1) == b"c"
        assert target.heard == b"ac"
        writer.transport.abort()


@in_loop
async def test_one_direction_can_be_held_alone() -> None:
    async with linked() as (link, target):
        reader, writer = await dial(link)
        link.answers.hold()
        writer.write(b"a")
        await eventually(lambda: target.heard == b"a")
        answer = asyncio.ensure_future(reader.readexactly(1))
        writer.write(b"b")
        await eventually(lambda: target.heard == b"ab")
        assert not answer.done()
        link.heal()
        assert await answer == b"a"
        writer.transport.abort()


@in_loop
async def test_a_link_whose_target_has_gone_breaks() -> None:
    link = Link("127.0.0.1:1")
    await link.start()
    reader, writer = await dial(link)
    assert await broken(reader)
    writer.transport.abort()
    await link.close()


def test_links_between_two_sides_are_those_that_cross_in_that_direction() -> None:
    links = Links(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"])
    assert len(links.all()) == 6
    outwards, inwards = links.between([0], [1, 2]), links.between([1, 2], [0])
    assert len(outwards) == len(inwards) == 2
    assert not [link for link in outwards if link in inwards]
    assert links.between(range(3), range(3)) == links.all()
    for link in outwards:
        link.cut()
    assert [link.is_fair for link in links.all()].count(False) == 2
    links.heal()
    assert all(link.is_fair for link in links.all())
