"""Real peers that report by way of coordinators: nobody can tell."""

import asyncio

import pytest

from mabeam_p2p import Limits, Vote
from tests.api.clusters import cluster
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_agents_agree_meet_and_share_by_way_of_coordinators() -> None:
    async with cluster(5, limits=Limits(relay_from_peers=2)) as peers:
        agents = await asyncio.gather(*(peer.agent(f"a{n}") for n, peer in enumerate(peers)))
        for agent in agents:
            await agent.wait_for_members(5)
            agent.on_proposal("*")(lambda proposal: Vote.accept("fine"))
        for number, agent in enumerate(agents):
            decision = await agent.propose("rate", number, timeout=20)
            assert (decision.accepted, len(decision.electorate)) == (True, 5)
            releases = await asyncio.gather(
                *(one.barrier("epoch", parties=5).wait(timeout=20) for one in agents)
            )
            assert {release.generation for release in releases} == {number + 1}
            written = await agent.variables.set("epsilon", number, wait="all", timeout=20)
            assert len(written.applied) == 4
            for place in range(1, 6):
                assert await agent.journal(agent.name).append(place) == place
