"""The dashboard over HTTP, with readers that say exactly what the test wants."""

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path

import msgspec
import pytest

from mabeam_p2p.addresses import split_address
from mabeam_p2p.config import Config
from mabeam_p2p.dashboard import serving
from mabeam_p2p.dashboard.board import SECTIONS
from mabeam_p2p.dashboard.feed import READERS_MAX, Feed
from mabeam_p2p.errors import AddressError, ConfigError
from mabeam_p2p.events import RoleChanged, VariableChanged
from mabeam_p2p.records import Sibling, Variable
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import PEER, FakePeer
from tests.dashboard.web import SECONDS, Headers, asked, dialled, get, served, stream
from tests.eventually import eventually
from tests.in_loop import in_loop

TOKEN = "correct-horse-battery"


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return str(file)


def variable(name: str, value: object, counter: int) -> Variable:
    sibling = Sibling(PEER, counter, counter, encode_value(value, 1_000_000))
    return Variable(name, "lww", ((PEER, counter),), (sibling,))


def _deaf(address: str, path: str, *, count: int = 1) -> socket.socket:
    """Asks so often, and reads nothing."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    # For small segments the other end keeps less, too.
    deaf.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    deaf.connect(split_address(address))
    deaf.send(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode() * count)
    return deaf


@in_loop
async def test_every_answer_forbids_what_comes_from_elsewhere() -> None:
    async with served() as (page, _):
        paths = sorted(serving.page_files())
        assert "/" in paths
        for path in [*paths, "/nothing", "/../setup.cfg", "//", "/static/index.html"]:
            answer = await get(page.address, path)
            assert answer.status == (200 if path in paths else 404)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert "http" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "set-cookie" not in answer.headers


@in_loop
async def test_the_stream_begins_with_every_section() -> None:
    async with served() as (page, _):
        events = await stream(page.address)
        first = await events.next()
        assert first is not None
        assert first[0] == "hello"
        seen: dict[str, dict[str, object]] = {}
        while len(seen) < len(SECTIONS):
            event = await events.next()
            assert event is not None
            seen[event[0]] = event[1]
        assert sorted(seen) == sorted(SECTIONS)
        assert seen["peer"]["role"] == "leader"
        assert seen["variables"] == {"shown": [], "count": 0}
        await events.close()


@in_loop
async def test_a_change_reaches_every_reader() -> None:
    peer = FakePeer()
    async with served(peer) as (page, _):
        readers = [await stream(page.address) for _ in range(3)]
        for reader in readers:
            await reader.until("variables")
        peer.tell(VariableChanged((variable("rate", 0.5, 1),), PEER))
        for reader in readers:
            told = await reader.until("variables")
            assert told["count"] == 1
            rows = msgspec.convert(told["shown"], list[dict[str, object]])
            assert [(row["name"], row["value"]) for row in rows] == [("rate", "0.5")]
            await reader.close()


@in_loop
async def test_nothing_is_read_of_the_peer_while_nobody_looks() -> None:
    peer = FakePeer()
    async with served(peer) as (page, _):
        known = len(peer.asked)
        for term in range(50):
            peer.tell(RoleChanged("follower", term))
        assert page.counters["streams"] == 0
        assert len(peer.asked) == known
        events = await stream(page.address)
        told = await events.until("elections")
        assert told["count"] == 51
        await events.close()


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Host": "evil.example"}, "host"),
        ({"Origin": "http://evil.example"}, "origin"),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, "origin"),
    ],
    ids=["host", "origin", "site"],
)
@in_loop
async def test_what_another_site_could_make_a_browser_ask_is_refused_and_not_logged(
    headers: Headers, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with served() as (page, _):
        for path in ("/", "/events"):
            assert (await get(page.address, path, headers)).status == 403
        assert page.counters[reason] == 2
        assert page.counters["streams"] == 0
    # As `mabeam dump` keeps it, which any page that a browser has open could flood.
    assert caplog.records == []


@in_loop
async def test_what_is_no_http_is_refused_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with served() as (page, _):
        for request in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\r\n\r\n", b"GET\r\n\r\n"):
            reader, writer = await dialled(page.address)
            writer.write(request)
            async with asyncio.timeout(SECONDS):
                assert b" 400 " in await reader.readuntil(b"\r\n")
        assert page.counters["requests"] == 0
    assert not [one for one in caplog.records if one.levelno >= logging.INFO]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
@in_loop
async def test_only_get_is_answered(method: str) -> None:
    async with served() as (page, _):
        answer = await get(page.address, "/events", {"Content-Length": "0"}, method=method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET"


@in_loop
async def test_another_user_of_this_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    async with served() as (page, _):
        for path in ("/", "/events"):
            answer = await get(page.address, path)
            assert answer.status == 403
            assert "--dashboard-token" in answer.body
        assert page.counters["user"] == 2


@in_loop
async def test_facts_need_the_token_and_the_page_does_not(token_file: str) -> None:
    async with served(token_file=token_file) as (page, _):
        assert (await get(page.address)).status == 200
        for said in ("", "Bearer wrong-horse-battery", f"Basic {TOKEN}"):
            answer = await get(page.address, "/events", {"Authorization": said})
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        answer = await get(page.address, f"/events?token={TOKEN}")
        assert answer.status == 401
        events = await stream(page.address, {"Authorization": f"Bearer {TOKEN}"})
        assert (await events.until("peer"))["name"] == "ant"
        await events.close()


@in_loop
async def test_the_token_is_in_no_answer_and_in_no_log(
    token_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(token_file=token_file) as (page, _):
        answers = [await get(page.address, path) for path in sorted(serving.page_files())]
        answers.append(await get(page.address, "/events", {"Authorization": f"Basic {TOKEN}"}))
        answers.append(await get(page.address, f"/{TOKEN}", {"Host": f"{TOKEN}.example"}))
        events = await stream(page.address, {"Authorization": f"Bearer {TOKEN}"})
        told = [await events.next() for _ in range(len(SECTIONS) + 1)]
        await events.close()
    assert TOKEN not in repr(answers) + repr(told) + caplog.text


def test_an_address_that_others_reach_needs_a_token() -> None:
    with (
        pytest.raises(ConfigError, match="--dashboard-token"),
        serving.prepared(Config(dashboard="0.0.0.0:0")),
    ):
        pass


def test_with_a_token_others_may_reach_it(token_file: str) -> None:
    config = Config(dashboard="0.0.0.0:0", dashboard_token=token_file)
    with serving.prepared(config) as page:
        assert page.is_exposed
        assert page.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("address", ["hill:80", "127.0.0.1", "nonsense"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(AddressError) as caught, serving.prepared(Config(dashboard=address)):
        pass
    assert not caught.value.is_passing


def test_an_address_that_has_not_come_up_is_worth_another_try(token_file: str) -> None:
    config = Config(dashboard="192.0.2.1:0", dashboard_token=token_file)
    with pytest.raises(AddressError) as caught, serving.prepared(config):
        pass
    assert caught.value.is_passing


def test_a_port_that_is_taken_is_named() -> None:
    with (
        serving.prepared(Config(dashboard="127.0.0.1:0")) as page,
        pytest.raises(AddressError, match=page.address) as caught,
        serving.prepared(Config(dashboard=page.address)),
    ):
        pass
    assert caught.value.is_passing


@in_loop
async def test_readers_beyond_the_limit_are_told_to_come_later() -> None:
    async with served() as (page, _):
        readers = [await stream(page.address) for _ in range(READERS_MAX)]
        answer = await get(page.address, "/events")
        assert answer.status == 503
        await readers.pop().close()
        await eventually(lambda: not page.is_full)
        await stream(page.address)


@in_loop
async def test_who_comes_last_gets_the_place_of_the_oldest_connection_that_is_no_page() -> None:
    async with served() as (page, _):
        events = await stream(page.address)
        silent = [await dialled(page.address) for _ in range(serving.PASSING_MAX)]
        assert page.counters["crowd"] == 0
        assert (await get(page.address)).status == 200
        assert page.counters["crowd"] == 1
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(SECONDS):
                assert await silent[0][0].read() == b""
        assert not silent[1][0].at_eof()
        # It was there before them.
        await events.until("peer")


@in_loop
async def test_a_flood_of_connections_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PASSING_SECONDS", 3_600.0)
    monkeypatch.setattr(serving, "REQUESTS_AT_ONCE", 4)
    monkeypatch.setattr(serving, "REQUESTS_PER_SECOND", 0.0)
    async with served() as (page, _):
        # A connection, and a request on it.
        for _ in range(2):
            assert (await get(page.address)).status == 200
        reader, _ = await dialled(page.address)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(SECONDS):
                assert await reader.read() == b""
        assert page.counters["flood"] == 1


@in_loop
async def test_a_flood_on_one_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUESTS_AT_ONCE", 4)
    monkeypatch.setattr(serving, "REQUESTS_PER_SECOND", 0.0)
    async with served() as (page, _):
        reader, writer = await dialled(page.address)
        writer.write(f"GET /icon.svg HTTP/1.1\r\nHost: {page.address}\r\n\r\n".encode() * 50)
        async with asyncio.timeout(SECONDS):
            answers = (await reader.read()).decode()
        assert answers.count(" 200 OK") == 3
        assert answers.count(" 503 ") == 1
        assert page.counters["requests"] == 3


@in_loop
async def test_what_one_connection_asks_ahead_of_its_answers_is_not_read() -> None:
    async with served() as (page, _):
        events = await stream(page.address)
        (connection,) = page._streams.values()
        assert isinstance(connection, asyncio.ReadTransport)
        # Before the stream ends none of them is answered.
        events.writer.write(f"GET / HTTP/1.1\r\nHost: {page.address}\r\n\r\n".encode() * 1_000)
        await eventually(lambda: not connection.is_reading())


@in_loop
async def test_a_connection_that_asks_for_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "PASSING_SECONDS", 0.05)
    async with served() as (page, _):
        for beginning in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "):
            reader, writer = await dialled(page.address)
            writer.write(beginning)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(SECONDS):
                    assert await reader.read() == b""


@in_loop
async def test_a_connection_on_which_much_is_asked_is_closed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "REQUESTS_AT_ONCE", 1_000_000)
    peer = FakePeer()
    async with served(peer) as (page, _):
        events = await stream(page.address)
        monkeypatch.setattr(serving, "PASSING_SECONDS", 0.05)
        reader, writer = await dialled(page.address)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(SECONDS):
                while True:
                    writer.write(f"GET /no HTTP/1.1\r\nHost: {page.address}\r\n\r\n".encode())
                    await reader.readuntil(b"nothing here.\n")
        # A page stays.
        peer.tell(VariableChanged((variable("rate", 0.5, 1),), PEER))
        while (await events.until("variables"))["count"] != 1:
            pass


@in_loop
async def test_a_connection_that_takes_no_answer_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Long enough for the first request to be taken.
    monkeypatch.setattr(serving, "PASSING_SECONDS", 1.0)
    async with served() as (page, _):
        with _deaf(page.address, "/dashboard.css", count=100):
            await eventually(lambda: page.counters["requests"] and not page.connection_count)


@in_loop
async def test_headers_without_end_are_refused() -> None:
    async with served() as (page, _):
        answer = await get(page.address, "/", {"X": "y" * 100_000})
        assert answer.status == 400
        answer = await get(page.address, f"/{'y' * 100_000}")
        assert answer.status == 400


@in_loop
async def test_a_reader_that_takes_nothing_is_cut_off_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "WRITE_SECONDS", 0.2)
    peer = FakePeer()
    async with served(peer) as (page, _):
        deaf = _deaf(page.address, "/events")
        good = await stream(page.address)
        await good.until("variables")
        count = 0
        while not page.counters["slow"]:
            # As much as the kernel keeps for who does not read is soon full.
            count += 1
            assert count < 40, "it was never cut off"
            changes = tuple(variable(f"{number}", "x" * 200, count) for number in range(200))
            peer.tell(VariableChanged(changes, PEER))
            told = await good.until("variables")
            assert told["count"] == 200
        peer.tell(VariableChanged((variable("last", 1, count + 1),), PEER))
        while (await good.until("variables"))["count"] != 201:
            pass
        assert page.counters["slow"] == 1
        deaf.close()


@in_loop
async def test_it_stops_although_readers_are_there() -> None:
    loop = asyncio.get_running_loop()
    async with served() as (page, _):
        address = page.address
        events = await stream(address)
        await events.until("peer")
        await dialled(address)
        await asked(address, "/events")
        listening = asyncio.create_task(events.until("end"))
        page_closes_at = loop.time()
    # Who does not read is waited for twice. The rest of the time is the machine's, and it may be
    # busy: what is bounded here is that no reader is waited for until it goes by itself.
    assert 2 * serving.CLOSE_SECONDS < 1.5
    assert loop.time() - page_closes_at < 10.0 < serving.PASSING_SECONDS
    assert await listening == {}
    with pytest.raises(ConnectionRefusedError):
        await dialled(address)


@in_loop
async def test_while_nothing_happens_something_is_said_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "STILL_HERE_SECONDS", 0.05)
    async with served() as (page, _):
        _, reader, _ = await asked(page.address, "/events")
        async with asyncio.timeout(SECONDS):
            await reader.readuntil(b": still here\n\n")
            await reader.readuntil(b": still here\n\n")


@in_loop
async def test_what_breaks_an_invariant_is_logged_and_ends_one_answer_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as (page, _):
        monkeypatch.setattr(Feed, "join", lambda feed: 1 / 0)
        answer = await get(page.address, "/events")
        assert answer.status == 500
        assert "ZeroDivisionError" not in answer.body
        assert "ZeroDivisionError" in caplog.text
        assert (await get(page.address)).status == 200
