"""How long the mean of arrays takes among four processes, beside torch.distributed over gloo in the
same run, and what it does to the latency of commits.

1. Ours are four peers with a log on disk: a reduction is agreed twice in it, before and after the
   data moves. gloo agrees on nothing, and a process that dies takes the others with it.
2. Both have their processes for the whole run, and take turns; a turn is some reductions of each
   size. A reduction takes as long as at the process where it took longest.
3. Commits are appends at the leader, one after another, on the application's loop; first while
   nothing else happens, then while large arrays move without a pause.
4. Absolute figures depend on the machine and its other work; the ratios within one run count.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import msgspec

from tools.bench import machine, note, peer_arguments
from tools.bench_bulk_load import (
    Answer,
    Commit,
    Enough,
    Order,
    Reduce,
    Role,
    Times,
    Word,
    decode_answer,
)
from tools.children import Child, disk_folder, free_ports

PROCESSES = 4
MEGABYTE = 1_000_000
SIZES = (1 * MEGABYTE, 10 * MEGABYTE, 100 * MEGABYTE)
LOAD_SIZE = 100 * MEGABYTE
START_SECONDS = 60.0
ANSWER_SECONDS = 120.0
OURS, GLOO = "mabeam", "gloo"


class BenchError(Exception):
    """A contender does not do what it should."""


class Row(NamedTuple):
    contender: str
    size: int
    milliseconds: float
    """Median over all rounds."""
    milliseconds_range: tuple[float, float]
    gigabytes_per_second: float
    """Of one array."""


class Latency(NamedTuple):
    """Of commits, in milliseconds."""

    while_what: str
    commits: int
    p50: float
    p99: float


async def answer(child: Child, seconds: float = ANSWER_SECONDS) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            line = await child.receive()
    except TimeoutError:
        raise BenchError(f"no answer within {seconds:g} s") from None
    if not line:
        raise BenchError("a process ended by itself")
    said: Answer = decode_answer(line)
    return said


async def times(child: Child, kind: type[Order]) -> list[float]:
    """The answer to an order of this kind."""
    heard = await answer(child)
    if not isinstance(heard, Times) or heard.of != kind.__name__:
        raise BenchError(f"an answer to something else: {heard}")
    return heard.taken


def tell(children: Sequence[Child], order: Order) -> None:
    for child in children:
        child.send(msgspec.json.encode(order))


async def started(contender: str, folder: Path) -> list[Child]:
    """Its processes, once they are ready."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(PROCESSES)]
    children: list[Child] = []
    for number in range(PROCESSES):
        if contender == OURS:
            module, arguments = "tools.bench_bulk_member", peer_arguments(addresses, folder, number)
        else:
            port = addresses[0].rpartition(":")[2]
            module, arguments = "tools.bench_gloo", (str(number), str(PROCESSES), port)
        log = folder / f"{contender}{number}.log"
        children.append(await Child.start(module, *arguments, log=log))
    for child in children:
        if await answer(child, START_SECONDS) != Word("ready"):
            raise BenchError(f"{contender}: a process is not ready")
    return children


async def reduce(children: Sequence[Child], size: int, repeat: int) -> list[float]:
    """Seconds of each reduction, at the process where it took longest."""
    tell(children, Reduce(f"r{size}", size, repeat))
    taken = [await times(child, Reduce) for child in children]
    return [max(at_once) for at_once in zip(*taken, strict=True)]


async def leader_of(children: Sequence[Child]) -> Child:
    tell(children, Role())
    roles = [await answer(child) for child in children]
    if Word("leader") not in roles:
        raise BenchError("nobody leads")
    return children[roles.index(Word("leader"))]


async def commit_latencies(children: Sequence[Child], seconds: float, repeat: int) -> list[Latency]:
    """While nothing else happens, and while arrays move."""
    leader = await leader_of(children)
    tell([leader], Commit(seconds))
    idle = await times(leader, Commit)
    # The leader's own part would mix its answers with those of the commits: others tell the end.
    tell(children, Reduce("load", LOAD_SIZE, repeat))
    tell([leader], Commit())
    for child in children:
        if child is not leader:
            await times(child, Reduce)
    tell([leader], Enough())
    both = [await answer(leader), await answer(leader)]
    loaded = next(one for one in both if isinstance(one, Times) and one.of == "Commit").taken
    return [latency("nothing else happens", idle), latency("arrays move", loaded)]


def latency(while_what: str, taken: list[float]) -> Latency:
    cuts = quantiles(taken, n=100, method="inclusive")
    return Latency(while_what, len(taken), cuts[49] * 1000, cuts[98] * 1000)


def row_of(contender: str, size: int, taken: Sequence[float]) -> Row:
    middle = median(taken)
    span = min(taken) * 1000, max(taken) * 1000
    return Row(contender, size, middle * 1000, span, size / middle / 1e9)


async def run(
    contenders: Sequence[str], sizes: Sequence[int], repeat: int, seconds: float
) -> tuple[list[Row], list[Latency]]:
    folder = disk_folder("mabeam-bench-bulk-")
    children: dict[str, list[Child]] = {}
    taken: dict[tuple[str, int], list[float]] = {}
    try:
        for contender in contenders:
            children[contender] = await started(contender, folder)
            for size in sizes:
                await reduce(children[contender], size, 1)
        for turn in range(repeat):
            note(f"round {turn + 1} of {repeat}")
            for size in sizes:
                order = contenders if turn % 2 else contenders[::-1]
                for contender in order:
                    found = await reduce(children[contender], size, 3)
                    taken.setdefault((contender, size), []).extend(found)
        latencies = await commit_latencies(children[OURS], seconds, repeat * 3)
    except BenchError as error:
        logs = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log"))]
        raise BenchError("\n".join((str(error), *logs))) from error
    finally:
        every = [child for group in children.values() for child in group]
        for child in every:
            child.strike()
        await asyncio.gather(*(child.gone() for child in every))
        shutil.rmtree(folder)
    rows = [row_of(*key, found) for key, found in sorted(taken.items(), key=lambda one: one[0][1])]
    return rows, latencies


def ratios_of(rows: Sequence[Row]) -> dict[int, float]:
    """By size: how many times as long ours takes as gloo."""
    found = {(row.contender, row.size): row.milliseconds for row in rows}
    return {
        size: round(found[OURS, size] / theirs, 3)
        for (contender, size), theirs in found.items()
        if contender == GLOO
    }


def print_table(rows: Sequence[Row], latencies: Sequence[Latency]) -> None:
    ratios = ratios_of(rows)
    print(f"{'mean of float32':20}{'MB':>6}{'ms':>9}{'range':>17}{'GB/s':>8}{'x gloo':>8}")
    for row in rows:
        span = "{:.1f}-{:.1f}".format(*row.milliseconds_range)
        ratio = ratios.get(row.size) if row.contender == OURS else None
        print(
            f"{row.contender:20}{row.size / MEGABYTE:6.0f}{row.milliseconds:9.1f}{span:>17}"
            f"{row.gigabytes_per_second:8.3f}{'' if ratio is None else f'{ratio:.2f}':>8}"
        )
    print(f"\n{'commits while':24}{'count':>8}{'p50 ms':>9}{'p99 ms':>9}")
    for one in latencies:
        print(f"{one.while_what:24}{one.commits:8}{one.p50:9.2f}{one.p99:9.2f}")
    idle, loaded = latencies
    print(f"{'ratio':32}{loaded.p50 / idle.p50:9.2f}{loaded.p99 / idle.p99:9.2f}")


def main() -> int:
    """Exit code 1 if a contender does not work; never because something was slow."""
    parser = argparse.ArgumentParser(
        prog="tools/bench_bulk", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="one round without the largest size")
    parser.add_argument("--repeat", type=int, help="rounds of three each (default 5; quick 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    options = parser.parse_args()
    repeat = options.repeat or (1 if options.quick else 5)
    sizes = SIZES[:-1] if options.quick else SIZES
    contenders = [OURS]
    if find_spec("torch") is None:
        note("there is no torch here, so nothing to compare with: install it to see gloo")
    else:
        contenders.append(GLOO)
    before = machine()
    try:
        rows, latencies = asyncio.run(run(contenders, sizes, repeat, 1.0 if options.quick else 3.0))
    except (BenchError, TimeoutError) as error:
        note(str(error))
        return 1
    print(f"{PROCESSES} processes, {repeat} rounds of 3; medians and ranges; {before}\n")
    print_table(rows, latencies)
    if options.json is not None:
        facts = {
            "machine": before,
            "machine_after": machine(),
            "rows": [row._asdict() for row in rows],
            "ratios": ratios_of(rows),
            "commits": [one._asdict() for one in latencies],
        }
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
