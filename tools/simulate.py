"""Runs simulated clusters under drawn weather, with every invariant checked at every step."""

import argparse
import gc
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from mabeam_p2p.testing.trial import STORM_SECONDS, Report, replay_command, run


def reports(seeds: Iterable[int], seconds: float, jobs: int) -> Iterator[Report]:
    """In order of the seeds; each process runs its share."""
    if jobs == 1:
        for seed in seeds:
            yield run(seed, seconds)
        return
    with ProcessPoolExecutor(jobs, initializer=gc.freeze) as pool:
        yield from pool.map(partial(run, seconds=seconds), seeds, chunksize=4)


def line(report: Report) -> str:
    verdict = "ok" if report.violation is None else "VIOLATION"
    return (
        f"seed {report.seed}: {verdict}, {report.peers} peers, {report.seconds:.0f} s, "
        f"{report.steps} steps, {report.leaders} terms led, {report.committed} committed, "
        f"{report.acknowledged} acknowledged, {report.crashes} crashes, "
        f"trace {report.trace_hash}"
    )


def run_one(seed: int, seconds: float, trace: bool) -> int:
    report = run(seed, seconds, trace=print if trace else None)
    print(line(report))
    if report.violation is not None:
        print(f"  {report.violation}")
        print(f"  replay: {replay_command(seed, seconds)} --trace")
    return 0 if report.violation is None else 1


def run_many(seeds: range, seconds: float, jobs: int, within: float, stop: bool) -> int:
    """`within`: seconds after which no further report is awaited; 0: no bound."""
    started = time.monotonic()
    runs = steps = failures = 0
    cluster_seconds = 0.0
    for report in reports(seeds, seconds, jobs):
        runs += 1
        steps += report.steps
        cluster_seconds += report.seconds
        if report.violation is not None:
            failures += 1
            print(line(report))
            print(f"  {report.violation}")
            print(f"  replay: {replay_command(report.seed, seconds)}", flush=True)
            if stop:
                break
        if within and time.monotonic() - started > within:
            break
    elapsed = time.monotonic() - started
    print(
        f"{runs} runs, {cluster_seconds / 3600:.2f} cluster-hours, {steps} steps, "
        f"{steps / elapsed:.0f} steps/s on {jobs} processes, {failures} violations, "
        f"{elapsed:.1f} s"
    )
    return 0 if not failures else 1


def main() -> int:
    """Exit code 1 if any rule was broken."""
    parser = argparse.ArgumentParser(prog="tools/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many seeds (default 50)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every event")
    parser.add_argument(
        "--seconds",
        type=float,
        default=STORM_SECONDS,
        help="virtual time of the storm (default 20)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--stop", action="store_true", help="end at the first violation")
    parser.add_argument("--within", type=float, default=0, help="end after so many seconds")
    options = parser.parse_args()
    if options.seed is not None:
        return run_one(options.seed, options.seconds, options.trace)
    seeds = range(options.first, options.first + options.seeds)
    return run_many(seeds, options.seconds, options.jobs, options.within, options.stop)


if __name__ == "__main__":
    sys.exit(main())
