"""Links over ZeroMQ. One ROUTER is bound and only receives; one DEALER per target only sends.

One-way sockets cannot lose a wake-up: a ZeroMQ descriptor is edge-triggered, and on a socket that
does both, a send may eat the edge of an arrival.

Rules
1. A wake-up drains until EAGAIN, or books the rest for the next turn of the loop. No connection
   takes the turns of others (`inbox`), and one that talks nonsense at length is not read for a
   while (`strikes`).
2. Nobody sets a ROUTING_ID: a fixed one can be stolen, and black-holes whoever reconnects early.
   Who speaks is known from the frame.
3. A link queues nothing for a peer that is down. Only while it opens for the first time does it
   keep a few young messages, so that a greeting is not lost to the handshake.
4. Only IP addresses are dialled: a name that came from the network is never looked up.
5. Without keys nothing leaves the loopback interface, unless `insecure` was asked for.
"""

import asyncio
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable

import zmq

from mabeam_p2p.addresses import (
    is_literal,
    is_loopback,
    is_wildcard,
    join_address,
    split_address,
)
from mabeam_p2p.errors import AddressError
from mabeam_p2p.transport.inbox import Inbox
from mabeam_p2p.transport.options import context_options, dealer_options, router_options
from mabeam_p2p.transport.strikes import Strikes

_log = logging.getLogger(__name__)

DRAIN_MESSAGES_MAX = 256
DRAIN_BYTES_MAX = 8 * 1024 * 1024
"""Messages, and bytes, taken in in one turn of the loop, so that timers and sends get their share.
What is delivered of them is decided in `inbox`."""
OPENING_MESSAGES_MAX = 64
OPENING_BYTES_MAX = 1024 * 1024
OPENING_SECONDS_MAX = 1.0
"""What a link keeps until its first handshake: this much, this young."""
REFUSALS_TOLD_MAX = 64
FAREWELL_MILLISECONDS = 200
"""How long closing lets the last messages of a live link leave."""

_INSECURE_WARNING = (
    "INSECURE: %s is open to the network, and this peer has no keys. Anyone who can reach this "
    "port can read what agents agree on, vote in their name, and take the cluster over. "
    "Use it only on a network where you trust every machine and every user."
)


class ZeroMqTransport:
    """The Transport of `ports` over TCP. Binds when it is made."""

    address: str

    def __init__(self, listen: str, *, frame_bytes_max: int, insecure: bool = False) -> None:
        """listen: HOST:PORT, port 0 takes a free one. Raises AddressError."""
        host, port = _listen_host(listen, insecure)
        self.counters = dict.fromkeys(
            (
                "received", "multipart", "muted", "overrun", "sent", "refused_link_down",
                "refused_too_large", "refused_address", "expired",
            ),
            0,
        )  # fmt: skip
        self._frame_bytes_max = frame_bytes_max
        self._insecure = insecure
        self._links: dict[str, _Link] = {}
        self._refused: dict[str, None] = {}
        """Addresses whose refusal the log has told."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Callable[[bytes], None] | None = None
        self._strikes = Strikes()
        self._inbox: Inbox[tuple[bytes, bytes]] = Inbox()
        self._speaking: tuple[bytes, int] = b"", 0
        """The connection whose message is being received, and its size."""
        self._is_closed = False
        self._context = zmq.Context()
        for option in context_options():
            self._context.set(option.name, option.value)
        self._router = self._context.socket(zmq.ROUTER)
        for option in router_options(frame_bytes_max):
            self._router.setsockopt(option.name, option.value)
        try:
            self._router.bind(f"tcp://{join_address(host, port)}")
        except zmq.ZMQError as error:
            self.close()
            raise _bind_error(listen, error) from error
        endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://")
        bound_port = split_address(endpoint)[1]
        self._host, self._port = host, bound_port
        self.address = join_address(_reachable_host(host), bound_port)
        if not is_loopback(host):
            _log.warning(_INSECURE_WARNING, join_address(host, bound_port))

    def start(self, receive: Callable[[bytes], None]) -> None:
        assert self._receive is None, "started twice"
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._router.FD, self._drain)
        # What came before the reader was set has used up its edge.
        self._loop.call_soon(self._drain)

    def locate(self) -> str:
        found = _reachable_host(self._host)
        # Without a way to the network nobody reaches it anywhere; it may soon be where it was.
        if not is_loopback(found) or is_loopback(self._host):
            self.address = join_address(found, self._port)
        return self.address

    def connect(self, target: str, address: str) -> None:
        assert self._loop is not None, "links are opened after start"
        self._drop_link(target, linger=0)
        refusal = self._why_not_dial(address)
        if refusal:
            self._refuse(address, refusal)
            return
        try:
            dealer = self._context.socket(zmq.DEALER)
        except zmq.ZMQError as error:  # No descriptors left: this link is down, others work.
            self._refuse(address, str(error))
            return
        for option in dealer_options(self._frame_bytes_max):
            dealer.setsockopt(option.name, option.value)
        dealer.connect(f"tcp://{address}")
        self._links[target] = _Link(dealer, self._loop, self.counters)

    def disconnect(self, target: str) -> None:
        self._drop_link(target, linger=FAREWELL_MILLISECONDS)

    def send(self, target: str, data: bytes) -> bool:
        if len(data) > self._frame_bytes_max:
            # The receiver would cut the connection, and lose the next message too.
            self.counters["refused_too_large"] += 1
            return False
        link = self._links.get(target)
        if link is None or not link.send(data):
            self.counters["refused_link_down"] += 1
            return False
        self.counters["sent"] += 1
        return True

    def blame(self) -> None:
        assert self._loop is not None
        self._strikes.blame(*self._speaking, self._loop.time())

    def close(self) -> None:
        """Idempotent. Takes FAREWELL_MILLISECONDS at most."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._loop is not None:
            self._loop.remove_reader(self._router.FD)
        for target in tuple(self._links):
            self.disconnect(target)
        self._router.close(linger=0)
        self._context.term()

    def _drain(self) -> None:
        """Take in what has come, then deliver a turn of it."""
        if self._is_closed:
            return
        assert self._receive is not None
        assert self._loop is not None
        is_drained = False
        try:
            is_drained = self._take_in(self._loop.time())
            for connection, data in self._inbox.turn():
                self.counters["received"] += 1
                self._speaking = connection, len(data)
                self._receive(data)
                if self._is_closed:  # What was received made the peer stop.
                    return
        finally:
            # Also when `receive` raised: no further edge announces what is still queued.
            if not (is_drained and self._inbox.is_empty) and not self._is_closed:
                self._loop.call_soon(self._drain)

    def _take_in(self, now: float) -> bool:
        """Whether nothing is left in the socket."""
        recv, counters, size = self._router.recv, self.counters, 0
        try:
            for _ in range(DRAIN_MESSAGES_MAX):
                # The connection's random routing id; the frame says who spoke.
                connection = recv(zmq.NOBLOCK)
                is_muted = self._strikes.is_out(connection, now)
                is_dropped = is_muted or self._inbox.is_full(connection)
                data = b"" if is_dropped else recv(zmq.NOBLOCK)
                if is_dropped:  # Taken without a copy.
                    recv(zmq.NOBLOCK, copy=False)
                if self._router.getsockopt(zmq.RCVMORE):
                    while self._router.getsockopt(zmq.RCVMORE):
                        recv(zmq.NOBLOCK)
                    counters["multipart"] += 1
                elif is_dropped:
                    counters["muted" if is_muted else "overrun"] += 1
                else:
                    self._inbox.put(connection, len(data), (connection, data))
                    size += len(data)
                    if size > DRAIN_BYTES_MAX:
                        return False
        except zmq.Again:
            return True
        return False

    def _why_not_dial(self, address: str) -> str:
        """Empty if `address` may be dialled."""
        try:
            host, port = split_address(address)
        except AddressError as error:
            return str(error)
        if port == 0 or not is_literal(host):
            return "only IP addresses with a port are dialled"
        if not (self._insecure or is_loopback(host)):
            return "without keys a peer speaks to this machine only; --insecure lifts that"
        return ""

    def _refuse(self, address: str, why: str) -> None:
        self.counters["refused_address"] += 1
        # Told once for each: the core dials again and again, and others choose the addresses.
        if address not in self._refused and len(self._refused) < REFUSALS_TOLD_MAX:
            self._refused[address] = None
            _log.warning("will not dial %s: %s", address, why)

    def _drop_link(self, target: str, linger: int) -> None:
        link = self._links.pop(target, None)
        if link is not None:
            link.close(linger)


class _Link:
    """One DEALER. `_opening` is what waits for the first handshake; None once that has come."""

    __slots__ = ("_counters", "_dealer", "_descriptor", "_loop", "_opening", "_opening_bytes")

    def __init__(
        self,
        dealer: zmq.Socket[bytes],
        loop: asyncio.AbstractEventLoop,
        counters: dict[str, int],
    ) -> None:
        self._dealer = dealer
        self._loop = loop
        self._counters = counters
        self._opening: deque[tuple[float, bytes]] | None = deque()
        self._opening_bytes = 0
        # With IMMEDIATE the socket gets its pipe, and this descriptor its edge, at the handshake.
        self._descriptor = dealer.FD
        loop.add_reader(self._descriptor, self._settle)

    def send(self, data: bytes) -> bool:
        """Whether the message was taken."""
        if self._opening is not None:
            self._settle()
        if self._opening is None:
            return self._send_now(data)
        return self._keep(data)

    def close(self, linger: int) -> None:
        """linger: milliseconds for messages that a live connection has not yet written."""
        self._end_opening()
        self._dealer.close(linger)

    def _send_now(self, data: bytes) -> bool:
        try:
            self._dealer.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _keep(self, data: bytes) -> bool:
        assert self._opening is not None
        size = len(data)
        if (
            len(self._opening) >= OPENING_MESSAGES_MAX
            or self._opening_bytes + size > OPENING_BYTES_MAX
        ):
            return False
        self._opening.append((self._loop.time() + OPENING_SECONDS_MAX, data))
        self._opening_bytes += size
        return True

    def _settle(self) -> None:
        """Once the handshake has come, send what is still young, and end the opening."""
        if self._opening is None:
            return
        now = self._loop.time()
        while self._opening and self._opening[0][0] <= now:
            self._opening_bytes -= len(self._opening.popleft()[1])
            self._counters["expired"] += 1
        # Asking also takes the edge back: the descriptor would stay raised.
        if not self._dealer.poll(0, zmq.POLLOUT):
            return
        kept = self._opening
        self._end_opening()
        for _, data in kept:
            if not self._send_now(data):
                self._counters["expired"] += 1

    def _end_opening(self) -> None:
        if self._opening is not None:
            self._opening = None
            self._loop.remove_reader(self._descriptor)


def _listen_host(listen: str, insecure: bool) -> tuple[str, int]:
    """Where to bind, as an IP address. Raises AddressError, too, when keys would be needed."""
    host, port = split_address(listen)
    if not is_literal(host):
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise AddressError(
                f"cannot listen on {listen}: {host!r} is no name of this machine ({error}); "
                "take one of its IP addresses"
            ) from error
        host = str(found[0][4][0])
    if not (insecure or is_loopback(host)):
        raise AddressError(
            f"will not listen on {listen}: without keys a peer listens on this machine only, as "
            "anyone on the network could read and steer it. Listen on 127.0.0.1, or, on a "
            "network where you trust everybody, say --insecure"
        )
    return host, port


def _reachable_host(host: str) -> str:
    """An address for others: `host` itself, or, if it stands for every interface, the one that
    leads to the network."""
    if not is_wildcard(host):
        return host
    is_v6 = ":" in host
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # A documentation address: connecting a datagram socket only consults the routes.
            probe.connect(("2001:db8::1" if is_v6 else "192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "::1" if is_v6 else "127.0.0.1"


def _bind_error(listen: str, error: zmq.ZMQError) -> AddressError:
    if error.errno == errno.EADDRINUSE:
        why = "another program has the port; stop it, or take another port (0 takes a free one)"
    elif error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        why = "this machine has no such address; `ip address` shows those it has"
    elif error.errno == errno.EACCES:
        why = "the system does not allow this port; take one above 1023"
    else:
        why = f"{error.strerror}; take another address"
    return AddressError(f"cannot listen on {listen}: {why}")
