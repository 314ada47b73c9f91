"""Elections and leadership at real peers in this process."""

import asyncio
import contextlib
from collections.abc import Mapping

import pytest

from mabeam_p2p import Agent, Election, LeadershipLost, NoCandidates, NotHolder
from tests.api.clusters import agents, cluster
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_all_elect_and_agree_on_the_best_of_the_published_scores() -> None:
    async with agents() as (one, two, three):
        await asyncio.gather(
            one.publish_score({"performance": 0.5}),
            two.publish_score({"performance": 0.9, "reliability": 0.8}),
            three.publish_score({"performance": 0.7}),
        )
        seats = await asyncio.gather(*(agent.elect("search") for agent in (one, two, three)))
        assert {seat.holder for seat in seats} == {two.id}
        assert len({seat.token for seat in seats}) == 1
        assert [seat.is_me for seat in seats] == [False, True, False]
        election = await three.election("search")
        assert election is not None
        assert (election.status, election.winner) == ("elected", two.id)
        assert set(election.electorate) == {one.id, two.id, three.id}
        assert next(iter(election.tally)) == two.id


@in_loop
async def test_a_function_of_the_users_ranks_in_the_place_of_the_scores() -> None:
    async with agents() as (one, two, three):
        await one.publish_score({"performance": 1.0})

        def rank(election: Election) -> Mapping[str, float]:
            return {
                candidate.agent: float(candidate.agent == three.id)
                for candidate in election.candidates
            }

        for agent in (one, two, three):
            agent.on_election("search")(rank)
        assert (await two.elect("search")).holder == three.id


@in_loop
async def test_leadership_goes_on_to_the_next_one_with_a_greater_token() -> None:
    async with agents() as all_three:
        led: list[tuple[str, int]] = []

        async def work(agent: Agent) -> None:
            async with agent.leadership("search") as seat:
                assert agent.seat("search").holder == agent.id
                led.append((agent.id, seat.token))
                await asyncio.sleep(0.02)

        async with asyncio.timeout(60):
            await asyncio.gather(*map(work, all_three))
        assert len({agent for agent, _ in led}) == 3
        tokens = [token for _, token in led]
        assert tokens == sorted(tokens)
        assert len(set(tokens)) == 3


@in_loop
async def test_when_the_holder_leaves_the_others_elect_at_once() -> None:
    async with agents() as (one, two, three):
        first = await one.elect("search")
        holder, *rest = sorted((one, two, three), key=lambda agent: agent.id != first.holder)
        entering = [asyncio.create_task(lead_once(agent)) for agent in rest]
        await holder.close()
        async with asyncio.timeout(60):
            token = await next(asyncio.as_completed(entering))
            await asyncio.gather(*entering)
        assert token > first.token
        closed = rest[0].seat("search")
        assert closed.holder != holder.id


async def lead_once(agent: Agent) -> int:
    async with agent.leadership("search") as seat:
        return seat.token


@in_loop
async def test_a_holder_that_resigns_or_is_challenged_is_told_of_the_loss() -> None:
    async with agents() as (one, two, _):
        entered = asyncio.Event()

        async def lead() -> None:
            async with one.leadership("search", among="standing"):
                entered.set()
                await asyncio.Event().wait()

        leading = asyncio.create_task(lead())
        await asyncio.wait_for(entered.wait(), 30)
        with pytest.raises(NotHolder):
            await two.resign("search")
        await one.resign("search")
        with pytest.raises(LeadershipLost, match="resigned"):
            await leading
        await eventually(lambda: two.seat("search").holder is None)
        assert (await two.elect("search")).holder is not None


@pytest.mark.fault("L11")
@in_loop
async def test_seats_of_a_group_are_held_by_its_agents_alone() -> None:
    async with cluster(1) as (peer,):
        seer = await peer.agent("seer", groups=["vision"])
        other = await peer.agent("other")
        events = seer.events("seat.*")
        assert (await other.group("vision").elect("lead")).holder == seer.id
        assert other.seat("lead").holder is None
        filled = next(
            event
            for event in [await anext(events) for _ in range(3)]
            if event.name == "seat.filled"
        )
        assert filled.facts["group"] == "vision"
        with pytest.raises(NoCandidates, match="nobody"):
            await other.group("nobody").elect("lead")
        await seer.group("vision").stand_down("lead")
        await eventually(lambda: other.group("vision").seat("lead").holder is None)


@in_loop
async def test_a_forgotten_leadership_is_given_up_when_its_agent_closes() -> None:
    async with cluster(1) as (peer,):
        one, two = await peer.agent("one"), await peer.agent("two")
        leadership = one.leadership("search")
        await leadership.__aenter__()
        waiting = asyncio.create_task(lead_once(two))
        with contextlib.suppress(asyncio.CancelledError):
            await one.close()
            assert await asyncio.wait_for(waiting, 30) > 0
            await asyncio.sleep(0)
        assert leadership.is_lost
