"""Whatever is said of tasks, in whatever order: the rules hold, and snapshots lose nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import (
    AnyCommand,
    CancelTask,
    CloseSession,
    CompleteTask,
    DepartPeer,
    FailTask,
    OfferTasks,
    OpenSession,
    RenewTasks,
    RetryTask,
    SubmitTask,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, SessionId, TaskId
from mabeam_p2p.machine.tasks import schedule
from mabeam_p2p.records import Strategy, Task, TaskError, TaskOrder, TaskStatus
from mabeam_p2p.requests import TasksQuery, WorkersQuery
from mabeam_p2p.testing.tasks import TaskJudge
from tests.machine.written_log import WrittenLog, peer_id

SMALL = Limits(
    session_window=8,
    sessions_max=6,
    open_tasks_max=6,
    finished_tasks_max=2,
    dead_tasks_max=2,
    tasks_bytes_max=12,
    task_argument_bytes_max=3,
    task_result_bytes_max=3,
    task_names_max=2,
    offers_per_agent_max=2,
    task_backlog_max=2,
    task_losses_max=2,
    task_steals_max=1,
)
NAMES = ("x", "y", "z")
numbers = st.integers(1, 4)
tasks = st.sampled_from([TaskId(f"t{n}") for n in range(8)])
requires = st.sampled_from([(), (), (("gpu", 1),), (("gpu", 0),), (("cpu", 2), ("gpu", 1))])
orders = st.builds(
    TaskOrder,
    st.sampled_from(NAMES),
    st.binary(max_size=4),
    st.sampled_from(Strategy),
    requires,
    st.integers(-1, 1),
    st.integers(0, 2),
    st.sampled_from([1, 3]),
    st.sampled_from([0, 0, 20]),
    st.sampled_from([0, 0, 5]),
    st.sampled_from(["", "k"]),
)
capacities = st.sampled_from([(), (("gpu", 1),), (("cpu", 3), ("gpu", 2))])
offered = st.lists(st.sampled_from(NAMES), max_size=2)
submission = st.tuples(st.just("submit"), numbers, tasks, orders, st.booleans())
completion = st.tuples(st.just("complete"), numbers, st.integers(0, 3), st.binary(max_size=4))
steps = st.one_of(
    st.tuples(st.just("open"), numbers, capacities),
    st.tuples(st.just("offer"), numbers, offered, st.integers(0, 2)),
    st.tuples(st.just("renew"), numbers),
    submission,
    submission,
    completion,
    completion,
    st.tuples(st.just("fail"), numbers, st.integers(0, 3), st.booleans()),
    st.tuples(st.just("cancel"), numbers, tasks),
    st.tuples(st.just("retry"), numbers, tasks),
    st.tuples(st.just("close"), numbers),
    st.tuples(st.just("depart"), numbers),
)
NOTHING = Task(
    TaskId("none"), TaskOrder("x", b"", Strategy(0), (), 0, 0, 1, 0, 0, ""), AgentId("a@p"), 1, 1
)


class AnyLog(WrittenLog):
    """Turns steps into commands; every batch is judged."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        self.judge = TaskJudge()
        self._life = 0
        self._sessions = {number: SessionId(number) for number in range(1, 5)}

    def step(self, kind: str, number: int, *rest: Any) -> None:
        command = self._command(kind, number, rest)
        outcome = self.apply(command)
        self.judge.took_effect(command, outcome, self.clock)
        for event in self.events:
            self.judge.happened(event)
        self.judge.passed(self.clock)
        self._nobody_rests()

    def tasks(self, *statuses: TaskStatus) -> tuple[Task, ...]:
        return self.machine.find(TasksQuery(statuses, 100)).tasks

    def _command(self, kind: str, number: int, rest: tuple[Any, ...]) -> AnyCommand:
        if kind == "open":
            self._life += 1
            self._sessions[number] = SessionId(10 * self._life + number)
        session = self._sessions[number]
        sequence = self.next(session)
        match kind, rest:
            case "open", (capabilities,):
                agent, peer = AgentId(f"a{number}@p"), peer_id(number)
                flags = (True, True)
                return OpenSession(
                    session, sequence, agent, peer, self._life, (), *flags, capabilities
                )
            case "offer", (names, slots):
                return OfferTasks(session, sequence, tuple(names), slots, 8)
            case "renew", _:
                return RenewTasks(session, sequence)
            case "submit", (task, order, wait):
                return SubmitTask(session, sequence, task, order, wait)
            case "complete", (which, result):
                held = self._one_of(which, number)
                return CompleteTask(session, sequence, held.id, held.token, result)
            case "fail", (which, is_final):
                held = self._one_of(which, number)
                error = TaskError("E", "", "")
                return FailTask(session, sequence, held.id, held.token, error, is_final)
            case "cancel", (task,):
                return CancelTask(session, sequence, task)
            case "retry", (task,):
                return RetryTask(session, sequence, task)
            case "close", _:
                return CloseSession(session, sequence, "")
            case _:
                return DepartPeer(CLUSTER_SESSION, 0, peer_id(number), self._life, "")

    def _one_of(self, which: int, number: int) -> Task:
        """A leased task: mostly the agent's own, sometimes another's."""
        leased = self.tasks(TaskStatus.LEASED)
        own = [task for task in leased if task.agent == f"a{number}@p"]
        chosen = (own if which else leased) or leased
        return chosen[which % len(chosen)] if chosen else NOTHING

    def _nobody_rests(self) -> None:
        """Work that anybody may do and that requires nothing does not wait beside a free agent."""
        for task in self.tasks(TaskStatus.QUEUED):
            order = task.order
            if order.requires or order.strategy is Strategy.RENDEZVOUS or task.due_clock:
                continue
            for worker in self.machine.find(WorkersQuery()).workers:
                is_free = worker.running < worker.slots and not worker.is_silent
                assert not (is_free and order.name in worker.names), (task, worker)


@pytest.fixture(autouse=True, scope="module")
def impatience() -> Iterator[None]:
    """Attempts are overdue within the few microseconds of these logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "OVERDUE_FLOOR", 2)
        patch.setattr(schedule, "FIRST_LOOK", 3)
        patch.setattr(schedule, "HUNG_FACTOR", 4)
        yield


@pytest.mark.slow
@settings(max_examples=250)
@given(st.lists(st.tuples(st.integers(0, 6), steps), max_size=60))
def test_any_log_of_tasks_keeps_the_rules(story: list[tuple[int, tuple[Any, ...]]]) -> None:
    log = AnyLog()
    for number in range(1, 5):
        log.step("open", number, (("gpu", 1),))
    for elapsed, (kind, number, *rest) in story:
        log.clock += elapsed
        log.step(kind, number, *rest)
    leased = log.tasks(TaskStatus.LEASED)
    assert {task.id: task.token for task in leased} == {
        task.id: task.token for task in log.judge.held.values()
    }
