"""Our announcements and Avahi's: what it shows of ours, and what we make of what it publishes."""

from collections.abc import Callable

import pytest

from mabeam_p2p.config import PROTOCOL_VERSION, SERVICE_TYPE
from mabeam_p2p.discovery.mdns import TXT_BYTES_MAX
from mabeam_p2p.records import MemberState
from tests.in_loop import in_loop
from tests.network.avahi import Avahi, why_not
from tests.network.conftest import MakeLan, Measure, unavailable
from tests.network.lan import Host, Lan, Process
from tests.network.peers import PORT, Cluster, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KIND = SERVICE_TYPE.removesuffix(".local.")
ROGUE_PORT = 7001
ACCEPT = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    print(listener.accept()[1][0], flush=True)
"""

Neighbourhood = Callable[[int], tuple[Lan, Avahi]]


@pytest.fixture
def neighbourhood(lan: MakeLan) -> Neighbourhood:
    """A network of so many hosts, of which the last one runs Avahi."""
    reason = why_not()
    if reason is not None:
        unavailable(reason)

    def make(hosts: int) -> tuple[Lan, Avahi]:
        net = lan(hosts=hosts)
        return net, Avahi(net.hosts[-1])

    return make


def services(avahi: Avahi) -> dict[str, tuple[str, int, dict[str, str]]]:
    """What is shown of our type, by the id in its text: the instance is named by the key."""
    return {one[2].get("id", name): one for name, one in avahi.services(KIND).items()}


async def all_shown(cluster: Cluster, avahi: Avahi) -> None:
    async def shown() -> bool:
        return {peer.peer for peer in cluster.peers} <= services(avahi).keys()

    await until(shown, "avahi-browse shows all")


def accepting(host: Host) -> Process:
    """A program that prints who connects to ROGUE_PORT."""
    return host.python("-c", ACCEPT, host.address, str(ROGUE_PORT))


@in_loop
async def test_avahi_shows_our_services_with_their_text(
    neighbourhood: Neighbourhood, measured: Measure
) -> None:
    net, avahi = neighbourhood(3)
    async with Cluster(net.hosts[:2], name="secret-name") as cluster:
        await cluster.started()
        await all_shown(cluster, avahi)
        for peer in cluster.peers:
            status = await peer.status()
            assert status is not None
            address, port, text = services(avahi)[peer.peer]
            assert (address, port) == (peer.host.address, PORT)
            assert text["v"] == str(PROTOCOL_VERSION)
            assert text["epoch"] == str(status.epoch)
            told = " ".join(f"{key}={value}" for key, value in text.items())
            assert len(told) <= TXT_BYTES_MAX
            measured("bytes of text", len(told))
            # Names stay at home: neither the cluster's nor the peer's is told.
            assert cluster.name not in told
            assert peer.name not in told.split("=")


@in_loop
async def test_a_goodbye_takes_our_service_away(neighbourhood: Neighbourhood) -> None:
    net, avahi = neighbourhood(2)
    async with Cluster(net.hosts[:1]) as cluster:
        await cluster.started()
        peer = cluster.peers[0].peer

        async def is_shown() -> bool:
            return peer in services(avahi)

        async def is_gone() -> bool:
            return peer not in services(avahi)

        await until(is_shown, "avahi-browse shows it")
        cluster.peers[0].stop()
        await until(is_gone, "avahi-browse shows it no more")


@in_loop
async def test_a_service_of_our_type_by_a_name_that_is_no_peers_is_passed_over(
    neighbourhood: Neighbourhood,
) -> None:
    net, avahi = neighbourhood(4)
    async with Cluster(net.hosts[:3]) as cluster:
        await cluster.started()
        await all_shown(cluster, avahi)
        text = services(avahi)[cluster.peers[0].peer][2]
        await _assert_is_not_dialled(cluster, avahi, net.hosts[3], "peer b", text)


@in_loop
async def test_a_service_that_copies_our_text_without_a_proof_of_its_own_is_not_dialled(
    neighbourhood: Neighbourhood,
) -> None:
    """Everything but the address is that of a real peer, which has just died."""
    net, avahi = neighbourhood(4)
    async with Cluster(net.hosts[:3]) as cluster:
        await cluster.started()
        await all_shown(cluster, avahi)
        text = services(avahi)[cluster.peers[0].peer][2]
        await _assert_is_not_dialled(cluster, avahi, net.hosts[3], "feed" * 4, text)


async def _assert_is_not_dialled(
    cluster: Cluster, avahi: Avahi, rogue: Host, name: str, text: dict[str, str]
) -> None:
    """A service `name` is published, and then a peer comes back: when all have found that one by
    its announcement, they have heard the other as well."""
    visitor = cluster.peers[2]
    visitor.stop()
    connected = accepting(rogue)

    async def accepts() -> bool:
        return connected.lines() == ["ready"]

    await until(accepts, "the rogue listens")
    avahi.publish(name, KIND, ROGUE_PORT, {**text, "id": name})
    visitor.begin()
    await cluster.sees_itself()
    assert connected.lines() == ["ready"]
    known = await until(cluster.peers[0].members, "the first answers")
    # Who gets no processor for a second is suspected meanwhile.
    there = [p for p, m in known.items() if m.state in (MemberState.ALIVE, MemberState.SUSPECT)]
    assert sorted(there) == sorted(peer.peer for peer in cluster.peers)
