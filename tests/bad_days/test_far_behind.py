"""A daemon that was killed and is ten thousand entries of one KiB behind comes back: it is given a
snapshot and what follows while the others go on; and agents that were attached to it see the
present, not what they knew."""

import asyncio
import signal
import time
from collections.abc import Iterator
from statistics import median

import pytest

from mabeam_p2p import Agent, connect
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import house
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

BEHIND = 10_000
AT_ONCE = 250
ITEM = "x" * 1000


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Daemons whose logs are compacted often, in pieces that are small."""
    with house() as place:
        for name, value in (
            ("LIMITS__SNAPSHOT_ENTRIES", 2_000),
            ("LIMITS__LOG_TRAILING_ENTRIES", 500),
            ("LIMITS__SNAPSHOT_CHUNK_BYTES", 65_536),
            ("TIMING__DEAD_SECONDS", 120),
        ):
            monkeypatch.setenv(f"MABEAM_{name}", str(value))
        cluster = Fleet(place, "ant", "bee", "cow")
        cluster.start(*cluster.names)
        yield cluster


async def fill(agent: Agent, count: int) -> None:
    journal = agent.journal("work")
    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(journal.append(ITEM, timeout=60) for _ in range(AT_ONCE)))


async def serve(agent: Agent, count: int) -> list[float]:
    """Seconds that each of so many appends took, one after the other."""
    taken = []
    for number in range(count):
        started = time.perf_counter()
        await agent.journal("served").append(number, timeout=60)
        taken.append(time.perf_counter() - started)
    return taken


@in_loop
async def test_a_daemon_far_behind_catches_up_while_the_others_serve(
    three: Fleet,
) -> None:
    async with connect("a", addr="ant") as a:
        leader = (await a.status()).leader_name
        away = next(name for name in three.names if name not in (leader, "ant"))
        three.kill(away)
        await fill(a, BEHIND)
        before = await serve(a, 100)
        behind = (await a.status()).commit_index
        assert (await a.status()).snapshot_index > BEHIND - 2_000
        starting = asyncio.create_task(asyncio.to_thread(three.start, away))
        during: list[float] = []
        while not starting.done():
            during += await serve(a, 1)
        await starting
        async with connect("b", addr=away) as b:

            async def applied() -> bool:
                return (await b.status()).applied_index >= behind

            while not await applied():
                during += await serve(a, 1)
            seen = await b.status()
            assert seen.snapshot_index > BEHIND - 2_000
            assert seen.log_entries < 2_000 + 500 + 500
            entry = await b.journal("served").append("back", timeout=60)
            assert entry > 0
        # Of a machine that is busy otherwise nothing more can be asked.
        assert median(during) < 10 * median(before) + 0.1


@in_loop
async def test_an_agent_of_a_daemon_that_leapt_sees_what_nobody_told_it(three: Fleet) -> None:
    """The daemon is stopped, so that its agent stays attached and gets no event of what is
    skipped."""
    async with connect("a", addr="ant") as a, connect("b", addr="bee") as b:
        three.signal("bee", signal.SIGSTOP)
        try:
            await fill(a, 5_000)
            async with connect("c", addr="ant"):
                assert not any(one.id == "c@ant" for one in b.info().agents)
                three.signal("bee", signal.SIGCONT)
                await eventually(lambda: any(one.id == "c@ant" for one in b.info().agents))
                assert (await b.status()).snapshot_index > 2_000
                assert await b.journal("served").append("back", timeout=60) > 0
        finally:
            three.signal("bee", signal.SIGCONT)
