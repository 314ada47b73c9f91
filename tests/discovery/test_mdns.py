import asyncio
import logging
import os
import sys

import pytest

from mabeam_p2p.config import SERVICE_TYPE
from mabeam_p2p.discovery import mdns
from mabeam_p2p.discovery.mdns import TXT_BYTES_MAX, MdnsDiscovery, cluster_hash
from mabeam_p2p.discovery.throttle import Throttle
from mabeam_p2p.ids import PeerId
from mabeam_p2p.security.announcements import Announcements
from mabeam_p2p.security.guard import Guard
from tests.eventually import eventually
from tests.transport.keys import Cluster


def unique_peer(number: int) -> PeerId:
    """Ids that no peer outside this test has, nor one of another run of it at the same time."""
    return PeerId(f"feed{os.getpid():08x}{number:04x}")


class Finder:
    """One discovery on loopback and what it suggested."""

    def __init__(
        self,
        number: int,
        cluster: str,
        *,
        epoch: int = 1,
        candidates_max: int = 256,
        keys: Guard | None = None,
    ) -> None:
        self.suggested: list[str] = []
        self.discovery = MdnsDiscovery(
            peer=unique_peer(number),
            cluster=cluster,
            epoch=epoch,
            address=f"127.0.0.1:{7000 + number}",
            expect=3,
            candidates_max=candidates_max,
            announcements=None if keys is None else Announcements(keys, cluster, epoch),
        )

    async def __aenter__(self) -> "Finder":
        await self.discovery.start(self.suggested.extend)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.discovery.close()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test and run: multicast on loopback reaches every process."""
    return f"{request.node.name}-{id(request)}"


@pytest.mark.slow
def test_peers_of_one_cluster_find_each_other_on_loopback(cluster: str) -> None:
    async def story() -> None:
        async with (
            Finder(1, cluster) as one,
            Finder(2, cluster) as two,
            Finder(3, cluster) as three,
        ):
            await eventually(lambda: {"127.0.0.1:7002", "127.0.0.1:7003"} <= {*one.suggested})
            await eventually(lambda: {"127.0.0.1:7001", "127.0.0.1:7003"} <= {*two.suggested})
            await eventually(lambda: {"127.0.0.1:7001", "127.0.0.1:7002"} <= {*three.suggested})
            assert "127.0.0.1:7001" not in one.suggested, "found itself"

    asyncio.run(story())


@pytest.mark.slow
def test_other_clusters_are_passed_over(cluster: str) -> None:
    async def story() -> None:
        async with (
            Finder(1, cluster) as one,
            Finder(2, cluster + "-other"),
            Finder(3, cluster),
        ):
            await eventually(lambda: "127.0.0.1:7003" in one.suggested)
            assert "127.0.0.1:7002" not in one.suggested

    asyncio.run(story())


@pytest.mark.slow
def test_a_peer_that_restarts_is_suggested_again(cluster: str) -> None:
    async def story() -> None:
        async with Finder(1, cluster) as one:
            async with Finder(2, cluster, epoch=1):
                await eventually(lambda: "127.0.0.1:7002" in one.suggested)
            one.suggested.clear()
            async with Finder(2, cluster, epoch=2):
                await eventually(lambda: "127.0.0.1:7002" in one.suggested)

    asyncio.run(story())


@pytest.mark.slow
def test_no_more_candidates_are_followed_than_the_limit(cluster: str) -> None:
    async def story() -> None:
        async with Finder(1, cluster, candidates_max=2) as one:
            finders = [Finder(number, cluster) for number in range(2, 8)]
            for finder in finders:
                await finder.__aenter__()
            last = finders[-1]
            await eventually(lambda: len({*last.suggested}) == 6)
            assert len({*one.suggested}) <= 2
            for finder in finders:
                await finder.__aexit__()

    asyncio.run(story())


@pytest.mark.slow
def test_the_question_is_repeated_while_peers_are_missing(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "BROWSE_SECONDS", 0.01)
    monkeypatch.setattr(mdns, "ANNOUNCE_SECONDS", 0.0)
    rounds = 0

    async def story() -> None:
        async with Finder(1, cluster) as one:

            async def count_round(discovery: MdnsDiscovery) -> None:
                nonlocal rounds
                rounds += discovery is one.discovery

            first = one.discovery._browser
            await eventually(lambda: one.discovery._browser is not first)
            async with Finder(2, cluster), Finder(3, cluster):
                await eventually(lambda: len({*one.suggested}) == 2)
                monkeypatch.setattr(MdnsDiscovery, "_announce", count_round)
                # The round that was under way may still have asked.
                await eventually(lambda: rounds >= 1)
                settled, seen = one.discovery._browser, rounds
                await eventually(lambda: rounds >= seen + 20)
                assert one.discovery._browser is settled

    asyncio.run(story())


def test_announcements_are_small_and_hold_no_names(cluster: str) -> None:
    discovery = Finder(1, cluster).discovery
    info = discovery._announcement(unique_peer(1), discovery._facts())
    assert len(info.text) <= TXT_BYTES_MAX
    assert cluster.encode() not in info.text
    assert cluster_hash(cluster).encode() in info.text
    assert info.name == f"{unique_peer(1)}.{SERVICE_TYPE}"


@pytest.mark.slow
def test_with_keys_only_what_the_cluster_has_signed_is_suggested(cluster: str) -> None:
    """Neither what has no proof, nor what strangers have signed, nor a copy of what a member has
    said, published for an address of another."""

    async def story() -> None:
        ours = Cluster()
        copied = ours.gatekeeper().guard
        async with (
            Finder(1, cluster, keys=ours.gatekeeper().guard) as one,
            Finder(2, cluster),
            Finder(3, cluster, keys=Cluster(b"x" * 32).gatekeeper().guard),
            Finder(4, cluster, keys=copied) as four,
        ):
            await eventually(lambda: "127.0.0.1:7004" in one.suggested)
            facts = four.discovery._facts()
            copy = Finder(5, cluster)
            copy.discovery._facts = lambda: facts  # type: ignore[method-assign]  # The forgery.
            async with copy, Finder(6, cluster, keys=ours.gatekeeper().guard):
                await eventually(lambda: "127.0.0.1:7006" in one.suggested)
            assert {*one.suggested} == {"127.0.0.1:7004", "127.0.0.1:7006"}

    asyncio.run(story())


@pytest.mark.slow
def test_a_peer_announces_itself_once_it_was_let_in_and_anew_after_a_rotation(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "BROWSE_SECONDS", 0.01)
    monkeypatch.setattr(mdns, "ANNOUNCE_SECONDS", 0.01)
    monkeypatch.setattr(mdns, "ANNOUNCE_SECONDS_MAX", 0.01)

    async def story() -> None:
        ours = Cluster()
        late = ours.gatekeeper().guard
        late.keyring.current = None
        first, third = ours.gatekeeper().guard, ours.gatekeeper().guard
        async with Finder(1, cluster, keys=first) as one:
            async with Finder(2, cluster, keys=late), Finder(3, cluster, keys=third):
                await eventually(lambda: "127.0.0.1:7003" in one.suggested)
                assert "127.0.0.1:7002" not in one.suggested
                late.keyring.current = ours.secret
                await eventually(lambda: "127.0.0.1:7002" in one.suggested)
            rotated = Cluster(b"r" * 32)
            async with Finder(4, cluster, keys=rotated.gatekeeper().guard) as four:
                first.keyring.rotate(rotated.secret)
                await eventually(lambda: "127.0.0.1:7001" in four.suggested)

    asyncio.run(story())


def test_without_zeroconf_there_is_one_warning_and_no_error(
    cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)

    async def story() -> None:
        async with Finder(1, cluster):
            pass

    with caplog.at_level(logging.WARNING, logger="mabeam_p2p"):
        asyncio.run(story())
    assert len(caplog.records) == 1
    assert "seeds" in caplog.text


def test_without_an_interface_there_is_one_warning_and_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        discovery = MdnsDiscovery(
            peer=unique_peer(1),
            cluster="c",
            epoch=1,
            address="192.0.2.1:7000",
            expect=3,
            candidates_max=4,
        )
        await discovery.start(lambda addresses: None)
        await discovery.close()

    with caplog.at_level(logging.WARNING, logger="mabeam_p2p"):
        asyncio.run(story())
    assert len(caplog.records) == 1


@pytest.mark.slow
def test_an_address_that_comes_late_or_comes_back_is_announced_then(
    cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mdns, "BROWSE_SECONDS", 0.01)
    is_there = False

    def check(host: str) -> None:
        if not is_there:
            raise OSError("no such address")

    monkeypatch.setattr(mdns, "_check_interface", check)

    async def story() -> None:
        nonlocal is_there
        async with Finder(1, cluster) as late:
            assert late.discovery._stack is None
            is_there = True
            async with Finder(2, cluster) as other:
                await eventually(lambda: "127.0.0.1:7001" in other.suggested)
                before = late.discovery._stack
                is_there = False
                await eventually(lambda: late.discovery._is_away)
                is_there = True
                await eventually(lambda: late.discovery._stack not in (None, before))
                other.suggested.clear()
                await eventually(lambda: "127.0.0.1:7001" in other.suggested)

    with caplog.at_level(logging.WARNING, logger="mabeam_p2p"):
        asyncio.run(story())
    first, *others = [record.message for record in caplog.records]
    assert first == "mDNS does not work here (no such address); peers are found by seeds alone"
    # Of each that had it and misses it, once, however often it looks.
    assert 1 <= len(others) <= 2
    assert all("no address of this machine" in message for message in others)


@pytest.mark.slow
def test_a_peer_whose_address_changes_is_announced_at_the_new_one(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "BROWSE_SECONDS", 0.01)

    async def story() -> None:
        async with Finder(1, cluster) as moving, Finder(2, cluster) as other:
            await eventually(lambda: "127.0.0.1:7001" in other.suggested)
            moving.discovery.moved("127.0.0.1:7077")
            await eventually(lambda: "127.0.0.1:7077" in other.suggested)

    asyncio.run(story())


def test_an_address_that_changes_while_everything_is_opened_anew_is_opened_too(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "_check_interface", lambda host: None)
    opened: list[str] = []

    async def story() -> None:
        discovery = Finder(1, cluster).discovery

        async def open_there() -> None:
            opened.append(discovery._host)
            if len(opened) == 1:
                discovery.moved("192.0.2.2:7001")
            elif len(opened) == 2:
                raise OSError("no multicast yet")

        monkeypatch.setattr(discovery, "_open", open_there)
        discovery.moved("192.0.2.1:7001")
        assert not await discovery._is_open()
        with pytest.raises(OSError, match="no multicast yet"):
            await discovery._is_open()
        assert not await discovery._is_open()
        assert await discovery._is_open()

    asyncio.run(story())
    assert opened == ["192.0.2.1", "192.0.2.2", "192.0.2.2"]


@pytest.mark.slow
def test_every_socket_of_a_peer_that_looks_for_others_is_throttled(cluster: str) -> None:
    async def story() -> None:
        async with Finder(1, cluster) as finder:
            await eventually(lambda: finder.discovery._stack is not None)
            stack = finder.discovery._stack
            assert stack is not None
            await eventually(lambda: stack.zeroconf.engine.readers)
            for reader in stack.zeroconf.engine.readers:
                assert isinstance(reader.transport.get_protocol(), Throttle)

    asyncio.run(story())
