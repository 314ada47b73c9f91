"""A data folder that has reached nine tenths of its quota: nothing more is proposed, it says so,
reads go on, and when there is room again so does everything else."""

import asyncio
from collections.abc import Iterator

import pytest

from mabeam_p2p import Agent, Overloaded, connect
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import House, house, mabeam
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

QUOTA = 3_000_000
ITEM = "x" * 50_000


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with house() as place:
        monkeypatch.setenv("MABEAM_LIMITS__DATA_BYTES_MAX", str(QUOTA))
        yield place


async def is_appended(agent: Agent, journal: str) -> bool:
    """False: it was refused for want of room."""
    try:
        return await agent.journal(journal).append(ITEM, timeout=60) > 0
    except Overloaded as error:
        return "limits.data_bytes_max" not in str(error)


async def fill(agent: Agent, journal: str) -> int:
    """Append until it is refused; return how many items were acknowledged."""
    count = 0
    while await is_appended(agent, journal):
        count += 1
    return count


@in_loop
async def test_a_full_data_folder_takes_no_commands_and_goes_on_reading(place: House) -> None:
    fleet = Fleet(place, "ant", "bee", "cow")
    fleet.start(*fleet.names)
    async with connect("a", addr="ant") as a:
        leader = (await a.status()).leader_name
        async with connect("b", addr=leader) as b:
            count = await fill(a, "big")
            assert QUOTA * 0.5 < count * len(ITEM) < QUOTA
            assert not await is_appended(b, "big")
            seen = await b.status()
            assert (seen.role, seen.disk_full, seen.disk_bytes_max) == ("leader", True, QUOTA)
            assert len(await b.journal("big").read()) == count
            shown = await asyncio.to_thread(mabeam, "status", "--addr", leader)
            assert "takes no commands" in shown.stdout
        fleet.kill(*fleet.names)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MABEAM_LIMITS__DATA_BYTES_MAX", str(10 * QUOTA))
            await asyncio.to_thread(fleet.start, *fleet.names)
        assert await a.journal("small").append("there is room", timeout=60) > 0
        assert len(await a.journal("big").read()) == count


@in_loop
async def test_what_a_snapshot_can_free_is_freed_so_that_work_goes_on(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that keeps four items leaves little of what was appended: twice the quota goes
    through, and is refused only while a snapshot is being written."""
    monkeypatch.setenv("MABEAM_LIMITS__JOURNAL_ITEMS_MAX", "4")
    fleet = Fleet(place, "ant")
    fleet.start("ant")
    async with connect("a", addr="ant") as a:
        left = 2 * QUOTA // len(ITEM)
        async with asyncio.timeout(120):
            while left:
                left -= await is_appended(a, "notes")
        seen = await a.status()
        assert seen.snapshot_index > 0
        assert seen.disk_used_bytes < QUOTA
