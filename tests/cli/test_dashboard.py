"""What a dashboard is to the daemon beside it, with fakes of both."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import pytest

from mabeam_p2p.cli.dashboard import running
from mabeam_p2p.config import Config
from mabeam_p2p.daemon.host import Host
from mabeam_p2p.dashboard import serving
from mabeam_p2p.errors import StorageError
from tests.in_loop import in_loop

SECONDS = 60.0
"""Deadline of every wait: reached by a failure only."""
CONFIG = Config(name="ant", dashboard="127.0.0.1:0")


class Both:
    """A daemon and a dashboard that tell the order in which they begin and end."""

    attachment = None
    url = "http://127.0.0.1:1/"
    is_exposed = False

    def __init__(self) -> None:
        self.told: list[str] = []
        self.peer_leaves = asyncio.Event()
        self.fault: Exception | None = None

    async def __aenter__(self) -> "Both":
        self.told.append("peer begins")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.told.append("peer leaves")
        self.peer_leaves.set()

    @asynccontextmanager
    async def serving(self, attachment: None) -> AsyncIterator[None]:
        if self.fault is not None:
            raise self.fault
        try:
            yield
        finally:
            async with asyncio.timeout(SECONDS):
                await self.peer_leaves.wait()
            self.told.append("pages end")


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Both:
    made = Both()

    @contextmanager
    def prepared(config: Config) -> Iterator[Both]:
        yield made
        made.told.append("port is free")

    monkeypatch.setattr(serving, "prepared", prepared)
    return made


def host(both: Both) -> Host:
    return cast(Host, both)


@in_loop
async def test_pages_that_do_not_end_keep_no_peer_from_leaving(both: Both) -> None:
    async with running(CONFIG, host(both)) as url:
        assert url == both.url
    assert both.told == ["peer begins", "peer leaves", "pages end", "port is free"]


@in_loop
async def test_a_peer_that_fails_ends_its_pages_and_says_what_it_failed_of(both: Both) -> None:
    with pytest.raises(StorageError, match="disk"):
        async with running(CONFIG, host(both)):
            raise StorageError("the disk is gone")
    assert both.told[:3] == ["peer begins", "peer leaves", "pages end"]


@in_loop
async def test_a_dashboard_that_cannot_begin_ends_the_peer(both: Both) -> None:
    both.fault = StorageError("no room")
    with pytest.raises(StorageError, match="room"):
        async with running(CONFIG, host(both)):
            pytest.fail("it has no dashboard")
    assert both.told == ["peer begins", "peer leaves"]
