"""What the doctor says of daemons that it does not expect, does not find, or hears nothing from."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mabeam_p2p.api import sockets
from mabeam_p2p.cli import output
from mabeam_p2p.cli.doctor import cluster, places
from mabeam_p2p.cli.doctor.descriptors import descriptors
from mabeam_p2p.daemon.descriptors import CLIENTS_LEAST, CLIENTS_SPARE
from mabeam_p2p.wire.local import LOCAL_VERSION, Greet, Welcome, daemon_messages, encode
from tests.cli.daemons import AS_A_PROGRAM, CLUSTER, House, mabeam
from tests.cli.test_doctor import doctor, fault, is_well, mend, place
from tests.cli.test_joining import elsewhere, invited

__all__ = ["place"]

pytestmark = pytest.mark.slow


def test_a_folder_that_another_process_uses_is_named_with_it(place: House) -> None:
    folder = place.folder / "data"
    folder.mkdir(mode=0o700)
    program = "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f,2); print(flush=True); sys.stdin.read()"  # noqa: E501
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "lock"), "mabeam", "down"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        one = fault(doctor("--data-dir", str(folder)), "folder")
        assert f"process {holder.pid} uses" in one.text
        assert one.mend == f"kill {holder.pid}"
        mend(one)
    assert is_well(doctor("--data-dir", str(folder)), "folder")


def test_a_daemon_that_uses_the_folder_is_shown_and_not_killed(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = place.start("--expect", "1", "--data-dir", "data", name="bee", under=AS_A_PROGRAM)
    address = str(daemon.line()["address"])
    assert daemon.line()["event"] == "ready"
    found = doctor("--data-dir", str(place.folder / "data"), "--listen", address)
    one = fault(found, "folder")
    assert f"process {daemon.process.pid} uses" in one.text
    assert one.mend == "mabeam doctor --cluster test --name bee"
    assert fault(found, "port").mend == one.mend
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    found = doctor("--data-dir", str(place.folder / "data"), "--listen", address)
    one = fault(found, "folder")
    assert one.mend == f"XDG_RUNTIME_DIR={place.folder}/run mabeam doctor --cluster test --name bee"
    assert fault(found, "port").mend == one.mend
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place.folder / "run"))
    assert "bee answers" in doctor("--name", "bee")["daemon"][0].text


def test_a_daemon_that_is_not_found_from_here_is_named_with_how_it_is(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `su`, or under cron."""
    daemon = place.start("--expect", "1", under=AS_A_PROGRAM)
    daemon.line()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    one = fault(doctor(), "folder")
    assert one.level == "warning"
    socket_path = place.folder / "run" / "mabeam" / "test" / "ant.sock"
    pid = daemon.process.pid
    assert one.text == (
        f"the daemon (process {pid}) is not found from here: its socket is {socket_path}"
    )
    assert one.mend == f"XDG_RUNTIME_DIR={place.folder}/run mabeam doctor --cluster test --name ant"


def test_a_daemon_that_systemd_has_is_found_without_its_environment(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place.folder / "run" / "user" / str(os.getuid())
    run.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    place.started("ant")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(sockets, "RUN", place.folder / "run")
    found = doctor()
    assert is_well(found, "folder")
    assert found["socket"][0].text == "1 in use"
    assert "ant answers" in found["daemon"][0].text
    assert mabeam("status").exit_code == 0


def test_a_daemon_that_takes_no_more_clients_is_not_called_stuck(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By verbs that want an agent; the doctor has room beside them, until there is none."""
    limit = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    place.start("--expect", "1", under=limit).line()
    path = str(sockets.candidates(CLUSTER, "ant")[0])
    with contextlib.ExitStack() as stack:

        def come(count: int) -> None:
            for _ in range(count):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(path)
                client.sendall(encode(Greet(LOCAL_VERSION, "")))
                (answer,) = daemon_messages().feed(client.recv(65_536))
                assert isinstance(answer, Welcome), "it is served"

        come(CLIENTS_LEAST)
        refused = mabeam("barrier", "b", "--as", "late", "--parties", "2")
        assert refused.exit_code == output.TRY_AGAIN
        assert "has as many clients as it takes (16): close some" in refused.stderr
        assert "ant answers" in doctor()["daemon"][0].text
        come(CLIENTS_SPARE)
        one = fault(doctor(), "daemon")
        assert "as many clients as it takes" in one.text
        assert one.mend.startswith("ss -xp")


def test_a_full_disk_is_told_from_a_quota_that_is_used_up(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.started("ant")
    seen = asyncio.run(cluster.ask(CLUSTER, "ant"))
    assert isinstance(seen, cluster.Daemon)
    status = replace(seen.status, disk_full=True, disk_used_bytes=900, disk_bytes_max=1_000)
    folder = place.folder / "data"
    free = 101
    monkeypatch.setattr(places, "free_bytes", lambda path: free)
    one = cluster.disk(status, folder)
    assert "uses nine tenths of its quota of 1.0 kB" in one.text
    assert one.mend.startswith(
        f"mabeam down --cluster {CLUSTER} --addr ant; MABEAM_LIMITS__DATA_BYTES_MAX=2000 "
        f"mabeam up --cluster {CLUSTER} --name ant "
    )
    assert cluster.disk(status, None) == one
    free = 100
    one = next(found for found in cluster.findings(replace(seen, status=status), folder)
               if found.check == "disk")  # fmt: skip
    assert f"100 bytes are free on the disk of {folder}" in one.text
    assert one.mend.startswith("sudo du -xh /"), "another quota frees nothing"


def test_a_daemon_that_is_stopped_is_named(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    [daemon] = place.started("ant")
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.5)
    daemon.signal(signal.SIGSTOP)
    try:
        one = fault(doctor(), "daemon")
    finally:
        daemon.signal(signal.SIGCONT)
    assert f"'ant' (process {daemon.process.pid}) does not answer" in one.text
    assert one.mend == "mabeam dump --cluster test --addr ant"


def test_a_peer_that_nobody_has_let_in_yet_is_not_said_to_wait_for_more_peers(
    place: House,
) -> None:
    daemon, code = invited(place)
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    with elsewhere(place):
        place.start("--join", code, name="bee").line()
        one = fault(doctor("--name", "bee"), "quorum")
    assert one.text.startswith("not let in yet")
    assert one.mend.startswith("mabeam keys invite --cluster test ")


def test_a_folder_that_may_not_be_looked_for_is_named_and_ends_nothing(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for who is not root, and whose path leads through another user's folder."""
    theirs = place.folder / "theirs"

    def closed(look: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def looked(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
            if str(path).startswith(f"{theirs}/"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return look(path, *arguments, **options)

        return looked

    theirs.mkdir()
    monkeypatch.setattr(os, "stat", closed(os.stat))
    monkeypatch.setattr(os, "lstat", closed(os.lstat))
    found = doctor("--data-dir", str(theirs / "peer" / "data"))
    assert "cannot be looked at: Permission denied" in fault(found, "folder").text
    assert found["disk"][0].level == "ok"


@pytest.mark.parametrize(
    ("used", "soft", "hard", "mend"),
    [
        (820, 1024, 1024, "sudo prlimit --pid 7 --nofile=2048:2048"),
        (3300, 4096, 65_536, "prlimit --pid 7 --nofile=8192:65536"),
        (60, 64, resource.RLIM_INFINITY, "prlimit --pid 7 --nofile=1024:unlimited"),
        (1, 64, 128, "sudo prlimit --pid 7 --nofile=1024:1024"),
    ],
)
def test_a_daemon_is_given_more_descriptors_than_it_has(
    monkeypatch: pytest.MonkeyPatch, used: int, soft: int, hard: int, mend: str
) -> None:
    monkeypatch.setitem(descriptors.__globals__, "used_by", lambda process: used)
    assert descriptors(7, (soft, hard)).mend == mend


def test_who_is_not_root_is_to_have_what_is_anothers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    one = next(places.folder(tmp_path))
    assert one.mend == f"sudo chown 12345 {tmp_path}"
