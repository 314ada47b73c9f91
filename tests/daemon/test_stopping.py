"""SIGTERM ends a daemon in the time that a service manager is promised, whatever it is in the
middle of, and nothing of it stays behind. Real processes."""

import fcntl
import shutil
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mabeam_p2p.daemon.server import CLIENTS_END_SECONDS
from mabeam_p2p.runtime.driver import LEAVE_SECONDS_MAX, STOP_SECONDS_MAX
from mabeam_p2p.wire.local import LOCAL_VERSION, Greet, Subscribe, encode
from tests.cli.daemons import AS_A_PROGRAM, Daemon, House, house, mabeam, told, until

CYCLES = 10
PROMISED_SECONDS = 2.0


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def left_behind(place: House) -> list[str]:
    """Sockets, and locks of data folders that somebody holds: their paths in the place, whose own
    name is drawn and may hold anybody's."""
    sockets = (path for path in (place.folder / "run").rglob("*") if path.is_socket())
    found = [str(path.relative_to(place.folder)) for path in sockets]
    for path in (place.folder / "state").rglob("lock"):
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(str(path.relative_to(place.folder)))
    return found


def terminated(daemon: Daemon) -> int:
    daemon.signal(signal.SIGTERM)
    code = daemon.wait()
    assert "Traceback" not in daemon.said()
    return code


def client_of(path: object) -> socket.socket:
    """One that has greeted, listens, and never reads."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(encode(Greet(LOCAL_VERSION, "")) + encode(Subscribe(True)))
    return client


def test_all_that_stopping_waits_for_is_less_than_what_is_promised() -> None:
    assert LEAVE_SECONDS_MAX < STOP_SECONDS_MAX
    assert STOP_SECONDS_MAX + CLIENTS_END_SECONDS < PROMISED_SECONDS


@pytest.mark.slow
def test_ten_starts_and_stops_leave_no_socket_no_lock_and_no_session(place: House) -> None:
    for _ in range(CYCLES):
        (daemon,) = place.started("ant")
        agents = told("info")["agents"]
        assert isinstance(agents, list)
        assert len(agents) == 1, "the session of an earlier life is still open"
        assert left_behind(place)
        assert terminated(daemon) == 0
        assert left_behind(place) == []


@pytest.mark.slow
def test_a_daemon_without_a_quorum_ends_and_so_do_its_clients(place: House) -> None:
    ant, bee, cow = place.started("ant", "bee", "cow")
    client = client_of(Path(place.folder / "run" / "mabeam" / "test" / "ant.sock"))
    for other in (bee, cow):
        other.signal(signal.SIGKILL)
        other.wait()
    until(lambda: told("status", "--addr", "ant")["quorum"] is False)
    assert terminated(ant) == 0
    sockets = left_behind(place)
    assert [path for path in sockets if "ant" in path] == []
    client.close()


@pytest.mark.slow
def test_clients_that_wait_and_clients_that_never_read_do_not_keep_a_daemon(place: House) -> None:
    daemon = place.start("--expect", "1")
    path = daemon.line()["socket"]
    daemon.line()
    clients = [client_of(path) for _ in range(20)]
    for number in range(200):
        assert mabeam("set", f"value/{number % 10}", "x" * 10_000).exit_code == 0
    assert terminated(daemon) == 0
    assert left_behind(place) == []
    for client in clients:
        client.close()


@pytest.mark.slow
def test_a_daemon_that_waits_for_its_cluster_ends(place: House) -> None:
    daemon = place.start("--expect", "3")
    assert daemon.line()["event"] == "listening"
    assert terminated(daemon) == 0
    assert left_behind(place) == []


@pytest.mark.slow
def test_a_daemon_ends_at_any_moment_of_its_start(place: House) -> None:
    for step in range(4):
        daemon = place.start("--expect", "1", under=AS_A_PROGRAM)
        # From before the first line of the program to the moment at which the socket is there.
        until(partial(_has_come_to, place, step))
        assert terminated(daemon) in (0, -signal.SIGTERM)
        assert left_behind(place) == []
        shutil.rmtree(place.folder / "run" / "mabeam", ignore_errors=True)
        shutil.rmtree(place.folder / "state", ignore_errors=True)


def _has_come_to(place: House, step: int) -> bool:
    run, state = place.folder / "run" / "mabeam", place.folder / "state"
    steps = (True, run.is_dir(), state.is_dir(), any(run.rglob("*.sock")))
    return bool(steps[step])
