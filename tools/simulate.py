"""Runs simulated clusters under drawn weather, with every invariant checked at every step."""

import argparse
import gc
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from mabeam_p2p.testing import tape
from mabeam_p2p.testing.shrink import Shrinker
from mabeam_p2p.testing.trial import (
    STORM_SECONDS,
    Report,
    record,
    replay,
    replay_command,
    run,
)
from tools import drills

REGRESS = Path(__file__).resolve().parent.parent / "tests" / "regress"


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
        f"{report.acknowledged} acknowledged, {report.faults} faults, {report.cuts} power cuts, "
        f"trace {report.trace_hash}" + (", ended as a liar got a vote" if report.liar_votes else "")
    )


def run_one(seed: int, seconds: float, trace: bool) -> int:
    report = run(seed, seconds, trace=print if trace else None)
    print(line(report))
    if report.violation is not None:
        print(f"  {report.violation}")
        print(f"  replay: {replay_command(seed, seconds)} --trace")
        print(f"  shorten: {replay_command(seed, seconds)} --shrink")
        if path := write_timeline(report):
            print(f"  timeline: {path}")
    return 0 if report.violation is None else 1


def write_timeline(report: Report) -> str:
    """Where the history that no order explains is drawn; empty if there is none such."""
    if not report.timeline:
        return ""
    path = Path(f"timeline-{report.seed}.txt")
    path.write_text(report.timeline + "\n", encoding="utf-8")
    return str(path)


def run_tape(path: Path, trace: bool) -> int:
    report = replay(tape.read(path.read_bytes()), trace=print if trace else None)
    print(line(report))
    if report.violation is not None:
        print(f"  {report.violation}")
    return 0 if report.violation is None else 1


def shrink(seed: int, seconds: float, folder: Path) -> int:
    """Shorten the failure of `seed`, and keep it as a tape that the tests play from then on."""
    long = record(seed, seconds)
    if not long.violation:
        print(f"seed {seed} breaks no rule in {seconds:g} s: there is nothing to shorten")
        return 1
    shrinker = Shrinker(long)
    short = shrinker.shrink()
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(one.stem) for one in folder.glob("*.tape") if one.stem.isdigit()]
    path = folder / f"{max(numbers, default=0) + 1:03}.tape"
    path.write_bytes(tape.write(short))
    print(
        f"{long.seconds:g} s, {len(long.faults)} faults, {long.weather.peers} peers -> "
        f"{short.seconds:g} s, {len(short.faults)} faults, {short.weather.peers} peers "
        f"in {shrinker.attempts} attempts"
    )
    for one in short.faults:
        print(f"  {one.time / 1e6:9.3f} {one.fault}")
    print(f"  {short.violation}")
    print(f"  {path}: replay it with tools/simulate --tape {path} --trace")
    return 1


def print_hashes(seeds: range, seconds: float, jobs: int) -> int:
    """One line for each seed, to be compared with those of another interpreter."""
    for report in reports(seeds, seconds, jobs):
        print(f"{report.seed} {report.trace_hash}", flush=True)
    return 0


def run_many(seeds: range, seconds: float, jobs: int, within: float, stop: bool) -> int:
    """`within`: seconds after which no further report is awaited; 0: no bound."""
    started = time.monotonic()
    processor = time.process_time()
    runs = steps = failures = cuts = losing = 0
    cluster_seconds = 0.0
    for report in reports(seeds, seconds, jobs):
        runs += 1
        steps += report.steps
        cuts += report.cuts
        losing += report.losing_cuts
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
    print(f"{cuts} power cuts, {losing} of which lost what was not yet on the disk")
    if jobs == 1:
        used = time.process_time() - processor
        print(f"{cluster_seconds / used:.1f} simulated seconds a second of processor time")
    return 0 if not failures else 1


def main() -> int:
    """Exit code 1 if any rule was broken, or a goal was missed."""
    parser = argparse.ArgumentParser(prog="tools/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many seeds (default 50)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--tape", type=Path, help="the run of this tape alone")
    parser.add_argument("--trace", action="store_true", help="of one run: print every event")
    parser.add_argument(
        "--shrink",
        action="store_true",
        help="with --seed: shorten its failure, and keep it in --tapes",
    )
    parser.add_argument("--tapes", type=Path, default=REGRESS, help="default tests/regress")
    parser.add_argument("--hashes", action="store_true", help="print each run's hash, no more")
    parser.add_argument(
        "--seconds",
        type=float,
        default=STORM_SECONDS,
        help="virtual time of the storm (default 20)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--stop", action="store_true", help="end at the first violation")
    parser.add_argument("--within", type=float, default=0, help="end after so many seconds")
    drills.add_options(parser)
    options = parser.parse_args()
    if drills.wanted(options):
        return drills.main(options)
    if options.tape is not None:
        return run_tape(options.tape, options.trace)
    if options.seed is not None and options.shrink:
        return shrink(options.seed, options.seconds, options.tapes)
    if options.seed is not None:
        return run_one(options.seed, options.seconds, options.trace)
    seeds = range(options.first, options.first + options.seeds)
    if options.hashes:
        return print_hashes(seeds, options.seconds, options.jobs)
    return run_many(seeds, options.seconds, options.jobs, options.within, options.stop)


if __name__ == "__main__":
    sys.exit(main())
