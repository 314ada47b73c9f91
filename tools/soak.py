"""Kills and pauses real peers under load, breaks the links between them, and judges what their
clients saw: nothing acknowledged is lost, nothing done twice, no read goes back in time.

1. A strike kills one peer, the leader, two at once, or all (kill -9). What was killed comes back
   after a pause that is drawn, too.
2. A pause stops one peer, the leader, two, or all (SIGSTOP), for 0.2 to 8 seconds.
3. Links fail in the shapes of tools/soak_faults.py, for 0.3 to 6 seconds; peers know each other by
   way of proxies alone. Sometimes somebody is killed or paused meanwhile.
4. After most faults the next one waits until a write that began later is acknowledged. If that
   takes too long, the cluster sticks, which is a violation as well.
5. Failover is the time from the kill of a leader that leaves a majority to the first acknowledged
   entry of a newer term. Resumption is that from the healing of links to the next acknowledgement;
   of stalls, those are told apart in which none had come in the second before.
6. At the end all are killed and come back; every list is read once more from every peer.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import NamedTuple

from mabeam_p2p.requests import Committed
from mabeam_p2p.testing import wing_gong
from mabeam_p2p.testing.linearizability import Append, Result, anomalies
from mabeam_p2p.testing.models import CounterModel
from tools import soak_boots, soak_starved
from tools.children import disk_folder
from tools.soak_clients import Client, History
from tools.soak_cluster import Cluster, Process
from tools.soak_faults import (
    KILLS,
    PARTITION_SECONDS,
    PARTITIONS,
    PAUSE_SECONDS,
    PAUSES,
    WEATHERS,
    log_uniform,
    victims,
)

CLIENTS = 10
PROGRESS_SECONDS = 30.0
"""Without a new acknowledgement for this long, with a majority running, the cluster sticks."""
SETTLED_SECONDS = 60.0
DOWN_SECONDS_MAX = 1.5
PAUSE_SECONDS_MAX = 0.5
IMPATIENT_SHARE = 0.25
"""Of the strikes that leave the leader alone: those that the next one follows at once."""
MIXED_SHARE = 0.3
"""Of the faults of links: those in which somebody is killed or paused as well."""
STALLED_SECONDS = 1.0
FAULTS = {"kill": 6, "pause": 2, "links": 4}
"""How often each family is drawn."""


class Goals(NamedTuple):
    """A run ends when all are reached, or when its time is over."""

    kills: int = 0
    partitions: int = 0
    operations: int = 0


class Stuck(Exception):
    """Something that must happen did not, in a time that is ample."""


class Deposed(NamedTuple):
    """A leader that was killed, until another one commits; whether it left a majority."""

    moment: float
    term: int
    has_majority: bool


class Soak:
    """One run in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        peers: int,
        seed: int,
        rate: float,
        faults: Sequence[str] = ("kill",),
        in_memory: bool = False,
        keys: bool = False,
    ) -> None:
        """rate: operations per second of all clients, if nothing hinders them. faults: families."""
        self.cluster = Cluster(folder, peers, in_memory=in_memory, keys=keys)
        self.history = History()
        self.kills: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        """Processes killed or paused, by kind of strike."""
        self.weathers: Counter[str] = Counter()
        """Faults of links, by shape."""
        self.failovers: list[float] = []
        self.delayed: list[float] = []
        """Failovers for which others had to come back first: no majority was left."""
        self.resumptions: list[float] = []
        self.stalls: list[float] = []
        """Those resumptions before which nothing went on."""
        self.recovery = 0.0
        """From the restart of all until every peer has applied everything."""
        self.writing_again = 0.0
        """From the same restart to the next acknowledgement."""
        self.newest_term = 0
        self._faults = {family: FAULTS[family] for family in FAULTS if family in faults}
        self._random = Random(f"strikes {seed}")
        self._acknowledged = asyncio.Event()
        self._acknowledged_at = 0.0
        self.history.on_acknowledged = self._on_acknowledged
        self._deposed: Deposed | None = None
        self._healed: tuple[float, bool] | None = None
        """When links healed, and whether writes had stalled; until something is acknowledged."""
        self.clients = [
            Client(
                f"c{number}",
                self.cluster,
                self.history,
                Random(f"client {number} {seed}"),
                CLIENTS / rate,
            )
            for number in range(CLIENTS)
        ]

    async def run(self, goals: Goals, seconds: float) -> None:
        """Until the goals are reached or the time is over. Raises Stuck."""
        deadline = time.monotonic() + seconds
        if "links" in self._faults:
            await self.cluster.raise_links()
        await self.cluster.start(self.cluster.processes)
        tasks = [asyncio.create_task(client.run()) for client in self.clients]
        try:
            await self._progress("the first write")
            while not self._is_done(goals) and time.monotonic() < deadline:
                await self._fault()
                if self.cluster.failures or any(task.done() for task in tasks):
                    break
            await self._final_strike()
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end
        await self._read_everything()

    @property
    def partitions(self) -> int:
        return sum(self.weathers[shape] for shape in PARTITIONS)

    def _is_done(self, goals: Goals) -> bool:
        return (
            self.kills.total() >= goals.kills
            and self.partitions >= goals.partitions
            and self.history.operation_count >= goals.operations
        )

    async def _fault(self) -> None:
        family = self._random.choices(list(self._faults), list(self._faults.values()))[0]
        if family == "kill":
            await self._strike()
        elif family == "pause":
            await self._pause()
        else:
            await self._break_links()
        await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))

    # ---- kills -----------------------------------------------------------------------------------

    async def _strike(self) -> None:
        kind, struck, term = await self._victims(KILLS)
        if term is not None and kind != "all":
            told = await self.cluster.statuses()
            left = [p for p, status in told if status.quorum and p not in struck]
            has_majority = 2 * len(left) > len(self.cluster.processes)
            self._deposed = Deposed(time.monotonic(), term, has_majority)
        await self._kill(kind, struck)
        await asyncio.sleep(self._random.uniform(0, DOWN_SECONDS_MAX))
        is_impatient = self._random.random() < IMPATIENT_SHARE
        if term is not None and kind != "all":
            await self._progress(f"{kind} ({', '.join(v.name for v in struck)}) killed")
        await self.cluster.start(struck)
        if term is not None or not is_impatient:
            await self._progress(f"{kind} ({', '.join(v.name for v in struck)}) restarted")

    async def _victims(self, kinds: dict[str, int]) -> tuple[str, list[Process], int | None]:
        """A kind, whom it meets, and, if the leader is among them, its term."""
        kind = self._random.choices(list(kinds), list(kinds.values()))[0]
        led = await self.cluster.leader()
        processes = self.cluster.processes
        running = [number for number, process in enumerate(processes) if process.is_running]
        leader = processes.index(led[0]) if led is not None else None
        met = victims(kind, running, leader, len(processes), self._random)
        return kind, [processes[n] for n in met], led[1].term if led and leader in met else None

    async def _kill(self, kind: str, struck: Sequence[Process]) -> None:
        self.kills[kind] += len(struck)
        await self.cluster.kill(struck)

    # ---- pauses and links ------------------------------------------------------------------------

    async def _pause(self, *, is_alone: bool = True) -> None:
        """is_alone: nothing else is broken, so that the next write must come."""
        kind, paused, _ = await self._victims(PAUSES)
        self.pauses[kind] += len(paused)
        for process in paused:
            process.pause()
        await asyncio.sleep(log_uniform(self._random, PAUSE_SECONDS))
        for process in paused:
            process.resume()
        if is_alone:
            await self._progress(f"{kind} ({', '.join(p.name for p in paused)}) paused")

    async def _break_links(self) -> None:
        weather = self._random.choices(WEATHERS, [weather.weight for weather in WEATHERS])[0]
        led = await self.cluster.leader()
        processes, links = self.cluster.processes, self.cluster.links
        leader = processes.index(led[0]) if led is not None else None
        self.weathers[weather.name] += 1
        seconds = log_uniform(self._random, PARTITION_SECONDS)
        flapping = weather.begin(links, len(processes), leader, self._random)
        mixed: list[Process] = []
        if self._random.random() < MIXED_SHARE:
            mixed = await self._strike_meanwhile()
        if flapping is not None:
            await flapping.run(self._random)
        else:
            await asyncio.sleep(seconds)
        is_stalled = time.monotonic() - self._acknowledged_at > STALLED_SECONDS
        links.heal(reset=self._random.random() < 0.5)
        if not mixed:
            self._healed = time.monotonic(), is_stalled
        await self.cluster.start(mixed)
        await self._progress(f"the links healed ({weather.name})")

    async def _strike_meanwhile(self) -> list[Process]:
        """Pause or kill under broken links; who has to be started again."""
        if "pause" in self._faults and self._random.random() < 0.5:
            await self._pause(is_alone=False)
            return []
        if "kill" not in self._faults:
            return []
        kind, struck, _ = await self._victims(KILLS)
        await self._kill(kind, struck)
        return struck

    async def _final_strike(self) -> None:
        await self._kill("all", self.cluster.running)
        started = time.monotonic()
        await self.cluster.start(self.cluster.processes)
        await self._progress("the restart of all")
        self.writing_again = time.monotonic() - started
        await self._settled()
        self.recovery = time.monotonic() - started

    async def _read_everything(self) -> None:
        await self._settled()
        reader = self.clients[0]
        for key in self.history.lists():
            for number, process in enumerate(self.cluster.processes):
                if not await reader.read_at_last(key, process, is_linearizable=number == 0):
                    raise Stuck(f"{process.name} does not answer a read at the end")

    async def _settled(self) -> None:
        try:
            async with asyncio.timeout(SETTLED_SECONDS):
                await self.cluster.settled()
        except TimeoutError:
            told = [status for _, status in await self.cluster.statuses()]
            raise Stuck(f"the peers do not agree after {SETTLED_SECONDS:g} s: {told}") from None

    async def _progress(self, after: str) -> None:
        """Wait for the acknowledgement of an append that begins from now on."""
        moment = time.monotonic_ns()
        try:
            async with asyncio.timeout(PROGRESS_SECONDS):
                while self.history.newest_invoked < moment:
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
        except TimeoutError:
            told = [status for _, status in await self.cluster.statuses()]
            raise Stuck(
                f"no write was acknowledged within {PROGRESS_SECONDS:g} s after {after}: {told}"
            ) from None

    def _on_acknowledged(self, committed: Committed) -> None:
        self.newest_term = max(self.newest_term, committed.term)
        deposed = self._deposed
        if deposed is not None and committed.term > deposed.term:
            waits = self.failovers if deposed.has_majority else self.delayed
            waits.append(time.monotonic() - deposed.moment)
            self._deposed = None
        self._acknowledged_at = time.monotonic()
        if self._healed is not None:
            healed, was_stalled = self._healed
            self.resumptions.append(self._acknowledged_at - healed)
            if was_stalled:
                self.stalls.append(self.resumptions[-1])
            self._healed = None
        self._acknowledged.set()


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Inclusive, to the millisecond; None of nothing."""
    if len(values) < 2:
        return round(values[0], 3) if values else None
    return round(quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def report(soak: Soak, violations: Sequence[str], seconds: float) -> dict[str, object]:
    """What the run came to, as it is printed."""
    kinds = Counter(violation.partition(":")[0] for violation in violations)
    return {
        "kills": soak.kills.total(),
        "kills_by_strike": dict(soak.kills),
        "pauses": dict(soak.pauses),
        "partitions": soak.partitions,
        "faults_of_links": dict(soak.weathers),
        "seconds": round(seconds, 1),
        "operations": soak.history.operation_count,
        "calls_of_counters": len(soak.history.calls),
        "acknowledged_writes": soak.history.acknowledged,
        "lost": kinds["lost ack"],
        "duplicates": kinds["duplicate"],
        "unknown": sum(
            isinstance(operation, Append) and operation.result is Result.OPEN
            for operation in soak.history.operations
        )
        + sum(call.may for call in soak.history.calls),
        "violations": list(violations),
        "leader_kills": len(soak.failovers) + len(soak.delayed),
        "failover_p50_seconds": percentile(soak.failovers, 50),
        "failover_p99_seconds": percentile(soak.failovers, 99),
        "failovers_without_a_majority": len(soak.delayed),
        "without_a_majority_p99_seconds": percentile(soak.delayed, 99),
        "heals": len(soak.resumptions),
        "resumption_p50_seconds": percentile(soak.resumptions, 50),
        "resumption_p99_seconds": percentile(soak.resumptions, 99),
        "stalls_healed": len(soak.stalls),
        "stall_p50_seconds": percentile(soak.stalls, 50),
        "stall_p99_seconds": percentile(soak.stalls, 99),
        "all_killed_to_write_seconds": round(soak.writing_again, 3),
        "all_killed_to_recovered_seconds": round(soak.recovery, 3),
        "terms": soak.newest_term,
        "attempts": dict(soak.history.outcomes),
    }


async def judge(soak: Soak, goals: Goals, seconds: float) -> list[str]:
    """Run it to the end; every violation as `kind: detail`."""
    violations: list[str] = []
    try:
        await soak.run(goals, seconds)
    except Stuck as stuck:
        violations.append(f"stuck: {stuck}")
    finally:
        await soak.cluster.close()
    violations += [f"crashed: {failure}" for failure in soak.cluster.failures]
    # Without the last reads, what nobody has read yet is not lost.
    was_read = not any(violation.startswith("stuck") for violation in violations)
    return violations + broken_rules(soak.history, was_read=was_read)


def broken_rules(history: History, *, was_read: bool) -> list[str]:
    """What no order of the operations explains. was_read: every list was read at the end."""
    return [
        f"{anomaly.kind}: {anomaly.key}, {anomaly.detail}"
        for anomaly in anomalies(history.operations)
        if was_read or anomaly.kind != "lost ack"
    ] + [
        f"{broken.verdict.value}: {broken.key}, {broken.detail}"
        for broken in wing_gong.anomalies(history.calls, lambda _: CounterModel())
    ]


def print_report(facts: dict[str, object]) -> None:
    for name, fact in facts.items():
        if name != "violations":
            print(f"{name.replace('_', ' '):32} {fact}")


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; without a goal and a time it is a hundred kills."""
    parser = argparse.ArgumentParser(prog="tools/soak", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=0, help="processes to kill")
    parser.add_argument("--partitions", type=int, default=0, help="partitions to go through")
    parser.add_argument("--operations", type=int, default=0, help="operations to see through")
    parser.add_argument(
        "--seconds", type=float, help="begin no fault later (default: an hour; with no goal: this)"
    )
    parser.add_argument(
        "--faults",
        type=lambda text: tuple(text.split(",")),
        default=tuple(FAULTS),
        help=f"families, with commas (default {','.join(FAULTS)})",
    )
    parser.add_argument("--seed", type=int, help="of the faults (default: drawn, and printed)")
    parser.add_argument("--peers", type=int, default=5, help="processes (default 5)")
    parser.add_argument(
        "--rate", type=float, default=400.0, help="operations per second (default 400)"
    )
    parser.add_argument(
        "--in-memory", action="store_true", help="keep nothing on disk: such a run must fail"
    )
    parser.add_argument(
        "--keys",
        action="store_true",
        help="speak under keys, as daemons do; proxies cannot follow: not with the fault links",
    )
    parser.add_argument("--boots", type=int, help="instead: so many first starts of all at once")
    parser.add_argument(
        "--starve", type=float, metavar="T", help="instead: starve one peer for so many seconds"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    parser.add_argument("--keep", action="store_true", help="keep the folders of a good run")
    options = parser.parse_args(arguments)
    unknown = [family for family in options.faults if family not in FAULTS]
    if unknown or not options.faults:
        parser.error(f"--faults knows {', '.join(FAULTS)}, not {', '.join(unknown) or 'nothing'}")
    if options.peers < 3:
        parser.error(f"--peers {options.peers}: there is no minority to lose; take 3 or more")
    if options.keys and ("links" in options.faults or options.boots or options.starve):
        parser.error("--keys goes with --faults kill,pause alone: proxies cannot follow it")
    goals = Goals(options.kills, options.partitions, options.operations)
    needs = {"kills": "kill", "partitions": "links"}
    for goal, family in needs.items():
        if getattr(goals, goal) and family not in options.faults:
            parser.error(f"--{goal} cannot be reached without {family!r} in --faults")
    if goals == Goals() and options.seconds is None:
        goals = Goals(kills=100) if "kill" in options.faults else Goals(operations=10_000)
    elif goals == Goals():
        goals = Goals(operations=sys.maxsize)
    options.goals = goals
    options.seconds = 3600.0 if options.seconds is None else options.seconds
    options.seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    return options


async def story(options: argparse.Namespace, folder: Path) -> tuple[dict[str, object], list[str]]:
    """The facts of the chosen kind of run, and its violations."""
    if options.boots is not None:
        return await soak_boots.run(folder, options.boots, options.seed)
    if options.starve is not None:
        return await soak_starved.run(folder, options.starve, options.peers)
    soak = Soak(
        folder,
        peers=options.peers,
        seed=options.seed,
        rate=options.rate,
        faults=options.faults,
        in_memory=options.in_memory,
        keys=options.keys,
    )
    started = time.monotonic()
    violations = await judge(soak, options.goals, options.seconds)
    return report(soak, violations, time.monotonic() - started), violations


def main() -> int:
    """Exit code 1 if any rule was broken; the folders and logs are kept then."""
    options = options_of()
    folder = disk_folder("mabeam-soak-")
    # What the peers of one user share under keys is this cluster's alone.
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    print(f"seed {options.seed}, in {folder}", flush=True)
    told, violations = asyncio.run(story(options, folder))
    facts = {"seed": options.seed, **told}
    print_report(facts)
    if options.json is not None:
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for violation in violations:
        print(f"VIOLATION {violation}")
    if violations:
        again = " ".join(argument for argument in sys.argv[1:] if argument != "--keep")
        seed = "" if "--seed" in again else f" --seed {options.seed}"
        print(f"folders and logs: {folder}; again: tools/soak {again}{seed}")
    elif options.keep:
        print(f"folders and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
