"""A written log of tasks: who offers, who asks, who works."""

from collections.abc import Iterable
from typing import Any

from mabeam_p2p.commands import (
    CancelTask,
    CompleteTask,
    FailTask,
    OfferTasks,
    OpenSession,
    RenewTasks,
    RetryTask,
    SubmitTask,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import TaskChanged, TaskRevoked
from mabeam_p2p.ids import AgentId, SessionId, TaskId
from mabeam_p2p.records import Strategy, Task, TaskError, TaskOrder, TaskStatus, TaskWorker
from mabeam_p2p.requests import Outcome, TaskQuery, WorkersQuery
from tests.machine.written_log import SECOND, WrittenLog, peer_id, reason

LEASE = 6 * SECOND
ERROR = TaskError("ValueError", "no good", "Traceback")
NAME = "work"


def order(
    name: str = NAME,
    *,
    argument: bytes = b"a",
    strategy: Strategy = Strategy.RESOURCE_AWARE,
    requires: Iterable[tuple[str, int]] = (),
    priority: int = 0,
    retries: int = 0,
    backoff: int = SECOND,
    timeout: int = 0,
    attempt_timeout: int = 0,
    key: str = "",
) -> TaskOrder:
    return TaskOrder(
        name,
        argument,
        strategy,
        tuple(requires),
        priority,
        retries,
        backoff,
        timeout,
        attempt_timeout,
        key,
    )


class TaskLog(WrittenLog):
    """Session 100 belongs to the agent that asks."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.asker = SessionId(100)
        self.attach("asker", session=100, peer=100)

    def worker(
        self,
        number: int,
        *,
        slots: int = 1,
        names: tuple[str, ...] = (NAME,),
        epoch: int = 1,
        session: int = 0,
        **capabilities: int,
    ) -> SessionId:
        """Agent a<number> on its own peer, which offers `names`."""
        identity = SessionId(session or number)
        opened = self.apply(
            OpenSession(
                identity,
                self.next(identity),
                AgentId(f"a{number}@p"),
                peer_id(number),
                epoch,
                (),
                True,
                True,
                tuple(sorted(capabilities.items())),
            )
        )
        assert reason(opened) == ""
        assert reason(self.offer(identity, *names, slots=slots)) == ""
        return identity

    def offer(self, session: SessionId, *names: str, slots: int = 1, lease: int = LEASE) -> Outcome:
        return self.apply(OfferTasks(session, self.next(session), names, slots, lease))

    def renew(self, session: SessionId) -> Outcome:
        return self.apply(RenewTasks(session, self.next(session)))

    def submit(self, task: str, asked: TaskOrder | None = None, *, wait: bool = False) -> Outcome:
        command = SubmitTask(
            self.asker, self.next(self.asker), TaskId(task), asked or order(), wait
        )
        return self.apply(command)

    def submitted(self, *tasks: str, wait: bool = False, **asked: Any) -> None:
        for task in tasks:
            assert reason(self.submit(task, order(**asked), wait=wait)) == ""

    def complete(
        self, session: SessionId, task: str, *, token: int | None = None, result: bytes = b"r"
    ) -> Outcome:
        """token: that of the standing lease, if none is given."""
        token = self.task(task).token if token is None else token
        command = CompleteTask(session, self.next(session), TaskId(task), token, result)
        return self.apply(command)

    def fail(
        self,
        session: SessionId,
        task: str,
        *,
        token: int | None = None,
        error: TaskError = ERROR,
        is_final: bool = False,
    ) -> Outcome:
        token = self.task(task).token if token is None else token
        command = FailTask(session, self.next(session), TaskId(task), token, error, is_final)
        return self.apply(command)

    def cancel(self, task: str) -> Outcome:
        return self.apply(CancelTask(self.asker, self.next(self.asker), TaskId(task)))

    def retry(self, task: str) -> Outcome:
        return self.apply(RetryTask(self.asker, self.next(self.asker), TaskId(task)))

    # ---- questions -------------------------------------------------------------------------

    def find(self, task: str) -> Task | None:
        found = self.machine.find(TaskQuery(TaskId(task))).tasks
        return found[0] if found else None

    def task(self, task: str) -> Task:
        found = self.find(task)
        assert found is not None
        return found

    def shown(self, task: str) -> tuple[str, str]:
        """Status and agent, as `leased` and `a1`."""
        found = self.task(task)
        return found.status.name.lower(), found.agent.partition("@")[0]

    def holders(self, *tasks: str) -> list[str]:
        """Whose each task is: leased, or in whose queue."""
        return [self.shown(task)[1] for task in tasks]

    def leased(self, agent: int) -> list[str]:
        """What an agent works on."""
        return [task.id for task in self.machine._parts.tasks.work(AgentId(f"a{agent}@p"), 0)]

    def worker_record(self, agent: int) -> TaskWorker:
        workers = self.machine.find(WorkersQuery()).workers
        return next(one for one in workers if one.agent == f"a{agent}@p")

    def told(self) -> list[tuple[str, str]]:
        """What the last batch told: (task, its status or why it was revoked)."""
        heard: list[tuple[str, str]] = []
        for event in self.events:
            if isinstance(event, TaskChanged):
                heard.append((event.task.id, event.task.status.name.lower()))
            elif isinstance(event, TaskRevoked):
                heard.append((event.task, event.reason))
        return heard


DONE, DEAD, CANCELLED = TaskStatus.DONE, TaskStatus.DEAD, TaskStatus.CANCELLED
