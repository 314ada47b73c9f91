"""How peers of one network find each other, and keep apart."""

import time

import pytest

from mabeam_p2p.discovery.mdns import BROWSE_SECONDS
from tests.in_loop import in_loop
from tests.network.conftest import MakeLan, Measure
from tests.network.peers import Cluster

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
