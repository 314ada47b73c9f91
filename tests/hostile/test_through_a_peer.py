"""Hostile bytes on their real way: sockets, loop, driver, node, lane. The peer goes on serving."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
import zmq
from msgspec.structs import replace

from mabeam_p2p import assembly
from mabeam_p2p.addresses import split_address
from mabeam_p2p.config import MACHINE_VERSION, PROTOCOL_VERSION, Config, Limits
from mabeam_p2p.ids import ClusterId
from mabeam_p2p.limits import rules_of
from mabeam_p2p.messages import Frame, Hello
from mabeam_p2p.records import Able, Member, MemberState
from mabeam_p2p.requests import (
    AgentQuery,
    Found,
    Members,
    Read,
    ReadMembers,
    ReadStatus,
    StatusAnswer,
)
from mabeam_p2p.runtime.driver import Driver
from tests.eventually import eventually
from tests.hostile import archive, spoiling
from tests.hostile.entrances import CODEC
from tests.hostile.mutation import mutated
from tests.in_loop import in_loop
from tests.wire.samples import MESSAGES, ONE

FLUSH_EVERY = 64
CONNECTION_FRAMES, CONNECTION_BYTES = 200, 512 * 1024
"""From one connection: after more nonsense it would not be read for a while."""


class Victim:
    """A peer that leads a cluster of its own, and a stranger's socket to it."""

    def __init__(self, driver: Driver, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.driver = driver
        self.backend = assembly.loop_backend(driver)
        self.raised: list[dict[str, Any]] = []
        self._context = context
        self._sent = 0

    async def send(self, frames: Iterable[bytes]) -> None:
        """All of them, each once; return when the last one was received."""
        some: list[bytes] = []
        for data in frames:
            if len(some) == CONNECTION_FRAMES or sum(map(len, some)) > CONNECTION_BYTES:
                await self._send_some(some)
                some = []
            some.append(data)
        await self._send_some(some)
        assert self.counter("muted") == 0

    async def _send_some(self, frames: Sequence[bytes]) -> None:
        with self.connection() as dealer:
            await self._send(dealer, frames)

    @contextmanager
    def connection(self) -> Iterator[zmq.Socket[bytes]]:
        with self._context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.connect(f"tcp://{self.driver.address}")
            yield dealer

    async def _send(self, dealer: zmq.Socket[bytes], frames: Sequence[bytes]) -> None:
        for data in frames:
            while True:
                try:
                    dealer.send(data, zmq.NOBLOCK)
                    break
                except zmq.Again:
                    await asyncio.sleep(0.001)
            self._sent += 1
            if self._sent % FLUSH_EVERY == 0:
                await asyncio.sleep(0)
        await eventually(lambda: self.counter("received") >= self._sent, 100.0)

    def counter(self, name: str) -> int:
        return self.driver.counters()[f"transport_{name}"]

    async def cluster_id(self) -> ClusterId:
        answer = await self.backend.ask(ReadStatus())
        assert isinstance(answer, StatusAnswer)
        return answer.status.cluster_id

    async def check_it_serves(self) -> None:
        """What a majority confirms is still confirmed, and nothing went wrong on the way."""
        answer = await self.backend.ask(Read(AgentQuery(), linearizable=True, timeout=30.0))
        assert isinstance(answer, Found)
        assert self.driver.is_running
        assert self.driver.failure is None
        assert self.raised == []


@asynccontextmanager
async def victim() -> AsyncIterator[Victim]:
    config = Config(
        name="hill",
        cluster="hostile",
        data_dir=assembly.IN_MEMORY,
        mdns=False,
        expect=1,
        insecure_plaintext=True,
    )
    driver = assembly.build(config)
    await driver.start()
    with zmq.Context() as context:
        found = Victim(driver, context)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: found.raised.append(context))
        try:
            await found.check_it_serves()
            yield found
        finally:
            await driver.close()


async def introduced(v: Victim) -> Frame:
    """The stranger becomes a member; the head of what it says from now on."""
    cluster_id = await v.cluster_id()
    member = Member(ONE, "one", "127.0.0.1:9", 4, 0, MemberState.ALIVE)
    able = Able(PROTOCOL_VERSION, PROTOCOL_VERSION, MACHINE_VERSION, rules_of(Limits()))
    hello = Hello(v.driver.cluster, cluster_id, member, answer=False, able=able)
    head = Frame(PROTOCOL_VERSION, ONE, 4, 0, 1, cluster_id, (hello,))
    await v.send([CODEC.encode_frame(head)])
    members = await v.backend.ask(ReadMembers())
    assert isinstance(members, Members)
    assert ONE in [known.peer for known in members.members]
    return Frame(PROTOCOL_VERSION, ONE, 4, 1, 2, cluster_id, ())


@pytest.mark.slow
@in_loop
async def test_corpus_from_a_stranger_does_not_stop_a_peer() -> None:
    files = {**archive.read(), **archive.found()}
    frames = [data for name, data in files.items() if name.startswith("frame/")]
    async with victim() as v:
        await v.send(frames)
        assert v.driver.counters()["frames_undecodable"] > len(frames) // 2
        await v.check_it_serves()


@pytest.mark.slow
@in_loop
async def test_corpus_from_a_member_does_not_stop_a_peer() -> None:
    async with victim() as v:
        head = await introduced(v)
        await v.send(data for _, data in spoiling.frame_cases(like=head))
        await v.check_it_serves()


@pytest.mark.slow
@in_loop
async def test_mutated_frames_from_a_member_do_not_stop_a_peer() -> None:
    async with victim() as v:
        head = await introduced(v)
        specimens = [CODEC.encode_frame(replace(head, messages=(m,))) for m in MESSAGES]
        await v.send(mutated(specimens, 10_000, seed=77))
        assert v.driver.counters()["frames_undecodable"] > 1_000
        await v.check_it_serves()


@in_loop
async def test_messages_of_many_parts_are_dropped_whole() -> None:
    async with victim() as v:
        with ExitStack() as stack:
            for parts in ([b"", b""], [b"", bytes(100_000)], [b"x"] * 200, [b"\xff", b"", b"\x80"]):
                # Each over its own: the connection of 200 parts is cut, and what follows lost.
                dealer = stack.enter_context(v.connection())
                dealer.send_multipart(parts)
            await eventually(lambda: v.counter("multipart") == 4)
        assert v.counter("callers_cut") == 1
        await v.check_it_serves()


# ---- floods ----------------------------------------------------------------------------------


@pytest.mark.slow
@in_loop
async def test_a_connection_that_talks_nonsense_at_length_is_not_read_for_a_while() -> None:
    async with victim() as v:
        with v.connection() as dealer:
            frame = b"\x5a\x00\x20\x00\x00" + bytes(2 * 1024 * 1024)
            for _ in range(40):
                dealer.send(frame)
            counted = ("received", "muted", "overrun")
            await eventually(lambda: sum(map(v.counter, counted)) == 40, 100.0)
        assert v.counter("muted") > v.counter("received")
        await v.check_it_serves()


@pytest.mark.slow
@in_loop
async def test_half_open_connections_are_ended_and_cost_nobody_else_anything() -> None:
    async with victim() as v:
        host, port = split_address(v.driver.address)
        with ExitStack() as stack:
            opened = [
                stack.enter_context(socket.create_connection((host, port), timeout=30))
                for _ in range(500)
            ]
            for half in opened[::2]:
                half.sendall(b"\xff\x00\x00")  # A greeting that stops in the middle.
            head = await introduced(v)
            await v.send([CODEC.encode_frame(replace(head, messages=(MESSAGES[0],)))])
            await v.check_it_serves()
            ended = await asyncio.gather(*(asyncio.to_thread(is_ended, half) for half in opened))
        assert all(ended)
        await v.check_it_serves()


def is_ended(connection: socket.socket) -> bool:
    """Read what the other end says until it hangs up."""
    try:
        while connection.recv(4_096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
