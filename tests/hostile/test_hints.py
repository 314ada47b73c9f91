"""Hints come from anybody: an announcement or a seed may be nonsense, and adds nothing then."""

import asyncio
import itertools
import logging
import struct
from collections.abc import Iterator

import pytest

from mabeam_p2p.addresses import split_address
from mabeam_p2p.config import SERVICE_TYPE
from mabeam_p2p.discovery import throttle
from mabeam_p2p.discovery.mdns import MdnsDiscovery
from mabeam_p2p.discovery.seeds import SeedDiscovery
from mabeam_p2p.errors import AddressError
from mabeam_p2p.ids import PeerId
from tests.hostile.mutation import mutated
from tests.hostile.spoiling import FAULTS

TEXTS = (
    "", ":", ":1", "a", "a:", "a:b", "a:-1", "a:65536", "a:1:2", "[::1", "[::1]", "[::1]:x",
    "127.0.0.1:99999999999999999999", "\x00:1", "a\n:1", "a b:1", "host:\u0661", "[" * 500 + ":1",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_a_seed_that_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(AddressError):
        SeedDiscovery((text,))
    with pytest.raises(AddressError):
        split_address(text)


@pytest.mark.parametrize("data", FAULTS.values(), ids=FAULTS)
def test_any_bytes_as_a_seed_are_an_address_or_refused(data: bytes) -> None:
    try:
        SeedDiscovery((data.decode("latin-1")[:300],))
    except AddressError:
        return


# ---- announcements ---------------------------------------------------------------------------


def label(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def name(*labels: bytes) -> bytes:
    return b"".join(map(label, labels)) + b"\x00"


def announcement(instance: bytes, text: bytes) -> bytes:
    """What a stranger sends by multicast: PTR, SRV, TXT and A of one instance."""
    kind = [part.encode() for part in SERVICE_TYPE.rstrip(".").split(".")]
    host = name(instance, b"local")
    records = (
        (name(*kind), 12, name(instance, *kind)),
        (name(instance, *kind), 33, struct.pack(">HHH", 0, 0, 9) + host),
        (name(instance, *kind), 16, text),
        (host, 1, bytes((127, 0, 0, 1))),
    )
    head = struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0)
    return head + b"".join(
        owner + struct.pack(">HHIH", number, 1, 120, len(data)) + data
        for owner, number, data in records
    )


def packets() -> Iterator[bytes]:
    good = announcement(b"0" * 16, label(b"v=1") + label(b"cluster=" + b"0" * 16))
    yield good
    for number, data in enumerate(FAULTS.values()):
        instance = b"%016x" % number
        yield announcement(instance, data[:4_000])
        yield announcement(instance, label(b"cluster=" + data[:200]))
        yield announcement(data[:60], b"")
    yield from mutated([good], 1_000, seed=4)


@pytest.mark.slow
def test_any_packet_leaves_discovery_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    suggested: list[str] = []
    raised: list[object] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: raised.append(context))
        discovery = MdnsDiscovery(
            peer=PeerId("f" * 16),
            cluster="hostile",
            epoch=1,
            address="127.0.0.1:7001",
            expect=1,
            candidates_max=16,
        )
        await discovery.start(suggested.extend)
        stack = discovery._stack
        assert stack is not None
        (reader, *_) = stack.zeroconf.engine.readers
        protocol = reader.transport.get_protocol()
        assert isinstance(protocol, throttle.Throttle)
        protocol._clock = itertools.count().__next__  # So that every packet is looked at.
        for data in packets():
            protocol.datagram_received(data, ("127.0.0.1", 5353))
            await asyncio.sleep(0)
            assert len(discovery._resolving) + len(discovery._known) <= 16
        # One that has questions left to ask does so.
        await discovery._browse_anew()
        await asyncio.sleep(0.3)
        await discovery.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert raised == []
    assert suggested == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
