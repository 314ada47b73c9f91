"""Two hosts of two users, who share nothing but a join code."""

import pytest

from mabeam_p2p.addresses import split_address
from tests.in_loop import in_loop
from tests.network.conftest import MakeLan
from tests.network.lan import Host, Process
from tests.network.peers import Cluster, Peer, line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def up(host: Host, *flags: str) -> Process:
    """As a person starts it, with nothing said that need not be."""
    cluster = Cluster([host], expect=2)
    environment = Peer(host, cluster, host.name).environment()
    words = ["up", "--json", "--name", host.name, "--expect", "2", *flags]
    return host.mabeam(*words, environment=environment)


@in_loop
async def test_a_peer_that_a_code_has_let_in_is_back_after_a_restart_without_a_word(
    lan: MakeLan,
) -> None:
    first, second = lan(hosts=2).hosts
    here = up(first, "--listen", "lan")
    code = (await line(here, "listening"))["join"]
    there = up(second, "--join", str(code))
    await line(there, "ready")
    await line(here, "ready")
    there.kill()
    again = up(second)
    listening = await line(again, "listening")
    assert split_address(str(listening["address"]))[0] == second.address
    await line(again, "ready")
