import asyncio
import errno
import logging
import re
import socket
from functools import partial

import pytest
import zmq

from mabeam_p2p.addresses import join_address, split_address
from mabeam_p2p.errors import AddressError
from mabeam_p2p.transport import link, reception, zeromq
from mabeam_p2p.transport.options import (
    bulk_dealer_options,
    bulk_router_options,
    context_options,
    dealer_options,
    join_client_options,
    join_server_options,
    router_options,
)
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from tests.eventually import eventually
from tests.transport.ends import reserved

FRAME_BYTES_MAX = 64 * 1024
LOOPBACK = "127.0.0.1:0"


def make(listen: str = LOOPBACK, insecure: bool = False) -> ZeroMqTransport:
    return ZeroMqTransport(listen, frame_bytes_max=FRAME_BYTES_MAX, insecure=insecure)


def foreign_dealer(
    transport: ZeroMqTransport,
) -> tuple[zmq.Context[zmq.Socket[bytes]], zmq.Socket[bytes]]:
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(f"tcp://{transport.address}")
    return context, dealer


EVERY_SOCKET = {
    "context": context_options(),
    "router": router_options(1),
    "dealer": dealer_options(1),
    "join_server": join_server_options(),
    "join_client": join_client_options(),
    "bulk_router": bulk_router_options(1),
    "bulk_dealer": bulk_dealer_options(1),
}
IVL, TTL, TIMEOUT = zmq.HEARTBEAT_IVL, zmq.HEARTBEAT_TTL, zmq.HEARTBEAT_TIMEOUT


@pytest.mark.parametrize("socket", EVERY_SOCKET)
def test_every_option_has_a_reason_and_stands_once(socket: str) -> None:
    names = [option.name for option in EVERY_SOCKET[socket]]
    assert len(names) == len(set(names))
    assert all(option.reason for option in EVERY_SOCKET[socket])
    assert zmq.ROUTING_ID not in names


@pytest.mark.parametrize("socket", [name for name in EVERY_SOCKET if name != "context"])
def test_no_socket_pings_which_ends_a_process_that_has_stood_still(socket: str) -> None:
    """libzmq asserts that nothing is left to answer on a connection that has failed, and there is,
    where a PING stands behind as many messages as may wait. The system's probes take its place."""
    values = {option.name: option.value for option in EVERY_SOCKET[socket]}
    assert not values.keys() & {IVL, TTL, TIMEOUT}
    assert values[zmq.TCP_KEEPALIVE] == 1


def test_messages_of_several_parts_are_dropped_and_counted() -> None:
    async def story() -> None:
        transport = make()
        received: list[bytes] = []
        transport.start(received.append)
        context, dealer = foreign_dealer(transport)
        dealer.send_multipart([b"", b"looks like a request"])
        dealer.send_multipart([b"a", b"b", b"c"])
        dealer.send(b"one part")
        await eventually(lambda: received)
        assert received == [b"one part"]
        assert transport.counters["multipart"] == 2
        context.destroy(linger=0)
        transport.close()

    asyncio.run(story())


def test_a_frame_that_is_too_large_is_not_delivered_and_not_sent() -> None:
    async def story() -> None:
        source, target = make(), make()
        received: list[bytes] = []
        source.start(lambda _: None)
        target.start(received.append)
        context, dealer = foreign_dealer(target)
        dealer.send(b"x" * (FRAME_BYTES_MAX + 1))
        source.connect("t", target.address)
        assert not source.send("t", b"x" * (FRAME_BYTES_MAX + 1))
        assert source.send("t", b"y" * FRAME_BYTES_MAX)
        await eventually(lambda: received)
        assert received == [b"y" * FRAME_BYTES_MAX]
        context.destroy(linger=0)
        source.close()
        target.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    "garbage",
    [b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 16, b"\xff\x00\x00\x00\x7f"],
)
def test_garbage_on_the_port_hurts_nobody_else(garbage: bytes) -> None:
    async def story() -> None:
        source, target = make(), make()
        received: list[bytes] = []
        source.start(lambda _: None)
        target.start(received.append)
        strangers = []
        for _ in range(5):
            stranger = socket.create_connection(split_address(target.address))
            stranger.sendall(garbage)
            strangers.append(stranger)
        source.connect("t", target.address)
        await eventually(lambda: source.send("t", b"hello"))
        await eventually(lambda: received)
        assert received == [b"hello"]
        for stranger in strangers:
            stranger.close()
        source.close()
        target.close()

    asyncio.run(story())


def test_a_greeting_sent_with_the_link_arrives() -> None:
    """Although ZeroMQ takes nothing before the handshake."""

    async def story() -> None:
        source, target = make(), make()
        received: list[bytes] = []
        target.start(received.append)
        source.start(lambda _: None)
        source.connect("t", target.address)
        assert source.send("t", b"hello")
        assert source.send("t", b"again")
        await eventually(lambda: len(received) == 2)
        assert received == [b"hello", b"again"]
        source.close()
        target.close()

    asyncio.run(story())


def test_what_waits_for_a_handshake_is_bounded() -> None:
    async def story() -> None:
        source = make()
        source.start(lambda _: None)
        with silent_listener() as address:
            source.connect("many", address)
            taken = [source.send("many", b"x") for _ in range(100)]
            assert taken.count(True) == link.OPENING_MESSAGES_MAX
            source.connect("large", address)
            taken = [source.send("large", b"x" * FRAME_BYTES_MAX) for _ in range(60)]
            assert taken.count(True) == link.OPENING_BYTES_MAX // FRAME_BYTES_MAX
            source.close()

    asyncio.run(story())


def test_a_greeting_that_grew_old_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "OPENING_SECONDS_MAX", 0.0)

    async def story() -> None:
        source, address = make(), reserved()
        source.start(lambda _: None)
        source.connect("t", address)
        assert source.send("t", b"old")
        target = make(address)
        received: list[bytes] = []
        target.start(received.append)
        await eventually(lambda: source.counters["expired"])
        await eventually(lambda: source.send("t", b"young") and received)
        assert b"old" not in received
        source.close()
        target.close()

    asyncio.run(story())


def test_what_waited_on_the_older_link_is_never_delivered() -> None:
    async def story() -> None:
        source, target = make(), make()
        received: list[bytes] = []
        target.start(received.append)
        source.start(lambda _: None)
        with silent_listener() as address:
            source.connect("t", address)
            assert source.send("t", b"for the older link")
            source.connect("t", target.address)
            assert source.send("t", b"for the newer link")
            await eventually(lambda: received)
        assert received == [b"for the newer link"]
        source.close()
        target.close()

    asyncio.run(story())


FLOOD = 600
"""More than ZeroMQ takes in before it looks at its commands, which is what uses up the edge."""


def test_a_flood_longer_than_one_turn_is_drained_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The descriptor tells of the first arrival only."""
    monkeypatch.setattr(reception, "DRAIN_MESSAGES_MAX", 10)

    async def story() -> None:
        source, target = make(), make()
        received: list[bytes] = []
        source.start(lambda _: None)
        source.connect("t", target.address)
        for number in range(FLOOD):
            await eventually(partial(source.send, "t", b"%d" % number))
        target.start(received.append)
        await eventually(lambda: len(received) == FLOOD)
        source.close()
        target.close()

    asyncio.run(story())


def test_an_error_while_receiving_loses_no_other_message() -> None:
    async def story() -> None:
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, facts: errors.append(facts))
        source, target = make(), make()
        received: list[bytes] = []

        def receive(data: bytes) -> None:
            received.append(data)
            if int(data) % 150 == 149:
                raise RuntimeError("planted")

        source.start(lambda _: None)
        source.connect("t", target.address)
        for number in range(FLOOD):
            await eventually(partial(source.send, "t", b"%d" % number))
        target.start(receive)
        await eventually(lambda: len(received) == FLOOD)
        assert len(errors) == 4
        source.close()
        target.close()

    asyncio.run(story())


def test_a_transport_may_be_closed_while_it_delivers() -> None:
    async def story() -> None:
        source, target = make(), make()
        received: list[bytes] = []

        def receive(data: bytes) -> None:
            received.append(data)
            target.close()

        source.start(lambda _: None)
        source.connect("t", target.address)
        source.send("t", b"1")
        source.send("t", b"2")
        target.start(receive)
        await eventually(lambda: received)
        assert received == [b"1"]
        source.close()

    asyncio.run(story())


def test_beyond_loopback_needs_an_explicit_word() -> None:
    with pytest.raises(AddressError, match="--insecure-plaintext"):
        make("0.0.0.0:0")
    with pytest.raises(AddressError, match="--insecure-plaintext"):
        make("[::]:0")


def test_an_insecure_port_is_announced_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        transport = make("0.0.0.0:0", insecure=True)
    assert "INSECURE" in caplog.text
    assert split_address(transport.address)[0] != "0.0.0.0"
    transport.close()


def test_who_listens_on_every_interface_is_where_the_way_to_the_network_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ways = {"0.0.0.0": "192.0.2.1", "192.0.2.9": "192.0.2.9"}
    monkeypatch.setattr(zeromq, "reachable_host", ways.get)
    transport = make("0.0.0.0:0", insecure=True)
    port = split_address(transport.address)[1]
    assert transport.address == f"192.0.2.1:{port}"
    ways["0.0.0.0"] = "192.0.2.9"
    assert transport.locate() == transport.address == f"192.0.2.9:{port}"
    # The cable is out: it stays where it was, and tells nobody to look at their own loopback.
    ways["0.0.0.0"] = "127.0.0.1"
    assert transport.locate() == f"192.0.2.9:{port}"
    transport.close()


def test_who_listens_on_one_address_stays_there() -> None:
    transport = make()
    assert transport.locate() == transport.address
    transport.close()


@pytest.mark.parametrize(
    "address",
    ["192.0.2.1:7000", "example.org:7000", "localhost:7000", "127.0.0.1:0", "nonsense",
     "[fe80::1%{a}]:7"],
)  # fmt: skip
def test_a_loopback_peer_dials_loopback_addresses_only(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        transport = make()
        transport.start(lambda _: None)
        for count in range(1, 4):
            transport.connect("t", address)
            assert not transport.send("t", b"x")
            assert transport.counters["refused_address"] == count
        transport.close()

    asyncio.run(story())
    assert caplog.text.count(f"will not dial {address}") == 1


def test_a_peer_without_keys_that_may_leave_its_machine_and_listens_on_loopback_stays_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Else it would greet others as an address at which they find themselves."""

    async def story() -> None:
        near, far = make(insecure=True), make("0.0.0.0:0", insecure=True)
        for transport in (near, far):
            transport.start(lambda _: None)
            transport.connect("t", "192.0.2.1:7000")
            refused.append(transport.counters["refused_address"])
            transport.close()

    refused: list[int] = []
    asyncio.run(story())
    assert refused == [1, 0]
    assert "will not dial 192.0.2.1:7000: this peer listens on loopback" in caplog.text
    assert "see --listen" in caplog.text


def test_a_machine_without_descriptors_refuses_links_and_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        source, target = make(), make()
        received: list[bytes] = []
        target.start(received.append)
        source.start(lambda _: None)
        source.connect("first", target.address)

        def fail(*_: object) -> None:
            raise zmq.ZMQError(errno.EMFILE)

        monkeypatch.setattr(source._context, "socket", fail)
        source.connect("second", target.address)
        assert not source.send("second", b"x")
        assert source.send("first", b"y")
        await eventually(lambda: received == [b"y"])
        source.close()
        target.close()

    asyncio.run(story())


def test_ipv6_is_an_address_like_any_other() -> None:
    async def story() -> None:
        try:
            target = make("[::1]:0")
        except AddressError:
            pytest.skip("this machine has no IPv6 loopback")
        source = make()
        received: list[bytes] = []
        target.start(received.append)
        source.start(lambda _: None)
        assert target.address.startswith("[::1]:")
        source.connect("t", target.address)
        await eventually(lambda: source.send("t", b"x") and received)
        source.close()
        target.close()

    asyncio.run(story())


def test_localhost_is_bound_and_told_as_an_address() -> None:
    transport = make("localhost:0")
    assert split_address(transport.address)[0] in ("127.0.0.1", "::1")
    transport.close()


@pytest.mark.parametrize("listen", ["192.0.2.1:7000", "[fe80::1%absent0]:7000"])
def test_an_address_that_this_machine_does_not_have_it_may_have_soon(listen: str) -> None:
    """As one that comes by DHCP, or with a tunnel, minutes after the machine has started."""
    with pytest.raises(AddressError, match=f"{re.escape(listen)}: this machine has no") as caught:
        make(listen, insecure=True)
    assert caught.value.is_passing


def test_a_port_that_is_taken_may_be_free_soon() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as holder,
        pytest.raises(AddressError, match="another program has the port") as caught,
    ):
        make(join_address(*holder.getsockname()))
    assert caught.value.is_passing


def test_a_name_that_leads_to_no_address_may_do_so_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(AddressError, match=r"'host\.example' is no name.*Temporary") as caught:
        make("host.example:7000", insecure=True)
    assert caught.value.is_passing


@pytest.mark.parametrize(
    "listen",
    ["7946", "host:65536", "256.1.1.1", "a b", "a..b:1", "0.0.0.0:0", "host:"],
)
def test_what_can_never_be_listened_on_is_wrong_for_good(listen: str) -> None:
    with pytest.raises(AddressError) as caught:
        make(listen)
    assert not caught.value.is_passing


def test_a_port_alone_is_told_from_a_host() -> None:
    with pytest.raises(AddressError, match="write HOST:PORT, as lan:7946"):
        make("7946")


class silent_listener:
    """A port that accepts connections and never says a word: no handshake ever comes."""

    def __enter__(self) -> str:
        self.socket = socket.create_server(("127.0.0.1", 0))
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.socket.close()
