"""Partitions of a real network, in every shape, under clients: nothing acknowledged is lost,
nothing happens twice, no read goes back; and whoever has a majority goes on."""

import time
from collections.abc import Callable, Sequence

import pytest

from mabeam_p2p.config import Timing
from mabeam_p2p.testing.linearizability import Append
from tests.in_loop import in_loop
from tests.network.clients import Client, Clients
from tests.network.conftest import MakeLan, Measure
from tests.network.lan import Host, Lan
from tests.network.peers import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Shape = Callable[[Lan, Host, Sequence[Host]], Sequence[Host]]
"""Parts the leader's host and the others; who may be without a majority from then on."""


def leader_in_the_minority(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    net.partition([leader, others[0]], others[1:])
    return [leader, others[0]]


def leader_in_the_majority(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    net.partition([leader, *others[:2]], others[2:])
    return others[2:]


def leader_alone(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    net.isolate(leader)
    return [leader]


def leader_unheard_by_two(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    for other in others[:2]:
        net.one_way(leader, other)
    return others[:2]


def leader_deaf(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    for other in others:
        net.one_way(other, leader)
    return [leader]


def bridge(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    """The leader hears two that do not hear the two others; one more hears them all."""
    net.partition([leader, *others[:2]], others[1:])
    return [leader, others[0], *others[2:]]


def ring(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    hosts = [leader, *others]
    net.partition(*([hosts[place - 1], host] for place, host in enumerate(hosts)))
    return hosts


def nobody_with_anybody(net: Lan, leader: Host, others: Sequence[Host]) -> Sequence[Host]:
    net.partition()
    return [leader, *others]


WITHOUT_MAJORITY = (
    leader_in_the_minority,
    leader_in_the_majority,
    leader_alone,
    nobody_with_anybody,
)
"""Shapes in which those that are named have certainly none."""
BROKEN = (leader_unheard_by_two, bridge, leader_deaf, ring)
"""Shapes in which who hears whom has no order, and a majority is still joined."""


@in_loop
async def test_a_part_without_a_majority_decides_nothing_and_the_other_one_goes_on(
    lan: MakeLan, measured: Measure
) -> None:
    await _all_shapes(lan(hosts=5), WITHOUT_MAJORITY, measured)


@in_loop
async def test_one_way_links_bridges_and_rings_stop_nobody_for_long(
    lan: MakeLan, measured: Measure
) -> None:
    await _all_shapes(lan(hosts=5), BROKEN, measured)


async def _all_shapes(net: Lan, shapes: Sequence[Shape], measured: Measure) -> None:
    async with Cluster(net.hosts) as cluster:
        await cluster.started()
        async with Clients(cluster) as clients:
            await clients.progress(clients.clients, "at the start", of_all=True)
            for shape in shapes:
                leader = (await cluster.leader()).host
                others = [host for host in net.hosts if host is not leader]
                parted = clients.on(shape(net, leader, others))
                since = time.monotonic_ns()
                await _while_parted(clients, parted, shape, measured)
                healed = time.monotonic_ns()
                net.heal()
                took = await clients.progress(clients.clients, "after healing", of_all=True)
                measured(f"{shape.__name__}: from healing until all write, s", took)
                await cluster.sees_itself()
                if shape in WITHOUT_MAJORITY:
                    done = [op for client in parted for op in _between(client, since, healed)]
                    assert done == [], shape.__name__
            assert await clients.verdict() == []
            measured("operations", sum(len(client.history) for client in clients.clients))


async def _while_parted(
    clients: Clients, parted: Sequence[Client], shape: Shape, measured: Measure
) -> None:
    """As long as it takes until whoever is silent is dead, and each without a majority has said
    so; as often as it can be, somebody writes meanwhile."""
    began = time.monotonic()
    if shape is not nobody_with_anybody:
        joined = [client for client in clients.clients if client not in parted] or parted
        took = await clients.progress(joined, shape.__name__, of_all=False)
        measured(f"{shape.__name__}: from the cut until somebody writes, s", took)
        while time.monotonic() < began + Timing().dead_seconds:
            await clients.progress(joined, shape.__name__, of_all=False)
    if shape in WITHOUT_MAJORITY:
        await clients.refusals(parted)


def _between(client: Client, since: int, healed: int) -> list[Append]:
    """What was acknowledged although it began after the cut and ended before it healed."""
    return [op for op in client.acknowledged(since) if op.returned < healed]
