"""How peers of one network find each other, and keep apart."""

import time

import pytest

from mabeam_p2p.discovery.mdns import BROWSE_SECONDS
from mabeam_p2p.records import MemberState
from tests.in_loop import in_loop
from tests.network.conftest import MakeLan, Measure
from tests.network.peers import Cluster, until

ROUNDS_MAX = 10
"""Of questions until all are found, on whatever machine; the first one does on one that is idle."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@in_loop
async def test_five_hosts_find_each_other_by_multicast_alone(
    lan: MakeLan, measured: Measure
) -> None:
    async with Cluster(lan(hosts=5).hosts) as cluster:
        began = time.monotonic()
        await cluster.begin()
        all_listen = time.monotonic()
        await cluster.sees_itself()
        found = time.monotonic()
        assert found - all_listen < ROUNDS_MAX * BROWSE_SECONDS
        await cluster.leader()
        measured("from the first start until all listen, s", all_listen - began)
        measured("from then until all see all, s", found - all_listen)
        measured("from then until all follow one leader, s", time.monotonic() - found)


@in_loop
async def test_hosts_find_each_other_by_seeds_where_multicast_is_dropped(
    lan: MakeLan, measured: Measure
) -> None:
    net = lan(hosts=5)
    net.drop_multicast()
    async with Cluster(net.hosts) as cluster:
        first, *others = cluster.peers
        seed = f"{first.host.address}:7946"
        await cluster.begin(first)
        await cluster.begin(*others, flags=["--seed", seed])
        all_listen = time.monotonic()
        await cluster.sees_itself()
        measured("from all listening until all see all, s", time.monotonic() - all_listen)
        await cluster.leader()


@in_loop
async def test_a_goodbye_takes_no_other_peer_of_its_host_away(lan: MakeLan) -> None:
    """Neither for those that know it, nor for one that comes later and hears nobody else."""
    net = lan(hosts=3)
    shared, other, late_host = net.hosts
    places = [shared, shared, other, late_host]
    async with Cluster(places, expect=3, listen=lambda host: f"{host.address}:0") as cluster:
        leaves, stays, watcher, late = cluster.peers
        await cluster.begin(leaves, stays, watcher)
        await cluster.sees_itself([leaves, stays, watcher])
        assert leaves.stop() == 0

        async def has_left() -> bool:
            return await watcher.state_of(leaves) is MemberState.LEFT

        await until(has_left, "the goodbye is heard")
        assert await watcher.state_of(stays) in (MemberState.ALIVE, MemberState.SUSPECT)
        net.partition([shared, late_host])
        await cluster.begin(late)
        await cluster.sees_itself([stays, late])
