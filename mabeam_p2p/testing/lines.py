"""What the machine makes of locks and queues, judged from commands, outcomes and events.

locks     never more permits held than there are, so never two who hold one alone; granted in turn
tokens    grow strictly, over all names
queues    an item is put once, held by one, handed out in order, and gone for good when acknowledged
owners    who has departed holds and waits for nothing
waiting   nobody waits for what is free, by what the machine says when a batch has been applied
"""

from mabeam_p2p.commands import AnyRecipeCommand, Command, PutItem
from mabeam_p2p.events import (
    AgentJoined,
    AgentLeft,
    ItemTaken,
    LockEnded,
    LockGranted,
    MachineEvent,
    TakeEnded,
)
from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import Committed, LockQuery, Outcome, QueueQuery
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.line_hints import LineHints


class LineJudge:
    """Hears every applied batch: commands with outcomes first, then the events."""

    def __init__(self) -> None:
        self.hints = LineHints()
        self.last_token = 0
        self.held: dict[str, dict[int, Claim]] = {}
        """Of each lock, by ticket."""
        self.ready: dict[str, dict[int, None]] = {}
        """Of each queue, the positions of the items that nobody has."""
        self.taken: dict[str, dict[int, Claim]] = {}
        """Of each queue, by ticket."""
        self._turns: dict[str, int] = {}
        """The last ticket that was served, of each lock and queue."""
        self._live: dict[AgentId, int] = {}
        """Where each agent's session has begun."""
        self._owed: dict[int, Claim] = {}
        """Claims of agents that have left in this batch, by ticket."""
        self._is_touched = False

    def took_effect(self, command: Command, outcome: Outcome) -> None:
        self.hints.took_effect(command, outcome)
        self._is_touched = self._is_touched or isinstance(command, AnyRecipeCommand)
        if isinstance(command, PutItem) and isinstance(outcome, Committed):
            # Once: a copy of the command is answered as the first one was.
            ready = self.ready.setdefault(command.queue, {})
            if self._turns.setdefault(f"put {command.queue}", 0) < outcome.index:
                self._turns[f"put {command.queue}"] = outcome.index
                ready[outcome.index] = None

    def happened(self, event: MachineEvent) -> None:
        self.hints.happened(event)
        lines = LockGranted | LockEnded | ItemTaken | TakeEnded | AgentLeft
        self._is_touched = self._is_touched or isinstance(event, lines)
        match event:
            case LockGranted(lock=name, limit=limit, claim=claim):
                self._granted(f"lock {name}", claim)
                holders = self.held.setdefault(name, {})
                holders[claim.ticket] = claim
                if sum(holder.permits for holder in holders.values()) > limit:
                    raise Violation("locks", f"{limit} permits of {name}, held by {holders}")
            case ItemTaken(queue=name, claim=claim):
                self._granted(f"queue {name}", claim)
                self._handed_out(name, claim)
            case LockEnded(lock=name, claim=claim):
                self._ended(self.held.setdefault(name, {}), claim)
            case TakeEnded(queue=name, claim=claim, reason=reason):
                self._ended(self.taken.setdefault(name, {}), claim)
                if claim.item is not None and reason != "acknowledged":
                    self.ready[name][claim.item.position] = None
            case AgentJoined(agent=agent):
                self._live[agent.id] = agent.joined_index
            case AgentLeft(agent=agent):
                self._left(agent.id)
            case _:
                pass

    def batch_ended(self) -> None:
        """All events of a batch were heard."""
        if self._owed:
            raise Violation("owners", f"they have left and still hold: {self._owed}")

    def judge_waiting(self, machine: Machine) -> None:
        """After the events of a batch. The head of a line is served as soon as it can be: whoever
        waits is woken by that alone."""
        if not self._is_touched:
            return
        self._is_touched = False
        for lock in machine.find(LockQuery("")).locks:
            held = sum(claim.permits for claim in lock.claims if claim.token)
            if held != sum(claim.permits for claim in self.held.get(lock.name, {}).values()):
                raise Violation("locks", f"{self.held.get(lock.name)} were told to hold {lock}")
            first = next((claim for claim in lock.claims if not claim.token), None)
            if first is not None and held + first.permits <= lock.limit:
                raise Violation("waiting", f"{first} waits for what is free: {lock}")
        for queue in machine.find(QueueQuery("")).queues:
            if queue.ready_count != len(self.ready.get(queue.name, {})):
                raise Violation(
                    "queues", f"{self.ready.get(queue.name)} are there, told is {queue}"
                )
            if queue.ready_count and queue.waiting_count:
                raise Violation("waiting", f"an item that is there is waited for: {queue}")

    def _granted(self, what: str, claim: Claim) -> None:
        if claim.token <= self.last_token:
            raise Violation("tokens", f"{what}: behind {self.last_token}: {claim}")
        self.last_token = claim.token
        if claim.ticket <= self._turns.get(what, 0):
            raise Violation("locks", f"{what}: {claim} comes behind {self._turns[what]}")
        self._turns[what] = claim.ticket
        if self._live.get(claim.agent, claim.ticket) >= claim.ticket:
            raise Violation("owners", f"{what}: of a session that is not there: {claim}")

    def _handed_out(self, queue: str, claim: Claim) -> None:
        assert claim.item is not None
        position, ready = claim.item.position, self.ready.get(queue, {})
        if position not in ready:
            raise Violation("queues", f"{queue}: not there, held or gone: {claim}")
        if position != min(ready):
            raise Violation("queues", f"{queue}: {min(ready)} is before {claim}")
        del ready[position]
        self.taken.setdefault(queue, {})[claim.ticket] = claim

    def _ended(self, granted: dict[int, Claim], claim: Claim) -> None:
        known = granted.pop(claim.ticket, None)
        if (known is None) != (claim.token == 0) or (known and known.token != claim.token):
            raise Violation("locks", f"{claim} ends, {known} was granted")
        self._owed.pop(claim.ticket, None)

    def _left(self, agent: AgentId) -> None:
        self._live.pop(agent, None)
        for lines in (self.held, self.taken):
            for claims in lines.values():
                self._owed.update((c.ticket, c) for c in claims.values() if c.agent == agent)
