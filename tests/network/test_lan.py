"""The network itself: that its faults are those that it says, and that nothing of it stays."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.network.conftest import REQUIRED, MakeLan, unavailable
from tests.network.lan import FabricName, Host, Process
from tests.network.namespaces import why_not

pytestmark = pytest.mark.slow

SECONDS = 20.0
PORT = 7000
GROUP = "239.7.7.7"
LISTEN = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[2])))
group = socket.inet_aton(sys.argv[3]) + socket.inet_aton(sys.argv[1])
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
print("ready", flush=True)
while True:
    print(s.recv(99).decode(), flush=True)
"""
SAY = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
s.sendto(sys.argv[4].encode(), (sys.argv[3], int(sys.argv[2])))
"""
MAKE_AND_WAIT = """
import os, sys
from pathlib import Path
from tests.network.lan import Lan
lan = Lan(Path(sys.argv[1]), 2, fabric=sys.argv[2])
for host in lan.hosts:
    host.spawn(["sleep", "600"])
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
sys.stdin.read()
"""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came true within {SECONDS} s"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether it has not ended; one whose parent has not asked for its end yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listening(host: Host) -> Process:
    process = host.python("-c", LISTEN, host.address, str(PORT), GROUP)
    until(lambda: process.lines() == ["ready"])
    return process


def say(host: Host, to: str, word: str) -> None:
    assert host.run([sys.executable, "-c", SAY, host.address, str(PORT), to, word]).returncode == 0


def of_this_machine() -> str:
    """What a network of ours must leave alone."""
    commands = ("ip -br addr", "ip route", "ip -6 route", "nft list ruleset", "ip netns list")
    done = [subprocess.run(c.split(), capture_output=True, text=True) for c in commands]
    return re.sub(r"expires \S+", "", "\n".join(each.stdout for each in done))


@pytest.mark.parametrize("fabric", ["bridge", "switch"])
def test_hosts_hear_each_other_over_both_families_and_have_names_of_their_own(
    lan: MakeLan, fabric: FabricName
) -> None:
    first, second = lan(hosts=2, fabric=fabric).hosts
    until(lambda: first.reaches(second.address))
    until(lambda: first.reaches(second.address_6))
    assert second.run(["hostname"]).stdout == "h2\n"


def test_nothing_outside_of_the_hosts_changes(lan: MakeLan) -> None:
    before = of_this_machine()
    net = lan(hosts=3)
    net.isolate(net.hosts[0])
    net.hosts[1].move("10.77.0.99")
    assert of_this_machine() == before
    net.close()
    assert of_this_machine() == before


@pytest.mark.parametrize("fabric", ["bridge", "switch"])
def test_hosts_hear_each_other_if_a_group_holds_both(lan: MakeLan, fabric: FabricName) -> None:
    net = lan(hosts=3, fabric=fabric)
    one, two, three = net.hosts
    net.partition([one, two], [two, three])
    until(lambda: one.reaches(two.address) and two.reaches(three.address))
    assert not one.reaches(three.address)
    net.isolate(two)
    until(lambda: one.reaches(three.address))
    assert not two.reaches(one.address)
    net.heal()
    until(lambda: one.reaches(two.address))


@pytest.mark.parametrize("fabric", ["bridge", "switch"])
def test_one_way_is_one_way(lan: MakeLan, fabric: FabricName) -> None:
    net = lan(hosts=2, fabric=fabric)
    one, two = net.hosts
    first, second = listening(one), listening(two)
    net.one_way(one, two)
    say(one, two.address, "lost")
    say(two, one.address, "heard")
    until(lambda: "heard" in first.lines())
    net.heal()
    say(one, two.address, "later")
    until(lambda: "later" in second.lines())
    assert second.lines() == ["ready", "later"]


@pytest.mark.parametrize("fabric", ["bridge", "switch"])
def test_multicast_alone_can_be_dropped(lan: MakeLan, fabric: FabricName) -> None:
    net = lan(hosts=2, fabric=fabric)
    one, two = net.hosts
    heard = listening(two)
    say(one, GROUP, "group")
    until(lambda: "group" in heard.lines())
    net.drop_multicast()
    say(one, GROUP, "lost")
    say(one, two.address, "alone")
    until(lambda: "alone" in heard.lines())
    assert heard.lines() == ["ready", "group", "alone"]


@pytest.mark.parametrize("fabric", ["bridge", "switch"])
def test_a_host_whose_cable_is_pulled_sees_it(lan: MakeLan, fabric: FabricName) -> None:
    net = lan(hosts=2, fabric=fabric)
    one, two = net.hosts
    net.unplug(two)
    until(lambda: not two.has_carrier())
    assert not one.reaches(two.address)
    net.plug(two)
    until(two.has_carrier)
    until(lambda: one.reaches(two.address))


@pytest.mark.parametrize("fabric", ["bridge", "switch"])
def test_a_share_of_the_packets_is_lost(lan: MakeLan, fabric: FabricName) -> None:
    net = lan(hosts=2, fabric=fabric)
    net.worsen(loss=0.3)
    told = net.hosts[0].run(["ping", "-q", "-c", "300", "-i", "0.002", net.hosts[1].address])
    lost = re.search(r"([\d.]+)% packet loss", told.stdout)
    assert lost is not None
    # Of 300 echoes, half come back; 20 and 80 % are ten standard deviations away.
    assert 20 < float(lost[1]) < 80


def test_frames_take_the_time_that_the_switch_is_told(lan: MakeLan) -> None:
    net = lan(hosts=2, fabric="switch")
    net.worsen(delay=0.04, jitter=0.01)
    told = net.hosts[0].run(["ping", "-q", "-c", "20", "-i", "0.01", net.hosts[1].address])
    quickest = re.search(r"min/avg/max/mdev = ([\d.]+)", told.stdout)
    assert quickest is not None
    assert float(quickest[1]) >= 60  # Twice 30 ms at the least.
    net.heal()
    told = net.hosts[0].run(["ping", "-q", "-c", "20", "-i", "0.01", net.hosts[1].address])
    quickest = re.search(r"min/avg/max/mdev = ([\d.]+)", told.stdout)
    assert quickest is not None
    assert float(quickest[1]) < 60


def test_what_a_program_on_a_host_leaves_behind_ends_with_the_network(lan: MakeLan) -> None:
    net = lan(hosts=1)
    host = net.hosts[0]
    host.run(["sh", "-c", "setsid sleep 600 </dev/null >/dev/null 2>&1 &"])
    until(host.pids)
    pids = host.pids()
    net.close()
    assert [pid for pid in pids if runs(pid)] == []


@pytest.mark.parametrize("fabric", ["bridge", "switch"])
def test_nothing_runs_on_when_the_tests_are_killed(
    lan: MakeLan, fabric: FabricName, tmp_path: Path
) -> None:
    lan(hosts=1, fabric=fabric)  # Skips where there can be none.
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKE_AND_WAIT, str(tmp_path), fabric],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert maker.stdout is not None
    assert maker.stdin is not None
    with maker:
        pids = [int(word) for word in maker.stdout.readline().split()]
        assert len(pids) == (3 if fabric == "switch" else 2)
        maker.send_signal(signal.SIGKILL)
    until(lambda: not any(map(runs, pids)))


def test_without_a_virtual_network_tests_are_skipped_or_fail_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no card"):
        unavailable("no card")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="no card"):
        unavailable("no card")


def test_a_missing_program_is_named_with_the_package_that_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("elsewhere the system is named")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nftables" in str(why_not())
