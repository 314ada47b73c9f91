"""Addresses: of the sixth version, and such as change while a peer runs."""

import time

import pytest

from mabeam_p2p.addresses import join_address
from tests.in_loop import in_loop
from tests.network.clients import Clients
from tests.network.conftest import MakeLan, Measure
from tests.network.peers import PORT, Cluster, Peer, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ANYWHERE = f"0.0.0.0:{PORT}"
"""Every interface, whatever its address."""


@pytest.mark.parametrize("is_anywhere", [False, True], ids=["one address", "every interface"])
@in_loop
async def test_hosts_find_each_other_over_ipv6_and_form_a_cluster(
    lan: MakeLan, measured: Measure, is_anywhere: bool
) -> None:
    async with Cluster(lan(hosts=3).hosts) as cluster:
        for peer in cluster.peers:
            host = "::" if is_anywhere else peer.host.address_6
            peer.begin(listen=join_address(host, PORT))
        for peer in cluster.peers:
            await peer.listening()
        all_listen = time.monotonic()
        await cluster.sees_itself()
        measured("from all listening until all see all, s", time.monotonic() - all_listen)
        await cluster.leader()
        assert [peer.address for peer in cluster.peers] == [
            f"[{peer.host.address_6}]:{PORT}" for peer in cluster.peers
        ]
        async with Clients(cluster) as clients:
            await clients.progress(clients.clients, "over IPv6", of_all=True)
            assert await clients.verdict() == []


@in_loop
async def test_a_leader_whose_address_changes_goes_on_and_is_found_at_the_new_one(
    lan: MakeLan, measured: Measure
) -> None:
    """By the others, and by one that comes later and hears nobody else."""
    net = lan(hosts=4)
    async with Cluster(net.hosts, expect=3) as cluster:
        *three, late = cluster.peers
        for peer in three:
            peer.begin(listen=ANYWHERE)
        await cluster.sees_itself(three)
        moving = await cluster.leader(three)
        async with Clients(cluster, three) as clients:
            await clients.progress(clients.clients, "before", of_all=True)
            moved_at = time.monotonic()
            move(moving, "10.77.0.99")
            took = await clients.progress(clients.clients, "at the new address", of_all=True)
            measured("from the change until all write, s", took)
            await cluster.sees_itself(three)
            measured("from the change until all know it, s", time.monotonic() - moved_at)
            net.partition([moving.host, late.host])
            late.begin(listen=ANYWHERE)
            await cluster.sees_itself([moving, late])
            net.heal()
            await cluster.sees_itself()
            assert await clients.verdict() == []


@in_loop
async def test_a_peer_that_starts_before_its_host_has_an_address_comes_once_it_has(
    lan: MakeLan,
) -> None:
    net = lan(hosts=3)
    async with Cluster(net.hosts) as cluster:
        early = cluster.peers[0]
        early.host.give_up_address()
        for peer in cluster.peers:
            peer.begin(listen=ANYWHERE)
        assert (await early.listening()).startswith("127.0.0.1:")
        early.host.take_address(early.host.address)
        early.address = join_address(early.host.address, PORT)
        for peer in cluster.peers[1:]:
            await peer.listening()
        await cluster.all_see(cluster.peers)
        await cluster.leader()


@in_loop
async def test_a_peer_whose_one_address_goes_and_comes_back_is_there_again(lan: MakeLan) -> None:
    """It says so; and one that comes later, and hears nobody else, finds it."""
    net = lan(hosts=3)
    async with Cluster(net.hosts, expect=2) as cluster:
        first, second, late = cluster.peers
        for peer in (first, second):
            peer.begin()
        await cluster.sees_itself([first, second])
        first.host.give_up_address()

        async def is_missed() -> bool:
            assert first.process is not None
            return "no address of this machine" in first.process.said()

        await until(is_missed, "the peer misses its address")
        first.host.take_address(first.host.address)
        await cluster.sees_itself([first, second])
        net.partition([first.host, late.host])
        late.begin()
        await cluster.sees_itself([first, late])


def move(peer: Peer, address: str) -> None:
    peer.host.move(address)
    peer.address = join_address(address, PORT)
