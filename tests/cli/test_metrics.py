import asyncio
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from mabeam_p2p.api.inquiries import figures_of
from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target
from mabeam_p2p.inquiries import Figures
from mabeam_p2p.observe.catalogue import COUNTED, METRICS
from tests.cli.daemons import CLUSTER, Daemon, House, environment, house, mabeam, told, until
from tests.programs import program

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def started(place: House) -> tuple[Daemon, str]:
    """One daemon, and where its metrics are."""
    daemon = place.start("--expect", "1", "--metrics", "0")
    address = str(daemon.line()["metrics"])
    daemon.line()
    return daemon, address


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def sample(text: str, name: str) -> float:
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def told_figures(name: str) -> Figures:
    async def ask() -> Figures:
        async with Target(CLUSTER, name, None, False).question() as attachment:
            return await figures_of(attachment)

    return asyncio.run(ask())


def test_metrics_follow_what_the_peer_does(place: House) -> None:
    _, address = started(place)
    before = page(address)
    assert address.startswith("127.0.0.1:")
    assert sample(before, "mabeam_ready") == 1
    assert sample(before, 'mabeam_role{role="leader"}') == 1
    assert sample(before, "mabeam_elections_won_total") == 1
    for number in range(5):
        assert mabeam("counter", "rounds", "--add", str(number + 1)).exit_code == 0
    after = page(address)
    assert sample(after, "mabeam_counters") == 1
    assert sample(after, "mabeam_commit_index") >= sample(before, "mabeam_commit_index") + 5
    assert sample(after, "mabeam_commit_seconds_count") >= 5
    assert sample(after, "mabeam_storage_write_seconds_count") == sample(
        after, "mabeam_lane_writes_total"
    )
    assert sample(after, "mabeam_loop_lag_seconds_count") > 0


def test_the_catalogue_and_a_peer_tell_of_the_same(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader with a follower, a disk and a snapshot tells all that there is."""
    monkeypatch.setenv("MABEAM_LIMITS__SNAPSHOT_ENTRIES", "1")
    place.started("ant", "bee")

    def tells_all() -> bool:
        seen = told_figures(str(told("status")["leader_name"]))
        names = {one.name for one in seen.figures} | {one.name for one in seen.histograms}
        assert names == set(METRICS) - set(COUNTED)
        return all(bool(METRICS[f.name].label) == bool(f.label) for f in seen.figures)

    until(tells_all, but=AssertionError)


def test_people_are_told_where_the_metrics_are(place: House) -> None:
    """Port 0 takes a free one, which nobody could know otherwise."""
    flags = ["--name", "ant", "--expect", "1", "--no-mdns", "--metrics", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mabeam_p2p", "up", *flags],
        stdout=subprocess.PIPE,
        cwd=place.folder,
        env=environment(),
        text=True,
    )
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        address = said[1].removeprefix("its metrics are at http://").removesuffix("/metrics\n")
        assert sample(page(address), "mabeam_quorum") >= 0
    finally:
        process.kill()
        process.communicate()


def test_promtool_finds_nothing_wrong(place: House) -> None:
    promtool = program("promtool", package="prometheus", required="REQUIRE_PROMTOOL")
    _, address = started(place)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page(address), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_stops_in_time_with_a_client_connected(place: House) -> None:
    daemon, address = started(place)
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.sendall(b"GET /metrics")
        page(address)
        began_at = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        # The bound is on what the endpoint adds, 1.5 s; a busy machine takes longer for the rest.
        assert time.monotonic() - began_at < 10
    assert "Traceback" not in daemon.said()


def test_a_port_that_is_taken_ends_it_with_what_to_do(place: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        daemon = place.start("--metrics", str(port))
        assert daemon.wait() == output.TRY_AGAIN
    assert f"cannot listen on 127.0.0.1:{port} for metrics" in daemon.said()
    assert "Traceback" not in daemon.said()
    # It has not joined, only to leave again.
    assert daemon.process.stdout is not None
    assert daemon.process.stdout.read() == b""
    assert not list((place.folder / "run").rglob("*"))
    assert not list((place.folder / "state").rglob("*"))
