"""Kills the workers of a map with kill -9 while it runs, leaders among them, and judges what comes:
every task has one result, each was accepted once, and nothing is left.

1. Every worker is a peer of its own; the first five vote. The submitter is a peer that is not
   killed.
2. A strike comes every `--every` seconds: at the leader one time in three, else at any worker. Who
   was killed is started again at once, on the same folder. No more than two voters are down
   together.
3. The map must end while the strikes go on.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from mabeam_p2p import Agent, Config, Peer, TaskFacts
from tools.children import Child, disk_folder, free_ports

VOTERS = 5
VOTERS_DOWN_MAX = 2
LEADER_SHARE = 1 / 3
READY_SECONDS = 120.0
END_SECONDS = 600.0
"""A map that takes longer is stuck."""
RETRIES = 3


class Worker:
    """One worker over all its lives."""

    def __init__(self, config: Config, slots: int, log: Path) -> None:
        self.name = config.name
        self.begun: Counter[int] = Counter()
        """How often it began each task."""
        self.lives = 0
        self.failures: list[str] = []
        self._config = config
        self._slots = slots
        self._log = log
        self._child: Child | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_struck = False
        self._ready = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def start(self) -> None:
        self.lives += 1
        self._is_struck = False
        config = msgspec.json.encode(self._config).decode()
        arguments = (config, str(self._slots))
        self._child = await Child.start("tools.soak_worker", *arguments, log=self._log)
        self._reader = asyncio.create_task(self._read(self._child))

    async def ready(self) -> None:
        async with asyncio.timeout(READY_SECONDS):
            await self._ready.wait()

    async def kill(self) -> None:
        """kill -9; return once it is gone."""
        if self._child is not None and self._reader is not None:
            self._is_struck = True
            self._child.strike()
            # Whoever waits may be cancelled; the reader goes on, for who kills it next.
            await asyncio.shield(self._reader)

    async def _read(self, child: Child) -> None:
        while line := await child.receive():
            if line == b"ready":
                self._ready.set()
            else:
                self.begun[int(line)] += 1
        await child.gone()
        self._ready.clear()
        if not self._is_struck:
            self.failures.append(f"{self.name} ended by itself: {child.exit_code}: {self._log}")


class Soak:
    """One run in one folder."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.kills: Counter[str] = Counter()
        self._options = options
        self._random = Random(f"soak tasks {options.seed}")
        addresses = [f"127.0.0.1:{port}" for port in free_ports(options.workers)]
        self._folder = folder
        self._seeds = tuple(addresses)
        self.workers = [
            Worker(self._config(f"w{number}", address), options.slots, folder / f"w{number}.log")
            for number, address in enumerate(addresses)
        ]
        self._restarts: dict[asyncio.Task[None], None] = {}

    def _config(self, name: str, listen: str) -> Config:
        return Config(
            name=name,
            cluster="soak",
            listen=listen,
            data_dir=str(self._folder / name),
            seeds=tuple(seed for seed in self._seeds if seed != listen),
            mdns=False,
            expect=min(VOTERS, self._options.workers),
        )

    async def run(self) -> dict[str, object]:
        """The report; its violations are in it."""
        founders, others = self.workers[:VOTERS], self.workers[VOTERS:]
        await asyncio.gather(*(worker.start() for worker in founders))
        await asyncio.gather(*(worker.ready() for worker in founders))
        await asyncio.gather(*(worker.start() for worker in others))
        await asyncio.gather(*(worker.ready() for worker in others))
        async with Peer(self._config("submitter", "127.0.0.1:0")) as peer:
            agent = await peer.agent("submitter", timeout=READY_SECONDS)
            return await self._judge(agent)

    async def close(self) -> None:
        # Not cancelled: a process whose start is cut short is in nobody's hands.
        await asyncio.gather(*self._restarts, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self.workers))

    async def _judge(self, agent: Agent) -> dict[str, object]:
        ends: Counter[str] = Counter()
        values: Counter[int] = Counter()
        violations: list[str] = []
        listening = asyncio.create_task(_count(agent, ends))
        striking = asyncio.create_task(self._strike(agent))
        began = time.monotonic()
        try:
            async with asyncio.timeout(END_SECONDS):
                async for result in agent.map("work", self._items(), retries=RETRIES, wait=True):
                    values[result.index] += 1
                    if result.value != result.index**2:
                        violations.append(f"task {result.index} came to {result.value}")
        except TimeoutError:
            violations.append(f"stuck: {len(values)} results after {END_SECONDS:g} s")
        seconds = time.monotonic() - began
        striking.cancel()
        await asyncio.gather(striking, return_exceptions=True)
        facts = await agent.tasks(limit=4096, level="linearizable")
        listening.cancel()
        violations += self._violations(values, ends, facts)
        return self._report(seconds, values, facts, violations)

    def _items(self) -> list[tuple[int, float]]:
        mean = self._options.seconds
        lengths = (self._random.uniform(0, 2 * mean) for _ in range(self._options.tasks))
        return list(enumerate(lengths))

    def _violations(
        self, values: Counter[int], ends: Counter[str], facts: tuple[TaskFacts, ...]
    ) -> Iterator[str]:
        wanted = self._options.tasks
        if len(values) != wanted or set(values.values()) != {1}:
            yield f"{len(values)} results for {wanted} tasks, at most {max(values.values())} each"
        if set(ends.values()) != {1}:
            yield f"accepted more than once: {[task for task, n in ends.items() if n > 1]}"
        statuses = Counter(task.status for task in facts)
        if statuses != {"done": wanted}:
            yield f"the log has {dict(statuses)}"
        for worker in self.workers:
            yield from worker.failures

    def _report(
        self,
        seconds: float,
        values: Counter[int],
        facts: tuple[TaskFacts, ...],
        violations: list[str],
    ) -> dict[str, object]:
        begun = sum((worker.begun for worker in self.workers), Counter[int]())
        return {
            "seed": self._options.seed,
            "workers": len(self.workers),
            "tasks": self._options.tasks,
            "results": len(values),
            "seconds": round(seconds, 1),
            "kills": self.kills.total(),
            "leader_kills": self.kills["leader"],
            "attempts_begun": begun.total(),
            "leases_lost": sum(task.losses for task in facts),
            "leases_taken_over": sum(task.steals for task in facts),
            "failures": sum(task.failures for task in facts),
            "violations": violations,
        }

    async def _strike(self, agent: Agent) -> None:
        while True:
            await asyncio.sleep(self._options.every)
            victim = self._victim(agent)
            if victim is None:
                continue
            leads = agent.leader is not None and agent.leader.name == victim.name
            self.kills["leader" if leads else "worker"] += 1
            await victim.kill()
            restart = asyncio.create_task(victim.start())
            self._restarts[restart] = None
            restart.add_done_callback(lambda task: self._restarts.pop(task, None))

    def _victim(self, agent: Agent) -> Worker | None:
        """None if too many are down."""
        voters = self.workers[:VOTERS]
        down = sum(not worker.is_ready for worker in voters)
        most = min(VOTERS_DOWN_MAX, (len(voters) - 1) // 2)
        ready = [worker for worker in self.workers if worker.is_ready]
        if down >= most:
            ready = [worker for worker in ready if worker not in voters]
        if not ready:
            return None
        leader = agent.leader
        leading = [worker for worker in ready if leader and worker.name == leader.name]
        is_aimed = self._random.random() < LEADER_SHARE
        return leading[0] if leading and is_aimed else self._random.choice(ready)


async def _count(agent: Agent, ends: Counter[str]) -> None:
    async for event in agent.events("task.done"):
        ends[str(event.facts["id"])] += 1


def main() -> int:
    """Exit code 1 if any rule was broken; the folders and logs are kept then."""
    parser = argparse.ArgumentParser(
        prog="tools/soak_tasks", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--tasks", type=int, default=1000, help="default 1000")
    parser.add_argument("--workers", type=int, default=10, help="processes (default 10)")
    parser.add_argument("--slots", type=int, default=2, help="tasks of each at a time (default 2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="mean of a task (default 1)")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, help="of the strikes (default: drawn, and printed)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = time.time_ns() % 1_000_000
    folder = disk_folder("mabeam-tasks-")
    # What the peers of one user share under keys is this cluster's alone.
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    print(f"seed {options.seed}, {options.workers} workers in {folder}", flush=True)

    async def story() -> dict[str, object]:
        soak = Soak(folder, options)
        try:
            return await soak.run()
        finally:
            await soak.close()

    facts = asyncio.run(story())
    violations = facts["violations"]
    assert isinstance(violations, list)
    for name, fact in facts.items():
        if name != "violations":
            print(f"{name.replace('_', ' '):32} {fact}")
    for violation in violations:
        print(f"VIOLATION {violation}")
    if options.json is not None:
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if violations:
        print(f"folders and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
