"""What was recorded on the way between two peers, and is said again by somebody without a key: over
a connection of its own, or once more in the midst of theirs. In plain text it is heard again, which
shows that the recordings are good."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mabeam_p2p.addresses import join_address
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.transport.guarded import CANARY, Tap, Tapped
from tests.transport.keys import Cluster
from tests.transport.recordings import GREETING_BYTES, replay_to

WORD = CANARY * 10
"""So long that the first half of a recording holds all that opens a connection in plain text."""
WELCOME = b"\x04\xa8\x07WELCOME"
"""How the first word of a server under CURVE begins (RFC 26)."""
WELCOME_BYTES = 2 + 168

speech = pytest.mark.parametrize("has_keys", [True, False], ids=["under keys", "in plain text"])
ways = pytest.mark.parametrize("way", ["in step", "in halves", "at once"])


class Ends:
    """A transport that dials the data port of another one by way of a tap, and its join port by way
    of another tap; and what the other one hears."""

    def __init__(self, has_keys: bool) -> None:
        cluster = Cluster()
        keys = [cluster.gatekeeper() if has_keys else None for _ in range(2)]
        self.source = Tapped("127.0.0.1:0", frame_bytes_max=65_536, keys=keys[0])
        self.target = ZeroMqTransport("127.0.0.1:0", frame_bytes_max=65_536, keys=keys[1])
        self.heard: list[bytes] = []
        self.source.start(lambda data: None)
        self.target.start(self.heard.append)
        self.data_address = join_address("127.0.0.1", self.target._bound_port())
        self.tap, self.join_tap = Tap(self.data_address), Tap(self.target.address)

    async def start(self) -> None:
        for tap in (self.tap, self.join_tap):
            await tap.start()
        self.source.tap = self.tap
        self.source.connect("target", self.join_tap.address)

    async def say(self, data: bytes) -> None:
        """Returns once the other one has it, and no introduction is under way."""
        count = len(self.heard)
        await eventually(lambda: self.source.send("target", data))
        await eventually(lambda: len(self.heard) > count)
        await eventually(lambda: not self.source._links["target"].is_asking)

    def introductions(self) -> list[dict[str, int]]:
        """Handshakes at the data port and at the join port, and what was said at the latter."""
        assert self.target._zap is not None
        assert self.target._join is not None
        join = self.target._join
        return [dict(of.counters) for of in (self.target._zap, join.zap, join)]

    async def close(self) -> None:
        for end in (self.source, self.target):
            end.close()
        for tap in (self.tap, self.join_tap):
            await tap.close()


@asynccontextmanager
async def ends(has_keys: bool = True) -> AsyncIterator[Ends]:
    made = Ends(has_keys)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def assert_is_of_a_handshake(answer: bytearray) -> None:
    """It says nothing but how a server begins, whoever has called."""
    assert WELCOME.startswith(answer[GREETING_BYTES : GREETING_BYTES + len(WELCOME)])
    assert len(answer) <= GREETING_BYTES + WELCOME_BYTES


@ways
@in_loop
async def test_a_session_that_was_recorded_is_not_heard_again(way: str) -> None:
    """Of the data port, from its first byte on; the peers that were recorded go on."""
    async with ends() as two:
        await two.say(WORD)
        recording, before = two.tap.recordings[-1], two.introductions()
        count = len(two.tap.recordings)
        async with replay_to(two.data_address) as replay:
            await replay.say(recording, way)
            await replay.ended()
            assert_is_of_a_handshake(replay.answer)
            await two.say(b"after")
        assert two.heard == [WORD, b"after"]
        assert two.target.counters["received"] == 2
        assert two.introductions() == before
        assert len(two.tap.recordings) == count, "the connection that was recorded lives on"


@pytest.mark.parametrize("way", ["in step", "in halves"])
@in_loop
async def test_in_plain_text_a_session_that_was_recorded_is_heard_again(way: str) -> None:
    async with ends(has_keys=False) as two:
        await two.say(WORD)
        async with replay_to(two.data_address) as replay:
            await replay.say(two.tap.recordings[-1], way)
            await eventually(lambda: len(two.heard) > 1)
            await two.say(b"after")
        assert two.heard == [WORD, WORD, b"after"]


@speech
def test_a_frame_that_is_doubled_within_its_connection_is_heard_once(has_keys: bool) -> None:
    """Under keys that ends the connection, and the next one is as good. In plain text it is heard
    twice."""

    @in_loop
    async def story() -> None:
        async with ends(has_keys) as two:
            await two.say(b"before")
            said, count = two.tap.recordings[-1].data, len(two.tap.recordings)
            await two.say(WORD)
            two.tap.slip_in(two.tap.recordings[-1].data[len(said) :])
            if has_keys:
                await eventually(lambda: len(two.tap.recordings) > count)
            else:
                await eventually(lambda: len(two.heard) > 2)
            await two.say(b"after")
            assert two.heard == [b"before", WORD, *([] if has_keys else [WORD]), b"after"]

    story()


@ways
@in_loop
async def test_an_introduction_that_was_recorded_introduces_nobody(way: str) -> None:
    async with ends() as two:
        await two.say(b"before")
        recording = max(two.join_tap.recordings, key=lambda one: len(one.data))
        before = two.introductions()
        assert before[-1]["answered"] >= 2, "it was one"
        async with replay_to(two.target.address) as replay:
            await replay.say(recording, way)
            await replay.ended()
            assert_is_of_a_handshake(replay.answer)
        await two.say(b"after")
        assert two.heard == [b"before", b"after"]
        assert two.introductions() == before
