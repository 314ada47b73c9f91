from typing import Any

import pytest

from mabeam_p2p.discovery import throttle
from mabeam_p2p.discovery.throttle import PACKETS_AT_ONCE, PACKETS_PER_SECOND, Throttle
from tests.in_loop import in_loop


class Behind:
    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.errors: list[Exception | None] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append(data)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors.append(exc)


def test_of_a_flood_no_more_is_read_than_there_is_time_for() -> None:
    behind, now = Behind(), [0.0]
    before = Throttle(behind, lambda: now[0])
    for number in range(20_000):
        now[0] = number / 2_000
        before.datagram_received(b"%d" % number, ("192.0.2.1", 5353))
    most = PACKETS_AT_ONCE + 10 * PACKETS_PER_SECOND
    assert most - 5 <= len(behind.received) <= most
    assert before.dropped_count == 20_000 - len(behind.received)
    # It is over as soon as the flood is.
    now[0] += 1.0
    before.datagram_received(b"late", ("192.0.2.1", 5353))
    assert behind.received[-1] == b"late"


def test_ordinary_traffic_is_passed_on_whole() -> None:
    behind, now = Behind(), [0.0]
    before = Throttle(behind, lambda: now[0])
    for number in range(10_000):
        now[0] = number * 1.01 / PACKETS_PER_SECOND
        before.datagram_received(b"x", None)
    assert len(behind.received) == 10_000
    before.error_received(OSError())
    before.connection_lost(None)
    assert len(behind.errors) == 2


@in_loop
async def test_every_socket_that_mdns_reads_from_is_throttled() -> None:
    zeroconf = pytest.importorskip("zeroconf.asyncio")
    stack = zeroconf.AsyncZeroconf(interfaces=["127.0.0.1"])
    try:
        throttles = await throttle.install(stack.zeroconf)
        readers = stack.zeroconf.engine.readers
        assert len(throttles) == len(readers) > 0
        assert [reader.transport.get_protocol() for reader in readers] == list(throttles)
    finally:
        await stack.async_close()


def said(*labels: bytes) -> bytes:
    """A question for a name of these labels."""
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\x00"
    return b"\x00" * 4 + b"\x00\x01" + b"\x00" * 6 + name + b"\x00\x0c\x00\x01"


def test_a_packet_with_a_name_that_could_not_be_said_again_is_dropped() -> None:
    assert throttle.is_sound(said(b"_http", b"_tcp", b"local"))
    assert throttle.is_sound(said(b"x" * 63, b"local"))
    for data in (
        said(b"x" * 64, b"local"),
        said(*[b"y" * 60] * 5),
        b"",
        b"\x00" * 11,
        b"\xff" * 40,
    ):
        assert not throttle.is_sound(data)
    behind = Behind()
    before = Throttle(behind, lambda: 0.0, throttle.is_sound)
    before.datagram_received(said(b"x" * 64), None)
    before.datagram_received(said(b"x"), None)
    assert behind.received == [said(b"x")]
    assert before.dropped_count == 1
