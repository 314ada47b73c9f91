"""Agents and what they meet and remember with, without `await`."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TypeVar

from mabeam_p2p.api import agent as agents
from mabeam_p2p.api import barriers, journals
from mabeam_p2p.api import scope as scopes
from mabeam_p2p.api.appliers import Applier
from mabeam_p2p.api.barriers import OnDepartureWord
from mabeam_p2p.api.evaluators import Evaluator
from mabeam_p2p.api.holdings import BudgetFacts
from mabeam_p2p.api.mail import MessageHandler
from mabeam_p2p.api.rankings import Ranker
from mabeam_p2p.api.results import (
    AgentFacts,
    ChoiceWord,
    Decision,
    Event,
    Info,
    JournalItem,
    Leader,
    Level,
    Member,
    PeerEvidence,
    PeerStatus,
    Proposal,
    RecordedVote,
    Release,
)
from mabeam_p2p.api.results.mail import Answers, Receipts
from mabeam_p2p.api.results.seats import AmongWord, Election, Seat
from mabeam_p2p.api.scoring import Scorer
from mabeam_p2p.blocking.array_scope import ArrayScope
from mabeam_p2p.blocking.economics import Budget, Ledger, Reputations
from mabeam_p2p.blocking.keys import Keys
from mabeam_p2p.blocking.loop import LOOP, Stream
from mabeam_p2p.blocking.market import AuctionScope
from mabeam_p2p.blocking.recipes import Counter, Lock, Queue, ReadWriteLock
from mabeam_p2p.blocking.seats import Leadership
from mabeam_p2p.blocking.tasks import TaskScope
from mabeam_p2p.blocking.values import Parameters, Variables
from mabeam_p2p.records import Policy

A = TypeVar("A", bound=Applier)
E = TypeVar("E", bound=Evaluator)
H = TypeVar("H", bound=MessageHandler)
R = TypeVar("R", bound=Ranker)
S = TypeVar("S", bound=Scorer)


class Barrier:
    def __init__(self, own: barriers.Barrier) -> None:
        self.name = own.name
        self.parties = own.parties
        self.timeout = own.timeout
        self.on_departure = own.on_departure
        self._own = own

    def wait(self, timeout: float | None = None) -> Release:
        return LOOP.run(self._own.wait(timeout))

    def __enter__(self) -> Release:
        return LOOP.run(self._own.__aenter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOOP.run(self._own.__aexit__(kind, error, trace))


class Journal:
    def __init__(self, own: journals.Journal) -> None:
        self.name = own.name
        self.capacity = own.capacity
        self._own = own

    def append(self, value: object, *, timeout: float | None = None) -> int:
        return LOOP.run(self._own.append(value, timeout=timeout))

    def read(
        self, first: int = 1, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[JournalItem, ...]:
        return LOOP.run(self._own.read(first, level=level, timeout=timeout))


class Scope(TaskScope, AuctionScope, ArrayScope):
    """What Agent and Group share."""

    def __init__(self, own: scopes.Scope) -> None:
        TaskScope.__init__(self, own)
        AuctionScope.__init__(self, own)
        self._scope = own
        self.ledger = Ledger(own.ledger)
        self.reputation = Reputations(own.reputation)

    def agents(self) -> tuple[AgentFacts, ...]:
        return LOOP.call(self._scope.agents)

    def read_agents(self, *, timeout: float | None = None) -> tuple[AgentFacts, ...]:
        return LOOP.run(self._scope.read_agents(timeout=timeout))

    def on_proposal(self, pattern: str, *, timeout: float | None = None) -> Callable[[E], E]:
        return lambda evaluator: LOOP.call(
            lambda: self._scope.on_proposal(pattern, timeout=timeout)(evaluator)
        )

    def on_parameter(self, pattern: str) -> Callable[[A], A]:
        return lambda applier: LOOP.call(lambda: self._scope.on_parameter(pattern)(applier))

    def propose(
        self,
        parameter: str,
        value: object,
        *,
        rationale: str = "",
        metadata: Mapping[str, object] | None = None,
        timeout: float | None = None,
        base_version: int | None = None,
        policy: Policy | None = None,
        guard: float | None = None,
        id: str | None = None,
    ) -> Decision:
        return LOOP.run(
            self._scope.propose(
                parameter,
                value,
                rationale=rationale,
                metadata=metadata,
                timeout=timeout,
                base_version=base_version,
                policy=policy,
                guard=guard,
                id=id,
            )
        )

    def vote(
        self, proposal: str, choice: ChoiceWord, *, confidence: float = 1.0, rationale: str = ""
    ) -> RecordedVote:
        return LOOP.run(
            self._scope.vote(proposal, choice, confidence=confidence, rationale=rationale)
        )

    def proposals(self) -> tuple[Proposal, ...]:
        return LOOP.run(self._scope.proposals())

    def explain(self, proposal: str) -> Proposal:
        return LOOP.run(self._scope.explain(proposal))

    def elect(
        self,
        seat: str,
        *,
        timeout: float | None = None,
        challenge: bool = False,
        among: AmongWord = "eligible",
        weights: Mapping[str, float] | None = None,
    ) -> Seat:
        return LOOP.run(
            self._scope.elect(
                seat, timeout=timeout, challenge=challenge, among=among, weights=weights
            )
        )

    def leadership(
        self,
        seat: str,
        *,
        timeout: float | None = None,
        among: AmongWord = "eligible",
        weights: Mapping[str, float] | None = None,
    ) -> Leadership:
        return Leadership(
            LOOP.call(
                lambda: self._scope.leadership(seat, timeout=timeout, among=among, weights=weights)
            )
        )

    def seat(self, seat: str) -> Seat:
        return LOOP.call(lambda: self._scope.seat(seat))

    def resign(self, seat: str, *, timeout: float | None = None) -> None:
        LOOP.run(self._scope.resign(seat, timeout=timeout))

    def stand_down(self, seat: str, *, timeout: float | None = None) -> None:
        LOOP.run(self._scope.stand_down(seat, timeout=timeout))

    def election(self, seat: str) -> Election | None:
        return LOOP.run(self._scope.election(seat))

    def on_election(self, pattern: str) -> Callable[[R], R]:
        return lambda ranker: LOOP.call(lambda: self._scope.on_election(pattern)(ranker))

    def on_score(self, seat: str | None = None, *, watch: str = "*") -> Callable[[S], S]:
        return lambda scorer: LOOP.call(lambda: self._scope.on_score(seat, watch=watch)(scorer))

    def publish_score(
        self,
        scores: Mapping[str, float],
        *,
        seat: str | None = None,
        timeout: float | None = None,
    ) -> None:
        LOOP.run(self._scope.publish_score(scores, seat=seat, timeout=timeout))

    def on_message(self, pattern: str) -> Callable[[H], H]:
        return lambda handler: LOOP.call(lambda: self._scope.on_message(pattern)(handler))

    def shout(self, topic: str, value: object, *, timeout: float | None = None) -> Receipts:
        return LOOP.run(self._scope.shout(topic, value, timeout=timeout))

    def query(self, topic: str, value: object, *, timeout: float | None = None) -> Answers:
        return LOOP.run(self._scope.query(topic, value, timeout=timeout))

    def barrier(
        self,
        name: str,
        *,
        parties: int,
        timeout: float | None = None,
        on_departure: OnDepartureWord = "break",
    ) -> Barrier:
        own = self._scope.barrier(name, parties=parties, timeout=timeout, on_departure=on_departure)
        return Barrier(own)

    def journal(self, name: str, *, capacity: int | None = None) -> Journal:
        return Journal(self._scope.journal(name, capacity=capacity))

    def budget(self, name: str) -> Budget:
        return Budget(self._scope.budget(name))

    def lock(self, name: str, *, timeout: float | None = None) -> Lock:
        return Lock(self._scope.lock(name, timeout=timeout))

    def semaphore(
        self, name: str, limit: int, *, permits: int = 1, timeout: float | None = None
    ) -> Lock:
        return Lock(self._scope.semaphore(name, limit, permits=permits, timeout=timeout))

    def read_write_lock(self, name: str, *, timeout: float | None = None) -> ReadWriteLock:
        return ReadWriteLock(self._scope.read_write_lock(name, timeout=timeout))

    def lease(self, name: str, seconds: float, *, timeout: float | None = None) -> Lock:
        return Lock(self._scope.lease(name, seconds, timeout=timeout))

    def counter(self, name: str) -> Counter:
        return Counter(self._scope.counter(name))

    def queue(self, name: str) -> Queue:
        return Queue(self._scope.queue(name))

    def budgets(
        self, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[BudgetFacts, ...]:
        return LOOP.run(self._scope.budgets(level=level, timeout=timeout))


class Group(Scope):
    def __init__(self, own: agents.Group) -> None:
        super().__init__(own)
        self.parameters = Parameters(own.parameters)
        self.variables = Variables(own.variables)
        self._own = own

    @property
    def name(self) -> str:
        return self._own.name


class Agent(Scope):
    def __init__(self, own: agents.Agent) -> None:
        super().__init__(own)
        self.capabilities = own.capabilities
        self.vote_manually = own.vote_manually
        self.parameters = Parameters(own.parameters)
        self.variables = Variables(own.variables)
        self._own = own

    @property
    def keys(self) -> Keys:
        return Keys(self._own.keys)

    @property
    def name(self) -> str:
        return self._own.name

    @property
    def id(self) -> str:
        return self._own.id

    @property
    def peer(self) -> str:
        return self._own.peer

    @property
    def cluster(self) -> str:
        return self._own.cluster

    @property
    def leader(self) -> Leader | None:
        return self._own.leader

    @property
    def is_closed(self) -> bool:
        return self._own.is_closed

    def members(self) -> tuple[Member, ...]:
        return LOOP.call(self._own.members)

    def info(self) -> Info:
        return LOOP.call(self._own.info)

    def status(self) -> PeerStatus:
        return LOOP.run(self._own.status())

    def why(self, peer: str) -> PeerEvidence:
        return LOOP.run(self._own.why(peer))

    def promote_voter(self, peer: str, *, index: int = 0, timeout: float | None = None) -> int:
        return LOOP.run(self._own.promote_voter(peer, index=index, timeout=timeout))

    def remove_voter(self, peer: str, *, index: int = 0, timeout: float | None = None) -> int:
        return LOOP.run(self._own.remove_voter(peer, index=index, timeout=timeout))

    def transfer_leadership(
        self, peer: str | None = None, *, timeout: float | None = None
    ) -> Leader:
        return LOOP.run(self._own.transfer_leadership(peer, timeout=timeout))

    def wait_for_members(self, count: int, *, timeout: float | None = None) -> tuple[Member, ...]:
        return LOOP.run(self._own.wait_for_members(count, timeout=timeout))

    def wait_for_leader(self, *, timeout: float | None = None) -> Leader:
        return LOOP.run(self._own.wait_for_leader(timeout=timeout))

    def events(self, *patterns: str) -> Stream[Event]:
        return Stream(LOOP.call(lambda: self._own.events(*patterns)))

    @property
    def groups(self) -> tuple[str, ...]:
        return self._own.groups

    def whisper(
        self, agent: str, topic: str, value: object, *, timeout: float | None = None
    ) -> None:
        LOOP.run(self._own.whisper(agent, topic, value, timeout=timeout))

    def join_group(self, name: str, *, timeout: float | None = None) -> Group:
        return Group(LOOP.run(self._own.join_group(name, timeout=timeout)))

    def leave_group(self, name: str, *, timeout: float | None = None) -> None:
        LOOP.run(self._own.leave_group(name, timeout=timeout))

    def describe(self, key: str, text: str, *, timeout: float | None = None) -> None:
        LOOP.run(self._own.describe(key, text, timeout=timeout))

    def group(self, name: str) -> Group:
        return Group(self._own.group(name))

    def close(self) -> None:
        LOOP.run(self._own.close())

    def __enter__(self) -> "Agent":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
