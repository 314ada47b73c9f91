"""Simulated agents that offer, submit and do tasks, well and badly.

Each does something at every turn; what, and how badly, is drawn from a stream of its own, so that
the other agents' draws stay what they are. What a task comes to is a function of its id, so that a
result can be judged.
"""

from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyCommand,
    CancelTask,
    CompleteTask,
    FailTask,
    OfferTasks,
    OpenSession,
    RenewTasks,
    RetryTask,
    SubmitTask,
)
from mabeam_p2p.ids import AgentId, SessionId, TaskId
from mabeam_p2p.records import Strategy, Task, TaskError, TaskOrder, TaskStatus
from mabeam_p2p.requests import Answer, Await, Committed, Found, Refused, TaskQuery, WorkQuery
from mabeam_p2p.testing.agents import SimulatedAgent, Workload
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import SECOND

NAMES = ("sum", "train", "sort")
OPEN_MAX = 8
"""Tasks of one agent that are under way."""

PENDING_MAX = 10
"""Requests of one agent that are under way: then it waits for some to end."""

LEASES = (SECOND // 2, 3 * SECOND)

CAPABILITIES = ((("gpu", 2), ("linux", 1)), (), (("gpu", 1),))
"""Of agents, by the number of their host: some have what others lack."""

REQUIRED = ((), (), (), (("gpu", 1),), (("gpu", 2),), (("gpu", 1), ("linux", 0)), (("linux", 0),))
"""By tasks. One may want all that an agent has, so that others of its kind must wait."""


def result_of(task: TaskId) -> bytes:
    """What the task comes to, whoever does it."""
    return task.encode()[-8:]


class TaskAgent(SimulatedAgent):
    """One that works and asks for work."""

    def __init__(self, workload: Workload, host: Host) -> None:
        super().__init__(workload, host, 0)
        self.name = AgentId(f"worker@peer-{host.letter.lower()}")
        self._lots = workload.simulator.stream(f"tasks {host.letter}")
        self._offered_in = SessionId(0)
        """The session in which something was offered last."""
        self._lease = 0
        self._seen_index = 0
        self._is_asking = False
        self._renewed_at = 0
        self._held: dict[tuple[TaskId, int], int] = {}
        """Leases, with the time when each will be done."""
        self._asked: dict[TaskId, None] = {}
        self._submitted: list[TaskId] = []
        """The last ones, of earlier processes as well."""

    def _opening(self, number: int) -> OpenSession:
        capabilities = CAPABILITIES[self.host.number % len(CAPABILITIES)]
        # Not asked in ballots: it would keep them from being decided.
        opening = super()._opening(number)
        return replace(opening, capabilities=capabilities, participates=False)

    def begin(self) -> None:
        super().begin()
        self._is_asking = False
        self._asked.clear()
        self.later_step()

    def _next(self, session: SessionId) -> None:
        """Nothing: all is done at the turns."""

    # ---- turns -------------------------------------------------------------------------------

    def later_step(self) -> None:
        pause = 1 + int(self._lots.expovariate(1.0) * max(20_000, self._pause))
        self._simulator.after(pause, self._if_alive, self._life, self._step)

    @property
    def _pause(self) -> int:
        return self._workload.weather.agents.think

    def _step(self) -> None:
        self.later_step()
        if not self._is_open or self.pending >= PENDING_MAX:
            return
        if self._offered_in != self.session:
            self._offer()
            return
        self._look_for_work()
        self._finish()
        if self._held and self._lots.random() < 0.9:
            self._renew()
        draw = self._lots.random()
        if draw < 0.5 and len(self._asked) < OPEN_MAX:
            self.submit_task()
        elif draw < 0.53:
            self._offer()
        elif draw < 0.58 and self._asked:
            self._say(CancelTask(self.session, self.number(), self._one_asked()))
        elif draw < 0.6 and self._asked:
            self._say(RetryTask(self.session, self.number(), self._one_asked()))

    def _say(self, command: AnyCommand) -> None:
        self.submit(command, lambda answer: None)

    def _one_asked(self) -> TaskId:
        return self._lots.choice(list(self._asked))

    # ---- working -----------------------------------------------------------------------------

    def _offer(self) -> None:
        if self._offered_in != self.session:
            self._seen_index = 0
            self._held.clear()
        self._offered_in = self.session
        self._lease = self._lots.choice(LEASES)
        names = tuple(name for name in NAMES if self._lots.random() < 0.8)
        slots = self._lots.choice((0, 1, 2, 5))
        self._say(OfferTasks(self.session, self.number(), names, slots, self._lease))

    def _look_for_work(self) -> None:
        if self._is_asking:
            return
        self._is_asking = True

        def answered(answer: Answer) -> None:
            self._is_asking = False
            if isinstance(answer, Found) and answer.workers:
                self._seen_index = answer.workers[0].changed_index
                self._take_in(answer.tasks)

        request = Await(WorkQuery(self.name, self._seen_index), self.wait())
        self.ask(request, answered)

    def _take_in(self, tasks: tuple[Task, ...]) -> None:
        now = self._simulator.now
        standing = {(task.id, task.token): task for task in tasks}
        # Some go on with what was taken from them: their results must be refused.
        for lease in [lease for lease in self._held if lease not in standing]:
            if self._lots.random() < 0.5:
                del self._held[lease]
        for lease, task in standing.items():
            if lease not in self._held:
                if task.order.argument != result_of(task.id) and task.token > self._seen_index:
                    raise Violation("tasks", f"{self.name} got another argument: {task}")
                duration = self._lots.choice((1_000, 50_000, 50_000, SECOND, 20 * SECOND))
                self._held[lease] = now + duration

    def _finish(self) -> None:
        now = self._simulator.now
        for task, token in [lease for lease, due in self._held.items() if due <= now]:
            del self._held[task, token]
            draw = self._lots.random()
            if draw < 0.75:
                result = result_of(task)
                self._say(CompleteTask(self.session, self.number(), task, token, result))
            elif draw < 0.95:
                error = TaskError("ValueError", "drawn", "")
                is_final = draw > 0.93
                self._say(FailTask(self.session, self.number(), task, token, error, is_final))
            # Else it is forgotten.

    def _renew(self) -> None:
        if self._simulator.now - self._renewed_at >= self._lease // 3:
            self._renewed_at = self._simulator.now
            self._say(RenewTasks(self.session, self.number()))

    # ---- asking ------------------------------------------------------------------------------

    def submit_task(self) -> None:
        lots = self._lots
        task = TaskId(f"{self.name} {lots.getrandbits(40):x}")
        order = TaskOrder(
            lots.choice(NAMES),
            result_of(task),
            lots.choice(list(Strategy)),
            lots.choice(REQUIRED),
            lots.choice((0, 0, 1)),
            lots.choice((0, 2)),
            lots.choice((1_000, SECOND)),
            lots.choice((0, 5 * SECOND)),
            lots.choice((0, SECOND)),
            lots.choice(("", "key")),
        )
        command = SubmitTask(self.session, self.number(), task, order, lots.random() < 0.7)
        self._asked[task] = None

        def submitted(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._submitted = [*self._submitted[-7:], task]
                self.ask(Await(TaskQuery(task), self.wait()), ended)
            else:
                self._asked.pop(task, None)
                if isinstance(answer, Refused) and answer.reason == "limit" and self._submitted:
                    # Among those that nobody can do, and that would stay.
                    known = lots.choice(self._submitted)
                    self._say(CancelTask(self.session, self.number(), known))

        def ended(answer: Answer) -> None:
            self._asked.pop(task, None)
            if isinstance(answer, Found):
                for told in answer.tasks:
                    self._judge(told)

        self.submit(command, submitted)

    def _judge(self, told: Task) -> None:
        """What the submitter was told is what the log has made."""
        if told.status is TaskStatus.DONE:
            giver = self._workload.outcomes.tasks.results.get(told.id)
            if told.result != result_of(told.id) or giver != (told.agent, told.token):
                raise Violation("tasks", f"{self.name} is told {told}, done by {giver}")
        elif told.status in (TaskStatus.QUEUED, TaskStatus.LEASED):
            raise Violation("tasks", f"{self.name} is told that this is the end: {told}")
