"""How peers of one network find each other, and keep apart."""

import sys
import time

import msgspec
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


ASK = """
import socket, sys, time
from mabeam_p2p.cli.doctor.network import GROUP, MDNS_PORT, _question
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
    link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
    while True:
        link.sendto(bytes(2) + _question(), (GROUP, MDNS_PORT))
        time.sleep(0.1)
"""


@in_loop
async def test_the_doctor_tells_hosts_with_peers_from_those_that_only_ask(lan: MakeLan) -> None:
    """As every peer does, and the doctor itself."""
    with_peer, asking, looking = lan(hosts=3).hosts
    async with Cluster([with_peer, looking]) as cluster:
        running, own = cluster.peers
        await cluster.begin(running)
        asking.python("-c", ASK, asking.address, environment=own.environment())
        doctor = [sys.executable, "-m", "mabeam_p2p", "doctor", "--json", "--name", own.name,
                  "--listen", looking.address]  # fmt: skip

        async def says(text: str) -> bool:
            told = looking.run(doctor, environment=own.environment())
            findings = msgspec.json.decode(told.stdout)["findings"]
            return text in [one["text"] for one in findings if one["check"] == "neighbours"]

        by_peer = f"peers announce themselves from {with_peer.address}"
        await until(lambda: says(by_peer), by_peer)
        running.kill()
        by_nobody = f"{asking.address} can be heard, but no peer is announced there"
        await until(lambda: says(by_nobody), by_nobody)
