"""Peers that come late, vanish, and come back: under the same identity, elsewhere, again and
again."""

import time
from pathlib import Path

import pytest

from mabeam_p2p.records import MemberState
from tests.in_loop import in_loop
from tests.network.clients import Clients
from tests.network.conftest import MakeLan, Measure
from tests.network.peers import Cluster, Peer, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FIRST_QUESTIONS_SECONDS = 8.0
"""A browser of DNS-SD asks four times in the first seven seconds, and then is silent."""


RESTARTS = 200
LIFE_PAUSE_SECONDS = 0.1
"""Between operations of each of two clients: some in each life, and the lives are not held up."""
DESCRIPTORS_MORE_MAX = 16
"""Links and files that are open at one moment and not at another."""


async def take_for_dead(peers: list[Peer], gone: Peer) -> None:
    async def all_do() -> bool:
        states = [await peer.state_of(gone) for peer in peers]
        return states == [MemberState.DEAD] * len(peers)

    await until(all_do, f"{gone} is dead for {peers}")


@in_loop
async def test_a_peer_that_starts_while_it_is_cut_off_is_found_by_multicast_after_healing(
    lan: MakeLan, measured: Measure
) -> None:
    """Its announcement went nowhere, and the others have long ceased to ask."""
    net = lan(hosts=3)
    async with Cluster(net.hosts, expect=2) as cluster:
        first, second, late = cluster.peers
        net.isolate(late.host)
        await cluster.begin(first, second)
        await cluster.sees_itself([first, second])
        await cluster.begin(late)
        listens = time.monotonic()

        async def has_asked_in_vain() -> bool:
            return time.monotonic() > listens + FIRST_QUESTIONS_SECONDS

        await until(has_asked_in_vain, "its first questions are over")
        net.heal()
        healed = time.monotonic()
        await cluster.sees_itself()
        measured("from healing until all see all, s", time.monotonic() - healed)


@in_loop
async def test_a_host_that_loses_its_power_is_dead_for_the_others_and_comes_back_as_itself(
    lan: MakeLan, measured: Measure
) -> None:
    """Nobody says goodbye for it, and its announcement stays for an hour."""
    net = lan(hosts=3)
    async with Cluster(net.hosts) as cluster:
        await cluster.started()
        gone, *others = cluster.peers
        before = gone.peer
        gone.host.power_off()
        off = time.monotonic()
        await take_for_dead(others, gone)
        measured("from power off until dead for all, s", time.monotonic() - off)
        gone.begin()
        began = time.monotonic()
        await cluster.sees_itself()
        measured("from its start until all see all, s", time.monotonic() - began)
        assert gone.peer == before


@in_loop
async def test_a_host_whose_cable_is_pulled_is_dead_for_the_others_and_comes_back(
    lan: MakeLan, measured: Measure
) -> None:
    """Also for one that comes later, and hears nobody else."""
    net = lan(hosts=4)
    async with Cluster(net.hosts, expect=3) as cluster:
        gone, *others, late = cluster.peers
        await cluster.begin(gone, *others)
        await cluster.sees_itself([gone, *others])
        net.unplug(gone.host)
        pulled = time.monotonic()
        await take_for_dead(others, gone)
        measured("from the pull until dead for all, s", time.monotonic() - pulled)
        net.plug(gone.host)
        plugged = time.monotonic()
        await cluster.sees_itself([gone, *others])
        measured("from plugging in until all see all, s", time.monotonic() - plugged)
        net.partition([gone.host, late.host])
        await cluster.begin(late)
        await cluster.sees_itself([gone, late])


@in_loop
async def test_a_peer_that_restarts_while_it_is_cut_off_comes_back_after_healing(
    lan: MakeLan, measured: Measure
) -> None:
    """Nobody was told that its old connections are no more, nor that it has new ones."""
    net = lan(hosts=3)
    async with Cluster(net.hosts) as cluster:
        leader = await cluster.started()
        others = [peer for peer in cluster.peers if peer is not leader]
        async with Clients(cluster, others) as clients:
            net.isolate(leader.host)
            leader.kill()
            leader.begin()
            await leader.listening()
            await clients.progress(clients.clients, "without the old leader", of_all=True)
            net.heal()
            healed = time.monotonic()
            await cluster.sees_itself()
            measured("from healing until all see all, s", time.monotonic() - healed)
            await leader.ready()
            measured("from healing until it is ready, s", time.monotonic() - healed)
            assert await clients.verdict() == []


@in_loop
async def test_peers_that_restart_on_other_ports_are_found_there(
    lan: MakeLan, measured: Measure
) -> None:
    """One after the other without a goodbye, and then all at once."""
    net = lan(hosts=3)
    async with Cluster(net.hosts) as cluster:
        await cluster.started()
        identities = [peer.peer for peer in cluster.peers]
        for number, peer in enumerate(cluster.peers):
            peer.kill()
            peer.begin(listen=f"{peer.host.address}:{8000 + number}")
            await cluster.sees_itself()
        for peer in cluster.peers:
            peer.kill()
        for number, peer in enumerate(cluster.peers):
            peer.begin(listen=f"{peer.host.address}:{9000 + number}")
        for peer in cluster.peers:
            await peer.listening()
        all_listen = time.monotonic()
        await cluster.sees_itself()
        measured("from all listening until all see all, s", time.monotonic() - all_listen)
        await cluster.leader()
        assert [peer.peer for peer in cluster.peers] == identities
        assert [peer.address.rpartition(":")[2] for peer in cluster.peers] == [
            "9000", "9001", "9002",
        ]  # fmt: skip


@pytest.mark.timeout(900)
@in_loop
async def test_a_peer_that_restarts_two_hundred_times_is_one_member_and_costs_nobody_anything(
    lan: MakeLan, measured: Measure
) -> None:
    """kill -9 as soon as it is seen to be ready, under the same identity, at the same address."""
    net = lan(hosts=3)
    async with Cluster(net.hosts) as cluster:
        await cluster.started()
        reborn, *others = cluster.peers
        before = await reborn.status()
        assert before is not None
        async with Clients(cluster, others, pause=LIFE_PAUSE_SECONDS) as clients:
            await clients.progress(clients.clients, "before", of_all=True)
            held, at = [_descriptors(peer) for peer in others], reborn.address
            lives: list[float] = []
            for _ in range(RESTARTS):
                reborn.kill()
                reborn.begin(listen=at)
                await reborn.ready()
                lives.append(time.monotonic() - reborn.began)
            measured("seconds per life", sum(lives) / RESTARTS)
            measured("the slowest until it was ready, s", max(lives))
            await clients.progress(clients.clients, "afterwards", of_all=True)
            await until(lambda: _is_in(cluster, before.epoch + RESTARTS), "all see its last life")
            for peer, count in zip(others, held, strict=True):
                known = await peer.members()
                assert sorted(known) == sorted(each.peer for each in cluster.peers)
                assert _descriptors(peer) <= count + DESCRIPTORS_MORE_MAX
            assert await clients.verdict() == []


async def _is_in(cluster: Cluster, epoch: int) -> bool:
    """Whether all see the first peer alive in that epoch."""
    reborn, *others = cluster.peers
    members = [(await peer.members()).get(reborn.peer) for peer in others]
    alive = [m is not None and m.state is MemberState.ALIVE and m.epoch == epoch for m in members]
    return all(alive)


def _descriptors(peer: Peer) -> int:
    assert peer.process is not None
    return len(list(Path(f"/proc/{peer.process.pid}/fd").iterdir()))
