"""Measures how close each placement strategy comes to the shortest make-span there can be.

The machine that peers apply places tasks of skewed size on virtual workers of different speeds, by
a log of its own, in virtual time. A committed command takes COMMIT_MICROSECONDS, as between peers
of one host. Two loads of the same tasks:

    burst   all at once
    waves   a tenth at a time, the next when the last of it is done, as in a search by generations

and two ways: `alone`, what the strategy makes of it if nothing moves that was placed, and
`shipped`, with short queues and with what idle agents take over. The figure is the make-span over
its lower bound, which no schedule can beat: for each k, the k largest tasks take the k fastest
workers at least as long as their work over those workers' speed; and all of them all workers.
"""

import argparse
import heapq
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import mean, quantiles
from typing import NamedTuple

from mabeam_p2p.commands import AnyCommand, CompleteTask, OfferTasks, OpenSession, SubmitTask, Tick
from mabeam_p2p.config import Limits
from mabeam_p2p.events import TaskChanged, TaskRevoked
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, PeerId, SessionId, TaskId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Batch, Strategy, TaskOrder, TaskStatus

SECOND = 1_000_000
START = 1_000 * SECOND
COMMIT_MICROSECONDS = 1_000
WORKERS = 10
TASKS = 1_000
WAVES = 10
GPU_WORKERS = 3
GPU_SHARE = 0.2
"""Of the tasks."""
SLOTS = (1, 2, 4)
SPEED_SPREAD = 4.0
"""The fastest over the slowest worker."""
PARETO_ALPHA = 1.5
"""Of the sizes: the mean is a second, one in a hundred takes seven or more."""
SIZE_MAX = 60.0
NEVER = 10**6 * SECOND
PAGE = Path(__file__).resolve().parent.parent / "docs" / "load_balancing.md"
BEGIN, END = "<!-- strategies -->\n", "<!-- /strategies -->\n"

ALONE = Limits(task_steals_max=0, task_backlog_max=TASKS)
SHIPPED = Limits()


class Work(NamedTuple):
    size: float
    """Seconds at speed 1."""
    needs_gpu: bool


class Worker(NamedTuple):
    speed: float
    slots: int
    has_gpu: bool
    """One for each of its slots."""


class Load(NamedTuple):
    tasks: list[Work]
    workers: list[Worker]


def draw(seed: int) -> Load:
    random = Random(f"strategies {seed}")
    scale = (PARETO_ALPHA - 1) / PARETO_ALPHA
    tasks = [
        Work(
            min(SIZE_MAX, scale * random.paretovariate(PARETO_ALPHA)),
            random.random() < GPU_SHARE,
        )
        for _ in range(TASKS)
    ]
    workers = [
        Worker(SPEED_SPREAD ** random.random(), random.choice(SLOTS), number < GPU_WORKERS)
        for number in range(WORKERS)
    ]
    return Load(tasks, workers)


def bound(tasks: Sequence[Work], workers: Sequence[Worker]) -> float:
    """Seconds: of all tasks on all workers, and of those that need a gpu on those that have one."""
    gpu_tasks = [task for task in tasks if task.needs_gpu]
    gpu_workers = [worker for worker in workers if worker.has_gpu]
    return max(_bound(tasks, workers), _bound(gpu_tasks, gpu_workers))


def _bound(tasks: Sequence[Work], workers: Sequence[Worker]) -> float:
    sizes = [task.size for task in tasks]
    speeds = [worker.speed for worker in workers for _ in range(worker.slots)]
    if not sizes:
        return 0.0
    largest, fastest = sorted(sizes, reverse=True), sorted(speeds, reverse=True)
    least = math.fsum(sizes) / math.fsum(speeds)
    for count in range(1, min(len(largest), len(fastest))):
        work, speed = math.fsum(largest[:count]), math.fsum(fastest[:count])
        least = max(least, work / speed)
    return least


class Workshop:
    """The machine and its virtual workers."""

    def __init__(self, load: Load, strategy: Strategy, limits: Limits) -> None:
        self._load = load
        self._strategy = strategy
        self._machine = Machine(limits)
        self._now = START
        self._sequence = 0
        self._order = 0
        self._done = 0
        self._events: list[tuple[int, int, int, TaskId, int]] = []
        """(when, order, worker, task, token): results on their way."""
        self._standing: dict[TaskId, int] = {}
        """Tokens of the leases."""
        self.steals = 0
        for number, worker in enumerate(load.workers):
            session, peer = SessionId(number + 1), PeerId(f"{number:016x}")
            agent = AgentId(f"w{number:02}@p")
            has = (("gpu", worker.slots),) if worker.has_gpu else ()
            self._say(OpenSession(session, self._next(), agent, peer, 1, (), True, True, has))
            self._say(OfferTasks(session, self._next(), ("work",), worker.slots, NEVER))

    def run(self, numbers: Sequence[int]) -> float:
        """Do these tasks; seconds until the last is done."""
        began, wanted = self._now, self._done + len(numbers)
        for number in numbers:
            needs = (("gpu", 1),) if self._load.tasks[number].needs_gpu else ()
            order = TaskOrder("work", b"", self._strategy, needs, 0, 0, SECOND, 0, 0, "")
            task = TaskId(f"task {number}")
            self._say(SubmitTask(SessionId(1), self._next(), task, order, False))
        while self._done < wanted:
            self._turn()
        return (self._now - began) / SECOND

    def _turn(self) -> None:
        """What is due next: a result, or a deadline of the log."""
        due = self._machine.next_deadline()
        when = self._events[0][0] if self._events else NEVER * 10
        if due is not None and due < when:
            self._now = max(self._now, due)
            self._say(Tick(CLUSTER_SESSION, 0))
            return
        self._now, _, worker, task, token = heapq.heappop(self._events)
        if self._standing.get(task) == token:
            self._done += 1
            session = SessionId(worker + 1)
            self._say(CompleteTask(session, self._next(), task, token, b""))

    def _say(self, command: AnyCommand) -> None:
        index = self._machine.applied_index + 1
        self._machine.apply(Batch(index, 1, 1, self._now, b""), (command,))
        for event in self._machine.take_events():
            if isinstance(event, TaskRevoked):
                self.steals += 1
                del self._standing[event.task]
            elif isinstance(event, TaskChanged) and event.task.status is TaskStatus.LEASED:
                task = event.task
                self._standing[task.id] = task.token
                worker = int(task.agent[1:3])
                size = self._load.tasks[int(task.id.removeprefix("task "))].size
                seconds = size / self._load.workers[worker].speed
                when = self._now + COMMIT_MICROSECONDS + round(seconds * SECOND)
                self._order += 1
                heapq.heappush(self._events, (when, self._order, worker, task.id, task.token))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def waves(load: Load) -> list[range]:
    size = len(load.tasks) // WAVES
    return [range(start, start + size) for start in range(0, len(load.tasks), size)]


def ratio(load: Load, strategy: Strategy, limits: Limits, parts: Sequence[range]) -> float:
    """The make-span of these parts one after the other, over its lower bound."""
    workshop = Workshop(load, strategy, limits)
    taken = math.fsum(workshop.run(part) for part in parts)
    least = math.fsum(
        bound([load.tasks[number] for number in part], load.workers) for part in parts
    )
    return taken / least


def measure(seeds: int) -> dict[Strategy, list[list[float]]]:
    """For each strategy and column the ratios of all seeds."""
    measured: dict[Strategy, list[list[float]]] = {}
    for strategy in Strategy:
        columns: list[list[float]] = [[], [], [], []]
        for seed in range(seeds):
            load = draw(seed)
            ways = [
                (ALONE, [range(TASKS)]),
                (SHIPPED, [range(TASKS)]),
                (ALONE, waves(load)),
                (SHIPPED, waves(load)),
            ]
            for column, (limits, parts) in zip(columns, ways, strict=True):
                column.append(ratio(load, strategy, limits, parts))
        measured[strategy] = columns
        print(row(strategy, columns), flush=True)
    return measured


def row(strategy: Strategy, columns: Sequence[Sequence[float]]) -> str:
    cells = [f"{mean(column):.2f} ({quantiles(column, n=10)[8]:.2f})" for column in columns]
    return f"| `{strategy.name.lower()}` | {' | '.join(cells)} |"


def table(measured: dict[Strategy, list[list[float]]], seeds: int) -> str:
    head = (
        f"Make-span over its lower bound, mean of {seeds} seeds (in brackets: where the worst "
        f"tenth begins). {TASKS} tasks\nof Pareto-distributed size (alpha {PARETO_ALPHA}, mean "
        f"1 s) on {WORKERS} agents whose speeds spread by {SPEED_SPREAD:g}, with 1, 2 or 4 slots\n"
        f"each; {GPU_SHARE:.0%} of the tasks need a gpu, which {GPU_WORKERS} agents have.\n\n"
        "| strategy | burst, alone | burst, shipped | waves, alone | waves, shipped |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    return head + "".join(f"{row(*item)}\n" for item in measured.items())


def write(text: str) -> None:
    """Put the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tools/strategies", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=20, help="loads (default 20)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/")
    options = parser.parse_args()
    measured = measure(options.seeds)
    if options.write:
        write(table(measured, options.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
