"""What agents do together, within one group: the primitives, and how their names are scoped."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from mabeam_p2p.api.appliers import Applier, Appliers
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.ballots import Ballots
from mabeam_p2p.api.barriers import Barrier, OnDepartureWord
from mabeam_p2p.api.budgets import Budget
from mabeam_p2p.api.evaluators import Evaluator, Evaluators
from mabeam_p2p.api.journals import Journal
from mabeam_p2p.api.ledger import Ledger
from mabeam_p2p.api.reputations import Reputations
from mabeam_p2p.api.results import (
    AgentFacts,
    ChoiceWord,
    Decision,
    Proposal,
    RecordedVote,
)
from mabeam_p2p.api.session import Session
from mabeam_p2p.ids import GROUP_ALL, scoped
from mabeam_p2p.records import Policy
from mabeam_p2p.requests import AgentQuery

A = TypeVar("A", bound=Applier)
E = TypeVar("E", bound=Evaluator)


class Scope:
    """One agent's voice in one group. What has a name there is called `GROUP:NAME` everywhere else;
    in the group `all` it is called by its name alone."""

    def __init__(
        self,
        group: str,
        attachment: Attachment,
        session: Session,
        evaluators: Evaluators,
        appliers: Appliers,
        agent: Callable[[], str],
    ) -> None:
        """Not for users. agent: this agent's id, as it is now."""
        self._group = group
        self._attachment = attachment
        self._session = session
        self._evaluators = evaluators
        self._appliers = appliers
        self._agent = agent
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
        guarded, its return confirms the value, and an exception takes it back for everybody."""

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
