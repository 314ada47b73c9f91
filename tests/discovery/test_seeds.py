import asyncio
import logging
import socket
import threading

import pytest

from mabeam_p2p.discovery import seeds
from mabeam_p2p.discovery.seeds import SeedDiscovery
from mabeam_p2p.errors import AddressError
from tests.eventually import eventually


def rounds(count: int, *addresses: str) -> list[tuple[str, ...]]:
    """What the first `count` rounds suggest."""
    suggested: list[tuple[str, ...]] = []

    async def story() -> None:
        discovery = SeedDiscovery(addresses)
        await discovery.start(suggested.append)
        await eventually(lambda: len(suggested) >= count)
        await discovery.close()
        await discovery.close()

    asyncio.run(story())
    return suggested


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "ROUND_SECONDS", 0.0)


def test_addresses_are_suggested_again_and_again() -> None:
    expected = ("127.0.0.1:7001", "[::1]:7002")
    assert rounds(3, *expected)[:3] == [expected] * 3


def test_names_are_looked_up_to_addresses() -> None:
    (found, *_) = rounds(1, "localhost:7001")
    assert "127.0.0.1:7001" in found or "[::1]:7001" in found


def test_a_name_that_is_unknown_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise socket.gaierror("planted")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with caplog.at_level(logging.WARNING):
        assert rounds(3, "nowhere.example:1", "127.0.0.1:7001")[0] == ("127.0.0.1:7001",)
    assert caplog.text.count("nowhere.example") == 1


def test_a_silent_name_server_holds_neither_the_loop_nor_the_end_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = threading.Event()
    asked = threading.Event()

    def wait(*_: object, **__: object) -> object:
        asked.set()
        answer.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)

    async def story() -> None:
        discovery = SeedDiscovery(("slow.example:1",))
        await discovery.start(lambda addresses: None)
        await eventually(asked.is_set)
        await discovery.close()

    asyncio.run(story())
    assert not answer.is_set()
    answer.set()


@pytest.mark.parametrize("seed", ["host", "host:0", "host:x", ""])
def test_a_seed_that_is_no_address_is_refused(seed: str) -> None:
    with pytest.raises(AddressError):
        SeedDiscovery((seed,))
