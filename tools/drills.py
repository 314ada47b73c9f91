"""The drills of tools/simulate: what each prints, and whether its goal was met."""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.drills import Boot, Heal, boot, flapping, heals, healthy

RESUME_SECONDS_MAX = 2.0
"""From the end of a partition to a write of every peer, in 99 of 100 cases."""
PIECE_HOURS = 0.5
"""A long drill is divided into clusters of their own, which run beside each other."""

Input = TypeVar("Input")
Output = TypeVar("Output")


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("drills, instead of drawn weather")
    group.add_argument("--heals", type=int, metavar="N", help="N clusters, every partition once")
    group.add_argument("--healthy", type=float, metavar="HOURS", help="leaders stay")
    group.add_argument("--flapping", type=float, metavar="HOURS", help="leaders stay, nearly")
    group.add_argument("--boots", type=int, metavar="N", help="one cluster forms, never two")


def wanted(options: argparse.Namespace) -> bool:
    drills = options.heals, options.healthy, options.flapping, options.boots
    return any(drill is not None for drill in drills)


def main(options: argparse.Namespace) -> int:
    """Exit code 1 if a goal was missed."""
    met = True
    if options.heals is not None:
        met &= run_heals(options.first, options.heals, options.jobs)
    if options.healthy is not None:
        met &= run_healthy(options.first, options.healthy, options.jobs)
    if options.flapping is not None:
        met &= run_flapping(options.first, options.flapping, options.jobs)
    if options.boots is not None:
        met &= run_boots(options.first, options.boots, options.jobs)
    return 0 if met else 1


def run_heals(first: int, count: int, jobs: int) -> bool:
    found, failures = _each(heals, range(first, first + count), jobs)
    every: list[Heal] = [heal for one in found for heal in one]
    for shape in dict.fromkeys(heal.shape for heal in every):
        of_shape = [heal for heal in every if heal.shape == shape]
        print(f"{shape:22} {_spread([heal.first for heal in of_shape], 'the first write')}")
        print(f"{'':22} {_spread([heal.all for heal in of_shape], 'a write of every peer')}")
    worst = percentile([heal.all for heal in every], 99)
    print(f"{len(every)} heals: {_spread([heal.first for heal in every], 'the first write')}")
    print(f"{'':12} {_spread([heal.all for heal in every], 'a write of every peer')}")
    return not failures and worst <= RESUME_SECONDS_MAX


def run_healthy(first: int, hours: float, jobs: int) -> bool:
    pieces = _pieces(first, hours)
    found, failures = _each(partial(healthy, hours=hours / len(pieces)), pieces, jobs)
    print(f"{hours:g} healthy hours: {sum(found)} changes of leader")
    return not failures and sum(found) <= hours


def run_flapping(first: int, hours: float, jobs: int) -> bool:
    pieces = _pieces(first, hours)
    found, failures = _each(partial(flapping, hours=hours / len(pieces)), pieces, jobs)
    count, changes = sum(one.heals for one in found), sum(one.changes for one in found)
    most = max((one.most for one in found), default=0)
    print(
        f"{hours:g} hours with one peer that flaps: {count} heals, {changes} changes of leader, "
        f"{most} at most for one"
    )
    return not failures and most <= 1


def run_boots(first: int, count: int, jobs: int) -> bool:
    found, failures = _each(boot, range(first, first + count), jobs)
    boots: list[Boot] = list(found)
    print(
        f"{len(boots)} boots of 3 to 7 peers, {failures} violations, "
        f"{_spread([one.seconds for one in boots], 'one cluster of all')}"
    )
    return not failures


def percentile(values: Sequence[float], share: int) -> float:
    """The least value that `share` percent do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, -(-share * len(ordered) // 100) - 1)] if ordered else 0.0


def _spread(values: Sequence[float], what: str) -> str:
    p50, p99 = percentile(values, 50), percentile(values, 99)
    return f"{what} p50 {p50:.2f} s, p99 {p99:.2f} s, most {max(values, default=0.0):.2f} s"


def _pieces(first: int, hours: float) -> range:
    return range(first, first + max(1, round(hours / PIECE_HOURS)))


def _each(
    drill: Callable[[Input], Output], seeds: Sequence[Input], jobs: int
) -> tuple[list[Output], int]:
    """What the drills came to, and how many broke a rule, which are printed."""
    found: list[Output] = []
    failures = 0
    with ProcessPoolExecutor(jobs) as pool:
        for seed, future in [(seed, pool.submit(drill, seed)) for seed in seeds]:
            try:
                found.append(future.result())
            except Violation as error:
                failures += 1
                print(f"VIOLATION with --first {seed}: {error}", flush=True)
    return found, failures
