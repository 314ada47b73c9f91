"""A small HTTP/1.1 server for one page, on the daemon's own loop.

Of its own, because that of prometheus_client answers each connection on a thread of its own,
without a bound, and another framework for one page would be the larger dependency.

Rules
1. CONNECTIONS_MAX at a time; one more is closed at once. A request has REQUEST_SECONDS and
   REQUEST_BYTES_MAX; one connection is one request.
2. Nothing is read but a GET of the page, and nothing is changed by it.
3. Closing ends all connections at once, whatever they wait for.
4. On loopback the Host header, if there is one, is an IP address or `localhost`: a page of another
   site whose name was made to point here (DNS rebinding) reads nothing.
5. A loop that is stuck answers nothing: then its page is missing, which is what a monitor should
   see.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from mabeam_p2p.addresses import (
    LOCAL_NAMES,
    is_host_header_of,
    is_loopback,
    join_address,
    split_address,
)
from mabeam_p2p.errors import NOT_YET, AddressError

CONNECTIONS_MAX = 16
REQUEST_SECONDS = 5.0
REQUEST_BYTES_MAX = 16 * 1024
PATH = "/metrics"

_log = logging.getLogger(__name__)

Page = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Given the reader's Accept header: the body, and its content type."""


class PageServer:
    """Serves `page` at PATH from `start` until `close`."""

    def __init__(self, page: Page) -> None:
        self.address = ""
        """Where it listens, with the real port."""
        self._page = page
        self._is_local = True
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, listen: str) -> None:
        """listen: HOST:PORT. Raises AddressError."""
        host, port = split_address(listen)
        try:
            self._server = await asyncio.start_server(
                self._accept, host, port, limit=REQUEST_BYTES_MAX
            )
        except OSError as error:
            # Without a number: none of the addresses has come up yet. Nor has a name perhaps.
            is_passing = error.errno in (None, *NOT_YET) or isinstance(error, socket.gaierror)
            raise AddressError(
                f"cannot listen on {listen} for metrics: {error.strerror or error}; take another "
                "port, or 0 for a free one",
                is_passing=is_passing,
            ) from error
        found = self._server.sockets[0].getsockname()
        self.address = join_address(found[0], found[1])
        self._is_local = is_loopback(found[0])
        if not self._is_local:
            _log.warning(
                "metrics are open to the network at %s: anybody who reaches it can read names, "
                "addresses and counts of this peer; it has no key", self.address
            )  # fmt: skip

    async def close(self) -> None:
        """End every connection. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        connections = dict(self._connections)
        for task, writer in connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="metrics")
        self._connections[task] = writer
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, TimeoutError):
            pass  # It went away, said too much, or took too long.
        except Exception:
            _log.exception("the page of metrics could not be made")
        finally:
            writer.transport.abort()
            # asyncio would log why it was lost if nobody asked.
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, head: bytes) -> bytes:
        line, *headers = head.decode("latin-1").split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response("400 Bad Request", b"this is no HTTP/1.1 request\n")
        if words[0] not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", b"GET it\n", "Allow: GET, HEAD")
        hosts = _values(headers, "host")
        if self._is_local and not all(is_host_header_of(host, LOCAL_NAMES) for host in hosts):
            return _response("403 Forbidden", f"ask for http://{self.address}{PATH}\n".encode())
        if words[1].partition("?")[0] != PATH:
            return _response("404 Not Found", f"see {PATH}\n".encode())
        body, content_type = await self._page(", ".join(_values(headers, "accept")))
        whole = _response("200 OK", body, content_type=content_type)
        return whole if words[0] == "GET" else whole[: -len(body)]


def _values(headers: Sequence[str], wanted: str) -> list[str]:
    parts = (header.partition(":") for header in headers)
    return [value.strip() for name, _, value in parts if name.strip().lower() == wanted]


def _response(
    status: str, body: bytes, *headers: str, content_type: str = "text/plain; charset=utf-8"
) -> bytes:
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
