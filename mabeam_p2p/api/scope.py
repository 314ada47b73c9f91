"""What agents do together, within one group: the primitives, and how their names are scoped."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from mabeam_p2p.api.appliers import Applier
from mabeam_p2p.api.array_scope import ArrayScope
from mabeam_p2p.api.auction_scope import AuctionScope
from mabeam_p2p.api.ballots import Ballots
from mabeam_p2p.api.barriers import Barrier, OnDepartureWord
from mabeam_p2p.api.budgets import Budget, budgets_of
from mabeam_p2p.api.counters import Counter
from mabeam_p2p.api.evaluators import Evaluator
from mabeam_p2p.api.holdings import BudgetFacts
from mabeam_p2p.api.journals import Journal
from mabeam_p2p.api.leadership import Leadership
from mabeam_p2p.api.ledger import Ledger
from mabeam_p2p.api.locks import Lock, ReadWriteLock
from mabeam_p2p.api.mail import MessageHandler
from mabeam_p2p.api.queues import Queue
from mabeam_p2p.api.rankings import Ranker
from mabeam_p2p.api.reputations import Reputations
from mabeam_p2p.api.results import (
    AgentFacts,
    ChoiceWord,
    Decision,
    Level,
    Proposal,
    RecordedVote,
)
from mabeam_p2p.api.results.mail import Answers, Receipts
from mabeam_p2p.api.results.seats import AmongWord, Election, Seat
from mabeam_p2p.api.scoring import Scorer, Scoring
from mabeam_p2p.api.task_scope import TaskScope
from mabeam_p2p.api.voice import Voice
from mabeam_p2p.ids import GROUP_ALL, check_key, scoped
from mabeam_p2p.records import Policy
from mabeam_p2p.requests import AgentQuery

A = TypeVar("A", bound=Applier)
E = TypeVar("E", bound=Evaluator)
H = TypeVar("H", bound=MessageHandler)
R = TypeVar("R", bound=Ranker)
S = TypeVar("S", bound=Scorer)


class Scope(TaskScope, AuctionScope, ArrayScope):
    """One agent's voice in one group. What has a name there is called `GROUP:NAME` everywhere else;
    in the group `all` it is called by its name alone."""

    def __init__(self, group: str, voice: Voice) -> None:
        """Not for users."""
        TaskScope.__init__(self, group, voice.attachment, voice.session, voice.work)
        self._group = group
        AuctionScope.__init__(self, group, voice)
        self._voice = voice
        self._attachment = attachment = voice.attachment
        self._session = session = voice.session
        self._agent = agent = voice.agent
        self._evaluators = evaluators = voice.evaluators
        self._appliers = voice.appliers
        self._grants = voice.grants
        self._seats = voice.seats
        self._rankings = voice.rankings
        self._mail = voice.mail
        self._ballots = Ballots(attachment, session, evaluators, group)
        self.ledger = Ledger(group, attachment, session, agent)
        """Money."""
        self.reputation = Reputations(group, attachment, session, agent)
        """How agents have done."""

    def agents(self) -> tuple[AgentFacts, ...]:
        """The live agents of the group, as far as this agent's peer has told."""
        return tuple(
            agent
            for agent in self._attachment.view.agents()
            if self._group in (GROUP_ALL, *agent.groups)
        )

    async def read_agents(self, *, timeout: float | None = None) -> tuple[AgentFacts, ...]:
        """The live agents of the group by the log, linearizable: whoever is missing had left, or
        had not joined, when this was asked. Raises NoQuorum."""
        found = await self._attachment.find(
            AgentQuery(), f"agents of group {self._group!r}", linearizable=True, timeout=timeout
        )
        facts = map(AgentFacts.of, sorted(found.agents, key=lambda agent: agent.id))
        return tuple(one for one in facts if self._group in (GROUP_ALL, *one.groups))

    # ---- ballots -----------------------------------------------------------------------------

    def on_proposal(self, pattern: str, *, timeout: float | None = None) -> Callable[[E], E]:
        """Declare the decorated function as the evaluator of the parameters that match.

        It gets a Proposal and returns a Vote; a plain function runs in a thread of its own. The
        most specific pattern speaks. timeout: seconds after which the agent abstains; at most, and
        without one exactly, four fifths of what remains until the deadline.
        """
        return self._ballots.on_proposal(pattern, timeout=timeout)

    def on_parameter(self, pattern: str) -> Callable[[A], A]:
        """Call the decorated function with the Change of each parameter that matches, from now on:
        it puts the value into effect. The most specific pattern speaks. Where the decision is
        guarded, its return confirms the value, and an exception takes it back for everybody. It is
        called once at most with each version, also after a lost connection or lost events."""

        def declare(applier: A) -> A:
            self._appliers.declare(scoped(self._group, pattern), applier)
            return applier

        return declare

    async def propose(
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
        """Put a value to the vote of the agents of the group; return how it ended.

        timeout: seconds until the ballot closes. base_version: the version that the parameter must
        still have when the value is accepted. guard: seconds within which every voter must confirm
        that it has put the accepted value into effect (`on_parameter`), else the value before it
        returns; `parameters.wait_applied` waits for that. id: a retry with the same id is the same
        proposal.
        Raises ProposalTimeout if the end did not reach this agent, NoElectorate, NoQuorum (it was
        certainly not opened) and OutcomeUnknown (it may have been).
        """
        return await self._ballots.propose(
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

    async def vote(
        self, proposal: str, choice: ChoiceWord, *, confidence: float = 1.0, rationale: str = ""
    ) -> RecordedVote:
        """Vote by hand. Raises UnknownProposal, ProposalClosed, NotEligible, ConflictingVote."""
        return await self._ballots.vote(
            proposal, choice, confidence=confidence, rationale=rationale
        )

    async def proposals(self) -> tuple[Proposal, ...]:
        """Those of the group that are remembered, open and closed."""
        return await self._ballots.proposals()

    async def explain(self, proposal: str) -> Proposal:
        """Who voted what, why and when. Raises UnknownProposal."""
        return await self._ballots.explain(proposal)

    # ---- seats -------------------------------------------------------------------------------

    async def elect(
        self,
        seat: str,
        *,
        timeout: float | None = None,
        challenge: bool = False,
        among: AmongWord = "eligible",
        weights: Mapping[str, float] | None = None,
    ) -> Seat:
        """See to it that the seat is held by an agent of the group; return who holds it.

        Opens an election, or joins the one that runs; of a seat that is held it tells the holder.
        This agent stands for it, if it is eligible. timeout: seconds that an election may take; 15
        by default. challenge: elect also where the seat is held; the holder keeps it meanwhile, and
        has a bonus. among: `standing` leaves out who has not asked for the seat. weights: 0..1,
        what each published score counts. Cancelled, this agent stands down in the background, as
        by `stand_down`, unless it held the seat before; what it has won meanwhile it gives up.
        Raises NoCandidates, ElectionTimeout, NoQuorum (certainly not done), OutcomeUnknown.
        """
        return await self._seats.elect(
            self._group,
            seat,
            timeout=timeout,
            challenge=challenge,
            among=among,
            weights=weights,
        )

    def leadership(
        self,
        seat: str,
        *,
        timeout: float | None = None,
        among: AmongWord = "eligible",
        weights: Mapping[str, float] | None = None,
    ) -> Leadership:
        """`async with` it: the body runs while this agent holds the seat.

        timeout: seconds to wait for the seat, None for ever. Raises ElectionTimeout, NotEligible,
        and LeadershipLost in place of what the body was doing when the seat was lost.
        """
        return Leadership(
            self._seats, self._group, seat, timeout=timeout, among=among, weights=weights
        )

    def seat(self, seat: str) -> Seat:
        """Who holds it, as far as this agent's peer has told."""
        return self._seats.seat(self._group, seat)

    async def resign(self, seat: str, *, timeout: float | None = None) -> None:
        """Give the seat up; the next election opens at once. Raises NotHolder."""
        await self._seats.resign(self._group, seat, 0, self._patience(timeout))

    async def stand_down(self, seat: str, *, timeout: float | None = None) -> None:
        """Neither hold the seat nor be a candidate, until this agent asks for it again.

        Raises UnknownSeat.
        """
        await self._seats.stand(self._group, seat, False, self._patience(timeout))

    async def election(self, seat: str) -> Election | None:
        """The running election, or the last one, with who ranked whom how; None: there was none."""
        return await self._seats.election(self._group, seat)

    def on_election(self, pattern: str) -> Callable[[R], R]:
        """Declare the decorated function as what ranks the candidates for the seats that match.

        It gets an Election and returns points from 0 to 1 by agent id; a plain function runs in a
        thread of its own. Without one the published scores rank.
        """
        group = None if self._group == GROUP_ALL else self._group

        def declare(ranker: R) -> R:
            self._rankings.declare(pattern, group, ranker)
            return ranker

        return declare

    async def publish_score(
        self,
        scores: Mapping[str, float],
        *,
        seat: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Tell how fit this agent is, as {"performance": 0.9, "reliability": 1}, from 0 to 1.

        seat: for this seat of the group alone; None: for every seat that has no score of its own.
        It takes the place of what was published there before; elections that run go on with that.
        """
        await self._seats.publish(self._group, seat, scores, self._patience(timeout))

    def on_score(self, seat: str | None = None, *, watch: str = "*") -> Callable[[S], S]:
        """Declare the decorated function as what says how fit this agent is, as in `publish_score`.

        It is called now, and again after variables or parameters whose names match `watch` have
        changed, at most once a second; what it gives is published if it has changed.
        """
        if seat is not None:
            check_key(seat, "seat")

        def declare(scorer: S) -> S:
            pattern = scoped(self._group, watch)
            scoring = Scoring(self._seats, self._group, seat, pattern, scorer)
            self._voice.scorings.append(scoring)
            scoring.begin()
            return scorer

        return declare

    def _patience(self, timeout: float | None) -> float:
        return self._attachment.timing.request_timeout_seconds if timeout is None else timeout

    # ---- messages ----------------------------------------------------------------------------

    def on_message(self, pattern: str) -> Callable[[H], H]:
        """Declare the decorated function as the handler of messages whose topics match.

        It gets a Message; what it returns is the answer to a query. A plain function runs in a
        thread of its own. The most specific pattern speaks.
        """
        group = None if self._group == GROUP_ALL else self._group

        def declare(handler: H) -> H:
            self._mail.declare(pattern, group, handler)
            return handler

        return declare

    async def shout(self, topic: str, value: object, *, timeout: float | None = None) -> Receipts:
        """Tell all other agents of the group, daemons' own aside; return what became of it once all
        their peers have said so, at the latest after `timeout` seconds.

        At most once, in no log, and in no order with other messages. Raises NobodyThere if no
        other agent is in the group, OutcomeUnknown if the peer of this one has gone meanwhile,
        InvalidValue.
        """
        return await self._mail.shout(self._group, topic, value, timeout)

    async def query(self, topic: str, value: object, *, timeout: float | None = None) -> Answers:
        """Ask all other agents of the group, daemons' own aside; return what they say once all that
        were reached have answered, at the latest after `timeout` seconds. Raises as `shout`."""
        return await self._mail.query(self._group, topic, value, timeout)

    # ---- meeting and remembering -------------------------------------------------------------

    def barrier(
        self,
        name: str,
        *,
        parties: int,
        timeout: float | None = None,
        on_departure: OnDepartureWord = "break",
    ) -> Barrier:
        """A barrier for so many agents: `await barrier.wait()`, or `async with barrier:`."""
        return Barrier(
            self._attachment,
            self._session,
            self._agent(),
            scoped(self._group, name),
            parties=parties,
            timeout=timeout,
            on_departure=on_departure,
        )

    def journal(self, name: str, *, capacity: int | None = None) -> Journal:
        """A list in the log that only grows. capacity: how many items it holds for good, after
        which it is full; None: the oldest leave instead. Everybody who appends says the same."""
        full_name = scoped(self._group, name)
        return Journal(self._attachment, self._session, full_name, capacity=capacity)

    # ---- economics ---------------------------------------------------------------------------

    def budget(self, name: str) -> Budget:
        """A limit of what may be spent: `async with budget.reserve(5) as reservation:`."""
        return Budget(self._group, self._attachment, self._session, self._agent, name)

    # ---- holding and counting ----------------------------------------------------------------

    def lock(self, name: str, *, timeout: float | None = None) -> Lock:
        """A name that one agent holds at a time: `async with agent.lock("x") as lease:`.

        timeout: seconds that entering waits; None takes 30 s. See `Lease.token` and `Guard`.
        """
        return Lock(self._grants, scoped(self._group, name), limit=1, permits=1, timeout=timeout)

    def semaphore(
        self, name: str, limit: int, *, permits: int = 1, timeout: float | None = None
    ) -> Lock:
        """A name of which `limit` permits can be held at a time. All users give the same limit."""
        return Lock(
            self._grants, scoped(self._group, name), limit=limit, permits=permits, timeout=timeout
        )

    def read_write_lock(self, name: str, *, timeout: float | None = None) -> ReadWriteLock:
        """A name that many hold to read or one to write: enter its `read()` or `write()`."""
        return ReadWriteLock(self._grants, scoped(self._group, name), timeout=timeout)

    def lease(self, name: str, seconds: float, *, timeout: float | None = None) -> Lock:
        """A lock that ends by itself that many seconds after it was granted, by the log's clock,
        unless `Lease.renew` is called before."""
        return Lock(
            self._grants,
            scoped(self._group, name),
            limit=1,
            permits=1,
            timeout=timeout,
            lease=seconds,
        )

    def counter(self, name: str) -> Counter:
        """A whole number that all agents count with."""
        return Counter(self._attachment, self._session, scoped(self._group, name))

    def queue(self, name: str) -> Queue:
        """Items in order, each handed to one agent at a time."""
        return Queue(self._grants, self._session, scoped(self._group, name))

    async def budgets(
        self, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[BudgetFacts, ...]:
        """Those of the group, in order of their making; in the group of all: every budget."""
        return await budgets_of(self._attachment, self._group, level, timeout)
