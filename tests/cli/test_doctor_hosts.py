"""Faults of a host's network and disk, planted in namespaces that end with the test's process."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mabeam_p2p.cli.doctor.finding import Finding
from tests.cli.daemons import House, environment, house
from tests.cli.test_doctor import fault, findings, is_well

REASON = ""
if os.getuid() != 0:
    REASON = "needs root, for namespaces"
elif not (shutil.which("unshare") and shutil.which("ip")):
    REASON = "needs unshare and ip (iproute2)"
IS_REQUIRED = bool(os.environ.get("REQUIRE_NETWORK"))
"""Then what cannot be run here is a failure: green shall not mean that nothing ran."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(REASON) and not IS_REQUIRED, reason=REASON),
]
needs_nft = pytest.mark.skipif(
    not (shutil.which("nft") or IS_REQUIRED), reason="needs nft (nftables)"
)

ADDRESS = "10.60.0.1"
HOST = (
    "ip link add eth0 type veth peer name far; ip link set far up; "
    f"ip addr add {ADDRESS}/24 dev eth0; ip link set eth0 up"
)
LOOPBACK = "ip link set lo up"


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def doctor_in(*planted: str, flags: str = "", mended: bool = False) -> dict[str, list[Finding]]:
    """The doctor on a host of its own, after these commands. mended: after those that it names for
    its errors have been run as well."""
    tell = f"{sys.executable} -m mabeam_p2p doctor --name ant --json {flags}"
    mend = (
        f"{tell} | {sys.executable} -c 'import json,sys; "
        '[print(f["mend"].replace("sudo ", "")) for f in json.load(sys.stdin)["findings"] '
        'if f["level"] == "error"]\' | sh -ex'
    )
    script = "\n".join(["set -e", *planted, *([mend] if mended else []), f"exec {tell}"])
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.stdout, done.stderr
    return findings(done.stdout, done.returncode)


@pytest.mark.usefixtures("place")
def test_a_loopback_interface_that_is_down_is_named_and_mended() -> None:
    one = fault(doctor_in(), "address")
    assert "the interface lo is down" in one.text
    assert one.mend == "sudo ip link set lo up"
    found = doctor_in(mended=True)
    assert is_well(found, "address")
    assert is_well(found, "multicast")


@pytest.mark.usefixtures("place")
def test_an_interface_that_is_down_is_named_and_mended() -> None:
    planted = (LOOPBACK, HOST, "ip link set dev eth0 down")
    one = fault(doctor_in(*planted, flags=f"--listen {ADDRESS}:7946"), "address")
    assert one.mend == "sudo ip link set eth0 up"
    assert is_well(doctor_in(*planted, flags=f"--listen {ADDRESS}:7946", mended=True), "address")


@pytest.mark.usefixtures("place")
def test_an_interface_without_multicast_is_named_and_mended() -> None:
    planted = (LOOPBACK, HOST, "ip link set dev eth0 multicast off")
    one = fault(doctor_in(*planted, flags=f"--listen {ADDRESS}:7946"), "multicast")
    assert f"the interface eth0 {ADDRESS} does no multicast" in one.text
    found = doctor_in(*planted, flags=f"--listen {ADDRESS}:7946", mended=True)
    assert is_well(found, "multicast")


@pytest.mark.usefixtures("place")
def test_a_host_that_hears_nobody_is_told_to_use_seeds() -> None:
    found = doctor_in(LOOPBACK, HOST, flags=f"--listen {ADDRESS}:7946")
    one = fault(found, "neighbours")
    assert one.level == "warning"
    assert "no other host was heard" in one.text
    assert f"--seed {ADDRESS}:" in one.mend


TABLE = "nft add table inet filter"
CLOSED = "nft 'add chain inet filter input { type filter hook input priority 0; policy drop; }'"
OPEN = "nft 'add chain inet filter input { type filter hook input priority 0; policy accept; }'"


@needs_nft
@pytest.mark.usefixtures("place")
def test_a_firewall_that_swallows_multicast_is_named_and_mended() -> None:
    planted = (LOOPBACK, HOST, TABLE, OPEN, "nft add rule inet filter input udp dport 5353 drop")
    found = doctor_in(*planted, flags=f"--listen {ADDRESS}:7946")
    assert "did not come back to this host" in fault(found, "multicast").text
    assert "drops what comes to udp port 5353" in fault(found, "firewall").text
    found = doctor_in(*planted, flags=f"--listen {ADDRESS}:7946", mended=True)
    assert is_well(found, "multicast")
    assert is_well(found, "firewall")


@needs_nft
@pytest.mark.usefixtures("place")
def test_a_firewall_that_closes_the_port_is_named_and_mended() -> None:
    allowed = ("udp dport 5353", "ct state established")
    rules = tuple(f"nft add rule inet filter input {one} accept" for one in allowed)
    planted = (LOOPBACK, HOST, TABLE, CLOSED, *rules)
    one = fault(doctor_in(*planted, flags=f"--listen {ADDRESS}:7946"), "firewall")
    assert "none allows tcp port 7946-7948" in one.text
    assert one.mend == "sudo nft insert rule inet filter input tcp dport 7946-7948 accept"
    found = doctor_in(*planted, flags=f"--listen {ADDRESS}:7946", mended=True)
    assert is_well(found, "firewall")


@needs_nft
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "rule", ["tcp dport { 22, 7000-8000 } accept", "tcp dport 7946-7948 accept"]
)
def test_a_rule_that_allows_the_port_is_seen(rule: str) -> None:
    planted = (TABLE, CLOSED, f"nft 'add rule inet filter input {rule}'")
    found = doctor_in(LOOPBACK, *planted, flags="--listen 127.0.0.1:7946 --no-mdns")
    assert is_well(found, "firewall")


@needs_nft
@pytest.mark.usefixtures("place")
def test_chains_that_are_jumped_to_are_followed() -> None:
    named = (
        "nft 'add set inet filter ports "
        "{ type inet_service; flags interval; elements = { 22, 7946-7950 }; }'"
    )
    chain, jump = "nft add chain inet filter user", "nft add rule inet filter input jump user"
    planted = (LOOPBACK, HOST, TABLE, CLOSED, named, chain, jump)
    flags = f"--listen {ADDRESS}:7946 --no-mdns"
    assert fault(doctor_in(*planted, flags=flags), "firewall").level == "error"
    rule = "nft add rule inet filter user tcp dport @ports counter accept"
    assert is_well(doctor_in(*planted, rule, flags=flags), "firewall")
    some = "nft add rule inet filter user ip saddr 10.60.0.2 tcp dport 7940-7950 accept"
    one = fault(doctor_in(*planted, some, flags=flags), "firewall")
    assert (one.level, "may let some" in one.text) == ("warning", True)


@needs_nft
@pytest.mark.usefixtures("place")
def test_a_firewall_that_leaves_loopback_alone_is_in_no_peers_way_there() -> None:
    planted = (LOOPBACK, TABLE, CLOSED, "nft add rule inet filter input iif lo accept")
    assert is_well(doctor_in(*planted, flags="--listen 127.0.0.1:7946"), "firewall")


@needs_nft
@pytest.mark.usefixtures("place")
def test_a_rule_for_some_of_the_traffic_decides_nothing() -> None:
    planted = (TABLE, OPEN, "nft add rule inet filter input ip saddr 10.9.9.9 tcp dport 7946 drop")
    found = doctor_in(LOOPBACK, *planted, flags="--listen 127.0.0.1:7946 --no-mdns")
    assert is_well(found, "firewall")


def test_a_disk_that_is_nearly_full_is_named(place: House) -> None:
    folder = shlex.quote(str(place.folder / "data"))
    planted = (f"mkdir {folder}", f"mount -t tmpfs -o size=1m,mode=700 tmpfs {folder}")
    one = fault(doctor_in(LOOPBACK, *planted, flags=f"--data-dir {folder}"), "disk")
    assert one.level == "error"
    assert "1.0 MB are free" in one.text
    assert str(place.folder / "data") in one.mend


def test_a_disk_without_room_for_files_is_named(place: House) -> None:
    folder = shlex.quote(str(place.folder / "data"))
    planted = (f"mkdir {folder}", f"mount -t tmpfs -o nr_inodes=16,mode=700 tmpfs {folder}")
    one = fault(doctor_in(LOOPBACK, *planted, flags=f"--data-dir {folder}"), "disk")
    assert "more files" in one.text


def test_a_quota_that_is_used_up_is_named(place: House) -> None:
    folder = place.folder / "data"
    folder.mkdir(mode=0o700)
    (folder / "peer.db").write_bytes(b"x" * 950)
    (folder / "peer.db").chmod(0o600)
    planted = "export MABEAM_LIMITS__DATA_BYTES_MAX=1000"
    one = fault(doctor_in(LOOPBACK, planted, flags=f"--data-dir {folder}"), "disk")
    assert "uses 950 bytes of its quota of 1.0 kB" in one.text
    assert "MABEAM_LIMITS__DATA_BYTES_MAX=2000" in one.mend


def test_a_folder_that_cannot_be_written_is_named(place: House) -> None:
    folder = shlex.quote(str(place.folder / "data"))
    planted = (f"mkdir -m 700 {folder}", f"mount --bind {folder} {folder}",
               f"mount -o remount,bind,ro {folder}")  # fmt: skip
    one = fault(doctor_in(LOOPBACK, *planted, flags=f"--data-dir {folder}"), "folder")
    assert "cannot be written" in one.text
