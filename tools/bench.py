"""Commits per second, latency and processor time of three peers that fsync, beside PySyncObj, which
does not, under the same load in the same run; a ping-pong of two bare ZeroMQ sockets as the floor.

1. Every contender is a set of fresh processes on loopback with fresh folders on a disk; only one
   set runs at a time. Rounds are interleaved: each one runs all contenders, in another order.
2. An operation appends 10 bytes to a replicated list. So many are always under way; the next one
   begins in the callback of the one before.
3. Processor time is that of all processes of the contender, its load included.
4. Before each set the disk is timed alone: no commit that is durable is faster than that.
5. Absolute figures depend on the machine and its other work; the ratios within one run count.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import msgspec

from mabeam_p2p.config import Config
from tools.bench_load import Order, Processor, Role, Run, Sample
from tools.children import Child, disk_folder, free_ports

OUTSTANDING = (1, 64, 1024)
START_SECONDS = 30.0
PEERS = 3
ATTEMPTS = 3
SYNCS = 100
OURS = "mabeam, leader"

T = TypeVar("T")


class Contender(NamedTuple):
    """What is compared. places: the roles of the processes that are loaded, one after another."""

    name: str
    module: str
    process_count: int
    places: tuple[str, ...]
    arguments: Callable[[Sequence[str], Path, int], tuple[str, ...]]
    """Of process number n, given all addresses and a folder."""
    is_quick: bool = True
    """Whether --quick runs it, too."""


class Measurement(NamedTuple):
    """One run of one contender."""

    contender: str
    outstanding: int
    sample: Sample
    processor_seconds: float
    """For 1,000 operations."""


def peer_arguments(addresses: Sequence[str], folder: Path, number: int) -> tuple[str, ...]:
    config = Config(
        name=f"p{number}",
        cluster="bench",
        listen=addresses[number],
        data_dir=str(folder / f"p{number}"),
        seeds=tuple(address for address in addresses if address != addresses[number]),
        mdns=False,
        expect=len(addresses),
    )
    return (msgspec.json.encode(config).decode(),)


def echo_arguments(addresses: Sequence[str], folder: Path, number: int) -> tuple[str, ...]:
    return (addresses[0], ("server", "client")[number])


def pysyncobj(
    name: str, settings: Mapping[str, object], *, has_journal: bool = False, is_quick: bool = True
) -> Contender:
    """settings: of SyncObjConf. has_journal: keep the log in a file, which is never fsynced."""

    def arguments(addresses: Sequence[str], folder: Path, number: int) -> tuple[str, ...]:
        others = ",".join(address for address in addresses if address != addresses[number])
        journal = {"journalFile": str(folder / f"journal{number}")} if has_journal else {}
        return (addresses[number], others, json.dumps({**settings, **journal}))

    module = "tools.bench_pysyncobj"
    return Contender(f"PySyncObj {name}", module, PEERS, ("leader",), arguments, is_quick)


# By default PySyncObj forks and pickles all it holds every 5,000 entries, with small buffers.
# Tuned, it is spared both. Batched, it sends once in a period; unbatched, at every command.
TUNED = {
    "autoTickPeriod": 0.001,
    "logCompactionMinEntries": 10**9,
    "logCompactionMinTime": 10**9,
    "appendEntriesBatchSizeBytes": 2**20,
    "sendBufferSize": 2**20,
    "recvBufferSize": 2**20,
}
BATCHED = {**TUNED, "appendEntriesPeriod": 0.001}
UNBATCHED = {**TUNED, "appendEntriesUseBatch": False}
CONTENDERS = (
    Contender("mabeam", "tools.bench_peer", PEERS, ("leader", "follower"), peer_arguments),
    Contender("mabeam Agent", "tools.bench_agent", PEERS, ("leader",), peer_arguments),
    Contender("ROUTER/DEALER echo", "tools.bench_echo", 2, ("client",), echo_arguments),
    pysyncobj("default", {}, is_quick=False),
    pysyncobj("unbatched", UNBATCHED),
    pysyncobj("batched each ms", BATCHED),
    pysyncobj("batched, file", BATCHED, has_journal=True, is_quick=False),
)


class BenchError(Exception):
    """A contender does not do what it should."""


async def tell(child: Child, order: Order, kind: type[T], seconds: float) -> T:
    """The child's answer. Raises BenchError."""
    child.send(msgspec.json.encode(order))
    try:
        async with asyncio.timeout(seconds):
            line = await child.receive()
    except TimeoutError:
        raise BenchError(f"no answer to {order} within {seconds:g} s") from None
    if not line:
        raise BenchError("a process ended by itself")
    return msgspec.json.decode(line, type=kind)


async def placed(contender: Contender, children: Sequence[Child]) -> dict[str, Child]:
    """Which process plays which role, once everybody has one."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            roles = [await tell(child, Role(), str, START_SECONDS) for child in children]
            found = dict(zip(roles, children, strict=True))
            followers = roles.count("follower")
            if found.keys() >= set(contender.places) and followers in (0, len(children) - 1):
                return found
            await asyncio.sleep(0.05)


async def measure(place: Child, children: Sequence[Child], name: str, run: Run) -> Measurement:
    before = [await tell(child, Processor(), float, START_SECONDS) for child in children]
    sample = await tell(place, run, Sample, run.seconds + START_SECONDS)
    after = [await tell(child, Processor(), float, START_SECONDS) for child in children]
    used = sum(after) - sum(before)
    return Measurement(name, run.outstanding, sample, used / sample.operations * 1000)


async def run_contender(contender: Contender, seconds: float) -> list[Measurement]:
    """Fresh processes, one run for each place and number of operations under way."""
    folder = disk_folder("mabeam-bench-")
    addresses = [f"127.0.0.1:{port}" for port in free_ports(contender.process_count)]
    children: list[Child] = []
    try:
        for number in range(contender.process_count):
            arguments = contender.arguments(addresses, folder, number)
            log = folder / f"{number}.log"
            children.append(await Child.start(contender.module, *arguments, log=log))
        places = await placed(contender, children)
        return [
            await measure(places[place], children, f"{contender.name}, {place}", run)
            for place in contender.places
            for run in (Run(outstanding, seconds) for outstanding in OUTSTANDING)
        ]
    except (BenchError, TimeoutError) as error:
        logs = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log"))]
        raise BenchError("\n".join((f"{contender.name}: {error}", *logs))) from error
    finally:
        for child in children:
            child.strike()
        await asyncio.gather(*(child.gone() for child in children))
        shutil.rmtree(folder)


async def run_patiently(contender: Contender, seconds: float) -> list[Measurement]:
    """As run_contender; what loses its leader or its port by bad luck gets another chance."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await run_contender(contender, seconds)
        except BenchError as error:
            note(f"again, since {error}")
    return await run_contender(contender, seconds)


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def sync_milliseconds() -> float:
    """Median of appending 4 KiB to a file and waiting until the disk has it."""
    folder = disk_folder("mabeam-bench-")
    taken: list[float] = []
    with (folder / "file").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    shutil.rmtree(folder)
    return median(taken) * 1000


async def run_rounds(
    contenders: Sequence[Contender], repeat: int, seconds: float
) -> tuple[list[Measurement], list[float]]:
    """Also: what the disk took before each contender, in milliseconds."""
    measurements: list[Measurement] = []
    syncs: list[float] = []
    for turn in range(repeat):
        first = turn % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            note(f"round {turn + 1} of {repeat}: {contender.name}")
            syncs.append(sync_milliseconds())
            measurements += await run_patiently(contender, seconds)
    return measurements, syncs


class Row(NamedTuple):
    """A contender under one load: medians over the rounds, and the range of its rates."""

    contender: str
    outstanding: int
    per_second: float
    per_second_range: tuple[float, float]
    p50_milliseconds: float
    p99_milliseconds: float
    processor_seconds_per_1000: float
    failures: int
    """Operations that were refused or lost, in all rounds; they count as ended."""


def row_of(measurements: Sequence[Measurement]) -> Row:
    rates = [measurement.sample.per_second for measurement in measurements]
    return Row(
        measurements[0].contender,
        measurements[0].outstanding,
        median(rates),
        (min(rates), max(rates)),
        median(measurement.sample.p50 for measurement in measurements) * 1000,
        median(measurement.sample.p99 for measurement in measurements) * 1000,
        median(measurement.processor_seconds for measurement in measurements),
        sum(measurement.sample.failures for measurement in measurements),
    )


def rows_of(measurements: Iterable[Measurement]) -> list[Row]:
    """In order of the load, then as CONTENDERS stand."""
    groups: dict[tuple[int, str], list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault((measurement.outstanding, measurement.contender), []).append(measurement)
    names = [f"{contender.name}, {place}" for contender in CONTENDERS for place in contender.places]
    order = sorted(groups, key=lambda key: (key[0], names.index(key[1])))
    return [row_of(groups[key]) for key in order]


def ratios_of(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Ours at the leader against each other contender under the same load."""
    ours = {row.outstanding: row for row in rows if row.contender == OURS}
    return [
        {
            "against": row.contender,
            "outstanding": row.outstanding,
            "per_second": round(own.per_second / row.per_second, 3),
            "p50": round(own.p50_milliseconds / row.p50_milliseconds, 3),
            "processor": round(own.processor_seconds_per_1000 / row.processor_seconds_per_1000, 3),
        }
        for row in rows
        if (own := ours.get(row.outstanding)) is not None and own is not row and row.per_second
    ]


def machine() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load_average": os.getloadavg(),
    }


def print_table(rows: Sequence[Row], ratios: Sequence[dict[str, object]]) -> None:
    of = {(ratio["against"], ratio["outstanding"]): ratio for ratio in ratios}
    head = (
        f"{'contender':34}{'per s':>9}{'range':>17}{'p50 ms':>9}{'p99 ms':>9}{'CPU s/1000':>12}"
        f"{'ours x':>9}{'failed':>8}"
    )
    for outstanding in dict.fromkeys(row.outstanding for row in rows):
        print(f"\n{outstanding} outstanding\n{head}")
        for row in rows:
            if row.outstanding != outstanding:
                continue
            span = "{:.0f}-{:.0f}".format(*row.per_second_range)
            ratio = of.get((row.contender, outstanding))
            times = f"{ratio['per_second']:.2f}" if ratio else ""
            print(
                f"{row.contender:34}{row.per_second:9.0f}{span:>17}{row.p50_milliseconds:9.2f}"
                f"{row.p99_milliseconds:9.2f}{row.processor_seconds_per_1000:12.4f}"
                f"{times:>9}{row.failures:8}"
            )


def main() -> int:
    """Exit code 1 if a contender does not work or one of our operations failed; never because
    something was slow."""
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round without extras")
    parser.add_argument("--seconds", type=float, help="of each run (default 1; quick 0.5)")
    parser.add_argument("--repeat", type=int, help="rounds (default 5; quick 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="contenders whose name begins so"
    )
    options = parser.parse_args()
    seconds = options.seconds or (0.5 if options.quick else 1.0)
    repeat = options.repeat or (1 if options.quick else 5)
    chosen = [
        contender
        for contender in CONTENDERS
        if (contender.name.startswith(tuple(options.only)) if options.only
            else contender.is_quick or not options.quick)
    ]  # fmt: skip
    if not chosen:
        parser.error(f"no contender: {', '.join(contender.name for contender in CONTENDERS)}")
    before = machine()
    try:
        measurements, syncs = asyncio.run(run_rounds(chosen, repeat, seconds))
    except BenchError as error:
        note(str(error))
        return 1
    rows = rows_of(measurements)
    ratios = ratios_of(rows)
    print(f"{repeat} rounds of {seconds:g} s; medians, range of the rates; {before}")
    print(
        f"4 KiB to the disk and fdatasync: {median(syncs):.2f} ms ({min(syncs):.2f} to "
        f"{max(syncs):.2f} over the run)"
    )
    print_table(rows, ratios)
    if options.json is not None:
        facts = {
            "machine": before,
            "machine_after": machine(),
            "seconds": seconds,
            "repeat": repeat,
            "sync_milliseconds": syncs,
            "rows": [row._asdict() for row in rows],
            "ratios_of": OURS,
            "ratios": ratios,
            "measurements": [
                {**m._asdict(), "sample": msgspec.to_builtins(m.sample)} for m in measurements
            ],
        }
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return 1 if any(row.failures for row in rows if row.contender.startswith("mabeam")) else 0


if __name__ == "__main__":
    sys.exit(main())
