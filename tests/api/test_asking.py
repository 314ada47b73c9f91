"""The submitter's side of tasks, against a peer and a session that answer as told."""

import asyncio
from typing import cast

import pytest
from msgspec.structs import replace

from mabeam_p2p.api import attachment as attachment_module
from mabeam_p2p.api import tasks as tasks_module
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.session import CLOSE_SECONDS, Session
from mabeam_p2p.api.tasks import Options, TaskHandle, Tasks, TaskStream
from mabeam_p2p.api.work import Work
from mabeam_p2p.commands import AnyCommand, CancelTask, CloseSession
from mabeam_p2p.errors import Closed, DaemonNotRunning, NoQuorum, OutcomeUnknown
from mabeam_p2p.ids import AgentId, TaskId
from mabeam_p2p.records import Strategy, Task, TaskOrder, TaskStatus
from mabeam_p2p.requests import Answer, Await, Committed, Failed, Found, Read, Refused, Request
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.virtual_time import in_virtual_time

AGENT = AgentId("a@ant")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_SECONDS", "RETRY_SECONDS_MAX"):
        monkeypatch.setattr(tasks_module, name, 0.001)
    monkeypatch.setattr(tasks_module, "SLICE_SECONDS", 0.01)
    monkeypatch.setattr(attachment_module, "RETRY_SECONDS", 0.001)


class PlayedSession:
    """Answers commands as the test says, one after the other; then as done."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.asked: list[AnyCommand] = []
        self._answers = list(answers)

    async def ask(self, command: AnyCommand, _: float) -> Answer:
        self.asked.append(command)
        answer = self._answers.pop(0) if self._answers else Committed(1, 1)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def commit(self, command: AnyCommand, what: str, seconds: float) -> Committed:
        answer = await self.ask(command, seconds)
        if isinstance(answer, Committed):
            return answer
        raise attachment(FakePeer()).error(answer, what)


def asking(peer: FakePeer, played: PlayedSession) -> Tasks:
    tie, session = attachment(peer), cast(Session, played)
    return Tasks(tie, session, Work(tie, session, lambda: AGENT), "all")


def handle(peer: FakePeer, played: PlayedSession) -> TaskHandle:
    return TaskHandle(attachment(peer), cast(Session, played), "t1")


def done() -> Found:
    order = TaskOrder("work", b"", Strategy.RESOURCE_AWARE, (), 0, 0, 1, 0, 0, "")
    task = Task(TaskId("t1"), order, AGENT, 1, 1, TaskStatus.DONE, AGENT, 2)
    return Found(9, 0.0, True, tasks=(replace(task, result=encode_value(5, 100)),))


@in_loop
async def test_result_is_waited_for_over_the_absence_of_the_daemon() -> None:
    peer = FakePeer()
    away = [True]

    def reply(request: Request) -> Reply:
        if away and isinstance(request, Await | Read):
            return DaemonNotRunning("away")
        return done() if isinstance(request, Await) else usual(request)

    peer.reply = reply
    waiting = asyncio.create_task(handle(peer, PlayedSession()).result())
    await eventually(lambda: any(isinstance(one, Read) for one in peer.asked) or waiting.done())
    away.clear()
    assert (await waiting).value == 5


@in_loop
async def test_submitting_is_never_said_to_be_undone_after_maybe() -> None:
    played = PlayedSession(Failed("unknown", ""), NoQuorum("none leads"))
    with pytest.raises(OutcomeUnknown, match="none leads"):
        await asking(FakePeer(), played).submit("work", (), {}, Options())
    certain = PlayedSession(NoQuorum("none leads"))
    with pytest.raises(NoQuorum):
        await asking(FakePeer(), certain).submit("work", (), {}, Options())


@pytest.mark.parametrize("last", [Committed(1, 1), Refused("task_finished", ""), Closed("")])
@in_virtual_time
async def test_the_cancelling_of_a_task_that_nobody_waits_for_is_said_until_it_is_heard(
    last: Answer | Exception,
) -> None:
    played = PlayedSession(NoQuorum(""), Failed("unknown", ""), DaemonNotRunning(""), last)
    peer = FakePeer()
    peer.reply = lambda request: None
    waiting = asyncio.create_task(asking(peer, played).done(handle(peer, played), None))
    await eventually(lambda: peer.asked)
    waiting.cancel()
    await eventually(lambda: len(played.asked) == 4)
    # Long after the last one: it is not said again.
    await asyncio.sleep(60)
    assert [type(command) for command in played.asked] == [CancelTask] * 4


@in_virtual_time
async def test_a_map_that_is_closed_just_before_its_agent_has_its_tasks_cancelled() -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    streams = [agent.map("work", range(3)), agent.map("work", range(3))]
    await eventually(lambda: len(peer.waiting) == 6)
    streams[0].close()
    # The other one is closed by the agent.
    await agent.close()
    said = [type(command) for command in peer.commands()]
    assert said[-7:] == [*[CancelTask] * 6, CloseSession]


@in_virtual_time
async def test_an_agent_whose_cluster_is_away_does_not_wait_long_for_what_it_cancels() -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    stream = agent.map("work", range(3))
    await eventually(lambda: len(peer.waiting) == 3)
    peer.reply = lambda request: None
    began_at = asyncio.get_running_loop().time()
    async with stream:
        pass
    await agent.close()
    assert asyncio.get_running_loop().time() - began_at <= 2 * CLOSE_SECONDS


@in_loop
async def test_a_map_raises_whatever_kept_an_item_from_being_submitted() -> None:
    async def submit(item: object) -> object:
        raise TypeError("must be real number, not str")

    stream = TaskStream(submit, [1, 2], window=2, on_error="return")
    with pytest.raises(TypeError, match="real number"):
        await anext(stream)
