"""What the machine makes of tasks, judged from commands, outcomes and events alone.

one result    a task has one accepted result, given by who held it, with its token
one lease     never two at a time; tokens of one task only grow
offered       leased to an agent that offers the name, within its slots and capabilities
no orphans    no lease outlives its agent's session, nor its agent's silence
"""

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyCommand,
    CompleteTask,
    FailTask,
    OfferTasks,
    OpenSession,
    RenewTasks,
)
from mabeam_p2p.events import AgentLeft, MachineEvent, TaskChanged, TaskRevoked
from mabeam_p2p.ids import AgentId, SessionId, TaskId
from mabeam_p2p.records import Task, TaskStatus
from mabeam_p2p.requests import Committed, Outcome
from mabeam_p2p.testing.checkers import Violation

RULE = "tasks"
FINAL = (TaskStatus.DONE, TaskStatus.CANCELLED)


class _Offer(Struct, frozen=True):
    """What an agent has in a session, and offers there."""

    session: SessionId
    capacities: dict[str, int]
    names: tuple[str, ...] = ()
    slots: int = 0
    lease: int = 0


class TaskJudge:
    """Hears every applied batch: commands with outcomes first, then the events, then its clock.

    So the order of commands and events within a batch is not known: there a lease may be one of
    before or behind an offer.
    """

    def __init__(self) -> None:
        self.held: dict[TaskId, Task] = {}
        """Standing leases."""
        self.results: dict[TaskId, tuple[AgentId, int]] = {}
        """Who gave the accepted result, under which token."""
        self.tasks: dict[TaskId, Task] = {}
        """As last told."""
        self._tokens: dict[TaskId, int] = {}
        self._sessions: dict[SessionId, AgentId] = {}
        self._live: dict[AgentId, SessionId] = {}
        self._offers: dict[AgentId, list[_Offer]] = {}
        """Those that held within the batch, the last one now."""
        self._heard: dict[AgentId, int] = {}
        self._applied: dict[tuple[int, int], None] = {}
        """A command that comes again has no effect."""

    def took_effect(self, command: AnyCommand, outcome: Outcome, clock: int) -> None:
        """clock: of the batch."""
        if isinstance(command, OpenSession):
            if isinstance(outcome, Committed) and command.session not in self._sessions:
                self._sessions[command.session] = self._opened(command)
            return
        agent = self._sessions.get(command.session)
        place = command.session, command.sequence
        if agent is None or place in self._applied:
            return
        self._applied[place] = None
        if isinstance(command, OfferTasks | RenewTasks | CompleteTask | FailTask):
            self._heard[agent] = clock
        if not isinstance(outcome, Committed):
            return
        if isinstance(command, OfferTasks):
            offers = self._offers[agent]
            names, slots, lease = command.names, command.slots, command.lease
            offers.append(replace(offers[-1], names=names, slots=slots, lease=lease))
        elif isinstance(command, CompleteTask):
            given = self.results.setdefault(command.task, (agent, command.token))
            if given != (agent, command.token):
                raise Violation(RULE, f"{command.task} has results by {given} and {agent}")

    def happened(self, event: MachineEvent) -> None:
        if isinstance(event, TaskChanged):
            self._changed(event.task)
        elif isinstance(event, TaskRevoked):
            held = self.held.pop(event.task, None)
            if held is None or (held.agent, held.token) != (event.agent, event.token):
                raise Violation(RULE, f"{event} ends no lease, but {held}")
        elif isinstance(event, AgentLeft) and self._live.get(event.agent.id) == event.agent.session:
            del self._live[event.agent.id]

    def passed(self, clock: int) -> None:
        """All of a batch was heard."""
        for agent, offers in tuple(self._offers.items()):
            if agent in self._live:
                self._offers[agent] = offers[-1:]
            else:
                del self._offers[agent]
        begun: dict[AgentId, int] = {}
        for task in self.held.values():
            first = begun.get(task.agent, task.leased_clock)
            begun[task.agent] = min(first, task.leased_clock)
        for agent, leased in begun.items():
            if agent not in self._live:
                raise Violation(RULE, f"{agent} has gone and still holds a lease")
            since = max(self._heard.get(agent, 0), leased)
            if since + self._offers[agent][-1].lease <= clock:
                raise Violation(RULE, f"{agent} is silent since {since} and holds a lease")

    def _opened(self, command: OpenSession) -> AgentId:
        offer = _Offer(command.session, dict(command.capabilities))
        self._offers.setdefault(command.agent, []).append(offer)
        self._live[command.agent] = command.session
        return command.agent

    def _changed(self, task: Task) -> None:
        before = self.tasks.get(task.id)
        if before is not None and before.submitted_index != task.submitted_index:
            # It was forgotten, and its id used anew.
            before = None
            self.results.pop(task.id, None)
        if before is not None and before.status in FINAL:
            raise Violation(RULE, f"{before.status.name} is final: {task}")
        self.tasks[task.id] = task
        if task.status is TaskStatus.LEASED:
            self._leased(task)
            return
        held = self.held.pop(task.id, None)
        if task.status is TaskStatus.DONE:
            result = self.results.get(task.id)
            if held is None or result != (held.agent, held.token):
                raise Violation(RULE, f"done under no standing lease: {task}, {held}, {result}")
        elif held is not None:
            raise Violation(RULE, f"its lease was not ended: {task}")

    def _leased(self, task: Task) -> None:
        if task.id in self.held:
            raise Violation(RULE, f"leased twice: {self.held[task.id]} and {task}")
        if task.token <= self._tokens.get(task.id, 0):
            raise Violation(RULE, f"the token has not grown: {task}")
        self._tokens[task.id] = task.token
        self.held[task.id] = task
        held = [one for one in self.held.values() if one.agent == task.agent]
        faults = [_fault(offer, task, held) for offer in self._offers.get(task.agent, ())]
        if all(faults):
            raise Violation(RULE, f"{task.agent} {faults or 'is not there'}: {task}")


def _fault(offer: _Offer, task: Task, held: list[Task]) -> str:
    """Why the agent may not hold `task` beside what it holds; empty: it may."""
    if task.order.name not in offer.names:
        return "does not offer it"
    if len(held) > offer.slots:
        return f"has {offer.slots} slots and holds {len(held)}"
    for what, _ in task.order.requires:
        taken = sum(dict(one.order.requires).get(what, 0) for one in held)
        if what not in offer.capacities or taken > offer.capacities[what]:
            return f"has too little {what} for {taken}"
    return ""
