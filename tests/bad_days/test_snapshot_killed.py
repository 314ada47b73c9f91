"""A daemon that writes snapshots all the time is killed again and again as one appears: what was
acknowledged is there once, in order, and it goes on."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from mabeam_p2p import connect
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import house
from tests.eventually import done_at_last
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

KILLS = 6
PADDING = "x" * 20_000
"""So that a snapshot is large beside what is appended between two of them."""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    with house() as place:
        for name in ("DEAD", "RESTART_GRACE"):
            monkeypatch.setenv(f"MABEAM_TIMING__{name}_SECONDS", "60")
        monkeypatch.setenv("MABEAM_LIMITS__SNAPSHOT_ENTRIES", "4")
        monkeypatch.setenv("MABEAM_LIMITS__LOG_TRAILING_ENTRIES", "2")
        fleet = Fleet(place, "ant")
        fleet.start("ant")
        yield fleet


@in_loop
async def test_a_daemon_that_is_killed_between_snapshots_loses_nothing(alone: Fleet) -> None:
    async with connect("a", addr="ant") as a:
        journal, acknowledged, is_over = a.journal("work"), 0, False

        async def work() -> None:
            nonlocal acknowledged
            while not is_over:
                item = [acknowledged, PADDING]
                await done_at_last(partial(journal.append, item, timeout=60))
                acknowledged += 1

        working = asyncio.create_task(work())
        snapshot_index = 0
        for _ in range(KILLS):
            async with asyncio.timeout(60):
                while (seen := (await a.status()).snapshot_index) <= snapshot_index:
                    assert not working.done()
            snapshot_index = seen
            alone.kill("ant")
            await asyncio.to_thread(alone.start, "ant")
            await done_at_last(partial(a.barrier("back", parties=1).wait, timeout=60))
        is_over = True
        await working
        items = await journal.read()
        assert [item.value[0] for item in items] == list(range(acknowledged))
        status = await a.status()
        assert status.snapshot_index >= snapshot_index > 0
        assert status.log_entries < 50
