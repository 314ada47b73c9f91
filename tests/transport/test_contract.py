"""What every transport promises, whatever it is made of."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from mabeam_p2p.errors import AddressError
from mabeam_p2p.ports import Transport
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from tests.eventually import eventually
from tests.transport.ends import reserved
from tests.transport.keys import Cluster
from tests.transport.memory import MemoryTransport, Wire

FRAME_BYTES_MAX = 64 * 1024
LIVES = 20
"""Of one peer behind its address, of two hundred in all."""
Make = Callable[[str], Transport]
"""Binds to an address; to a free one if it is empty."""


@pytest.fixture(params=["memory", "zeromq", "curve"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "memory":
        wire = Wire()
        return lambda address: MemoryTransport(wire, address)
    cluster = Cluster() if request.param == "curve" else None
    return lambda address: ZeroMqTransport(
        address or "127.0.0.1:0",
        frame_bytes_max=FRAME_BYTES_MAX,
        keys=None if cluster is None else cluster.gatekeeper(),
    )


def test_messages_arrive_whole_and_in_order(make: Make) -> None:
    async def story() -> None:
        source, target = make(""), make("")
        received: list[bytes] = []
        target.start(received.append)
        source.start(lambda _: None)
        source.connect("t", target.address)
        sent = []
        for number in range(500):
            data = b"%d" % number * (number % 7 + 1)
            await eventually(partial(source.send, "t", data))
            sent.append(data)
        await eventually(lambda: len(received) == len(sent))
        assert received == sent
        source.close()
        target.close()

    asyncio.run(story())


def test_nothing_is_sent_without_a_link(make: Make) -> None:
    async def story() -> None:
        source, target = make(""), make("")
        received: list[bytes] = []
        target.start(received.append)
        source.start(lambda _: None)
        assert not source.send("t", b"no link yet")
        source.connect("t", target.address)
        await eventually(lambda: source.send("t", b"linked"))
        await eventually(lambda: received)
        source.disconnect("t")
        assert not source.send("t", b"link closed")
        source.connect("t", target.address)
        await eventually(lambda: source.send("t", b"linked again"))
        await eventually(lambda: len(received) == 2)
        assert received == [b"linked", b"linked again"]
        source.close()
        target.close()

    asyncio.run(story())


def test_a_new_link_goes_to_the_new_address_only(make: Make) -> None:
    async def story() -> None:
        source, first, second = make(""), make(""), make("")
        at_first: list[bytes] = []
        at_second: list[bytes] = []
        first.start(at_first.append)
        second.start(at_second.append)
        source.start(lambda _: None)
        source.connect("t", first.address)
        await eventually(lambda: source.send("t", b"one"))
        await eventually(lambda: at_first)
        source.connect("t", second.address)
        await eventually(lambda: source.send("t", b"two"))
        await eventually(lambda: at_second)
        assert (at_first, at_second) == ([b"one"], [b"two"])
        for transport in (source, first, second):
            transport.close()

    asyncio.run(story())


def test_two_peers_speak_both_ways(make: Make) -> None:
    async def story() -> None:
        left, right = make(""), make("")
        at_left: list[bytes] = []
        left.start(at_left.append)
        right.start(lambda data: void(right.send("left", data + b"!")))
        left.connect("right", right.address)
        right.connect("left", left.address)
        await eventually(lambda: left.send("right", b"ping") and at_left)
        assert set(at_left) == {b"ping!"}
        left.close()
        right.close()

    asyncio.run(story())


def test_a_taken_port_is_named_with_what_to_do(make: Make) -> None:
    async def story() -> None:
        holder = make(reserved())
        with pytest.raises(AddressError, match=r"another program has the port"):
            make(holder.address)
        holder.close()
        make(holder.address).close()

    asyncio.run(story())


def test_closing_twice_is_closing_once(make: Make) -> None:
    async def story() -> None:
        transport = make("")
        transport.start(lambda _: None)
        transport.close()
        transport.close()

    asyncio.run(story())


def void(_: object) -> None:
    """Drops a result that does not matter."""


@pytest.mark.slow
def test_a_peer_that_restarts_at_its_address_is_reached_again(make: Make) -> None:
    """Without a new link: two hundred processes live and die, behind ten addresses at a time."""

    async def lives(source: Transport, peer: str) -> int:
        """How many lived behind one address."""
        address = reserved()
        target = make(address)
        source.connect(peer, address)
        for life in range(LIVES):
            received: list[bytes] = []
            target.start(received.append)
            greeting = f"{peer} in life {life}".encode()
            await eventually(partial(source.send, peer, greeting))
            await eventually(received.copy)
            assert set(received) == {greeting}, "a message for an earlier life, or another peer"
            target.close()
            await eventually(lambda: not source.send(peer, b"for nobody"))
            target = make(address)
        target.close()
        return LIVES

    async def story() -> None:
        source = make("")
        source.start(lambda _: None)
        peers = [f"peer {number}" for number in range(200 // LIVES)]
        assert sum(await asyncio.gather(*(lives(source, peer) for peer in peers))) == 200
        source.close()

    asyncio.run(story())
