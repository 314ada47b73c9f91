"""A daemon killed with SIGKILL and started again: its agents come back to what they held."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from mabeam_p2p import Agent, MabeamError, Release, connect
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import house
from tests.eventually import done_at_last, eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Daemons which have time to come back."""
    with house() as place:
        for name in ("DEAD", "RESTART_GRACE"):
            monkeypatch.setenv(f"MABEAM_TIMING__{name}_SECONDS", "60")
        cluster = Fleet(place, "ant", "bee", "cow")
        cluster.start(*cluster.names)
        yield cluster


async def arrived(agent: Agent, parties: int) -> "asyncio.Task[Release]":
    """The agent waits at the gate, and the cluster knows it."""
    events = agent.events("barrier.arrived")
    waiting = asyncio.create_task(agent.barrier("gate", parties=parties).wait(timeout=60))
    while agent.id not in (await anext(events)).facts["arrived"]:
        pass
    events.close()
    return waiting


@in_loop
async def test_a_session_outlives_its_daemon_and_so_does_what_it_holds(three: Fleet) -> None:
    async with connect("a", addr="ant") as a, connect("b", addr="bee") as b:
        session = a.session.id
        waiting = await arrived(a, 2)
        left = b.events("agent.left")
        for _ in range(2):
            three.kill("ant")
            await asyncio.to_thread(three.start, "ant")
            assert await done_at_last(partial(a.journal("run").append, "again", timeout=30)) > 0
        assert a.session.id == session
        release = await b.barrier("gate", parties=2).wait(timeout=60)
        assert (await waiting).generation == release.generation == 1
        assert [item.value for item in await b.journal("run").read()] == ["again", "again"]
        left.close()
        # The daemon's own agent is replaced by itself in each life.
        assert [event.facts["id"] async for event in left] == ["ant@ant"] * 2


@in_loop
async def test_what_was_under_way_when_the_daemon_died_is_done_once(three: Fleet) -> None:
    async with connect("a", addr="ant") as a, connect("b", addr="bee") as b:
        acknowledged: list[int] = []

        async def write(first: int) -> None:
            for number in range(first, 1_000_000, 8):
                await done_at_last(partial(a.journal("load").append, number, timeout=60))
                acknowledged.append(number)

        writers = [asyncio.create_task(write(first)) for first in range(8)]
        for _ in range(2):
            known = len(acknowledged)
            await eventually(lambda: len(acknowledged) > known + 100, 30)  # noqa: B023
            three.kill("ant")
            await asyncio.to_thread(three.start, "ant")
        known = len(acknowledged)
        await eventually(lambda: len(acknowledged) > known + 100, 30)
        assert not any(writer.done() for writer in writers), "nobody was told that it is unknown"
        for writer in writers:
            writer.cancel()
            with suppress(asyncio.CancelledError, MabeamError):
                await writer
        kept = [item.value for item in await b.journal("load").read(timeout=30)]
        assert len(set(kept)) == len(kept)
        # Only the newest are kept, and what was cancelled may be there or not.
        assert set(acknowledged[-1_000:]) <= set(kept)
