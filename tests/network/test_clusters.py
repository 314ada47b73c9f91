"""Two clusters on one network, which never exchange an entry, however they meet."""

import asyncio

import pytest

from mabeam_p2p import connect
from mabeam_p2p.addresses import join_address
from mabeam_p2p.records import MemberState
from tests.eventually import done_at_last
from tests.in_loop import in_loop
from tests.network.conftest import MakeLan
from tests.network.peers import PORT, SECONDS, Cluster, Peer, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

JOURNAL = "run"
THERE = (MemberState.ALIVE, MemberState.SUSPECT)
"""Who gets no processor for a second is suspected meanwhile."""


async def append(peer: Peer, cluster: Cluster, item: str) -> None:
    async def appended() -> int:
        async with connect("writer", cluster=cluster.name, addr=peer.socket) as agent:
            return await agent.journal(JOURNAL).append(item, timeout=SECONDS)

    await done_at_last(appended)


async def items(peer: Peer, cluster: Cluster) -> list[object]:
    """As the whole cluster has it."""

    async def read() -> list[object]:
        async with connect("reader", cluster=cluster.name, addr=peer.socket) as agent:
            return [item.value for item in await agent.journal(JOURNAL).read(timeout=SECONDS)]

    return await done_at_last(read)


async def refusals(cluster: Cluster) -> None:
    """Return once somebody of this cluster was told that it does not belong there."""

    async def told() -> bool:
        said = [peer.process.said() for peer in cluster.peers if peer.process is not None]
        return any("refused" in each and "reason=cluster" in each for each in said)

    await until(told, f"{cluster.name} is refused")


async def assert_apart(*clusters: Cluster) -> None:
    """Each has its own entries and its own members, and goes on."""
    for cluster in clusters:
        await append(cluster.peers[0], cluster, "after")
        own = sorted(peer.peer for peer in cluster.peers)
        for peer in cluster.peers:
            assert await items(peer, cluster) == [f"before {cluster.peers[0].name}", "after"]
            known = (await until(peer.members, f"{peer} answers")).values()
            assert sorted(m.peer for m in known if m.state in THERE) == own
            status = await until(peer.status, f"{peer} answers")
            assert sorted((*status.voters, *status.learners)) == own


@in_loop
async def test_clusters_of_two_names_keep_apart_though_each_is_told_where_the_other_is(
    lan: MakeLan,
) -> None:
    net = lan(hosts=4)
    async with (
        Cluster(net.hosts[:2], name="day", has_keys=False) as day,
        Cluster(net.hosts[2:], name="night", has_keys=False) as night,
    ):
        seeds = [f for h in net.hosts for f in ("--seed", join_address(h.address, PORT))]
        await asyncio.gather(day.started(*seeds), night.started(*seeds))
        for cluster in (day, night):
            await append(cluster.peers[0], cluster, f"before {cluster.peers[0].name}")
        await refusals(day)
        await refusals(night)
        await assert_apart(day, night)


@in_loop
async def test_clusters_of_one_name_that_were_formed_apart_keep_apart_when_they_meet(
    lan: MakeLan,
) -> None:
    net = lan(hosts=4)
    net.partition(net.hosts[:2], net.hosts[2:])
    async with (
        Cluster(net.hosts[:2], has_keys=False) as left,
        Cluster(net.hosts[2:], has_keys=False) as right,
    ):
        await asyncio.gather(left.started(), right.started())
        for cluster in (left, right):
            await append(cluster.peers[0], cluster, f"before {cluster.peers[0].name}")
        net.heal()
        await refusals(left)
        await refusals(right)
        await assert_apart(left, right)
