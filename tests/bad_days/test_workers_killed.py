"""Workers killed with kill -9 while a map runs, the leader among them: a small tools/soak_tasks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_tasks_have_one_result_each_whatever_is_killed(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    flags = ("--tasks", "200", "--workers", "5", "--slots", "4", "--seconds", "0.8", "--seed", "11")
    done = subprocess.run(
        [sys.executable, "-m", "tools.soak_tasks", *flags, "--json", str(report)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(report.read_text())
    assert facts["results"] == 200
    assert facts["violations"] == []
    assert facts["kills"] >= 3
    assert facts["leases_lost"] > 0
    assert facts["attempts_begun"] >= 200
    assert [*tmp_path.iterdir()] == [report]
