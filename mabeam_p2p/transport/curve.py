"""Sockets under keys: CURVE (RFC 26), and the handler that lets keys in (ZAP, RFC 27).

Rules
1. A server sets its domain and enforces it: without a handler libzmq refuses, where it would let
   everybody in otherwise. Its handler is there before it is bound.
2. The handler answers every request, whatever happens: one that stops would leave handshakes
   hanging. It is looked at twice a second; when it is gone, its owner closes what it guards.
3. A key that is not known yet is told to try again (300): after 400 libzmq never does, and a peer
   may be met before its key has been heard of. One that was revoked is told 400.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

import zmq
from zmq.utils import z85

from mabeam_p2p.ports import KeyPair

ENDPOINT = "inproc://zeromq.zap.01"
"""Where libzmq asks, once for each context."""
VERSION = b"1.0"
CURVE_BYTES = 64
"""More than what CURVE adds to a frame, which counts for MAXMSGSIZE: 33 bytes."""
REQUEST_FRAMES = 9
"""Routing id, empty, version, request id, domain, address, identity, mechanism, key."""
REQUESTS_PER_TURN = 64
WATCH_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Verdict(Enum):
    """What a handshake is told: status code and text of ZAP."""

    ADMIT = b"200", b"OK"
    AGAIN = b"300", b"not now"
    REFUSE = b"400", b"no"


Decide = Callable[[str, bytes], Verdict]
"""Of an IP address and a key of 32 bytes, which its owner has proved to have."""


def as_server(socket: "zmq.Socket[bytes]", pair: KeyPair, domain: bytes) -> None:
    """Before bind, and once: it makes room in MAXMSGSIZE for what CURVE adds."""
    assert domain, "with an empty domain libzmq asks nobody"
    bytes_max = socket.getsockopt(zmq.MAXMSGSIZE)
    assert isinstance(bytes_max, int)
    assert bytes_max > 0, "without a limit a stranger fills the memory"
    socket.setsockopt(zmq.MAXMSGSIZE, bytes_max + CURVE_BYTES)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    answer_under(socket, pair)
    socket.setsockopt(zmq.ZAP_DOMAIN, domain)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def answer_under(socket: "zmq.Socket[bytes]", pair: KeyPair) -> None:
    """What a server binds from now on answers under this key."""
    socket.setsockopt(zmq.CURVE_PUBLICKEY, z85.encode(pair.public))
    socket.setsockopt(zmq.CURVE_SECRETKEY, z85.encode(pair.reveal()))


def as_client(socket: "zmq.Socket[bytes]", pair: KeyPair, server_key: bytes) -> None:
    """Before connect. Nobody but who has the secret half of `server_key` can answer."""
    socket.setsockopt(zmq.CURVE_PUBLICKEY, z85.encode(pair.public))
    socket.setsockopt(zmq.CURVE_SECRETKEY, z85.encode(pair.reveal()))
    socket.setsockopt(zmq.CURVE_SERVERKEY, z85.encode(server_key))


def user_of(frame: zmq.Frame) -> str:
    """What the handler has called the key under which a message came; empty: nothing."""
    try:
        return str(frame.get("User-Id"))
    except (zmq.ZMQError, ValueError, KeyError):
        return ""


def key_named(user: str) -> bytes | None:
    """The key that the handler has called so; None: none."""
    try:
        return bytes(z85.decode(user.encode())) or None
    except ValueError:
        return None


def key_of(frame: zmq.Frame) -> bytes | None:
    """The key under which a message came, as the handler has said; None: under none."""
    return key_named(user_of(frame))


def descriptor_of(frame: zmq.Frame) -> int:
    """Of the connection by which a message came, when it came; -1: libzmq does not tell."""
    try:
        return int(frame.get(zmq.SRCFD))
    except (zmq.ZMQError, ValueError):
        return -1


class ZapSocket:
    """Where libzmq asks, of one context. For one thread."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", domain: bytes) -> None:
        self.counters = dict.fromkeys(("admitted", "again", "refused", "faults"), 0)
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._domain = domain
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ENDPOINT)

    def serve(self, decide: Decide) -> bool:
        """Answer what was asked; whether more may have been. Whatever goes wrong with one question,
        the others are answered. Raises zmq.ZMQError if the socket is gone."""
        try:
            for _ in range(REQUESTS_PER_TURN):
                self._answer(self.socket.recv_multipart(zmq.NOBLOCK), decide)
        except zmq.Again:
            return False
        return True

    def _answer(self, frames: list[bytes], decide: Decide) -> None:
        if len(frames) < 4:
            self.counters["faults"] += 1
            return
        code, text, user = b"500", b"fault", b""
        try:
            verdict, key = self._judge(frames, decide)
        except Exception:
            self.counters["faults"] += 1
            _log.exception("a handshake was refused, as nobody could say whether it is allowed")
        else:
            code, text = verdict.value
            # Only who is let in has a name.
            user = z85.encode(key) if verdict is Verdict.ADMIT else b""
        with suppress(zmq.Again):
            self.socket.send_multipart(
                [frames[0], b"", VERSION, frames[3], code, text, user, b""], zmq.NOBLOCK
            )

    def _judge(self, frames: list[bytes], decide: Decide) -> tuple[Verdict, bytes]:
        verdict, key = Verdict.REFUSE, b""
        is_ours = len(frames) == REQUEST_FRAMES and frames[4] == self._domain
        if is_ours and frames[7] == b"CURVE" and len(frames[8]) == 32:
            key = frames[8]
            verdict = decide(frames[5].decode(), key)
        name = {Verdict.ADMIT: "admitted", Verdict.AGAIN: "again", Verdict.REFUSE: "refused"}
        self.counters[name[verdict]] += 1
        return verdict, key


class ZapHandler:
    """Answers libzmq's questions of one context, on the running loop."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", domain: bytes) -> None:
        self._asked = ZapSocket(context, domain)
        self.counters = self._asked.counters
        self._socket = self._asked.socket
        self._decide: Decide | None = None
        self._failed: Callable[[BaseException], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._descriptor = -1

    def start(self, decide: Decide, failed: Callable[[BaseException], None]) -> None:
        """Handshakes wait until then. failed: told once if nobody can be let in any more."""
        self._decide, self._failed = decide, failed
        self._loop = asyncio.get_running_loop()
        self._descriptor = self._socket.FD
        self._loop.add_reader(self._descriptor, self.look)
        self._loop.call_soon(self._look_again)

    def close(self) -> None:
        """Idempotent."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop = None
        self._socket.close(0)

    def look(self) -> None:
        """Answer what was asked. What goes wrong with the socket ends the handler."""
        if self._loop is None:
            return
        assert self._decide is not None, "asked before start"
        try:
            is_more = self._asked.serve(self._decide)
        except Exception as error:
            self._fail(error)
            return
        if is_more:
            self._loop.call_soon(self.look)

    def _look_again(self) -> None:
        """Notice that the socket has gone, and what an edge may not have told."""
        if self._loop is None:
            return
        if self._socket.closed:
            self._fail(ConnectionError("its socket was closed"))
            return
        self.look()
        if self._loop is not None:
            self._watch = self._loop.call_later(WATCH_SECONDS, self._look_again)

    def _fail(self, error: BaseException) -> None:
        failed, self._failed = self._failed, None
        self.close()
        if failed is not None:
            failed(error)
