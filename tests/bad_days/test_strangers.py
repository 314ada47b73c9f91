"""Whoever does not belong: other clusters, other releases, other programs, and namesakes; at real
peers, over real sockets, and without keys: with them none of these is heard at all."""

import asyncio
import random
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq

from mabeam_p2p import Agent, Config, Peer, PeerRefused, Timing, join
from mabeam_p2p.addresses import split_address
from mabeam_p2p.config import PROTOCOL_VERSION, Limits
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Frame, Hello, Message, Probe, ProbeAck, Refuse
from mabeam_p2p.protocol.versions import able_of
from mabeam_p2p.records import Member, MemberState, Standing
from mabeam_p2p.transport import link
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from mabeam_p2p.wire.codec import CborCodec
from tests.api.clusters import agents
from tests.eventually import done_at_last, eventually, in_one_of
from tests.in_loop import in_loop
from tests.transport.guarded import Tap
from tests.transport.recordings import replay_to
from tools.children import free_ports

pytestmark = pytest.mark.slow

CODEC = CborCodec(Limits())
PLAIN: Any = {"data_dir": ":memory:", "mdns": False, "insecure_plaintext": True}


@pytest.fixture(autouse=True)
def nobody_has_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else plain text would be refused in clusters that other tests have secured."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def links_open_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger here says its word once: what is too late for a link is not said again."""
    monkeypatch.setattr(link, "OPENING_SECONDS_MAX", 60.0)


@asynccontextmanager
async def lone_agent(**settings: Any) -> AsyncIterator[Agent]:
    """An agent on a peer that is a cluster by itself."""
    config = Config(**{"expect": 1, **PLAIN, **settings})
    async with Peer(config) as peer:
        yield await peer.agent("a")


async def address_of(agent: Agent) -> str:
    return (await agent.status()).address


class Stranger:
    """A speaker without a peer: it says what the test wants, and keeps what it is told."""

    def __init__(self, version: int) -> None:
        self.transport = ZeroMqTransport(
            "127.0.0.1:0", frame_bytes_max=Limits().frame_bytes_max, insecure=False
        )
        self.heard: list[Message] = []
        self._version = version
        self.member = Member(
            PeerId("7" * 16), "stranger", self.transport.address, 1, 1 << 16, MemberState.ALIVE,
            True, 50, version,
        )  # fmt: skip
        self.transport.start(self._receive)

    def say(self, address: str, message: Message) -> None:
        self.transport.connect("them", address)
        self.go_on(message)

    def go_on(self, message: Message) -> None:
        frame = Frame(self._version, self.member.peer, 1, 1, 1, ClusterId(""), (message,))
        self.transport.send("them", CODEC.encode_frame(frame))

    def _receive(self, data: bytes) -> None:
        self.heard.extend(CODEC.decode_frame(data).messages)


@in_loop
async def test_two_clusters_that_meet_refuse_each_other_and_exchange_nothing() -> None:
    ports = free_ports(2)
    seeds = [f"127.0.0.1:{port}" for port in ports]
    day = {"name": "sun", "cluster": "day", "listen": seeds[0], "seeds": (seeds[1],)}
    night = {"name": "moon", "cluster": "night", "listen": seeds[1], "seeds": (seeds[0],)}
    async with lone_agent(**day) as a:
        refused = a.events("peer.refused")
        dropped = a.events("frame.dropped")
        await a.journal("run").append("day")
        async with lone_agent(**night) as b:
            refused_too = b.events("peer.refused")
            await b.journal("run").append("night")
            # Each greets the other, so each refuses, and each is told.
            for told, detail in ((refused, "'day', this peer to 'night'"), (refused_too, "'day'")):
                async with asyncio.timeout(60):
                    event = await anext(told)
                assert (event.facts["reason"], event.facts["fatal"]) == ("cluster", False)
                assert detail in str(event.facts["detail"])
            async with asyncio.timeout(60):
                # Greetings that had waited for the other are refused one by one.
                while (reason := (await anext(dropped)).facts["reason"]) != "refused_cluster":
                    assert reason == "refuse"
            for agent, item in ((a, "day"), (b, "night")):
                assert [member.name for member in agent.members()] == [agent.peer]
                assert [entry.value for entry in await agent.journal("run").read()] == [item]
                assert (await agent.status()).learners == ()


@in_loop
async def test_peer_of_another_release_is_refused_and_told_both_versions() -> None:
    async with lone_agent(name="sun", cluster="day") as agent:
        stranger = Stranger(version=PROTOCOL_VERSION + 1)
        try:
            hello = Hello("day", ClusterId(""), stranger.member, answer=False)
            stranger.say(await address_of(agent), hello)
            await eventually(lambda: stranger.heard)
            detail, member = "speaks protocol 2, this peer 1", stranger.member
            refuse = Refuse("version", detail, True, member.peer, member.epoch)
            assert stranger.heard == [refuse]
            assert [member.name for member in agent.members()] == ["sun"]
        finally:
            stranger.transport.close()


@in_loop
async def test_frame_of_another_release_is_dropped_and_reported() -> None:
    async with lone_agent(name="sun", cluster="day") as agent:
        dropped = agent.events("frame.dropped")
        stranger = Stranger(version=PROTOCOL_VERSION + 1)
        try:
            probe = Probe(1, Standing(9, 9, 9, 9, True))
            stranger.say(await address_of(agent), probe)
            async with asyncio.timeout(60):
                event = await anext(dropped)
            assert (event.facts["source"], event.facts["reason"]) == ("7" * 16, "version")
        finally:
            stranger.transport.close()


@in_loop
async def test_what_was_recorded_in_an_earlier_life_of_a_peer_is_dropped(tmp_path: Path) -> None:
    """In plain text it comes so far; under keys it is not heard at all."""
    settings = {"name": "sun", "cluster": "day", "data_dir": str(tmp_path / "data")}
    stranger, able = Stranger(PROTOCOL_VERSION), able_of(Config())
    tap: Tap | None = None
    try:
        async with lone_agent(**settings) as agent:
            tap = Tap(await address_of(agent))
            await tap.start()
            stranger.say(tap.address, Hello("day", ClusterId(""), stranger.member, False, able))
            await eventually(lambda: stranger.heard)
            stranger.go_on(Probe(1, Standing(9, 9, 9, 9, True)))
            await eventually(lambda: any(isinstance(one, ProbeAck) for one in stranger.heard))
            recording = tap.recordings[-1]
        stranger.heard.clear()
        async with lone_agent(**settings) as agent:
            dropped = agent.events("frame.dropped")
            async with replay_to(await address_of(agent)) as replay:
                await replay.say(recording, "in step")
                async with asyncio.timeout(60):
                    facts = (await anext(dropped)).facts
            assert (facts["source"], facts["reason"]) == (stranger.member.peer, "stale_target")
            assert not any(isinstance(one, ProbeAck) for one in stranger.heard)
    finally:
        stranger.transport.close()
        if tap is not None:
            await tap.close()


@in_loop
async def test_peer_goes_on_serving_under_garbage_and_oversized_frames() -> None:
    """From raw connections that speak no ZeroMQ, and from well-behaved ones that speak nonsense."""
    timing = Timing(election_timeout_seconds=2.0)
    async with agents(3, insecure_plaintext=True, timing=timing) as everyone:
        await in_one_of(3, partial(_leads_on_under_garbage, everyone))


async def _leads_on_under_garbage(everyone: Sequence[Agent]) -> bool:
    leader = await everyone[0].wait_for_leader(timeout=60)
    served = next(agent for agent in everyone if agent.peer == leader.name)
    before = await served.status()
    undecodable_before = before.counters["frames_undecodable"]
    dropped = served.events("frame.dropped")
    journal = secrets.token_hex(4)
    random_bytes = random.Random("garbage").randbytes
    context = zmq.Context()
    dealers: list[zmq.Socket[bytes]] = []
    raw: list[socket.socket] = []
    try:
        for number in range(20):
            raw.append(socket.create_connection(split_address(before.address)))
            raw[-1].sendall(random_bytes(1 + 977 * number))
            dealers.append(dealer := context.socket(zmq.DEALER))
            dealer.connect(f"tcp://{before.address}")
            dealer.send(random_bytes(number))
            dealer.send(CODEC.encode_frame(_unfinished())[: -1 - number % 9])
            dealer.send_multipart([b"many", b"parts"])
            dealer.send(bytes(Limits().frame_bytes_max + 1 + number))
        async with asyncio.timeout(60):
            undecodable = 0
            while undecodable < undecodable_before + len(dealers):
                undecodable = (await served.status()).counters["frames_undecodable"]
            assert (await anext(dropped)).facts["reason"] in ("cbor", "type")
        for number in range(20):
            append = partial(everyone[number % 3].journal(journal).append, number)
            assert await done_at_last(append) == number + 1
    finally:
        context.destroy(linger=0)
        for connection in raw:
            connection.close()
    after = await served.status()
    return (before.role, after.role, after.term) == ("leader", "leader", before.term)


def _unfinished() -> Frame:
    probe = Probe(1, Standing(1, 1, 1, 1, True))
    return Frame(PROTOCOL_VERSION, PeerId("7" * 16), 1, 1, 1, ClusterId("f" * 32), (probe,))


@in_loop
async def test_join_under_the_name_of_a_member_is_refused_and_the_member_stays() -> None:
    async with lone_agent(name="sun", cluster="day") as agent:
        seed = await address_of(agent)
        with pytest.raises(PeerRefused, match="another live peer has this name") as caught:
            await join("sun", cluster="day", seeds=[seed], **PLAIN)
        assert caught.value.reason == "name"
        assert await agent.journal("run").append("still here") == 1
        async with join("moon", cluster="day", seeds=[seed], **PLAIN) as b:
            assert [item.value for item in await b.journal("run").read()] == ["still here"]


@in_loop
async def test_of_two_that_join_at_once_under_one_name_exactly_one_gets_in() -> None:
    async with lone_agent(name="sun", cluster="day") as agent:
        seed = await address_of(agent)
        joining = (join("moon", cluster="day", seeds=[seed], **PLAIN, timeout=60) for _ in range(2))
        ends = await asyncio.gather(*joining, return_exceptions=True)
        inside = [end for end in ends if isinstance(end, Agent)]
        refused = [end for end in ends if isinstance(end, PeerRefused)]
        assert (len(inside), len(refused)) == (1, 1), ends
        assert await inside[0].journal("run").append(1) == 1
        await inside[0].close()
