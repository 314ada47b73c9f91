"""A network that is slow and loses packets, but is whole."""

import pytest

from tests.in_loop import in_loop
from tests.network.clients import Clients
from tests.network.conftest import MakeLan, Measure
from tests.network.peers import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

APPENDS = 100


@in_loop
async def test_a_slow_and_lossy_network_delays_a_cluster_and_costs_it_nothing_else(
    lan: MakeLan, measured: Measure
) -> None:
    """20 ± 10 ms each way, and every fiftieth packet is lost, also of multicast."""
    net = lan(hosts=5, fabric="switch")
    net.worsen(delay=0.02, jitter=0.01, loss=0.02)
    async with Cluster(net.hosts) as cluster:
        await cluster.started()
        async with Clients(cluster) as clients:
            await clients.progress(clients.clients, "through the weather", of_all=True)
            slowest = 0.0
            while sum(len(client.acknowledged(0)) for client in clients.clients) < APPENDS:
                took = await clients.progress(clients.clients, "again", of_all=True)
                slowest = max(slowest, took)
            measured("until everybody has written once more, at most, s", slowest)
            assert await clients.verdict() == []
