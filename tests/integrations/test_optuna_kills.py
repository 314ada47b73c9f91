"""Optuna over real processes that are killed: the leader between any two tests, a searcher in a
trial."""

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import Trial

from mabeam_p2p import DaemonNotRunning, blocking
from mabeam_p2p.integrations.optuna import Storage
from tests.cli.daemons import Daemon, House, environment, house, until
from tests.integrations.searchers import hosts
from tools.children import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = ("ant", "bee", "cow")


class Three:
    """Three daemons, each at an address and on a folder that outlive it, and an agent at each."""

    def __init__(self, place: House) -> None:
        self._place = place
        self._addresses = [f"127.0.0.1:{port}" for port in free_ports(len(NAMES))]
        self._running: dict[str, Daemon] = {}
        self._waking: str | None = None
        for name in NAMES:
            self._start(name)
        for name in NAMES:
            self._wait_until_ready(name)
        self.agents = [blocking.connect("a", addr=name) for name in NAMES]

    def kill_the_leader(self) -> int:
        """Once the last one killed is back, kill it, and start it again. Gives its term."""
        if self._waking is not None:
            self._wait_until_ready(self._waking)
        leading: list[tuple[str, int]] = []

        def one_leads() -> bool:
            leading[:] = self._leading()
            return len(leading) == 1

        until(one_leads)
        ((leader, term),) = leading
        self._running[leader].signal(signal.SIGKILL)
        self._running[leader].wait()
        self._start(leader)
        self._waking = leader
        return term

    def close(self) -> None:
        if self._waking is not None:
            self._wait_until_ready(self._waking)
        for agent in self.agents:
            agent.close()

    def _start(self, name: str) -> None:
        listen = self._addresses[NAMES.index(name)]
        seeds = [word for address in self._addresses for word in ("--seed", address)]
        flags = ("--expect", "3", "--listen", listen, *seeds)
        self._running[name] = self._place.start(*flags, name=name)

    def _wait_until_ready(self, name: str) -> None:
        told = [self._running[name].line()["event"] for _ in range(2)]
        assert told == ["listening", "ready"]

    def _leading(self) -> list[tuple[str, int]]:
        """Name and term of those that say that they lead, once all can be asked."""
        try:
            told = [agent.status() for agent in self.agents]
        except DaemonNotRunning:
            return []
        return [(status.name, status.term) for status in told if status.role == "leader"]


numbers = itertools.count()
terms: list[int] = []
"""Of the leaders that were killed."""


@pytest.fixture(scope="module")
def three() -> Iterator[Three]:
    with house() as place, ExitStack() as stack:
        cluster = Three(place)
        stack.callback(cluster.close)
        yield cluster


@pytest.fixture
def storage(three: Three) -> Storage:
    """An empty one, on a cluster whose leader has just been killed."""
    terms.append(three.kill_the_leader())
    number = next(numbers)
    return Storage(three.agents[number % len(NAMES)], f"case-{number}")


class TestStorageWithoutALeader(StorageTestCase):
    """The suite asks for the fixture `storage` in each test."""


def test_another_leader_was_killed_for_each_storage() -> None:
    assert len(terms) == next(numbers)
    assert sorted(set(terms)) == terms


def square(trial: Trial) -> float:
    return trial.suggest_float("x", -1.0, 1.0) ** 2


def test_trial_of_a_killed_process_is_failed_and_its_others_are_kept() -> None:
    with hosts(2) as peers:
        seeds = [peer.status().address for peer in peers]
        command = [sys.executable, "-m", "tests.integrations.optuna_worker", "worker", "kept"]
        worker = subprocess.Popen(
            [*command, *seeds],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with worker:
            try:
                assert worker.stdout is not None
                # The third of three: only now there is a cluster.
                agents = [peer.agent("a") for peer in peers]
                said = [worker.stdout.readline() for _ in range(2)]
                assert said == [b"finished 0\n", b"hangs in 1\n"]
            finally:
                worker.kill()
        study, other = [
            optuna.load_study(
                study_name="s", storage=Storage(agent, "kept"), sampler=RandomSampler(seed=1)
            )
            for agent in agents
        ]
        before = study.trials
        assert [trial.state.name for trial in before] == ["COMPLETE", "RUNNING"]
        everybody = agents[0].group("all")
        until(lambda: "worker@worker" not in {one.id for one in everybody.read_agents()})
        study.optimize(square, n_trials=1)
        after = other.trials
        assert [trial.state.name for trial in after] == ["COMPLETE", "FAIL", "COMPLETE"]
        assert after[0] == before[0]
        assert after[1].params == before[1].params
