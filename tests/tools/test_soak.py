import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mabeam_p2p.errors import DataFolderHeld
from mabeam_p2p.storage.folder import hold
from tests.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """tools/soak in this environment, with its folders in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tools.soak", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_five_peers_lose_nothing_under_eight_times_kill_9(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    soak = start(tmp_path, "--kills", "8", "--seed", "3", "--json", str(report))
    output, _ = soak.communicate(timeout=100)
    assert soak.returncode == 0, output
    facts = json.loads(report.read_text())
    assert facts["kills"] >= 8 + 5
    assert facts["leader_kills"] > 0
    assert facts["acknowledged_writes"] > 0
    assert (facts["lost"], facts["duplicates"], facts["violations"]) == (0, 0, [])
    assert [*tmp_path.iterdir()] == [report]


@pytest.mark.slow
def test_a_cluster_that_forgets_is_found_out_and_its_folders_are_kept(tmp_path: Path) -> None:
    options = ("--kills", "0", "--peers", "3", "--seed", "1", "--in-memory")
    soak = start(tmp_path, *options)
    output, _ = soak.communicate(timeout=100)
    assert soak.returncode == 1, output
    assert "VIOLATION lost ack" in output
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
