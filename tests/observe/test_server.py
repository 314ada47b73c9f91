import asyncio
import contextlib
import errno
import gc
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mabeam_p2p.addresses import join_address, split_address
from mabeam_p2p.errors import AddressError
from mabeam_p2p.observe import server
from mabeam_p2p.observe.server import PATH, PageServer
from tests.eventually import eventually
from tests.in_loop import in_loop

PAGE = b"# a page\n"
GET = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def page(accept: str) -> tuple[bytes, str]:
    return PAGE, f"text/plain; seen={accept}"


@asynccontextmanager
async def serving(listen: str = "127.0.0.1:0") -> AsyncIterator[PageServer]:
    serves = PageServer(page)
    await serves.start(listen)
    try:
        yield serves
    finally:
        await serves.close()


async def said_to(serves: PageServer, request: bytes) -> bytes:
    """All that comes back, until the server hangs up."""
    reader, writer = await asyncio.open_connection(*split_address(serves.address))
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@in_loop
async def test_the_page_is_served_with_its_length_and_type() -> None:
    async with serving() as serves:
        answer = await said_to(serves, GET.replace(b"\r\n\r\n", b"\r\naccept: text/*\r\n\r\n"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; seen=text/*" in head
    assert f"Content-Length: {len(PAGE)}".encode() in head
    assert body == PAGE


@in_loop
async def test_a_head_is_the_answer_without_its_body() -> None:
    async with serving() as serves:
        answer = await said_to(serves, GET.replace(b"GET", b"HEAD"))
    assert answer.endswith(b"\r\n\r\n")
    assert f"Content-Length: {len(PAGE)}".encode() in answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/../secret HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"hello", b"400"),
        (b"GET /metrics SPDY/3", b"400"),
        (b"\xff\xfe\x00 /metrics HTTP/1.1", b"405"),
    ],
)
def test_whatever_else_is_asked_is_refused_and_gives_no_page(
    request_line: bytes, status: bytes
) -> None:
    @in_loop
    async def run() -> None:
        async with serving() as serves:
            answer = await said_to(serves, request_line + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert PAGE not in answer

    run()


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        (b"Host: 127.0.0.1:9464", True),
        (b"host:LocalHost:9464", True),
        (b"Host: [::1]", True),
        (b"X: of a client of HTTP/1.0", True),
        (b"Host: evil.example", False),
        (b"Host: 127.0.0.1.evil.example:9464", False),
        (b"Host: 127.0.0.1\r\nHost: evil.example", False),
        (b"Host:", False),
    ],
)
def test_on_loopback_a_name_that_was_rebound_to_this_host_reads_nothing(
    host: bytes, is_served: bool
) -> None:
    @in_loop
    async def run() -> None:
        async with serving() as serves:
            answer = await said_to(serves, GET.replace(b"Host: localhost", host))
        assert answer.startswith(b"HTTP/1.1 200" if is_served else b"HTTP/1.1 403")
        assert (PAGE in answer) == is_served

    run()


@in_loop
async def test_who_is_to_be_read_from_elsewhere_has_whatever_name_others_give_it() -> None:
    async with serving("0.0.0.0:0") as serves:
        serves.address = join_address("127.0.0.1", split_address(serves.address)[1])
        assert PAGE in await said_to(serves, GET.replace(b"localhost", b"hill.example:9464"))


@in_loop
async def test_a_request_that_is_too_long_is_cut_off() -> None:
    async with serving() as serves:
        answer = await said_to(serves, b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 10_000)
        assert answer == b""
        assert PAGE in await said_to(serves, GET)


def test_a_client_that_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)

    @in_loop
    async def run() -> None:
        async with serving() as serves:
            assert await said_to(serves, b"GET") == b""

    run()


@in_loop
async def test_more_connections_than_are_allowed_are_closed_and_the_others_go_on() -> None:
    async with serving() as serves:
        address = split_address(serves.address)
        held = [await asyncio.open_connection(*address) for _ in range(server.CONNECTIONS_MAX)]
        await eventually(lambda: len(serves._connections) == server.CONNECTIONS_MAX)
        assert await said_to(serves, GET) == b""
        reader, writer = held[0]
        writer.write(GET)
        assert PAGE in await reader.read()
        await eventually(lambda: len(serves._connections) < server.CONNECTIONS_MAX)
        assert PAGE in await said_to(serves, GET)
        for _, writer in held:
            writer.close()


@in_loop
async def test_closing_ends_connections_whatever_they_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that asks nothing, and one that waits for its page."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 3600)
    waits = asyncio.Event()

    async def slow(accept: str) -> tuple[bytes, str]:
        waits.set()
        await asyncio.sleep(3600)
        return b"", ""

    serves = PageServer(slow)
    await serves.start("127.0.0.1:0")
    address = split_address(serves.address)
    idle, busy = [await asyncio.open_connection(*address) for _ in range(2)]
    busy[1].write(GET)
    await waits.wait()
    async with asyncio.timeout(20):
        await serves.close()
    for reader, writer in (idle, busy):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    await serves.close()


@in_loop
async def test_a_page_that_cannot_be_made_hangs_up_and_the_server_goes_on() -> None:
    faults = [RuntimeError("broken")]

    async def sometimes(accept: str) -> tuple[bytes, str]:
        if faults:
            raise faults.pop()
        return PAGE, "text/plain"

    serves = PageServer(sometimes)
    await serves.start("127.0.0.1:0")
    assert await said_to(serves, GET) == b""
    assert PAGE in await said_to(serves, GET)
    await serves.close()


@pytest.mark.usefixtures("losses_are_told")
@in_loop
async def test_who_goes_before_the_page_is_made_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, made = asyncio.Event(), asyncio.Event()

    async def slow_page(accept: str) -> tuple[bytes, str]:
        asked.set()
        await made.wait()
        return await page(accept)

    serves = PageServer(slow_page)
    await serves.start("127.0.0.1:0")
    try:
        with socket.create_connection(split_address(serves.address)) as link:
            link.sendall(GET)
            await asked.wait()
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        (writer,) = serves._connections.values()
        await eventually(writer.transport.is_closing)
        del writer
        made.set()
        await eventually(lambda: not serves._connections)
        gc.collect()
    finally:
        await serves.close()
    assert caplog.text == ""


@in_loop
async def test_a_port_that_is_taken_is_named() -> None:
    async with serving() as serves:
        with pytest.raises(AddressError, match="another port") as caught:
            await PageServer(page).start(serves.address)
    assert caught.value.is_passing


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "host.example:0"])
@in_loop
async def test_an_address_that_has_not_come_up_is_worth_another_try(
    listen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(AddressError) as caught:
        await PageServer(page).start(listen)
    assert caught.value.is_passing


@in_loop
async def test_a_port_that_is_not_allowed_is_worth_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(asyncio, "start_server", start)
    with pytest.raises(AddressError, match="Permission denied") as caught:
        await PageServer(page).start("127.0.0.1:9")
    assert not caught.value.is_passing


def test_beyond_loopback_it_says_that_it_is_open(caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def run() -> None:
        async with serving("0.0.0.0:0"):
            pass
        async with serving():
            pass

    with caplog.at_level(logging.WARNING):
        run()
    [line] = [record for record in caplog.records if "open to the network" in record.message]
    assert "0.0.0.0" in line.message
