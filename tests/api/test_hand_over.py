"""Leaders that hand over, at real peers: because they are asked, leave, or are not preferred."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from msgspec.structs import replace

from mabeam_p2p import Agent, Config, NoQuorum, Peer, Timing, TransferFailed, blocking, join
from mabeam_p2p.api.results import Leader, PeerStatus
from tests.api.clusters import agents, cluster
from tests.eventually import eventually, in_one_of
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

QUICK = Timing(
    preference_dwell_seconds=0.3, preference_interval_seconds=0.6, score_interval_seconds=0.05
)
STALLED = (
    "unanswered",
    "behind",
    "unreachable",
    "another_leads",
    "not_leader",
    "handing_over",
    "too_often",
)
"""Why a hand-over may fail on a busy machine, and when it is asked for again."""


async def until_status(peer: Peer | Agent, holds: Callable[[PeerStatus], bool]) -> PeerStatus:
    """The status, once it is like that."""
    async with asyncio.timeout(20):
        while True:
            status = await peer.status()
            if holds(status):
                return status
            await asyncio.sleep(0.01)


def leads(status: PeerStatus) -> bool:
    return status.role == "leader"


async def led(peers: list[Peer]) -> tuple[Peer, list[Peer]]:
    """Who leads, and the others, once all follow it."""
    await asyncio.gather(*(peer.agent("own") for peer in peers))
    leader = (await until_status(peers[0], lambda status: status.leader is not None)).leader
    return (
        next(peer for peer in peers if peer.id == leader),
        [peer for peer in peers if peer.id != leader],
    )


async def handed_to(agent: Agent, name: str) -> Leader:
    """Asked again where it was certainly not done: a loop that stands still loses its leader, or
    the time of the hand-over."""
    while True:
        try:
            return await agent.transfer_leadership(name)
        except NoQuorum:
            pass
        except TransferFailed as error:
            if error.reason not in STALLED:
                raise


async def led_by(agent: Agent, name: str, *, as_seen_by: Agent) -> Leader:
    """Asked again where another election came between."""
    while True:
        leader = await handed_to(agent, name)
        found: list[Leader] = []

        def is_followed(term: int = leader.term, found: list[Leader] = found) -> bool:
            now = as_seen_by.leader
            if now is not None and now.term >= term:
                found[:] = [now]
            return bool(found)

        await eventually(is_followed)
        if found[0].name == name:
            return leader


@in_loop
async def test_any_agent_can_have_any_voter_lead_and_nothing_is_lost_meanwhile() -> None:
    async with agents(3) as (a, b, c):
        journal = c.journal("items")
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                with suppress(NoQuorum):
                    await journal.append(written)
                    written += 1

        writing = asyncio.create_task(write())
        for name in ("p1", "p2", "p0", "p1"):
            before = written
            leader = await led_by(a, name, as_seen_by=b)
            assert isinstance(leader, Leader)
            assert leader.name == name
            await eventually(partial(lambda before: written > before, before))
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        items = [item.value for item in await journal.read()]
        assert items[:written] == list(range(written))


@in_loop
async def test_who_cannot_take_over_is_told_and_the_leader_serves_on() -> None:
    async with cluster(3) as peers:
        leader, (first, second) = await led(peers)
        await first.set_score(90, unfit="disk full")
        status = await first.status()
        assert (status.score, status.unfit) == (90, "disk full")

        async def refused() -> bool:
            try:
                await second.transfer_leadership(first.name)
            except TransferFailed as error:
                return error.reason == "unfit" and first.name in str(error)
            except NoQuorum:
                pass
            return False  # Or it had not told the leader yet.

        async def serves_on() -> bool:
            while not await refused() or (before := await leader.status()).role != "leader":
                with suppress(TransferFailed, NoQuorum):
                    await second.transfer_leadership(leader.name)
            is_refused = await refused()
            after = await leader.status()
            return (is_refused, after.role, after.term) == (True, "leader", before.term)

        async with asyncio.timeout(120):
            await in_one_of(5, serves_on)
        with pytest.raises(TransferFailed, match="knows no peer 'nobody'"):
            await second.transfer_leadership("nobody")
        await leader.agent("another")


@in_loop
async def test_leadership_goes_to_the_peer_whose_function_says_that_it_is_fitter() -> None:
    scores = {"p0": 50.0, "p1": 50.0, "p2": 50.0}
    peers: list[Peer] = []
    seeds: tuple[str, ...] = ()
    config = Config(cluster="test", data_dir=":memory:", mdns=False, expect=3, timing=QUICK)
    try:
        for name in scores:
            own = replace(config, name=name, seeds=seeds)
            peers.append(Peer(own, score=partial(scores.__getitem__, name)))
            await peers[-1].start()
            seeds = (*seeds, (await peers[-1].status()).address)
        _, (first, second) = await led(peers)
        scores[second.name] = 90.0

        await until_status(second, leads)
        assert (await second.status()).score == 90
        scores[first.name], scores[second.name] = 95.0, 20.0
        await until_status(first, leads)
        scores[first.name] = float("nan")
        await eventually(lambda: first.score_faults > 0)
        assert (await first.status()).score == 95, "the last good one stays"
    finally:
        await asyncio.gather(*(peer.close() for peer in peers))


@in_loop
async def test_a_leader_that_closes_leaves_a_cluster_that_is_led() -> None:
    async with cluster(3) as peers:
        leader, others = await led(peers)
        term = (await others[0].status()).term
        began = time.monotonic()
        await leader.close()
        assert time.monotonic() - began < 15.0
        ids = {peer.id for peer in others}
        async with asyncio.timeout(60):
            while True:
                one, other = [await until_status(p, lambda s: s.leader in ids) for p in others]
                if (one.leader, one.term) == (other.leader, other.term):
                    break
        assert one.term > term


@in_loop
async def test_a_score_can_be_a_function_of_the_agents_program() -> None:
    async with join(
        "solo", data_dir=":memory:", expect=1, mdns=False, score=lambda: 77, cluster="own"
    ) as agent:
        await until_status(agent, lambda status: status.score == 77)


def test_blocking_peers_have_the_same() -> None:
    config = Config(name="b", cluster="own", data_dir=":memory:", mdns=False, expect=1)
    with blocking.Peer(config) as peer:
        agent = peer.agent("a")
        peer.set_score(81.4)
        assert peer.status().score == 81
        assert peer.score_faults == 0
        assert peer.transfer_leadership("b").name == "b", "which leads already"
        with pytest.raises(TransferFailed) as caught:
            agent.transfer_leadership()
        assert caught.value.reason == "no_successor"
