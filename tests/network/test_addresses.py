"""Addresses: of the sixth version, and such as change while a peer runs."""

import time

import pytest

from mabeam_p2p import connect
from mabeam_p2p.addresses import join_address
from tests.in_loop import in_loop
from tests.network.clients import Clients
from tests.network.conftest import MakeLan, Measure
from tests.network.fabrics import CARD
from tests.network.lan import Host
from tests.network.peers import PORT, SECONDS, Cluster, Peer, at_its_address, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def anywhere(host: Host) -> str:
    """Every interface, whatever its address."""
    return f"0.0.0.0:{PORT}"


@pytest.mark.parametrize("is_anywhere", [False, True], ids=["one address", "every interface"])
@in_loop
async def test_hosts_find_each_other_over_ipv6_and_form_a_cluster(
    lan: MakeLan, measured: Measure, is_anywhere: bool
) -> None:
    def listen(host: Host) -> str:
        return join_address("::" if is_anywhere else host.address_6, PORT)

    async with Cluster(lan(hosts=3).hosts, listen=listen) as cluster:
        await cluster.begin()
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


@pytest.mark.parametrize("listen", [f"lan:{PORT}", f"[::]:{PORT}"], ids=["lan", "all"])
@pytest.mark.parametrize("version", ["IPv4", "IPv6"])
@in_loop
async def test_hosts_of_a_network_of_one_version_need_not_say_of_which(
    lan: MakeLan, version: str, listen: str
) -> None:
    hosts = lan(hosts=2).hosts
    for host in hosts:
        if version == "IPv6":
            host.give_up_address()
        else:
            host.ip(f"addr del {host.address_6}/64 dev {CARD}", f"route del ::/0 dev {CARD}")
    async with Cluster(hosts, listen=lambda host: listen) as cluster:
        await cluster.begin()
        await cluster.sees_itself()
        assert [peer.address for peer in cluster.peers] == [
            join_address(host.address if version == "IPv4" else host.address_6, PORT)
            for host in hosts
        ]


@in_loop
async def test_a_leader_whose_address_changes_goes_on_and_is_found_at_the_new_one(
    lan: MakeLan, measured: Measure
) -> None:
    """By the others, and by one that comes later and hears nobody else."""
    net = lan(hosts=4)
    async with Cluster(net.hosts, expect=3, listen=anywhere) as cluster:
        *three, late = cluster.peers
        await cluster.begin(*three)
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
            await cluster.begin(late)
            await cluster.sees_itself([moving, late])
            net.heal()
            await cluster.sees_itself()
            assert await clients.verdict() == []


@in_loop
async def test_hosts_that_all_get_other_addresses_at_once_find_each_other_again(
    lan: MakeLan, measured: Measure
) -> None:
    """As when a router starts anew: nobody is where anybody knows it."""
    net = lan(hosts=3)
    async with Cluster(net.hosts, listen=anywhere) as cluster:
        await cluster.started()
        moved_at = time.monotonic()
        for number, peer in enumerate(cluster.peers):
            move(peer, f"10.77.0.{100 + number}")
        await cluster.sees_itself()
        await cluster.leader()
        measured("from the change until all follow one leader, s", time.monotonic() - moved_at)


@in_loop
async def test_arrays_travel_between_hosts_also_when_one_has_got_another_address(
    lan: MakeLan,
) -> None:
    pytest.importorskip("numpy")
    net = lan(hosts=3)
    async with Cluster(net.hosts, listen=anywhere, dead_seconds=60.0) as cluster:
        await cluster.begin()
        await cluster.sees_itself()
        count = len(cluster.peers)
        workers = [
            peer.host.python(
                "-m", "tests.network.reducer", f"of-{peer.name}", str(2**number), str(count), "2",
                environment=peer.environment() | {"MABEAM_CLUSTER": cluster.name},
            )
            for number, peer in enumerate(cluster.peers)
        ]  # fmt: skip
        first = cluster.peers[0]
        async with connect("test", cluster=cluster.name, addr=first.socket) as agent:
            await agent.barrier("before-0", parties=count + 1).wait(timeout=SECONDS)

            async def steps_done() -> list[int]:
                for worker in workers:
                    assert worker.exit_code in (None, 0), worker.said()
                return sorted(len(worker.lines()) for worker in workers)

            async def first_done() -> bool:
                return (await steps_done())[0] == 1

            await until(first_done, "the first sum")
            move(cluster.peers[1], "10.77.0.99")
            await cluster.sees_itself()
            await agent.barrier("before-1", parties=count + 1).wait(timeout=SECONDS)
            for worker in workers:
                assert worker.wait(SECONDS) == 0, worker.said()
        assert [worker.lines() for worker in workers] == [["7.0 7.0"] * 2] * count


@in_loop
async def test_a_peer_that_starts_before_its_host_has_an_address_comes_once_it_has(
    lan: MakeLan,
) -> None:
    net = lan(hosts=3)
    async with Cluster(net.hosts, listen=anywhere) as cluster:
        early = cluster.peers[0]
        early.host.give_up_address()
        await cluster.begin()
        assert early.address == f"127.0.0.1:{PORT}"
        early.host.take_address(early.host.address)
        early.address = at_its_address(early.host)
        await cluster.all_see(cluster.peers)
        await cluster.leader()


@in_loop
async def test_a_peer_whose_one_address_goes_and_comes_back_is_there_again(lan: MakeLan) -> None:
    """It says so; and one that comes later, and hears nobody else, finds it."""
    net = lan(hosts=3)
    async with Cluster(net.hosts, expect=2) as cluster:
        first, second, late = cluster.peers
        await cluster.begin(first, second)
        await cluster.sees_itself([first, second])
        first.host.give_up_address()

        async def is_missed() -> bool:
            assert first.process is not None
            return "no address of this machine" in first.process.said()

        await until(is_missed, "the peer misses its address")
        first.host.take_address(first.host.address)
        await cluster.sees_itself([first, second])
        net.partition([first.host, late.host])
        await cluster.begin(late)
        await cluster.sees_itself([first, late])


def move(peer: Peer, address: str) -> None:
    peer.host.move(address)
    peer.address = at_its_address(peer.host)
