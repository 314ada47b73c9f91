"""The dashboard over HTTP: the page's own files, and one stream of server-sent events.

`prepared` takes the address and reads the token before the peer starts, so that what is wrong is
said at once; `Dashboard.serving` serves one peer.

1. Every answer has the same headers: nothing from elsewhere is loaded, nothing of this is shown
   within another page, nothing is kept.
2. Requests, connections and streams are counted. A connection that is no stream ends after
   PASSING_SECONDS whatever is asked and taken on it, or earlier if others need its place; a stream
   ends if its reader takes nothing for WRITE_SECONDS.
3. At the end streams are told so; after CLOSE_SECONDS what is left is cut off.
4. No request, header or token is ever logged.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from importlib import resources
from ipaddress import ip_address

from mabeam_p2p.addresses import is_literal, is_loopback, is_wildcard, join_address, split_address
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.config import Config
from mabeam_p2p.dashboard import access, neighbours
from mabeam_p2p.dashboard.access import Access, Refusal
from mabeam_p2p.dashboard.allowance import Allowance
from mabeam_p2p.dashboard.board import Board
from mabeam_p2p.dashboard.feed import READERS_MAX, Feed, Reader
from mabeam_p2p.dashboard.tokens import read_token
from mabeam_p2p.errors import NOT_YET, AddressError, ConfigError

try:
    from aiohttp import web
except ImportError as error:
    raise ConfigError(
        f"the dashboard needs aiohttp ({error}): install it with "
        "`pip install 'mabeam-p2p[dashboard]'`",
        key="dashboard",
    ) from error

CONNECTIONS_MAX = 64
PASSING_MAX = CONNECTIONS_MAX - READERS_MAX
"""Connections that are no streams."""
REQUESTS_PER_SECOND = 50.0
REQUESTS_AT_ONCE = 300
"""Pages of all who may look, loaded at the same time. A request costs a fifth of a millisecond of
the loop that the peer runs on, so a flood of them must not be answered."""
BACKLOG = 32
PASSING_SECONDS = 15.0
"""A connection that is no stream by then is cut off: the files of a page take less."""
WRITE_SECONDS = 5.0
SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel keeps for a reader that is slow; a few versions of the page."""
STILL_HERE_SECONDS = 10.0
"""Something is sent at least this often, so that both ends notice when the other has gone."""
CLOSE_SECONDS = 0.5

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Server": "mabeam",
}

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

FLOOD = Refusal(503, "flood", "Too much is asked at once: come again in some seconds.")
CROWD = Refusal(503, "crowd", "Too many pages are open: close some.")

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

STREAM = "/events"
PAGE = "index.html"

_log = logging.getLogger(__name__)

_NOWHERE = logging.Logger("http", logging.CRITICAL + 1)
"""What the HTTP server says of requests that break its protocol: any stranger could fill a log."""


def page_files() -> dict[str, tuple[str, bytes]]:
    """By path of the URL: content type and content."""
    folder = resources.files("mabeam_p2p.dashboard") / "static"
    files: dict[str, tuple[str, bytes]] = {}
    for file in folder.iterdir():
        kind = _TYPES.get(os.path.splitext(file.name)[1])
        if kind is not None:
            path = "/" if file.name == PAGE else f"/{file.name}"
            files[path] = kind, file.read_bytes()
    return files


@contextmanager
def prepared(config: Config) -> Iterator["Dashboard"]:
    """The dashboard of `config.dashboard`, whose port is held within. Raises ConfigError and
    AddressError."""
    host, port = address_of(config)
    token = read_token(config.dashboard_token) if config.dashboard_token else None
    names = () if is_loopback(host) else (socket.gethostname(),)
    listener = _listener(host, port)
    with contextlib.closing(listener):
        yield Dashboard(listener, Access(names=names, token=token))


def address_of(config: Config) -> tuple[str, int]:
    """Where the dashboard of these settings will be. Raises ConfigError, AddressError."""
    host, port = split_address(config.dashboard)
    if not is_literal(host):
        raise AddressError(
            f"dashboard = {config.dashboard!r}: take an IP address of this host, as 127.0.0.1:0"
        )
    if not (is_loopback(host) or config.dashboard_token):
        raise ConfigError(
            f"dashboard = {config.dashboard!r} is not usable: others can reach it, and it has no "
            "token; give --dashboard-token FILE, or take 127.0.0.1",
            key="dashboard",
        )
    return host, port


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    listener: socket.socket | None = None
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise AddressError(
            f"the dashboard cannot listen on {join_address(host, port)}: {error.strerror}; take "
            "another port, or 0 for a free one",
            is_passing=error.errno in NOT_YET or isinstance(error, socket.gaierror),
        ) from error
    return listener


class Dashboard:
    """Made by `prepared`. user_of: whose process is at the other end of a connection."""

    def __init__(
        self,
        listener: socket.socket,
        who: Access,
        *,
        user_of: Callable[[neighbours.Name, neighbours.Name], int | None] = neighbours.user_of,
    ) -> None:
        self._listener = listener
        self._access = who
        self._user_of = user_of
        self._files = page_files()
        contents = b"".join(content for _, (_, content) in sorted(self._files.items()))
        self._build = sha256(contents).hexdigest()[:16]
        self._feed: Feed | None = None
        self._connections: _Connections | None = None
        self._streams: dict[asyncio.Task[object], asyncio.BaseTransport] = {}
        self.counters = Counter(
            dict.fromkeys((*access.REASONS, "crowd", "flood", "slow", "requests", "streams"), 0)
        )
        """What was answered, and by which reason refused or cut off."""
        self._allowance = Allowance(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        host, port = self._listener.getsockname()[:2]
        return join_address(host, port)

    @property
    def url(self) -> str:
        """Where a browser finds it; on every interface, as this host does."""
        host, port = self._listener.getsockname()[:2]
        if is_wildcard(host):
            host = "::1" if ":" in host else "127.0.0.1"
        return f"http://{join_address(host, port)}/"

    @property
    def is_exposed(self) -> bool:
        """Whether what it says can leave this host, unencrypted."""
        return not is_loopback(self._listener.getsockname()[0])

    @property
    def is_full(self) -> bool:
        """Whether no more pages can be open."""
        return self._feed is not None and self._feed.reader_count >= READERS_MAX

    @property
    def connection_count(self) -> int:
        """Connections that are open, with those of pages."""
        return len(self._connections.connections) if self._connections is not None else 0

    @asynccontextmanager
    async def serving(self, attachment: Attachment) -> AsyncIterator["Dashboard"]:
        """Within, the page shows what the peer of this attachment knows."""
        # The board tells the feed what has changed, and the feed reads it from the board.
        feed = Feed(lambda section: board.read(section))
        board = Board(attachment, feed.on_changed)
        try:
            await board.open()
            async with self._serving(feed):
                yield self
        finally:
            board.close()

    @asynccontextmanager
    async def _serving(self, feed: Feed) -> AsyncIterator[None]:
        self._feed = feed
        feed.start()
        self._connections = web_server = _Connections(self._answer, self.counters)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._admit(web_server), sock=self._listener)
        try:
            yield
        finally:
            server.close()
            await feed.close()
            web_server.pre_shutdown()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    while self._streams:
                        await asyncio.wait(tuple(self._streams))
            for transport in self._streams.values():
                _abort(transport)
            await web_server.shutdown(CLOSE_SECONDS)
            web_server.end()

    # ---- connections -------------------------------------------------------------------------

    def _admit(self, web_server: web.Server) -> asyncio.BaseProtocol:
        if not self._allowance.take(asyncio.get_running_loop().time()):
            self.counters["flood"] += 1
            return _Refused()
        return web_server()

    def _user(self, request: web.BaseRequest) -> int | None:
        if self._access.has_token or request.transport is None:
            return None
        peer, own = (request.transport.get_extra_info(key) for key in ("peername", "sockname"))
        return self._user_of(peer[:2], own[:2]) if peer and own else neighbours.NOBODY

    # ---- requests ----------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answered(request)
        except Exception:
            _log.exception("the dashboard broke an invariant")
            return _text(500, "The dashboard has failed; the peer's log tells how.")

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._allowance.take(asyncio.get_running_loop().time()):
            return self._refused(FLOOD)
        refusal = self._access.of_request(request.method, request.headers)
        refusal = refusal or self._access.of_user(self._user(request), os.geteuid())
        if refusal is not None:
            return self._refused(refusal)
        self.counters["requests"] += 1
        if request.path == STREAM:
            refusal = self._access.of_facts(request.headers)
            return self._refused(refusal) if refusal is not None else await self._stream(request)
        found = self._files.get(request.path)
        if found is None:
            return _text(404, "There is nothing here.")
        kind, content = found
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=HEADERS)

    def _refused(self, refusal: Refusal) -> web.Response:
        self.counters[refusal.reason] += 1
        # Counted, and no line of the log: any stranger could fill that, and drive out of it what a
        # dump is to show.
        _log.debug("dashboard: a request was refused: reason=%s", refusal.reason)
        more = {}
        if refusal is access.METHOD:
            more["Allow"] = "GET"
        if refusal is access.TOKEN:
            more["WWW-Authenticate"] = "Bearer"
        if refusal is CROWD:
            more["Retry-After"] = "5"
        response = _text(refusal.status, refusal.text, more)
        # A stranger keeps no connection, nor is what else it has sent looked at.
        response.force_close()
        return response

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._feed is not None
        assert self._connections is not None
        reader = self._feed.join()
        if reader is None:
            return self._refused(CROWD)
        self.counters["streams"] += 1
        response = web.StreamResponse(headers=HEADERS)
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        response.force_close()
        transport, task = request.transport, asyncio.current_task()
        assert transport is not None
        assert task is not None
        self._streams[task] = transport
        self._connections.release(request.protocol)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        try:
            await self._tell(request, response, reader)
        except TimeoutError:
            self.counters["slow"] += 1
            _log.info("dashboard: a reader that takes nothing was cut off")
            _abort(transport)
        finally:
            self._feed.leave(reader)
            self._streams.pop(task, None)
        return response

    async def _tell(
        self, request: web.BaseRequest, response: web.StreamResponse, reader: Reader
    ) -> None:
        async def write(data: bytes) -> None:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(data)

        async with asyncio.timeout(WRITE_SECONDS):
            await response.prepare(request)
        await write(b'event: hello\ndata: {"build":"%b"}\n\n' % self._build.encode())
        while True:
            try:
                async with asyncio.timeout(STILL_HERE_SECONDS):
                    taken = await reader.take()
            except TimeoutError:
                await write(b": still here\n\n")
                continue
            if taken is None:
                await write(b"event: end\ndata: {}\n\n")
                return
            section, version = taken
            await write(b"event: %b\ndata: %b\n\n" % (section.encode(), version))


class _Connections(web.Server):
    """The HTTP server, and its connections, which it ends itself: one that aiohttp has closed stays
    until its reader takes what waits there."""

    def __init__(self, answer: Answer, counters: Counter[str]) -> None:
        super().__init__(
            answer,
            handler_cancellation=True,
            access_log=None,
            logger=_NOWHERE,
            max_line_size=2_048,
            max_field_size=4_096,
            lingering_time=0.0,
        )
        self._counters = counters
        self._passing: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}
        """Those that are no streams, the oldest first."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        timer = asyncio.get_running_loop().call_later(PASSING_SECONDS, self._end, handler)
        self._passing[handler] = transport, timer
        if len(self._passing) > PASSING_MAX:
            # Whoever holds on to its connections keeps nobody out.
            self._counters["crowd"] += 1
            self._end(next(iter(self._passing)))

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self.release(handler)

    def release(self, handler: web.RequestHandler) -> None:
        """It has become a stream, or is there no more."""
        if handler in self._passing:
            _, timer = self._passing.pop(handler)
            timer.cancel()

    def end(self) -> None:
        """Cut off whatever is no stream."""
        for handler in tuple(self._passing):
            self._end(handler)

    def _end(self, handler: web.RequestHandler) -> None:
        transport, _ = self._passing[handler]
        self.release(handler)
        _abort(transport)


class _Refused(asyncio.Protocol):
    """A connection beyond what is allowed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _abort(transport)


def _abort(transport: asyncio.BaseTransport) -> None:
    """Close it whatever waits to be written."""
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()


def _text(status: int, text: str, more: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        text=f"{text}\n",
        content_type="text/plain",
        charset="utf-8",
        headers=HEADERS | (more or {}),
    )
