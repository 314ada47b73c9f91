import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench_bulk import GLOO, OURS, latency, ratios_of, row_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_reductions_and_commits_are_measured(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench_bulk", "--quick", "--json", str(report)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    facts = json.loads(report.read_text())
    ours = [row for row in facts["rows"] if row["contender"] == OURS]
    assert [row["size"] for row in ours] == [1_000_000, 10_000_000]
    assert all(row["milliseconds"] > 0 for row in ours)
    assert [one["commits"] > 0 for one in facts["commits"]] == [True, True]


def test_a_row_is_the_median_of_its_rounds_with_their_range() -> None:
    row = row_of(OURS, 10_000_000, [0.3, 0.1, 0.2])
    assert row.milliseconds == 200
    assert row.milliseconds_range == (100, 300)
    assert row.gigabytes_per_second == pytest.approx(0.05)


def test_ratios_compare_the_same_size() -> None:
    rows = [row_of(OURS, 1, [3.0]), row_of(GLOO, 1, [2.0]), row_of(OURS, 2, [1.0])]
    assert ratios_of(rows) == {1: 1.5}


def test_latencies_are_percentiles_in_milliseconds() -> None:
    found = latency("x", [0.001 * n for n in range(1, 102)])
    assert (found.commits, round(found.p50, 6), round(found.p99, 6)) == (101, 51.0, 100.0)
