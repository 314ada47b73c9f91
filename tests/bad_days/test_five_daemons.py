"""Five real processes, killed with SIGKILL: all at once, or three of them for good."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from mabeam_p2p import Agent, MabeamError, NoQuorum, Vote, connect
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import house
from tests.eventually import done_at_last, eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

NAMES = ("ant", "bee", "cow", "dog", "eel")
GROUP = "lab"


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Who gets no processor for some seconds is not given up."""
    with house() as place:
        monkeypatch.setenv("MABEAM_TIMING__DEAD_SECONDS", "30")
        cluster = Fleet(place, *NAMES)
        cluster.start(*NAMES)
        yield cluster


@asynccontextmanager
async def attached(*names: str) -> AsyncIterator[list[Agent]]:
    """An agent of the group at each of these daemons, who accepts everything."""
    async with AsyncExitStack() as stack:
        agents = [
            await stack.enter_async_context(connect("a", addr=name, group=GROUP)) for name in names
        ]
        for agent in agents:
            agent.on_proposal("*")(lambda proposal: Vote.accept("fine"))
        yield agents


async def write(agent: Agent, acknowledged: list[str]) -> None:
    """Append one item after the other until something fails; remember what was acknowledged."""
    with suppress(MabeamError):
        for number in range(1_000_000):
            item = f"{agent.id} {number}"
            await agent.journal("load").append(item, timeout=5)
            acknowledged.append(item)


@in_loop
async def test_five_killed_at_once_have_lost_nothing_acknowledged(five: Fleet) -> None:
    acknowledged: list[str] = []
    async with attached(*NAMES) as agents:
        decision = await agents[0].group(GROUP).propose("rate", 0.5, rationale="a good day")
        assert decision.accepted
        released = await asyncio.gather(
            *(agent.barrier("epoch", parties=5).wait() for agent in agents)
        )
        assert {release.generation for release in released} == {1}
        for agent in agents:
            written = await agent.variables.set(f"last/{agent.peer}", agent.id, wait="all")
            assert len(written.applied) == 4
        writers = [asyncio.create_task(write(agent, acknowledged)) for agent in agents]
        await eventually(lambda: len(acknowledged) >= 100)
        five.kill(*NAMES)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await asyncio.to_thread(five.start, *NAMES)
        # The agents attach themselves again.
        released = await asyncio.gather(
            *(done_at_last(agent.barrier("epoch", parties=5).wait) for agent in agents)
        )
        assert {release.generation for release in released} == {2}
        for agent in agents:
            assert (await agent.parameters.read(f"{GROUP}:rate")).value == 0.5
            told = await agent.explain(decision.id)
            assert told.votes[: len(decision.votes)] == decision.votes
            for name in NAMES:
                assert (await agent.variables.read(f"last/{name}")).value == f"a@{name}"
            kept = [item.value for item in await agent.journal("load").read()]
            assert len(set(kept)) == len(kept)
            assert set(acknowledged) <= set(kept)


@in_loop
async def test_two_left_of_five_decide_nothing_and_go_on_with_a_third(five: Fleet) -> None:
    async with attached(*NAMES[:2]) as (a, b):
        assert await a.journal("run").append("five") == 1
        decision = await a.group(GROUP).propose("rate", 0.5)
        await b.parameters.read(f"{GROUP}:rate")
        five.kill(*NAMES[2:])
        await eventually(lambda: not a.info().quorum and not b.info().quorum)
        for agent in (a, b):
            with pytest.raises(NoQuorum, match="certainly not done"):
                await agent.journal("run").append("two", timeout=20)
            with pytest.raises(NoQuorum):
                await agent.group(GROUP).propose("rate", 1.0, timeout=20)
            with pytest.raises(NoQuorum):
                await agent.parameters.read(f"{GROUP}:rate", timeout=20)
            first = await agent.parameters.read(f"{GROUP}:rate", level="local")
            later = await agent.parameters.read(f"{GROUP}:rate", level="local")
            assert (first.value, first.version, first.level) == (0.5, decision.index, "local")
            assert later.age_seconds > first.age_seconds > 0
            assert (await agent.status()).leader is None
        await asyncio.to_thread(five.start, NAMES[4])
        await eventually(lambda: a.info().quorum)
        assert await done_at_last(lambda: a.journal("run").append("three", timeout=20)) == 2
        assert [item.value for item in await b.journal("run").read()] == ["five", "three"]


@in_loop
async def test_leader_that_was_stopped_wakes_into_a_cluster_that_went_on_without_it(
    five: Fleet,
) -> None:
    """Its clocks have leapt: it neither leads nor denies what was decided meanwhile."""
    async with attached(*NAMES) as agents:
        assert await agents[0].journal("run").append("before") == 1
        leader = await agents[0].wait_for_leader(timeout=20)
        (stopped,) = [agent for agent in agents if agent.peer == leader.name]
        awake = [agent for agent in agents if agent is not stopped]
        five.signal(stopped.peer, signal.SIGSTOP)
        try:
            await eventually(lambda: awake[0].leader not in (None, leader))
            assert await awake[0].journal("run").append("meanwhile", timeout=20) == 2
        finally:
            five.signal(stopped.peer, signal.SIGCONT)
        for agent in (stopped, *awake):
            kept = [item.value for item in await agent.journal("run").read(timeout=20)]
            assert kept == ["before", "meanwhile"]
        await eventually(lambda: stopped.leader not in (None, leader))
        assert await stopped.journal("run").append("after", timeout=20) == 3
