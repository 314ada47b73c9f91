"""Sockets for much data, apart from those that the peers speak over: one ROUTER is bound and only
receives; one DEALER per address only sends. A message is a header and the bytes themselves, which
ZeroMQ takes from where they lie.

The rules of `zeromq` hold here, too: no ROUTING_ID, nothing queued for a process that is down, only
IP addresses are dialled. All is done on one thread, which waits for all its sockets at once.

Each process has a key of its own for this, as long as it runs. It stands in its address
(HOST:PORT/KEY), which the parties of an exchange tell each other through the log: who is dialled
has to answer under that key, and who is heard is who was dialled, and nobody else. Where libzmq has
no CURVE, nothing leaves the loopback interface, whatever the peer does.
"""

import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import zmq
from zmq.utils import z85

from mabeam_p2p.addresses import is_literal, is_loopback, join_address, split_address
from mabeam_p2p.errors import AddressError
from mabeam_p2p.transport.callers import LOOK_SECONDS, Callers
from mabeam_p2p.transport.curve import Verdict, ZapSocket, as_client, as_server
from mabeam_p2p.transport.intake import Intake
from mabeam_p2p.transport.options import (
    Option,
    bulk_dealer_options,
    bulk_router_options,
    context_options,
)

FRAME_COUNT = 3
"""Routing id, header, payload."""

WAITING_CHUNKS_MAX = 1_024
"""Of all connections together no more bytes than of so many of the largest messages wait."""

LINKS_MAX = 1_024
DIAL_AGAIN_SECONDS = 0.5
IDLE_SECONDS_MAX = 60.0
"""A link that nothing was sent over for so long closes."""


DOMAIN = b"mabeam-bulk"
KEY_MARK = "/"
KEY_BYTES = 32


class _Pair(NamedTuple):
    public: bytes
    secret: bytes

    def reveal(self) -> bytes:
        return self.secret

    def __repr__(self) -> str:
        return "_Pair(redacted)"


class ZeroMqBulk:
    """The BulkTransport of `ports` over TCP. Binds when it is made."""

    address: str

    def __init__(
        self,
        host: str,
        *,
        message_bytes_max: int,
        has_keys: bool | None = None,
    ) -> None:
        """host: an IP address of this machine; the port is a free one. has_keys: None: if libzmq
        can. Raises AddressError."""
        has_keys = zmq.has("curve") if has_keys is None else has_keys
        if not (is_literal(host) and (has_keys or is_loopback(host))):
            raise AddressError(
                f"bulk data will not listen on {host}: without keys it stays on this machine, and "
                "this libzmq has no CURVE; install a pyzmq that brings it"
            )
        self.counters = dict.fromkeys(
            (
                "received", "malformed", "sent", "refused_link_down", "refused_address",
                "callers_cut",
            ),
            0,
        )  # fmt: skip
        self._message_bytes_max = message_bytes_max
        self._may_leave_host = has_keys
        self._pair = _Pair(*map(z85.decode, zmq.curve_keypair())) if has_keys else None
        self._known: dict[bytes, int] = {}
        """Keys of those that links lead to, and how many."""
        self._links: dict[str, zmq.Socket[bytes]] = {}
        self._used_at: dict[str, float] = {}
        """By address, the one that was used longest ago first."""
        self._is_closed = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._context = zmq.Context()
        for option in context_options():
            self._context.set(option.name, option.value)
        # Before anything is bound: without it libzmq would have nobody to ask.
        self._zap = None if self._pair is None else ZapSocket(self._context, DOMAIN)
        self._callers: Callers | None = None
        self._router = self._socket(zmq.ROUTER, bulk_router_options(message_bytes_max))
        self._intake = Intake(self._router, FRAME_COUNT, self.counters, "malformed")
        if self._pair is not None:
            as_server(self._router, self._pair, DOMAIN)
        try:
            self._router.bind(f"tcp://{join_address(host, 0)}")
        except zmq.ZMQError as error:
            self.close()
            raise AddressError(f"bulk data cannot listen on {host}: {error.strerror}") from error
        endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://")
        port = split_address(endpoint)[1]
        self.address = join_address(host, port)
        if self._pair is not None:
            self.address += KEY_MARK + self._pair.public.hex()
        waiting_bytes_max = WAITING_CHUNKS_MAX * message_bytes_max
        self._callers = self._intake.callers = Callers(
            self._router, port, waiting_bytes_max, on_cut=self._count_cut
        )

    def send(self, address: str, header: bytes, payload: memoryview) -> bool:
        link = self._links.get(address) or self._open(address)
        if link is None:
            self.counters["refused_address"] += 1
            return False
        try:
            link.send_multipart([header, payload], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self.counters["refused_link_down"] += 1
            return False
        self.counters["sent"] += 1
        del self._used_at[address]
        self._used_at[address] = time.monotonic()
        return True

    def receive(self) -> tuple[bytes, memoryview] | None:
        while True:
            try:
                frames = self._intake.take()
            except zmq.Again:
                return None
            if frames is not None:
                self.counters["received"] += 1
                return frames[1].bytes, frames[2].buffer

    def wait(self, seconds: float | None, blocked: Iterable[str]) -> None:
        watched: list[Any] = [(self._router, zmq.POLLIN), (self._wake_reader, zmq.POLLIN)]
        if self._zap is not None:
            watched.append((self._zap.socket, zmq.POLLIN))
        if self._callers is not None:
            watched.append((self._callers.told, zmq.POLLIN))
        full = [self._links.get(address) for address in blocked]
        watched.extend((link, zmq.POLLOUT) for link in full if link is not None)
        if None in full:
            # There was no descriptor for a link, or it may not be dialled: nothing here tells when
            # that changes.
            seconds = DIAL_AGAIN_SECONDS if seconds is None else min(seconds, DIAL_AGAIN_SECONDS)
        if self._callers is not None and self._callers.are_there:
            # What comes over a connection and is no whole message yet wakes nobody.
            seconds = LOOK_SECONDS if seconds is None else min(seconds, LOOK_SECONDS)
        milliseconds = -1 if seconds is None else math.ceil(seconds * 1000)
        zmq.zmq_poll(watched, milliseconds)
        if self._zap is not None:
            self._zap.serve(self._decide)
        if self._callers is not None:
            self._callers.look(time.monotonic())
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
        self._close_idle(time.monotonic() - IDLE_SECONDS_MAX)

    def wake(self) -> None:
        # A full pipe wakes as well; a closed one has nobody to wake.
        with suppress(OSError):
            os.write(self._wake_writer, b"\0")

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        for link in self._links.values():
            link.close(linger=0)
        if self._callers is not None:
            self._callers.close()
        self._router.close(linger=0)
        if self._zap is not None:
            self._zap.socket.close(linger=0)
        self._context.term()
        os.close(self._wake_reader)
        # Left open: `wake` may be on its way, and the number would be somebody else's.

    def _count_cut(self) -> None:
        self.counters["callers_cut"] += 1

    def _open(self, address: str) -> "zmq.Socket[bytes] | None":
        """None if the address may not be dialled, or there are no descriptors left."""
        found = self._may_dial(address)
        if found is None:
            return None
        where, key = found
        if len(self._links) >= LINKS_MAX:
            self._drop(next(iter(self._used_at)))
        try:
            link = self._socket(zmq.DEALER, bulk_dealer_options(self._message_bytes_max))
        except zmq.ZMQError:
            return None
        if key is not None:
            assert self._pair is not None
            as_client(link, self._pair, key)
            self._known[key] = self._known.get(key, 0) + 1
        link.connect(f"tcp://{where}")
        self._links[address] = link
        self._used_at[address] = time.monotonic()
        return link

    def _decide(self, address: str, key: bytes) -> Verdict:
        # Others may begin before this member does: they try again, and soon.
        return Verdict.ADMIT if key in self._known else Verdict.AGAIN

    def _may_dial(self, address: str) -> tuple[str, bytes | None] | None:
        """HOST:PORT and the key that has to answer there; None: it may not be dialled."""
        where, _, digits = address.partition(KEY_MARK)
        try:
            host, port = split_address(where)
            key = bytes.fromhex(digits)
        except (AddressError, ValueError):
            return None
        has_right_key = len(key) == (0 if self._pair is None else KEY_BYTES)
        is_near_enough = self._may_leave_host or is_loopback(host)
        if not (port > 0 and is_literal(host) and is_near_enough and has_right_key):
            return None
        return where, key or None

    def _socket(self, kind: int, options: tuple[Option, ...]) -> "zmq.Socket[bytes]":
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        for option in options:
            socket.setsockopt(option.name, option.value)
        return socket

    def _close_idle(self, before: float) -> None:
        while self._used_at and self._used_at[oldest := next(iter(self._used_at))] < before:
            self._drop(oldest)

    def _drop(self, address: str) -> None:
        del self._used_at[address]
        self._links.pop(address).close(linger=0)
        digits = address.partition(KEY_MARK)[2]
        if digits:
            key = bytes.fromhex(digits)
            self._known[key] -= 1
            if not self._known[key]:
                del self._known[key]
