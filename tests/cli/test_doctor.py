"""Planted faults: each is named, and the command beside it mends it where a test may run that."""

import asyncio
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mabeam_p2p.addresses import split_address
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results import PeerEvidence
from mabeam_p2p.cli.doctor import _ports as doctor_ports
from mabeam_p2p.cli.doctor import cluster, network, software
from mabeam_p2p.cli.doctor.finding import Finding
from mabeam_p2p.cli.doctor.holders import ports_of
from mabeam_p2p.config import SERVICE_TYPE, Config
from mabeam_p2p.transport import hosts
from tests.cli.daemons import CLUSTER, House, environment, house, mabeam, told, until
from tools.children import free_ports

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def doctor(*flags: str) -> dict[str, list[Finding]]:
    """The findings of one run in this process, by check; loopback alone is touched."""
    result = mabeam("doctor", "--name", "ant", "--json", *flags)
    return findings(result.stdout, result.exit_code)


def findings(text: str, code: int) -> dict[str, list[Finding]]:
    said = msgspec.json.decode(text, type=dict[str, object])
    assert isinstance(said["findings"], list)
    assert isinstance(said["counts"], dict)
    assert code == (1 if said["counts"]["error"] else 0)
    by_check: dict[str, list[Finding]] = {}
    for one in said["findings"]:
        by_check.setdefault(one["check"], []).append(Finding(**one))
    return by_check


def fault(found: dict[str, list[Finding]], check: str) -> Finding:
    """The one fault of a check."""
    [one] = [finding for finding in found[check] if finding.level in ("warning", "error")]
    assert one.mend, "each fault names a command"
    return one


def is_well(found: dict[str, list[Finding]], check: str) -> bool:
    return all(finding.level in ("ok", "skipped") for finding in found[check])


def mend(finding: Finding) -> None:
    subprocess.run(finding.mend, shell=True, check=True)


def test_a_host_without_faults_has_none(place: House) -> None:
    place.started("ant")
    found = doctor()
    assert [one for many in found.values() for one in many if one.level == "error"] == []
    assert found["daemon"][0].text.startswith("ant answers, as leader")
    assert found["quorum"][0].level == "ok"
    text = mabeam("doctor", "--name", "ant").stdout
    assert "ok       quorum" in text


def test_doctor_works_where_nothing_runs_yet(place: House) -> None:
    found = doctor()
    assert found["daemon"][0].level == "skipped"
    assert "is made at the first start" in found["folder"][0].text


def test_a_user_without_a_home_is_told_what_to_set(place: House, homeless: None) -> None:
    assert "XDG_STATE_HOME" in fault(doctor(), "folder").text
    assert "folder" in doctor("--data-dir", str(place.folder / "data"))
    place.start("--expect", "1", "--data-dir", str(place.folder / "data")).line()
    found = doctor()
    assert "XDG_STATE_HOME" in fault(found, "folder").text
    assert "ant answers" in found["daemon"][0].text


def test_settings_that_cannot_be_used_are_named(place: House) -> None:
    (place.folder / "mabeam.toml").write_text("lisen = '127.0.0.1:0'\n")
    one = fault(doctor(), "settings")
    assert "'lisen'" in one.text
    assert one.mend.startswith("mabeam config show")


# ---- software --------------------------------------------------------------------------------


def test_a_package_that_is_too_old_is_named_with_its_floor() -> None:
    versions = {"pyzmq": "22.1.0", "cbor2": "10.0", "click": "8.5.1"}
    needed = [
        "pyzmq>=26",
        "cbor2>=6.2",
        "click>=8.1",
        "zeroconf>=0.149.16",
        "optuna>=4; extra == 'x'",
    ]
    found = list(software.versions(needed, versions.get))
    assert [(one.level, one.text) for one in found] == [
        ("error", "pyzmq is 22.1.0, older than 26"),
        ("error", "zeroconf is not installed, 0.149.16 or newer is needed"),
        ("ok", "cbor2 10.0, click 8.5.1"),
    ]
    assert found[0].mend == f"{sys.executable} -m pip install --upgrade 'pyzmq>=26'"


def test_an_extra_that_is_too_old_is_a_warning_and_one_that_is_absent_is_none() -> None:
    needed = ['optuna>=4; extra == "optuna"', 'numpy>=1.26; extra == "numpy"']
    found = list(software.versions(needed, {"optuna": "3.9"}.get))
    assert [(one.level, one.text) for one in found] == [("warning", "optuna is 3.9, older than 4")]


def test_the_floors_are_those_of_the_package() -> None:
    """Read from its metadata: what is checked here is what setup.cfg says."""
    assert any(one.startswith("pyzmq>=") for one in software.requirements())
    assert all(one.level == "ok" for one in software.versions())


def test_a_libzmq_without_curve_or_too_old_is_named() -> None:
    assert "no CURVE" in software.curve((4, 3, 5), False).text
    assert "older than 4.3.3" in software.curve((4, 3, 2), True).text
    assert software.curve().level == "ok"


# ---- places ----------------------------------------------------------------------------------


def test_a_folder_that_others_may_write_is_named_and_mended(place: House) -> None:
    folder = place.folder / "data"
    folder.mkdir()
    folder.chmod(0o777)
    one = fault(doctor("--data-dir", str(folder)), "modes")
    assert f"{folder} has mode 0777: others may write it" in one.text
    mend(one)
    found = doctor("--data-dir", str(folder))
    assert "modes" not in found
    assert is_well(found, "folder")


def test_a_key_that_others_may_read_is_named_and_mended(place: House) -> None:
    folder = place.folder / "data"
    folder.mkdir(mode=0o700)
    key = folder / "peer.key"
    key.write_text("secret")
    key.chmod(0o640)
    one = fault(doctor("--data-dir", str(folder)), "modes")
    assert (one.level, f"{key} has mode 0640" in one.text) == ("error", True)
    mend(one)
    assert "modes" not in doctor("--data-dir", str(folder))


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a file to another user")
def test_a_file_of_another_user_is_named(place: House) -> None:
    folder = place.folder / "data"
    folder.mkdir(mode=0o700)
    (folder / "peer.db").touch(mode=0o600)
    os.chown(folder / "peer.db", 12345, 12345)
    one = fault(doctor("--data-dir", str(folder)), "modes")
    assert "peer.db belongs to user 12345" in one.text
    assert one.mend.startswith("sudo -u '#12345' mabeam doctor"), "root would take it from them"


def test_a_folder_whose_place_is_taken_by_a_file_is_named(place: House) -> None:
    (place.folder / "data").write_text("")
    one = fault(doctor("--data-dir", str(place.folder / "data")), "folder")
    assert "is no folder" in one.text


def test_a_socket_that_a_dead_daemon_left_is_named_and_mended(place: House) -> None:
    [daemon] = place.started("ant")
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    found = doctor()
    one = fault(found, "socket")
    assert "ant.sock was left behind by a daemon that has died" in one.text
    assert found["daemon"][0].level == "skipped"
    mend(one)
    assert is_well(doctor(), "socket")


def test_a_folder_of_sockets_that_others_can_enter_is_named_and_mended(place: House) -> None:
    root = place.folder / "run" / "mabeam"
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    one = fault(doctor(), "socket")
    assert f"{root} has mode 0755" in one.text
    mend(one)
    assert is_well(doctor(), "socket")


# ---- limits ----------------------------------------------------------------------------------


def as_process(
    *flags: str, before: tuple[str, ...] = (), files: int = 0
) -> dict[str, list[Finding]]:
    """The doctor in a process of its own. before: what it is run by; files: its descriptors."""

    def limit() -> None:
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    command = [*before, sys.executable, "-m", "mabeam_p2p", "doctor", "--name", "ant", "--json"]
    done = subprocess.run(
        [*command, *flags], capture_output=True, text=True, env=environment(), preexec_fn=limit
    )
    assert done.returncode in (0, 1), done.stderr
    return findings(done.stdout, done.returncode)


@pytest.mark.parametrize(("files", "level"), [(128, "error"), (512, "warning")])
def test_few_descriptors_are_named(place: House, files: int, level: str) -> None:
    one = fault(as_process(files=files), "descriptors")
    assert (one.level, f"may open {files} descriptors" in one.text) == (level, True)


def test_the_descriptors_of_a_daemon_that_runs_are_looked_at(place: House) -> None:
    [daemon] = place.started("ant")
    process = daemon.process.pid
    resource.prlimit(process, resource.RLIMIT_NOFILE, (64, 4096))
    one = fault(doctor(), "descriptors")
    assert f"the daemon (process {process})" in one.text
    if shutil.which("prlimit"):
        mend(one)
        assert is_well(doctor(), "descriptors")


# ---- the port --------------------------------------------------------------------------------


def test_a_port_that_another_program_has_is_named_with_it_and_mended(place: House) -> None:
    [port] = free_ports(1)
    program = f"import socket, sys; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); sys.stdin.read()"  # noqa: E501
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        one = fault(doctor("--listen", f"127.0.0.1:{port}"), "port")
        assert f"taken by process {holder.pid}" in one.text
        assert "import socket" in one.text
        mend(one)
        holder.wait()
    assert is_well(doctor("--listen", f"127.0.0.1:{port}"), "port")


def test_the_port_of_the_daemon_itself_is_no_fault(place: House) -> None:
    place.started("ant")
    assert "the daemon's own" in doctor()["port"][0].text


def test_the_port_that_a_peer_had_is_no_must(place: House) -> None:
    [port] = free_ports(1)
    assert doctor()["port"][0].level == "skipped"
    daemon = place.start("--expect", "1", "--listen", f"127.0.0.1:{port}")
    daemon.line()
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    assert doctor()["port"][0].text == f"127.0.0.1:{port} is free"
    with socket.create_server(("127.0.0.1", port)):
        one = fault(doctor(), "port")
        assert one.level == "warning"
        assert f"127.0.0.1:{port} is taken" in one.text
        assert "will take another one" in one.text
        assert fault(doctor("--listen", f"127.0.0.1:{port}"), "port").level == "error"


def test_an_address_that_this_host_does_not_have_is_named(place: House) -> None:
    found = doctor("--listen", "198.51.100.7:7946", "--no-mdns")
    assert "no address 198.51.100.7" in fault(found, "address").text
    assert found["port"][0].level == "skipped"


@pytest.mark.parametrize("listen", ["lan", "lan:0", "127.0.0.1", "127.0.0.1:0"])
def test_every_form_that_a_peer_can_listen_at_is_understood(
    place: House, monkeypatch: pytest.MonkeyPatch, listen: str
) -> None:
    monkeypatch.setattr(hosts, "is_loopback", lambda host: False)
    monkeypatch.setattr(hosts, "local_host", lambda remote: "127.0.0.1")
    found = doctor("--listen", listen, "--no-mdns")
    assert found["address"][0].text == "127.0.0.1 is an address of this host"
    assert is_well(found, "port")


def test_a_host_without_a_network_is_named(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "local_host", lambda remote: "127.0.0.1")
    found = doctor("--listen", "lan", "--no-mdns")
    one = fault(found, "address")
    assert "no way to a network" in one.text
    assert one.mend.startswith("ip -brief address"), "which no --listen lan mends"
    assert found["port"][0].level == "skipped"


@pytest.mark.parametrize("listen", ["nonsense:port", "host:99999"])
def test_an_address_that_is_none_is_named(place: House, listen: str) -> None:
    one = fault(doctor("--listen", listen, "--no-mdns"), "address")
    assert listen in one.text
    assert one.mend == "mabeam up --listen lan"


def test_what_is_no_fault_of_the_address_has_another_mend(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MABEAM_JOIN_CODE", "MB1-7Q4K")
    assert fault(doctor("--no-mdns"), "address").mend == "mabeam config show --origin"


def test_a_question_on_loopback_comes_back(place: House) -> None:
    assert "heard here" in doctor()["multicast"][0].text


def packet(flags: int, name: str) -> bytes:
    """Of multicast DNS: a pointer of this name to `ant` under it, behind a question if it asks."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    question = b"" if flags else labels + struct.pack("!2H", 12, 1)
    pointer = labels + struct.pack("!2HIH", 12, 1, 120, 6) + b"\3ant\xc0\x0c"
    return struct.pack("!6H", 0, flags, bool(question), 1, 0, 0) + question + pointer


@pytest.mark.parametrize(
    ("flags", "name", "is_announced"),
    [(0x8400, SERVICE_TYPE, True), (0x8400, "_other._tcp.local.", False), (0, SERVICE_TYPE, False)],
    ids=["an announcement", "of another service", "a question"],
)
def test_a_question_of_another_host_announces_no_peer(
    flags: int, name: str, is_announced: bool
) -> None:
    """Also not with the answers in it that the other host has already (RFC 6762 §7.1)."""
    heard = network.Heard()
    for data in (packet(flags, name), b"\7_mabeam"):
        network._take((data, ("192.0.2.7", 5353)), b"ours", {"192.0.2.1"}, heard)
    assert heard.others == {"192.0.2.7": is_announced}
    one = network._neighbours(heard, "192.0.2.1")
    assert one.level == ("ok" if is_announced else "warning")
    said = "peers announce themselves from 192.0.2.7"
    assert one.text == (said if is_announced else
                        "192.0.2.7 can be heard, but no peer is announced there")  # fmt: skip


# ---- the cluster -----------------------------------------------------------------------------


def test_a_lost_quorum_is_named_with_who_is_missing(place: House) -> None:
    _, bee = place.started("ant", "bee")
    bee.signal(signal.SIGKILL)
    bee.wait()
    until(lambda: not told("status", "--addr", "ant")["quorum"])
    until(lambda: "dead" in doctor()["quorum"][0].text)
    one = fault(doctor(), "quorum")
    assert one.level == "error"
    assert "1 of 2 voters are here, 2 are needed: bee at 127.0.0.1:" in one.text
    assert one.mend.startswith("mabeam up --name bee --cluster test ")


def test_a_cluster_that_has_not_formed_is_named_with_how_many_it_waits_for(place: House) -> None:
    daemon = place.start("--expect", "3")
    address = daemon.line()["address"]
    found = doctor()
    one = fault(found, "quorum")
    assert "1 of 3 peers see each other" in one.text
    assert "ant is not ready: no_cluster" in fault(found, "ready").text
    assert f"--name ANOTHER --seed {address}" in one.mend, "its own is taken here"
    assert "--listen lan" in one.mend, "which the others cannot reach"


def test_the_ports_to_be_open_are_those_at_which_a_peer_is_reached(place: House) -> None:
    [named] = free_ports(1)
    wanted: dict[str, list[int]] = {}
    for name, *flags in (
        ("any",), ("named", "--listen", f"127.0.0.1:{named}"), ("plain", "--insecure-plaintext"),
    ):  # fmt: skip
        daemon = place.start("--expect", "1", *flags, name=name, cluster=name)
        port = split_address(str(daemon.line()["address"]))[1]
        assert port in ports_of(daemon.process.pid, "127.0.0.1")
        assert ports_of(daemon.process.pid, "127.0.0.2") == []
        wanted[name] = doctor_ports(Config(), "127.0.0.1", port, daemon.process.pid)
        assert port in wanted[name]
        if name == "any":  # Neither of the two behind may have been free.
            assert len(wanted[name]) == 2 or wanted[name] == [port, port + 1, port + 2]
    assert wanted["named"] == [named, named + 1, named + 2]
    assert len(wanted["plain"]) == 1
    assert doctor_ports(Config(), "127.0.0.1", 65_535, None) == [65_535]
    assert doctor_ports(Config(), "127.0.0.1", 7946, None) == [7946, 7947, 7948]
    assert doctor_ports(Config(insecure_plaintext=True), "127.0.0.1", 7946, None) == [7946]
    assert doctor_ports(Config(), "127.0.0.1", 0, None) == [0]


def test_a_cluster_that_waits_for_other_hosts_is_to_give_them_a_code(place: House) -> None:
    place.start("--expect", "3").line()
    assert mabeam("keys", "invite").exit_code == 0
    seen = asyncio.run(cluster.ask(CLUSTER, "ant"))
    assert isinstance(seen, cluster.Daemon)
    elsewhere = replace(seen.status, address="192.0.2.8:7946")
    one = cluster.quorum(elsewhere, ())
    assert one.mend.startswith("mabeam up --cluster test --seed 192.0.2.8:7946 ")
    assert "with keys also --join CODE, which `mabeam keys invite` prints" in one.mend


def test_members_that_there_is_no_time_to_ask_about_are_no_fault_of_the_daemon(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.started("ant", "bee")
    why = Agent.why

    async def slow(agent: Agent, peer: str) -> PeerEvidence:
        seen = await why(agent, peer)
        return seen if seen.is_self else await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Agent, "why", slow)
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 5.0)
    found = doctor()
    assert "ant answers" in found["daemon"][0].text
    assert "quorum" in found
    assert found["clocks"][0].level == "skipped"


@pytest.mark.parametrize(
    ("leads", "said"),
    [
        ({}, []),
        ({"bee": 0.2, "cow": -0.3}, []),
        ({"bee": 90.0, "cow": 0.1}, ["the clock of bee is 90 s ahead"]),
        ({"bee": -7200.0, "cow": -7201.0}, ["this host's clock is 7200 s ahead"]),
        ({"bee": 200_000.0}, ["the clock of bee is 200000 s ahead"]),
    ],
)
def test_a_clock_that_is_off_is_named_with_whose_it_is(
    leads: dict[str, float], said: list[str]
) -> None:
    found = [one for one in cluster.clocks(leads) if one.level in ("warning", "error")]
    assert [one.text for one in found] == said
    assert all("set-ntp" in one.mend for one in found)


def test_a_closed_port_is_free_for_a_peer(place: House) -> None:
    """What lingers after a connection was closed holds no port."""
    [port] = free_ports(1)
    with (
        socket.create_server(("127.0.0.1", port)) as server,
        socket.create_connection(("127.0.0.1", port)),
    ):
        server.accept()[0].close()
    assert is_well(doctor("--listen", f"127.0.0.1:{port}"), "port")


def test_the_folder_of_the_default_is_looked_at(place: House) -> None:
    place.started("ant")
    path = Path(str(place.folder)) / "state" / "mabeam" / "test" / "ant"
    assert str(path) in doctor()["folder"][0].text
