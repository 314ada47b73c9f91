import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tools.bench import OURS, Measurement, ratios_of, rows_of
from tools.bench_load import Recorder, Run, Sample

ROOT = Path(__file__).resolve().parents[2]
ECHO = "ROUTER/DEALER echo, client"


def bench(report: Path, contender: str) -> dict[str, list[dict[str, Any]]]:
    options = ("--seconds", "1", "--repeat", "1", "--only", contender, "--json", str(report))
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    facts: dict[str, list[dict[str, Any]]] = json.loads(report.read_text())
    return facts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("contender", "places"),
    [("mabeam", 3), ("ROUTER/DEALER echo", 1), ("PySyncObj batched each ms", 1)],
)
def test_every_contender_runs_under_every_load(tmp_path: Path, contender: str, places: int) -> None:
    if contender.startswith("PySyncObj") and find_spec("pysyncobj") is None:
        pytest.skip("needs the bench extra")
    facts = bench(tmp_path / "report.json", contender)
    rows = facts["rows"]
    assert [row["outstanding"] for row in rows] == [1] * places + [64] * places + [1024] * places
    assert all(row["processor_seconds_per_1000"] > 0 for row in rows)
    # Of those counted there may be none: some machine stands still for as long.
    samples = [one["sample"] for one in facts["measurements"]]
    assert all(sample["operations"] > sample["failures"] for sample in samples)


def measurement(
    contender: str, per_second: float, *, p50: float = 0.001, outstanding: int = 64
) -> Measurement:
    sample = Sample(operations=10, failures=0, per_second=per_second, p50=p50, p99=2 * p50)
    return Measurement(contender, outstanding, sample, processor_seconds=0.5)


def test_a_row_is_the_median_of_its_rounds_with_their_range() -> None:
    (row,) = rows_of(measurement(OURS, rate) for rate in (300, 100, 1000))
    assert (row.per_second, row.per_second_range) == (300, (100, 1000))
    assert (row.p50_milliseconds, row.p99_milliseconds) == (1.0, 2.0)


def test_ratios_compare_what_ran_under_the_same_load() -> None:
    rows = rows_of(
        [
            measurement(ECHO, 400, p50=0.004),
            measurement(OURS, 100),
            measurement(ECHO, 1, outstanding=1),
        ]
    )
    assert ratios_of(rows) == [
        {"against": ECHO, "outstanding": 64, "per_second": 0.25, "p50": 0.25, "processor": 1.0}
    ]


def test_what_ends_while_the_run_warms_up_is_not_counted_as_speed() -> None:
    recorder = Recorder(Run(outstanding=1, seconds=60))
    assert recorder.ended(time.perf_counter(), is_done=True)
    assert recorder.ended(time.perf_counter(), is_done=False)
    sample = recorder.sample()
    assert (sample.operations, sample.failures, sample.per_second) == (2, 1, 0)
