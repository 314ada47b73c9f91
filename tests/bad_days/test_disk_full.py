"""A data folder that has reached nine tenths of its quota: nothing more is proposed, it says so,
reads go on, and when there is room again so does everything else. And a disk that others fill."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from mabeam_p2p import Agent, Overloaded, connect
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import House, house, mabeam
from tests.eventually import done_at_last, in_one_of
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
    async with AsyncExitStack() as stack:
        # Before: where it leads, a full folder takes no session, either.
        agents = {
            name: await stack.enter_async_context(connect("a", addr=name)) for name in fleet.names
        }
        a, count = agents["ant"], 0

        async def is_full_where_it_leads() -> bool:
            nonlocal count
            count += await fill(a, "big")
            b = agents[(await a.wait_for_leader(timeout=60)).name]
            seen = await b.status()
            is_refused = not await is_appended(b, "big")
            count += not is_refused
            shown = await asyncio.to_thread(mabeam, "status", "--addr", b.peer)
            if not is_refused or (seen.role, (await b.status()).term) != ("leader", seen.term):
                return False
            assert (seen.disk_full, seen.disk_bytes_max) == (True, QUOTA)
            assert len(await b.journal("big").read()) == count
            return "takes no commands" in shown.stdout

        await in_one_of(20, is_full_where_it_leads)
        assert QUOTA * 0.5 < count * len(ITEM) < QUOTA
        fleet.kill(*fleet.names)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MABEAM_LIMITS__DATA_BYTES_MAX", str(10 * QUOTA))
            await asyncio.to_thread(fleet.start, *fleet.names)
        append = partial(a.journal("small").append, "there is room", timeout=60)
        assert await done_at_last(append) > 0
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


NEEDS_ROOT = ""
if os.getuid() != 0 or not shutil.which("unshare"):
    NEEDS_ROOT = "needs root and unshare, for a disk of its own"
FIVE_STARTS = """
mount -t tmpfs -o size=4m,mode=700 tmpfs data
told() { echo '{"ended": '$1'}'; }
"$@"; told $?
"$@" --name bee --data-dir data/bee; told $?
rm data/of-others
"$@"; told $?
head -c 8m /dev/zero > data/of-others
"$@"; told $?
rm data/of-others
"$@"; told $?
"""


def fill_disk(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(path).f_bavail == 0


async def append_for_ever(agent: Agent) -> None:
    """Some may fit into room that the database has. Who is gone is waited for."""
    while True:
        await agent.journal("run").append(ITEM, timeout=60)


@pytest.mark.skipif(bool(NEEDS_ROOT) and not os.environ.get("REQUIRE_NETWORK"), reason=NEEDS_ROOT)
@in_loop
async def test_a_peer_whose_disk_others_fill_ends_as_one_that_may_be_started_again() -> None:
    """Its unit does so: somebody may make room. Also one that is started there: by itself for the
    first time, and again after it had left."""
    with house() as place:
        (place.folder / "data").mkdir()
        shell = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", FIVE_STARTS)
        daemon = place.start("--expect", "1", "--data-dir", "data", under=(*shell, "sh"))

        async def line() -> dict[str, object]:
            return await asyncio.to_thread(daemon.line)

        assert [(await line())["event"], (await line())["event"]] == ["listening", "ready"]
        async with connect("a", addr="ant") as a:
            assert await a.journal("run").append("before") == 1
            fill_disk(Path(f"/proc/{daemon.process.pid}/root{place.folder}/data/of-others"))
            async with asyncio.TaskGroup() as group:
                appending = group.create_task(append_for_ever(a))
                assert await line() == {"ended": 75}
                appending.cancel()
        assert await line() == {"ended": 75}
        for codes in ([0, 75], [0]):
            assert [(await line())["event"], (await line())["event"]] == ["listening", "ready"]
            async with connect("a", addr="ant") as a:
                assert (await a.journal("run").read())[0].value == "before"
            assert (await asyncio.to_thread(mabeam, "down", "--addr", "ant")).exit_code == 0
            assert [await line() for _ in codes] == [{"ended": code} for code in codes]
        ends = [line for line in daemon.said().splitlines() if line.startswith("error: ")]
        assert len(ends) == 3
        assert all(end.endswith(": free some space, then start the peer again") for end in ends)
        assert "Traceback" not in daemon.said()
