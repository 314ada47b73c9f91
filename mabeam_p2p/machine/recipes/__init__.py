"""Locks, counters and queues: what they share is the line of claims, and the tokens."""

from typing import assert_never

from msgspec import Struct

from mabeam_p2p.commands import (
    AcknowledgeItem,
    AcquireLock,
    AddCounter,
    AnyRecipeCommand,
    PutItem,
    ReleaseLock,
    RenewLock,
    ReturnItem,
    SetCounter,
    TakeItem,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import MachineEvent
from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.core import Deadlines, Entry
from mabeam_p2p.machine.recipes.claims import Tokens
from mabeam_p2p.machine.recipes.counters import Counters
from mabeam_p2p.machine.recipes.locks import Locks, LockState
from mabeam_p2p.machine.recipes.queues import Queues, QueueState
from mabeam_p2p.records import Counter
from mabeam_p2p.requests import Outcome


class RecipesState(Struct, frozen=True, array_like=True):
    """All of them in a snapshot."""

    last_token: int = 0
    locks: tuple[LockState, ...] = ()
    counters: tuple[Counter, ...] = ()
    queues: tuple[QueueState, ...] = ()


class Recipes:
    """Carries each command to the machine that it is for."""

    def __init__(self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent]) -> None:
        self._tokens = Tokens()
        self.locks = Locks(limits, deadlines, self._tokens, events)
        self.counters = Counters(limits, events)
        self.queues = Queues(limits, deadlines, self._tokens, events)

    def apply(self, entry: Entry, agent: AgentId, command: AnyRecipeCommand) -> Outcome:
        match command:
            case AcquireLock():
                return self.locks.acquire(entry, agent, command)
            case ReleaseLock():
                return self.locks.release(entry, agent, command)
            case RenewLock():
                return self.locks.renew(entry, agent, command)
            case AddCounter():
                return self.counters.add(entry, command)
            case SetCounter():
                return self.counters.set(entry, command)
            case PutItem():
                return self.queues.put(entry, command)
            case TakeItem():
                return self.queues.take(entry, agent, command)
            case AcknowledgeItem():
                return self.queues.acknowledge(entry, agent, command)
            case ReturnItem():
                return self.queues.give_back(entry, agent, command)
            case _:
                assert_never(command)

    def depart(self, entry: Entry, agent: AgentId) -> None:
        self.locks.depart(entry, agent)
        self.queues.depart(entry, agent)

    def expire(self, entry: Entry, ticket: int) -> None:
        """The deadline of the claim with this ticket is past."""
        is_known = self.locks.expire(entry, ticket) or self.queues.expire(entry, ticket)
        assert is_known, ticket

    def state(self) -> RecipesState:
        return RecipesState(
            self._tokens.last, self.locks.state(), self.counters.state(), self.queues.state()
        )

    def load(self, state: RecipesState) -> None:
        self._tokens.last = state.last_token
        self.locks.load(state.locks)
        self.counters.load(state.counters)
        self.queues.load(state.queues)
