"""The join port: where peers prove to each other that they belong, and learn each other's keys,
apart from all that they say later.

It has a context of its own, so that a flood of strangers has an I/O thread of its own, too; frames
of 4 KiB at most; a short queue; and lets one address connect so often a second only. Who does not
know the cluster's gate does not get past the handshake, which has to end within two seconds. Who
does is gone after five, whatever it says, or after WORDS_MAX words, and of too many the oldest give
way (`callers`).

Rules
1. A server answers each word with one word, and remembers nothing but what `Gatekeeper` does.
2. A client asks over a connection of its own, for three seconds at most; so many at a time.
3. What is learned of an address is what a peer there has proved, never what a record says.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import zmq

from mabeam_p2p.addresses import join_address, split_address
from mabeam_p2p.ports import Gatekeeper, KeyPair, Visit
from mabeam_p2p.transport.callers import Callers
from mabeam_p2p.transport.curve import (
    Verdict,
    ZapHandler,
    as_client,
    as_server,
    descriptor_of,
    key_of,
)
from mabeam_p2p.transport.intake import Intake
from mabeam_p2p.transport.options import (
    join_client_options,
    join_context_options,
    join_server_options,
)

DOMAIN = b"mabeam-join"
WORDS_PER_TURN = 64
CALLS_MAX = 64
"""Introductions that this peer has under way; others wait."""
CALL_SECONDS_MAX = 3.0
CALLER_SECONDS_MAX = 5.0
"""So long a connection to this port may last: longer than any introduction."""
WAITING_BYTES_MAX = 4 * 1024 * 1024
"""Of all connections to this port together."""
WORDS_MAX = 8
"""Over one connection. An introduction takes two."""
ADDRESS_BURST = 256
ADDRESS_RATE = 64.0
"""Handshakes from one IP address: so many at once, and so many a second. All peers of a host come
from one."""
ADDRESSES_MAX = 1_024
UNREACHED = "unreached"
"""The refusal of nobody."""
TOLD = (
    "revoked", "identity", "other_key", "version", "used", "expired", "unknown_code", "rotated",
    "unknown_secret",
)  # fmt: skip
"""Refusals that another attempt will hardly change: told in the log."""

Ended = Callable[[tuple[bytes, int] | None, str], None]
"""Told what was found, or why nothing was."""


class Allowance:
    """How many handshakes each address may still make: a bucket that fills again."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}
        """By address: what was left, and when."""

    def take(self, address: str, now: float) -> bool:
        left, at = self._buckets.pop(address, (float(ADDRESS_BURST), now))
        left = min(float(ADDRESS_BURST), left + (now - at) * ADDRESS_RATE)
        may = left >= 1.0
        self._buckets[address] = (left - 1.0 if may else left), now
        if len(self._buckets) > ADDRESSES_MAX:
            del self._buckets[next(iter(self._buckets))]
        return may


class JoinPort:
    """Binds when it is made. Raises zmq.ZMQError."""

    def __init__(
        self,
        host: str,
        port: int,
        keys: Gatekeeper,
        on_cut: Callable[[], None] = lambda: None,
    ) -> None:
        """on_cut: told of each connection that was ended for being too many, or there too long."""
        self.counters = dict.fromkeys(
            ("answered", "malformed", "overrun", "asked", "met", "not_met"), 0
        )
        self._keys = keys
        self._data_port = 0
        self._allowance = Allowance()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: dict[_Call, None] = {}
        self._waiting: deque[_Call] = deque()
        self.callers: Callers | None = None
        self._context = zmq.Context()
        for option in join_context_options():
            self._context.set(option.name, option.value)
        self.zap = ZapHandler(self._context, DOMAIN)
        self._router = self._context.socket(zmq.ROUTER)
        self._intake = Intake(self._router, 2, self.counters, "malformed")
        for option in join_server_options():
            self._router.setsockopt(option.name, option.value)
        as_server(self._router, keys.gate_pair(), DOMAIN)
        try:
            self._router.bind(f"tcp://{join_address(host, port)}")
        except zmq.ZMQError:
            self.close()
            raise
        endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://")
        self.port = split_address(endpoint)[1]
        self.callers = self._intake.callers = Callers(
            self._router,
            self.port,
            WAITING_BYTES_MAX,
            seconds_max=CALLER_SECONDS_MAX,
            words_max=WORDS_MAX,
            on_cut=on_cut,
        )

    def start(self, data_port: int, failed: Callable[[BaseException], None]) -> None:
        self._data_port = data_port
        self._loop = asyncio.get_running_loop()
        self.zap.start(self._decide, failed)
        if self.callers is not None:
            self.callers.start()
        self._loop.add_reader(self._router.FD, self._drain)
        self._loop.call_soon(self._drain)

    def moved(self, data_port: int) -> None:
        """The data socket has another port, or answers under another key there."""
        self._data_port = data_port

    def visit(self, address: str, ended: Ended, pair: KeyPair | None = None) -> Callable[[], None]:
        """Be introduced to whoever is at `address`; the result ends it early, and untold. pair: one
        to come, to ask whether it is let in; None: under the present one."""
        assert self._loop is not None, "asked after start"
        self.counters["asked"] += 1
        call = _Call(self, self._loop, address, ended, pair)
        self._waiting.append(call)
        self._next()
        return call.end

    def close(self) -> None:
        """Idempotent."""
        for call in tuple(self._calls):
            call.end()
        self._waiting.clear()
        if self._loop is not None:
            self._loop.remove_reader(self._router.FD)
            self._loop = None
        self.zap.close()
        if not self._context.closed:
            if self.callers is not None:
                self.callers.close()
            self._router.close(0)
            self._context.term()

    # ---- server --------------------------------------------------------------------------------

    def _decide(self, address: str, key: bytes) -> Verdict:
        assert self._loop is not None
        # Also who was revoked: here it is told so, and nothing else.
        may = self._allowance.take(address, self._loop.time())
        return Verdict.ADMIT if may else Verdict.AGAIN

    def _drain(self) -> None:
        if self._loop is None:
            return
        is_drained = False
        try:
            if self.callers is not None:
                # First: who has come since begins to be counted.
                self.callers.look(self._loop.time())
            for _ in range(WORDS_PER_TURN):
                frames = self._intake.take()
                if frames is not None:
                    self._hear(*frames)
        except zmq.Again:
            is_drained = True
        finally:
            # Whatever went wrong with one word: no further edge announces what is still queued.
            if not is_drained and self._loop is not None:
                self._loop.call_soon(self._drain)

    def _hear(self, caller: zmq.Frame, word: zmq.Frame) -> None:
        assert self._loop is not None
        if self.callers is not None and not self.callers.may_speak(descriptor_of(word)):
            self.counters["overrun"] += 1
            return
        key = key_of(word)
        if key is None:
            self.counters["malformed"] += 1
            return
        connection = caller.bytes
        now = self._loop.time()
        answer = self._keys.answer(connection, key, word.bytes, self._data_port, now)
        self.counters["answered"] += 1
        with suppress(zmq.ZMQError):  # It has gone, or does not read.
            self._router.send_multipart([connection, answer], zmq.NOBLOCK)

    # ---- client --------------------------------------------------------------------------------

    def begin(self, call: "_Call") -> "zmq.Socket[bytes]":
        """A socket for one attempt. Raises zmq.ZMQError."""
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        for option in join_client_options():
            socket.setsockopt(option.name, option.value)
        as_client(socket, call.pair or self._keys.pair, self._keys.gate_pair().public)
        try:
            socket.connect(f"tcp://{call.address}")
        except zmq.ZMQError:
            socket.close(0)
            raise
        return socket

    def visits(self, pair: KeyPair | None) -> tuple[Visit, ...]:
        return self._keys.visits(pair)

    def ended(self, call: "_Call") -> None:
        self._calls.pop(call, None)
        with suppress(ValueError):
            self._waiting.remove(call)
        self._next()

    def _next(self) -> None:
        while self._waiting and len(self._calls) < CALLS_MAX and self._loop is not None:
            call = self._waiting.popleft()
            self._calls[call] = None
            call.start()


class _Call:
    """An introduction to one address: attempts with one secret after the other."""

    def __init__(
        self,
        port: JoinPort,
        loop: asyncio.AbstractEventLoop,
        address: str,
        ended: Ended,
        pair: KeyPair | None,
    ) -> None:
        self.address = address
        self.pair = pair
        self._port = port
        self._loop = loop
        self._told = ended
        self._visits: deque[Visit] = deque()
        self._visit: Visit | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False

    def start(self) -> None:
        self._visits.extend(self._port.visits(self.pair))
        self._timer = self._loop.call_later(CALL_SECONDS_MAX, self._tell, None, UNREACHED)
        # Never within `visit`: its caller does not know this call yet.
        self._loop.call_soon(self._attempt)

    def end(self) -> None:
        """Idempotent; nobody is told."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._hang_up()
        self._port.ended(self)

    def _attempt(self) -> None:
        if self._has_ended:
            return
        if not self._visits:
            self._tell(None, UNREACHED)
            return
        self._visit = self._visits.popleft()
        try:
            self._socket = socket = self._port.begin(self)
            socket.send(self._visit.first, zmq.NOBLOCK)
        except zmq.ZMQError:  # No descriptors left.
            self._tell(None, UNREACHED)
            return
        self._loop.add_reader(socket.FD, self._read)
        self._loop.call_soon(self._read)

    def _read(self) -> None:
        try:
            while self._socket is not None:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                self._hear(b"" if len(frames) != 1 else frames[0])
        except zmq.Again:
            return

    def _hear(self, data: bytes) -> None:
        assert self._visit is not None
        assert self._socket is not None
        visit = self._visit
        answer = visit.receive(data)
        if answer is not None:
            self._socket.send(answer, zmq.NOBLOCK)
        if not visit.has_ended:
            return
        self._hang_up()
        if visit.found is None and self._visits:
            self._loop.call_soon(self._attempt)
        else:
            self._tell(visit.found, visit.refusal)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.FD)
            self._socket.close(0)
            self._socket = None

    def _tell(self, found: tuple[bytes, int] | None, refusal: str) -> None:
        if self._has_ended:
            return
        self._port.counters["not_met" if found is None else "met"] += 1
        self.end()
        self._told(found, refusal)
