"""Barriers between real peers in this process."""

import asyncio

import pytest

import mabeam_p2p
from mabeam_p2p import BarrierBroken, BarrierMismatch
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.commands import Arrive
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import Answer, Await, Committed, Found, Request, Submit
from tests.api.clusters import agents
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@pytest.mark.fault("B2")
@in_loop
async def test_barrier_releases_all_parties_with_one_generation() -> None:
    async with agents(3) as everyone:
        releases = await asyncio.gather(
            *(agent.barrier("epoch", parties=3).wait() for agent in everyone)
        )
        assert {release.generation for release in releases} == {1}
        assert sorted(release.order for release in releases) == [0, 1, 2]
        again = await asyncio.gather(
            *(agent.barrier("epoch", parties=3).wait() for agent in everyone)
        )
        assert {release.generation for release in again} == {2}


@in_loop
async def test_barrier_that_lacks_a_party_breaks_for_all_alike() -> None:
    async with agents(3) as (a, b, _):
        ends = await asyncio.gather(
            *(agent.barrier("epoch", parties=3, timeout=1.5).wait() for agent in (a, b)),
            return_exceptions=True,
        )
        for end in ends:
            assert isinstance(end, BarrierBroken)
            assert isinstance(end, TimeoutError)
            assert (end.reason, end.missing_count) == ("timeout", 1)
            assert sorted(end.arrived) == ["a0@p0", "a1@p1"]


@pytest.mark.fault("B14")
@in_loop
async def test_barrier_for_more_parties_than_there_are_agents_warns_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with agents(1) as (a,):
        with pytest.raises(BarrierBroken):
            await a.barrier("many", parties=2, timeout=1.5).wait()
        assert "wants 2 parties and 1 agents are there" in caplog.text


@in_loop
async def test_barrier_with_other_parameters_is_refused() -> None:
    async with agents(3) as (a, b, c):
        waiting = asyncio.create_task(a.barrier("epoch", parties=3).wait())
        arrived = b.events("barrier.arrived")
        waiting_too = asyncio.create_task(c.barrier("epoch", parties=3).wait())
        await anext(arrived)
        with pytest.raises(BarrierMismatch):
            await b.barrier("epoch", parties=2).wait()
        await b.barrier("epoch", parties=3).wait()
        await asyncio.gather(waiting, waiting_too)


@in_loop
async def test_double_barrier_enters_and_leaves_together() -> None:
    async with agents(3) as everyone:
        inside: list[str] = []
        left: list[int] = []

        async def work(agent: mabeam_p2p.Agent) -> None:
            async with agent.barrier("checkpoint", parties=3):
                inside.append(agent.id)
            left.append(len(inside))

        await asyncio.gather(*map(work, everyone))
        assert left == [3, 3, 3]


@in_loop
async def test_who_waits_again_waits_for_the_end_of_the_generation_it_has_arrived_at() -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    ended = Generation(
        "epoch",
        4,
        2,
        9,
        OnDeparture.BREAK,
        (AgentId("a@ant"), AgentId("b@bee")),
        BarrierStatus.RELEASED,
        0,
    )
    answers: list[Answer | None] = [None, Found(9, 0.0, False, generations=(ended,))]

    def reply(request: Request) -> Reply:
        match request:
            case Submit(command=Arrive()):
                return Committed(7, 1, 4)
            case Await():
                return answers.pop(0)
            case _:
                return usual(request)

    peer.reply = reply
    barrier = agent.barrier("epoch", parties=2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await barrier.wait()
    assert (await barrier.wait()).generation == 4
    arrivals = [command for command in peer.commands() if isinstance(command, Arrive)]
    assert [arrival.generation for arrival in arrivals] == [0, 4]
