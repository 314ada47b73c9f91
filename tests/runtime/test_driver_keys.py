"""Keys at the shell: who speaks, and what the gate is told."""

import asyncio
from collections.abc import Callable

import pytest

from mabeam_p2p.errors import KeyFileError, PeerRefused
from mabeam_p2p.events import Dropped, Event, Refused
from mabeam_p2p.ids import PeerId
from mabeam_p2p.key_requests import (
    GateRequest,
    Introduced,
    ProposeSecret,
    ReadKeys,
    SecretProposed,
)
from mabeam_p2p.records import Credentials
from mabeam_p2p.requests import Answer, ReadStatus
from mabeam_p2p.runtime.backend import LoopBackend
from tests.eventually import eventually
from tests.runtime.fakes import PEER, FakeCodec, FakeDisk, FakeNode, make_driver
from tests.transport.memory import MemoryTransport, Wire


def test_a_frame_counts_as_the_speakers_alone() -> None:
    """Whose key the connection has, not what the frame says."""
    node = FakeNode()

    async def run() -> None:
        wire = Wire()
        transport = MemoryTransport(wire)
        driver = make_driver(node, transport=transport)
        await driver.start()
        events: list[Event] = []
        driver.listen(events.append)
        liar = PeerId("b" * 16)
        transport.speaker = liar
        source = FakeCodec().decode_frame(b"[1]").source
        assert source != liar
        wire.bound[driver.address].deliver(b"[1]")
        assert [kind for kind, _ in node.told].count("receive") == 0
        assert isinstance(events[0], Dropped)
        assert (events[0].source, events[0].reason) == (liar, "impostor")
        assert driver.counters()["frames_misattributed"] == 1
        transport.speaker = source
        wire.bound[driver.address].deliver(b"[1]")
        assert [kind for kind, _ in node.told].count("receive") == 1
        await driver.close()

    asyncio.run(run())


class FakeGate:
    def __init__(self, *, is_revoked: bool = False, fault: Exception | None = None) -> None:
        self.told: list[object] = []
        self._fault = fault
        self.revoked: Callable[[], None] = lambda: None
        self._is_revoked = is_revoked

    def start(
        self,
        tell: Callable[[PeerId, bytes], None],
        fail: Callable[[BaseException], None],
        revoked: Callable[[], None],
    ) -> None:
        self.told.append("start")
        self.revoked = revoked
        tell(PEER, b"k" * 32)
        if self._is_revoked:
            revoked()

    def update(self, credentials: Credentials) -> None:
        self.told.append(credentials)
        if self._fault is not None:
            raise self._fault

    def ask(self, request: GateRequest) -> Answer:
        if isinstance(request, ReadKeys):
            raise KeyFileError("the disk is full")
        return SecretProposed(b"l" * 8)


def test_the_gate_is_told_what_the_log_says_and_answers_what_concerns_it() -> None:
    node, gate = FakeNode(), FakeGate()

    async def run() -> None:
        driver = make_driver(node, gate=gate)
        await driver.start()
        assert gate.told == [Credentials(), "start"], "before anybody is listened to"
        assert ("request", Introduced(PEER, b"k" * 32)) in node.told
        node.known_credentials = changed = Credentials((), (), b"s" * 8)
        driver.ask(ReadStatus(), lambda reply: None)
        await eventually(lambda: gate.told[-1] is changed)
        assert await LoopBackend(driver).ask(ProposeSecret()) == SecretProposed(b"l" * 8)
        with pytest.raises(KeyFileError):
            await LoopBackend(driver).ask(ReadKeys())
        assert not any(kind == "request" and isinstance(what, ReadKeys) for kind, what in node.told)
        await driver.close()

    asyncio.run(run())


def test_a_peer_that_was_revoked_says_so_and_stops() -> None:
    """It would wait for its cluster for ever otherwise, as if that were away."""

    async def run() -> None:
        gate = FakeGate()
        driver = make_driver(FakeNode(), gate=gate)
        await driver.start()
        events: list[Event] = []
        driver.listen(events.append)
        gate.revoked()
        assert driver.is_running, "whoever has asked for it is answered first"
        with pytest.raises(PeerRefused, match=r"revoked.*empty data folder") as caught:
            await driver.wait_stopped()
        assert caught.value.reason == "revoked"
        told = [event for event in events if isinstance(event, Refused)]
        assert [(one.peer, one.reason, one.fatal) for one in told] == [(PEER, "revoked", True)]
        await driver.close()

    asyncio.run(run())


def test_a_peer_whose_disk_says_that_it_was_revoked_does_not_start() -> None:
    async def run() -> None:
        driver = make_driver(FakeNode(), gate=FakeGate(is_revoked=True))
        with pytest.raises(PeerRefused, match="revoked"):
            await driver.start()
        assert not driver.is_running

    asyncio.run(run())


def test_a_peer_that_cannot_start_says_why_and_holds_nothing() -> None:
    """As one that goes over to another key at its start, and whose disk is full."""

    async def run() -> None:
        wire = Wire()
        transport, disk = MemoryTransport(wire), FakeDisk()
        gate = FakeGate(fault=KeyFileError("the disk is full"))
        driver = make_driver(FakeNode(), transport=transport, storage=disk, gate=gate)
        with pytest.raises(KeyFileError, match="the disk is full"):
            await driver.start()
        assert (driver.is_running, wire.bound, disk.is_closed) == (False, {}, True)
        await driver.close()

    asyncio.run(run())
