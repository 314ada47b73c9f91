"""The machines of one log, held together: made, told of time and departures, stored and loaded.

Here alone machines meet, and in `machine` and `questions`, which see them through here. Whatever
one needs of another it is given as a function, or as a protocol of `core`.
"""

from typing import Protocol, assert_never

from msgspec import Struct

from mabeam_p2p.config import Limits
from mabeam_p2p.events import MachineEvent
from mabeam_p2p.ids import (
    AgentId,
    AuctionId,
    ProposalId,
)
from mabeam_p2p.machine.auctions import Auctions, AuctionsState
from mabeam_p2p.machine.barriers import Barriers, BarriersState
from mabeam_p2p.machine.budgets import Budgets, BudgetsState
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.machine.journals import Journals
from mabeam_p2p.machine.ledger import Ledger, LedgerState
from mabeam_p2p.machine.parameters import Parameters, ParametersState
from mabeam_p2p.machine.proposals import Proposals, ProposalsState
from mabeam_p2p.machine.recipes import Recipes, RecipesState
from mabeam_p2p.machine.reputations import Reputations, ReputationsState
from mabeam_p2p.machine.seats import Seats, SeatsState
from mabeam_p2p.machine.sessions import Session, Sessions, SessionsState
from mabeam_p2p.machine.tasks import Tasks, TasksState
from mabeam_p2p.records import Journal


class Departures(Protocol):
    def depart(self, entry: Entry, agent: AgentId) -> None:
        """The session of `agent` has ended here: release what it held."""
        ...


class PartsState(Struct, frozen=True, array_like=True):
    """Of a snapshot, what the machines hold."""

    sessions: SessionsState
    parameters: ParametersState
    proposals: ProposalsState
    barriers: BarriersState
    journals: tuple[Journal, ...]
    ledger: LedgerState
    budgets: BudgetsState
    reputations: ReputationsState
    seats: SeatsState
    recipes: RecipesState
    tasks: TasksState
    auctions: AuctionsState


class Parts:
    """See the module."""

    def __init__(self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent]) -> None:
        self.sessions = Sessions(limits, deadlines, events)
        self.parameters = Parameters(limits, deadlines, events)
        self.proposals = Proposals(
            limits, deadlines, events, self.parameters, self.sessions.is_here
        )
        self.barriers = Barriers(limits, deadlines, events, self.sessions.joined_index)
        self.journals = Journals(limits, events)
        self.reputations = Reputations(limits, events)
        self.ledger = Ledger(limits, deadlines, events, self.reputations)
        self.budgets = Budgets(limits, deadlines, events)
        self.auctions = Auctions(limits, deadlines, events, self.ledger, self.reputations)
        self.recipes = Recipes(limits, deadlines, events)
        self.tasks = Tasks(limits, deadlines, events, self.reputations)
        self.seats = Seats(limits, deadlines, events, self.sessions.in_group)
        self._holding: tuple[Departures, ...] = (
            self.barriers,
            self.proposals,
            self.parameters,
            self.budgets,
            self.recipes,
            self.tasks,
            self.auctions,
        )

    def expire(self, entry: Entry, kind: DeadlineKind, name: str) -> None:
        """The deadline of that kind and name is past."""
        match kind:
            case DeadlineKind.PROPOSAL:
                self.proposals.expire(entry, ProposalId(name))
            case DeadlineKind.BARRIER:
                self.barriers.expire(entry, name)
            case DeadlineKind.GUARD:
                self.parameters.expire(entry, name)
            case DeadlineKind.SEAT:
                self.seats.expire(entry, name)
            case DeadlineKind.SESSION:
                session = self.sessions.lapsed(name)
                if session is not None:
                    self.end_session(entry, session, "lease expired")
            case DeadlineKind.LEDGER:
                self.ledger.expire(entry, name)
            case DeadlineKind.BUDGET:
                self.budgets.expire(entry, name)
            case DeadlineKind.LOCK:
                self.recipes.expire(entry, int(name))
            case DeadlineKind.TASK:
                self.tasks.expire(entry, name)
            case DeadlineKind.AUCTION:
                self.auctions.expire(entry, AuctionId(name))
            case _:
                assert_never(kind)

    def end_session(self, entry: Entry, session: Session, reason: str) -> None:
        """Release what the session held, at this index. Votes and money stay."""
        self.sessions.end(entry, session, reason)
        for machine in self._holding:
            machine.depart(entry, session.agent.id)
        self.seats.depart(entry, session.agent.id, reason)

    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many things each machine holds open, by the things' name."""
        recipes = self.recipes
        return (
            ("agents", self.sessions.count),
            ("parameters", self.parameters.count),
            ("open_proposals", self.proposals.count),
            ("open_barriers", self.barriers.count),
            ("journals", self.journals.count),
            ("accounts", self.ledger.count),
            ("budgets", self.budgets.count),
            ("seats", len(self.seats.seats(""))),
            ("locks", recipes.locks.count),
            ("counters", recipes.counters.count),
            ("queues", recipes.queues.count),
            ("open_tasks", self.tasks.count),
            ("open_auctions", self.auctions.count),
        )

    def state(self) -> PartsState:
        return PartsState(
            sessions=self.sessions.state(),
            parameters=self.parameters.state(),
            proposals=self.proposals.state(),
            barriers=self.barriers.state(),
            journals=self.journals.state(),
            ledger=self.ledger.state(),
            budgets=self.budgets.state(),
            reputations=self.reputations.state(),
            seats=self.seats.state(),
            recipes=self.recipes.state(),
            tasks=self.tasks.state(),
            auctions=self.auctions.state(),
        )

    def load(self, state: PartsState) -> None:
        self.sessions.load(state.sessions)
        self.parameters.load(state.parameters)
        self.proposals.load(state.proposals)
        self.barriers.load(state.barriers)
        self.journals.load(state.journals)
        self.ledger.load(state.ledger)
        self.budgets.load(state.budgets)
        self.reputations.load(state.reputations)
        self.seats.load(state.seats)
        self.recipes.load(state.recipes)
        self.tasks.load(state.tasks)
        self.auctions.load(state.auctions)
