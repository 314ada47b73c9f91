import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from mabeam_p2p.cli import output
from tests.cli.daemons import Daemon, House, environment, house, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def lines(daemon: Daemon) -> list[dict[str, object]]:
    """Everything on its standard error, which is nothing but objects."""
    found = [msgspec.json.decode(line, type=dict[str, object]) for line in whole(daemon)]
    assert all({"time", "level", "logger", "event", "message"} <= set(line) for line in found)
    return found


def whole(daemon: Daemon) -> list[str]:
    return daemon.said().split("\n")[:-1]


def test_a_daemon_logs_objects_one_on_a_line(place: House) -> None:
    daemon = place.start("--expect", "1", "--verbose", "--log-format", "json")
    peer = daemon.line()["peer"]
    daemon.line()
    until(lambda: "ready" in [line["event"] for line in lines(daemon)])
    events = {line["event"]: line for line in lines(daemon)}
    assert (events["role_changed"]["peer"], events["role_changed"]["role"]) == (peer, "leader")
    assert isinstance(events["leader_changed"]["term"], int)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert lines(daemon)


def test_notes_and_what_ends_it_are_objects_too(place: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        flags = ("--listen", f"127.0.0.1:{port}", "--data-dir", ":memory:")
        daemon = place.start(*flags, "--log-format", "json")
        assert daemon.wait() == 75
    note, end = lines(daemon)
    assert (note["level"], "keeps nothing" in str(note["message"])) == ("warning", True)
    assert (end["level"], str(port) in str(end["message"])) == ("error", True)


def test_a_fault_of_ours_is_an_object_with_its_traceback(place: House) -> None:
    planted = (
        "from mabeam_p2p.cli import main\n"
        "from mabeam_p2p.daemon.host import Host\n"
        "async def broken(host): raise AssertionError('a core has caught itself wrong')\n"
        "Host.__aenter__ = broken\n"
        "main(['up', '--log-format', 'json'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", planted],
        capture_output=True,
        check=False,
        text=True,
        cwd=place.folder,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == output.FAULT
    trace, last = map(msgspec.json.decode, done.stderr.splitlines())
    assert "AssertionError: a core has caught itself wrong" in trace["exception"]
    assert "a fault of mabeam" in last["message"]


def test_the_log_is_text_unless_it_is_said(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = place.start("--expect", "1", "--verbose")
    daemon.line()
    daemon.wait_until_it_says(" INFO ready peer=")
    monkeypatch.setenv("MABEAM_LOG_FORMAT", "json")
    other = place.start("--expect", "1", "--verbose", name="bee")
    other.line()
    other.line()
    until(lambda: "ready" in [line["event"] for line in lines(other)])


def test_another_format_is_refused(place: House) -> None:
    daemon = place.start("--log-format", "xml")
    assert daemon.wait() == 2
    assert "'text', 'json'" in daemon.said()
