import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mabeam_p2p.errors import DataFolderHeld
from mabeam_p2p.storage.folder import hold
from mabeam_p2p.testing.linearizability import Append, Read, Result
from mabeam_p2p.testing.wing_gong import Call
from tests.eventually import eventually
from tools.soak import Goals, broken_rules, options_of
from tools.soak_clients import History

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of tools/soak in this environment, with its folders in `folder`."""
    with subprocess.Popen(
        [sys.executable, "-m", "tools.soak", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as soak:
        try:
            output, _ = soak.communicate(timeout=270)
        finally:
            soak.kill()
    return soak.returncode, output


@pytest.mark.slow
def test_five_peers_lose_nothing_under_eight_times_kill_9(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--kills", "8", "--faults", "kill", "--keys", "--seed", "3", "--json", str(report))
    code, output = run(tmp_path, *options)
    assert code == 0, output
    facts = json.loads(report.read_text())
    assert facts["kills"] >= 8 + 5
    assert facts["leader_kills"] > 0
    assert facts["acknowledged_writes"] > 0
    assert (facts["lost"], facts["duplicates"], facts["violations"]) == (0, 0, [])
    assert [*tmp_path.iterdir()] == [report]


@pytest.mark.slow
def test_three_peers_lose_nothing_under_kills_pauses_and_broken_links(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--seconds", "25", "--peers", "3", "--seed", "2", "--json", str(report))
    code, output = run(tmp_path, *options)
    assert code == 0, output
    facts = json.loads(report.read_text())
    assert facts["acknowledged_writes"] > 0
    assert sum(facts["pauses"].values()) > 0
    assert sum(facts["faults_of_links"].values()) > 0
    assert (facts["lost"], facts["duplicates"], facts["violations"]) == (0, 0, [])


@pytest.mark.slow
def test_three_that_start_at_once_behind_broken_links_form_one_cluster(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code, output = run(tmp_path, "--boots", "3", "--seed", "1", "--json", str(report))
    assert code == 0, output
    facts = json.loads(report.read_text())
    assert (facts["boots"], facts["double_clusters"], facts["violations"]) == (3, 0, [])


@pytest.mark.slow
def test_a_peer_that_is_starved_calls_no_healthy_one_dead(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--starve", "6", "--peers", "3", "--json", str(report))
    code, output = run(tmp_path, *options)
    assert code == 0, output
    facts = json.loads(report.read_text())
    for way in ("stopped", "lock_held"):
        # That it was starved shows in what the others thought of it.
        assert facts[f"{way}_starved_called_suspect"] > 0
        assert facts[f"{way}_healthy_called_dead"] == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--faults", "kill,rain"), "rain"),
        (("--partitions", "3", "--faults", "kill"), "--partitions"),
        (("--kills", "3", "--faults", "links"), "--kills"),
        (("--peers", "2"), "--peers 2"),
        (("--keys",), "--keys"),
        (("--keys", "--faults", "kill", "--boots", "3"), "--keys"),
        (("--keys", "--faults", "kill", "--starve", "9"), "--keys"),
    ],
)
def test_a_run_that_cannot_end_well_is_refused(
    options: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options_of(options)
    assert named in capsys.readouterr().err


def test_without_a_goal_it_runs_for_its_time_and_without_either_for_a_hundred_kills() -> None:
    assert options_of([]).goals == Goals(kills=100)
    timed = options_of(["--seconds", "5"])
    assert timed.seconds == 5
    assert timed.goals.operations > 10**9
    counted = options_of(["--operations", "9"])
    assert (counted.goals, counted.seconds) == (Goals(operations=9), 3600)


@pytest.mark.slow
def test_a_cluster_that_forgets_is_found_out_and_its_folders_are_kept(tmp_path: Path) -> None:
    options = ("--seconds", "0", "--peers", "3", "--seed", "1", "--in-memory")
    code, output = run(tmp_path, *options)
    assert code == 1, output
    # Where it shows first depends on who asks, and whether somebody has written anew: a list lacks
    # what was acknowledged, a read is stale or no prefix of another, a counter is impossible.
    kinds = dict.fromkeys(re.findall(r"^VIOLATION ([a-z ]+):", output, re.MULTILINE))
    assert kinds, output
    assert kinds.keys().isdisjoint(("stuck", "crashed")), output
    assert "--seed 1" in output.splitlines()[-1]
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.glob("*.log")) == ["p0.log", "p1.log", "p2.log"]


PARENT = """
import asyncio, sys
from pathlib import Path
from tools.soak_cluster import Cluster

async def main():
    cluster = Cluster(Path(sys.argv[1]), 3)
    await cluster.start(cluster.processes)
    await cluster.settled()
    print("settled", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def is_held(folder: Path) -> bool:
    """Whether a living peer uses the data folder."""
    try:
        hold(str(folder)).release()
    except DataFolderHeld:
        return True
    return False


@pytest.mark.slow
def test_peers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    folders = [tmp_path / name for name in ("p0", "p1", "p2")]
    try:
        assert parent.stdout.readline() == "settled\n"
        assert all(map(is_held, folders))
    finally:
        parent.kill()
        parent.communicate()
    asyncio.run(eventually(lambda: not any(map(is_held, folders))))


def test_histories_that_no_order_explains_are_broken_rules() -> None:
    history = History()
    history.operations = [
        Append("c1", "list", b"1", invoked=1, returned=2, result=Result.DONE, position=1),
        Append("c2", "list", b"2", invoked=3, returned=4, result=Result.DONE, position=2),
        Read("c1", "list", (b"1",), invoked=5, returned=6),
    ]
    history.calls = [
        Call("c1", "counter", "compare_and_set", (0, 1), 1, 2, True),
        Call("c2", "counter", "compare_and_set", (0, 2), 3, 4, True),
    ]
    kinds = [rule.partition(":")[0] for rule in broken_rules(history, was_read=True)]
    assert kinds == ["lost ack", "impossible"]
    unread = [rule.partition(":")[0] for rule in broken_rules(history, was_read=False)]
    assert unread == ["impossible"]
    history.calls[1].may = True
    history.operations[1].result = Result.OPEN  # type: ignore[union-attr]
    history.operations[1].position = 0  # type: ignore[union-attr]
    assert broken_rules(history, was_read=True) == []
