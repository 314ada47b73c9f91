"""A flood reaches the peers, which go on, and take no more memory than they may. The figures of
latency are for whoever runs tools/floods: no test is timed."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tools import floods

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flood", "lines", "seconds"),
    [("garbage", 3, 4), ("maximal", 3, 4), ("half-open", 2, 3), ("mdns", 2, 3)],
)
def test_commits_go_on_beside_a_flood_and_memory_is_bounded(
    flood: str, lines: int, seconds: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.floods", flood, "--seconds", str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("commits") == lines


@pytest.mark.parametrize(
    ("resident", "fault"), [(209_715_200, ""), (209_715_201, "mdns: 210 MB are resident")]
)
def test_a_peer_that_takes_more_memory_is_named(resident: int, fault: str) -> None:
    counts = floods.Counts(Counter(), Counter())
    flooded = floods.Measured(0.1, resident, counts)
    assert floods.fault_of("mdns", floods.Sent(1, 1, 1.0), flooded) == fault
