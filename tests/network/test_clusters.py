"""Two clusters on one network, which never exchange an entry, however they meet."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from mabeam_p2p import connect
from mabeam_p2p.addresses import join_address
from mabeam_p2p.records import MemberState
from tests.eventually import done_at_last
from tests.in_loop import in_loop
from tests.network.conftest import MakeLan
from tests.network.lan import Host
from tests.network.peers import PORT, SECONDS, Cluster, Peer, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

speech = pytest.mark.parametrize("has_keys", [False, True], ids=["in plain text", "under keys"])
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


def count_knocks(host: Host, others: Sequence[Host]) -> None:
    """Connections that those begin to its port, from now on."""
    those = ", ".join(other.address for other in others)
    rules = (
        "add table inet seen; add counter inet seen knocks;"
        "add chain inet seen input { type filter hook input priority 0; };"
        f"add rule inet seen input ip saddr {{ {those} }} tcp dport {PORT} tcp flags syn"
        " counter name knocks"
    )
    done = host.run(["nft", rules])
    assert done.returncode == 0, done.stderr


async def knocks(cluster: Cluster) -> None:
    """Return once each of this cluster was connected to more often than there are others: they
    were not heard, and have tried again."""

    async def came() -> bool:
        counts: list[int] = []
        for peer in cluster.peers:
            told = peer.host.run(["nft", "--json", "list counter inet seen knocks"]).stdout
            _, counter = json.loads(told)["nftables"]
            counts.append(counter["counter"]["packets"])
        return min(counts) > len(cluster.peers)

    await until(came, f"others knock at {cluster.name}")


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


@speech
def test_clusters_of_two_names_keep_apart_though_each_is_told_where_the_other_is(
    lan: MakeLan, has_keys: bool
) -> None:
    """Under keys each has a join secret of its own: nobody is told anything at all there."""

    @in_loop
    async def story() -> None:
        net = lan(hosts=4)
        async with (
            Cluster(net.hosts[:2], name="day", has_keys=has_keys) as day,
            Cluster(net.hosts[2:], name="night", has_keys=has_keys) as night,
        ):
            for host in net.hosts[:2]:
                count_knocks(host, net.hosts[2:])
            for host in net.hosts[2:]:
                count_knocks(host, net.hosts[:2])
            seeds = [f for h in net.hosts for f in ("--seed", join_address(h.address, PORT))]
            await asyncio.gather(day.started(*seeds), night.started(*seeds))
            for cluster in (day, night):
                await append(cluster.peers[0], cluster, f"before {cluster.peers[0].name}")
            for cluster in (day, night):
                await (knocks(cluster) if has_keys else refusals(cluster))
            await assert_apart(day, night)

    story()


@speech
def test_clusters_of_one_name_that_were_formed_apart_keep_apart_when_they_meet(
    lan: MakeLan, has_keys: bool
) -> None:
    """Under keys they are of one user, and have one join secret: they prove it to each other."""

    @in_loop
    async def story() -> None:
        net = lan(hosts=4)
        net.partition(net.hosts[:2], net.hosts[2:])
        async with (
            Cluster(net.hosts[:2], has_keys=has_keys) as left,
            Cluster(net.hosts[2:], has_keys=has_keys) as right,
        ):
            right.state = left.state
            await asyncio.gather(left.started(), right.started())
            for cluster in (left, right):
                await append(cluster.peers[0], cluster, f"before {cluster.peers[0].name}")
            net.heal()
            await refusals(left)
            await refusals(right)
            await assert_apart(left, right)

    story()
