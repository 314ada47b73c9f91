"""Keys at the shell: who speaks, and what the gate is told."""

import asyncio
from collections.abc import Callable

import pytest

from mabeam_p2p.errors import KeyFileError
from mabeam_p2p.events import Dropped, Event
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
from tests.runtime.fakes import PEER, FakeCodec, FakeNode, make_driver
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
    def __init__(self) -> None:
        self.told: list[object] = []

    def start(
        self, tell: Callable[[PeerId, bytes], None], fail: Callable[[BaseException], None]
    ) -> None:
        self.told.append("start")
        tell(PEER, b"k" * 32)

    def update(self, credentials: Credentials) -> None:
        self.told.append(credentials)

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
