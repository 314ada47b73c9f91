"""Hints come from anybody: an announcement or a seed may be nonsense, and adds nothing then."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from mabeam_p2p.addresses import split_address
from mabeam_p2p.discovery.mdns import MdnsDiscovery
from mabeam_p2p.discovery.seeds import SeedDiscovery
from mabeam_p2p.errors import AddressError
from mabeam_p2p.ids import PeerId
from tests.hostile.multicast import Ear, announcement, label
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
        ear = Ear(discovery)
        await ear.open()
        looked_at: set[str] = set()
        for data in packets():
            ear.take(data)
            await asyncio.sleep(0)
            looked_at.update(discovery._resolving)
            assert len(discovery._resolving) + len(discovery._known) <= 16
        assert len(looked_at) > 50, "most are no announcements by then, or too many at a time"
        # One that has questions left to ask does so.
        await discovery._browse_anew()
        await asyncio.sleep(0.3)
        await discovery.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert raised == []
    assert suggested == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
