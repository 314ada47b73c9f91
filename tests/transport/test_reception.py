"""Turns of a loop, with a socket that has what the test says."""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import zmq
from zmq.utils import z85

from mabeam_p2p.ids import PeerId
from mabeam_p2p.ports import Gatekeeper
from mabeam_p2p.transport import inbox, strikes
from mabeam_p2p.transport.reception import Reception
from tests.eventually import eventually
from tests.in_loop import in_loop

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
COUNTERS = ("received", "multipart", "muted", "overrun", "refused_key")


class Part:
    """Of a message, as zmq.Frame."""

    def __init__(self, data: bytes, key: bytes) -> None:
        self.bytes = data
        self.more = False
        self._user = z85.encode(key).decode()

    def get(self, name: str | int) -> str | int:
        return self._user if name == "User-Id" else -1


class Address(Part):
    """The first part, which names the connection."""

    def __init__(self, connection: bytes) -> None:
        super().__init__(connection, b"")
        self.more = True


class Router:
    """What Reception uses of a ROUTER. Its descriptor is always readable once it was woken."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, Part]] = deque()
        self._part: Part | None = None
        self._reads, self._writes = socket.socketpair()
        self.FD = self._reads.fileno()

    def wake(self) -> None:
        self._writes.send(b"x")

    def recv(self, flags: int, copy: bool = True) -> object:
        assert flags == zmq.NOBLOCK
        assert not copy
        part, self._part = self._part, None
        if part is not None:
            return part
        if not self.waiting:
            raise zmq.Again
        connection, self._part = self.waiting.popleft()
        return Address(connection)

    def close(self) -> None:
        self._reads.close()
        self._writes.close()


class Keys:
    """As Gatekeeper: whoever has a key may speak."""

    def speaker(self, key: bytes) -> PeerId | None:
        return PeerId(key.hex()[:16])


class Desk:
    """A Reception, and how many messages each turn of the loop has brought."""

    def __init__(self) -> None:
        self.router = Router()
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.brought: Counter[int] = Counter()
        self.reception = Reception(
            cast("zmq.Socket[bytes]", self.router), cast(Gatekeeper, Keys()), self.counters
        )
        self.takes = 0.0
        """Seconds that each message is said to take."""
        self.taken = 0.0
        self._turn = 0
        self._is_over = False

    def begin(self) -> None:
        self.reception.start(self._receive, None)
        self._count()

    def put(self, connection: bytes, key: bytes, data: bytes, count: int = 1) -> None:
        self.router.waiting.extend([(connection, Part(data, key))] * count)

    def _receive(self, data: bytes) -> None:
        if data == b"bad":
            raise RuntimeError("planted")
        if data.startswith(b"?"):
            self.reception.blame()
        self.brought[self._turn] += 1
        self.taken += self.takes

    def _count(self) -> None:
        if not self._is_over:
            self._turn += 1
            asyncio.get_running_loop().call_soon(self._count)

    def close(self) -> None:
        self._is_over = True
        self.reception.close()
        self.router.close()


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    found = Desk()
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody has to rest, however long the machine takes."""
    monkeypatch.setattr(inbox, "SHARE_BYTES", 1)
    monkeypatch.setattr(inbox, "BURST_SECONDS", 1e9)


@in_loop
async def test_whoever_wakes_it_there_is_one_turn_in_a_turn_of_the_loop(
    one_at_a_time: None,
) -> None:
    async with desk() as d:
        d.router.wake()
        d.put(b"one", KEY, b"x", 100)
        d.begin()
        await eventually(lambda: d.brought.total() == 100)
        assert set(d.brought.values()) == {1}


@in_loop
async def test_connections_of_one_key_have_the_share_of_one_party(one_at_a_time: None) -> None:
    async with desk() as d:
        for connection in (b"one", b"two", b"three"):
            d.put(connection, KEY, b"x", 10)
        d.put(b"four", OTHER_KEY, b"x", 30)
        d.begin()
        await eventually(lambda: d.brought.total() == 60)
        assert set(d.brought.values()) == {2}


@in_loop
async def test_connections_of_one_key_have_the_room_of_one_party(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox, "WAITING_BYTES_MAX", 2 * inbox.MESSAGE_BYTES)
    async with desk() as d:
        for connection in (b"one", b"two", b"three"):
            d.put(connection, KEY, b"x" * 10, 10)
        d.put(b"four", OTHER_KEY, b"x" * 10)
        d.begin()
        await eventually(lambda: d.counters["received"] == 3)
        assert d.counters["overrun"] == 28


@in_loop
async def test_who_rests_is_served_afterwards_though_nobody_says_any_more(
    monkeypatch: pytest.MonkeyPatch, one_at_a_time: None
) -> None:
    monkeypatch.setattr(inbox, "BURST_SECONDS", 0.0)
    async with desk() as d:
        loop = asyncio.get_running_loop()
        time = loop.time
        d.takes = 0.1
        monkeypatch.setattr(loop, "time", lambda: time() + d.taken)
        d.put(b"one", KEY, b"x", 3)
        d.begin()
        await eventually(lambda: d.brought.total() == 3)
        assert max(d.brought) - min(d.brought) > 2


@in_loop
async def test_what_cannot_be_received_costs_nobody_else_a_message(one_at_a_time: None) -> None:
    async with desk() as d:
        raised: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, facts: raised.append(facts))
        d.put(b"one", KEY, b"bad", 50)
        d.put(b"two", OTHER_KEY, b"x", 50)
        d.begin()
        await eventually(lambda: d.brought.total() == 50)
        assert set(d.brought.values()) == {1}
        assert len(raised) >= 49


@in_loop
async def test_nonsense_that_waits_already_is_not_read_either(one_at_a_time: None) -> None:
    async with desk() as d:
        size = strikes.BROKEN_BYTES_MAX // 4
        d.put(b"one", KEY, b"?" * size, 20)
        d.put(b"two", OTHER_KEY, b"x", 10)
        d.begin()
        await eventually(lambda: d.counters["received"] + d.counters["muted"] == 30)
        assert d.counters["received"] == 5 + 10
