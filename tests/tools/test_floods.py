"""A flood of a member is one: it is let in, and what it says is read."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("flood", ["garbage", "maximal"])
def test_a_member_that_floods_is_heard_and_commits_go_on(flood: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.floods", flood, "--seconds", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("commits") == 3
