"""Real peers in this process, over loopback, without mDNS and without disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from mabeam_p2p import Agent, Config, Limits, Peer, Timing
from mabeam_p2p.requests import Found, Query
from tests.eventually import eventually


async def started(
    name: str,
    seeds: tuple[str, ...],
    expect: int,
    timing: Timing | None = None,
    limits: Limits | None = None,
    insecure_plaintext: bool = False,
) -> Peer:
    peer = Peer(
        Config(
            name=name,
            cluster="test",
            data_dir=":memory:",
            mdns=False,
            seeds=seeds,
            expect=expect,
            timing=timing or Timing(),
            limits=limits or Limits(),
            insecure_plaintext=insecure_plaintext,
        )
    )
    await peer.start()
    return peer


@asynccontextmanager
async def cluster(
    count: int = 3,
    timing: Timing | None = None,
    limits: Limits | None = None,
    insecure_plaintext: bool = False,
) -> AsyncIterator[list[Peer]]:
    """So many peers that are about to form a cluster."""
    peers: list[Peer] = []
    seeds: tuple[str, ...] = ()
    try:
        for number in range(count):
            name = f"p{number}"
            peers.append(await started(name, seeds, count, timing, limits, insecure_plaintext))
            seeds = (*seeds, (await peers[-1].status()).address)
        yield peers
    finally:
        # Together: one by one, the last ones would look for a quorum that is gone.
        await asyncio.gather(*(peer.close() for peer in peers))


@asynccontextmanager
async def agents(
    count: int = 3, insecure_plaintext: bool = False, timing: Timing | None = None
) -> AsyncIterator[list[Agent]]:
    """One agent on each of so many peers, called a0, a1, ..., once each knows the others."""
    async with cluster(count, timing, insecure_plaintext=insecure_plaintext) as peers:
        made = await asyncio.gather(*(peer.agent(f"a{n}") for n, peer in enumerate(peers)))
        for agent in made:
            await agent.wait_for_members(count)
        await eventually(lambda: all(len(agent.agents()) == count for agent in made))
        yield list(made)


def lags_behind(agent: Agent) -> None:
    """The agent's peer has heard of nothing that is asked for, before it is asked to catch up."""
    attachment = agent._attachment
    find = attachment.find

    async def finds_nothing(query: Query, what: str, **options: Any) -> Found:
        if options.get("linearizable"):
            attachment.find = find  # type: ignore[method-assign]
            return await find(query, what, **options)
        return replace(await find(query, what, **options), auctions=(), proposals=())

    attachment.find = finds_nothing  # type: ignore[method-assign]
