"""Kills real peers with kill -9 under load, restarts them on the same folders, and judges what
their clients saw: nothing acknowledged is lost, nothing done twice, no read goes back in time.

1. A strike kills one peer, the leader, two at once, or all; its kind is drawn from the seed. What
   was killed comes back after a pause that is drawn, too.
2. After most strikes the next one waits until a write that began later is acknowledged. If that
   takes too long, the cluster sticks, which is a violation as well.
3. Failover is the time from the kill of a leader to the first acknowledgement of an entry of a
   newer term.
4. At the end all are killed and come back; every list is read once more from every peer.
"""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import quantiles

from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.linearizability import anomalies
from tools.children import disk_folder
from tools.soak_clients import Client, History
from tools.soak_cluster import Cluster, Process

CLIENTS = 10
PROGRESS_SECONDS = 30.0
"""Without a new acknowledgement for this long, with a majority running, the cluster sticks."""
SETTLED_SECONDS = 60.0
DOWN_SECONDS_MAX = 1.5
PAUSE_SECONDS_MAX = 0.5
IMPATIENT_SHARE = 0.25
"""Of the strikes that leave the leader alone: those that the next one follows at once."""
KINDS = {"one": 8, "leader": 6, "two": 3, "all": 1}
"""How often each kind of strike is drawn."""


class Stuck(Exception):
    """Something that must happen did not, in a time that is ample."""


class Soak:
    """One run in one folder."""

    def __init__(
        self, folder: Path, *, peers: int, seed: int, rate: float, in_memory: bool = False
    ) -> None:
        """rate: operations per second of all clients, if nothing hinders them."""
        self.cluster = Cluster(folder, peers, in_memory=in_memory)
        self.history = History()
        self.kills: Counter[str] = Counter()
        """Processes killed, by kind of strike."""
        self.failovers: list[float] = []
        self.recovery = 0.0
        """From the restart of all until every peer has applied everything."""
        self.writing_again = 0.0
        """From the same restart to the next acknowledgement."""
        self.newest_term = 0
        self._random = Random(f"strikes {seed}")
        self._acknowledged = asyncio.Event()
        self.history.on_acknowledged = self._on_acknowledged
        self._deposed: tuple[float, int] | None = None
        """When the last leader was killed, and its term, until another one has committed."""
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

    async def run(self, kills: int, seconds: float) -> None:
        """Strike until `kills` processes were killed or the time is over. Raises Stuck."""
        deadline = time.monotonic() + seconds
        await self.cluster.start(self.cluster.processes)
        tasks = [asyncio.create_task(client.run()) for client in self.clients]
        try:
            await self._progress("the first write")
            while self.kills.total() < kills and time.monotonic() < deadline:
                await self._strike()
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

    async def _strike(self) -> None:
        kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
        led = await self.cluster.leader()
        victims = self._victims(kind, led[0] if led else None)
        moment = time.monotonic()
        has_leader = led is not None and led[0] in victims
        if led is not None and has_leader and kind != "all":
            self._deposed = moment, led[1].term
        await self._kill(kind, victims)
        await asyncio.sleep(self._random.uniform(0, DOWN_SECONDS_MAX))
        is_impatient = self._random.random() < IMPATIENT_SHARE
        if has_leader and kind != "all":
            await self._progress(f"{kind} ({', '.join(v.name for v in victims)}) killed")
        await self.cluster.start(victims)
        if has_leader or not is_impatient:
            await self._progress(f"{kind} ({', '.join(v.name for v in victims)}) restarted")
        await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))

    def _victims(self, kind: str, leader: Process | None) -> list[Process]:
        running = self.cluster.running
        if kind == "all":
            return running
        if kind == "leader" and leader is not None:
            return [leader]
        minority = (len(self.cluster.processes) - 1) // 2
        return self._random.sample(running, min(2, minority) if kind == "two" else 1)

    async def _kill(self, kind: str, victims: Sequence[Process]) -> None:
        self.kills[kind] += len(victims)
        await self.cluster.kill(victims)

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
                if not await reader.read(key, process, is_linearizable=number == 0):
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
        if self._deposed is not None and committed.term > self._deposed[1]:
            self.failovers.append(time.monotonic() - self._deposed[0])
            self._deposed = None
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
        "seconds": round(seconds, 1),
        "operations": len(soak.history.operations),
        "acknowledged_writes": soak.history.acknowledged,
        "lost": kinds["lost ack"],
        "duplicates": kinds["duplicate"],
        "violations": list(violations),
        "leader_kills": len(soak.failovers),
        "failover_p50_seconds": percentile(soak.failovers, 50),
        "failover_p99_seconds": percentile(soak.failovers, 99),
        "all_killed_to_write_seconds": round(soak.writing_again, 3),
        "all_killed_to_recovered_seconds": round(soak.recovery, 3),
        "terms": soak.newest_term,
        "attempts": dict(soak.history.outcomes),
    }


async def judge(soak: Soak, kills: int, seconds: float) -> list[str]:
    """Run it to the end; every violation as `kind: detail`."""
    violations: list[str] = []
    try:
        await soak.run(kills, seconds)
    except Stuck as stuck:
        violations.append(f"stuck: {stuck}")
    finally:
        await soak.cluster.close()
    violations += [f"crashed: {failure}" for failure in soak.cluster.failures]
    # Without the last reads, what nobody has read yet is not lost.
    was_read = not any(violation.startswith("stuck") for violation in violations)
    return violations + [
        f"{anomaly.kind}: {anomaly.key}, {anomaly.detail}"
        for anomaly in anomalies(soak.history.operations)
        if was_read or anomaly.kind != "lost ack"
    ]


def print_report(facts: dict[str, object]) -> None:
    for name, fact in facts.items():
        if name != "violations":
            print(f"{name.replace('_', ' '):32} {fact}")


def main() -> int:
    """Exit code 1 if any rule was broken; the folders and logs are kept then."""
    parser = argparse.ArgumentParser(prog="tools/soak", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="processes to kill (default 100)")
    parser.add_argument(
        "--seconds", type=float, default=3600.0, help="begin no strike later (default 3600)"
    )
    parser.add_argument("--seed", type=int, help="of the strikes (default: drawn, and printed)")
    parser.add_argument("--peers", type=int, default=5, help="processes (default 5)")
    parser.add_argument(
        "--rate", type=float, default=400.0, help="operations per second (default 400)"
    )
    parser.add_argument(
        "--in-memory", action="store_true", help="keep nothing on disk: such a run must fail"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    parser.add_argument("--keep", action="store_true", help="keep the folders of a good run")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    folder = disk_folder("mabeam-soak-")
    print(f"seed {seed}, {options.peers} peers in {folder}", flush=True)
    started = time.monotonic()

    async def story() -> tuple[Soak, list[str]]:
        soak = Soak(
            folder,
            peers=options.peers,
            seed=seed,
            rate=options.rate,
            in_memory=options.in_memory,
        )
        return soak, await judge(soak, options.kills, options.seconds)

    soak, violations = asyncio.run(story())
    facts = {"seed": seed, **report(soak, violations, time.monotonic() - started)}
    print_report(facts)
    if options.json is not None:
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for violation in violations:
        print(f"VIOLATION {violation}")
    if violations:
        print(f"folders and logs: {folder}; again: tools/soak --seed {seed} --kills "
              f"{options.kills}")  # fmt: skip
    elif options.keep:
        print(f"folders and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
