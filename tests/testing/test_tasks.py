"""The judge of tasks: every rule is broken by hand once, and seen."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, CompleteTask, OfferTasks, OpenSession
from mabeam_p2p.events import AgentLeft, MachineEvent, TaskChanged, TaskRevoked
from mabeam_p2p.ids import AgentId, PeerId, SessionId, TaskId
from mabeam_p2p.records import Agent, Strategy, Task, TaskOrder, TaskStatus
from mabeam_p2p.requests import Committed, Refused
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.tasks import TaskJudge

PEER = PeerId("a" * 16)
ONE, TWO = AgentId("one@a"), AgentId("two@a")
ORDER = TaskOrder("x", b"", Strategy.RESOURCE_AWARE, (), 0, 0, 1, 0, 0, "")
GPU = replace(ORDER, requires=(("gpu", 1),))
LEASE = 100


def leased(task: str = "t", agent: AgentId = ONE, token: int = 5, order: TaskOrder = ORDER) -> Task:
    return Task(TaskId(task), order, ONE, 4, 10, TaskStatus.LEASED, agent, token, leased_clock=10)


def ended(status: TaskStatus, task: Task | None = None) -> TaskChanged:
    return TaskChanged(replace(task or leased(), status=status))


def revoked(agent: AgentId = ONE, token: int = 5) -> TaskRevoked:
    return TaskRevoked(TaskId("t"), "x", agent, token, "lost")


class Told:
    """A judge that has heard of two agents with two slots and a gpu each."""

    def __init__(self) -> None:
        self.judge = TaskJudge()
        self._sequence = 0
        for number, agent in ((1, ONE), (2, TWO)):
            session = SessionId(number)
            capabilities = (("gpu", 1),)
            opening = OpenSession(session, 1, agent, PEER, 1, (), True, True, capabilities)
            self.judge.took_effect(opening, Committed(number, 1), 10)
            self.said(OfferTasks(session, 2, ("x",), 2, LEASE))

    def said(self, command: AnyCommand, *, refused: bool = False) -> None:
        outcome = Refused("stale_token", "") if refused else Committed(9, 1)
        self.judge.took_effect(command, outcome, 10)

    def happened(self, *events: MachineEvent) -> None:
        for event in events:
            self.judge.happened(event)
        self.judge.passed(11)

    def completed(self, number: int, token: int, sequence: int = 3) -> None:
        self.said(CompleteTask(SessionId(number), sequence, TaskId("t"), token, b""))


def broken(what: str) -> "pytest.RaisesExc[Violation]":
    return pytest.raises(Violation, match=f"^tasks: .*{what}")


def test_the_way_of_a_task_passes() -> None:
    told = Told()
    told.happened(TaskChanged(leased()), revoked(), TaskChanged(leased(agent=TWO, token=6)))
    told.completed(1, 5, sequence=4)
    told.judge.results.clear()
    told.completed(2, 6)
    told.happened(ended(TaskStatus.DONE, leased(agent=TWO, token=6)))


def test_two_results_are_seen() -> None:
    told = Told()
    told.happened(TaskChanged(leased()))
    told.completed(1, 5)
    with broken("has results by"):
        told.completed(2, 6)


def test_a_refused_result_is_none() -> None:
    told = Told()
    told.said(CompleteTask(SessionId(2), 3, TaskId("t"), 4, b""), refused=True)
    assert told.judge.results == {}


def test_two_leases_of_one_task_are_seen() -> None:
    told = Told()
    told.happened(TaskChanged(leased()))
    with broken("leased twice"):
        told.happened(TaskChanged(leased(agent=TWO, token=6)))


def test_a_token_that_does_not_grow_is_seen() -> None:
    told = Told()
    told.happened(TaskChanged(leased()), revoked())
    with broken("token has not grown"):
        told.happened(TaskChanged(leased(agent=TWO)))


def test_an_end_under_no_lease_is_seen() -> None:
    told = Told()
    with broken("under no standing lease"):
        told.happened(ended(TaskStatus.DONE))
    told.happened(TaskChanged(leased("u")))
    with broken("under no standing lease"):
        told.happened(ended(TaskStatus.DONE, leased("u")))


def test_a_lease_that_nobody_has_ended_is_seen() -> None:
    told = Told()
    told.happened(TaskChanged(leased()))
    with broken("its lease was not ended"):
        told.happened(ended(TaskStatus.DEAD))


def test_a_revocation_of_another_lease_is_seen() -> None:
    told = Told()
    told.happened(TaskChanged(leased()))
    with broken("ends no lease"):
        told.happened(revoked(token=4))


def test_what_is_final_does_not_change() -> None:
    told = Told()
    told.happened(ended(TaskStatus.CANCELLED))
    with broken("CANCELLED is final"):
        told.happened(TaskChanged(leased()))


@pytest.mark.parametrize(
    ("tasks", "what"),
    [
        ([leased(order=replace(ORDER, name="y"))], "does not offer it"),
        ([leased(str(n)) for n in range(3)], "has 2 slots and holds 3"),
        ([leased(str(n), order=GPU) for n in range(2)], "has too little gpu for 2"),
        ([leased(order=replace(ORDER, requires=(("tpu", 0),)))], "has too little tpu for 0"),
        ([leased(agent=AgentId("none@a"))], "is not there"),
    ],
)
def test_a_lease_beyond_what_the_agent_offers_is_seen(tasks: list[Task], what: str) -> None:
    told = Told()
    with broken(what):
        told.happened(*map(TaskChanged, tasks))


def test_a_lease_that_outlives_its_agent_is_seen() -> None:
    told = Told()
    told.happened(TaskChanged(leased()))
    agent = Agent(ONE, PEER, 1, SessionId(1), (), True, True, (), 1)
    with broken("has gone and still holds"):
        told.happened(AgentLeft(agent, "dead"))


def test_a_lease_that_outlives_its_agents_silence_is_seen() -> None:
    told = Told()
    told.happened(TaskChanged(leased()))
    told.judge.passed(10 + LEASE - 1)
    with broken("is silent since 10"):
        told.judge.passed(10 + LEASE)
