"""What simulated agents do with ballots and guarded parameters.

Most of it can be done: who is to vote, or to confirm, comes from what the log has made so far. Most
voters of one ballot are of one mind, so that ballots come to something. Some of it cannot be done.
"""

from random import Random

from mabeam_p2p.commands import AnyCommand, CastVote, ConfirmParameter, OpenProposal
from mabeam_p2p.ids import AgentId, ProposalId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Choice, Policy, Proposal
from mabeam_p2p.requests import ParameterQuery
from mabeam_p2p.testing.weather import SECOND

POLICIES = Policy(min_voters=1), Policy(min_voters=1, shrink=True)
MINDS = (Choice.ACCEPT, Choice.ACCEPT, Choice.REJECT, None)
"""Of a ballot's voters, by its id; None: they differ."""

LATE = 0.05
"""How often an agent votes, or confirms, though it has, or may not."""


class Polls:
    """What all agents of a run draw from. `machine`: what the log has made. `opened`: the ballots
    that are open there."""

    def __init__(self, random: Random, machine: Machine, opened: dict[str, Proposal]) -> None:
        self._random = random
        self._machine = machine
        self._opened = opened
        self._voted: dict[tuple[str, AgentId], None] = {}
        self._last = ProposalId("p")

    def proposal(
        self, proposal: ProposalId, session: SessionId, number: int, value: bytes
    ) -> OpenProposal:
        random = self._random
        parameter = f"parameter-{random.randrange(3)}"
        guard = random.choice((0, SECOND, 10 * SECOND))
        present = self._machine.find(ParameterQuery(parameter)).parameters
        if not present and random.random() > LATE:
            guard = 0  # There is nothing yet to go back to.
        version = present[0].version if present else 0
        return OpenProposal(
            session,
            number,
            proposal=proposal,
            parameter=parameter,
            value=value,
            rationale="",
            metadata=b"",
            group="all",
            timeout=random.choice((SECOND // 5, 10 * SECOND)),
            base_version=random.choice((None, version)),
            policy=random.choice(POLICIES),
            guard=guard,
        )

    def due(self, agent: AgentId, session: SessionId, number: int) -> AnyCommand | None:
        """A vote, or a confirmation, that is waited for; now and then one that is not."""
        if self._random.random() < LATE:
            return self._vote(self._last, agent, session, number)
        for parameter in self._machine.find(ParameterQuery("")).parameters:
            if agent in parameter.awaited or (
                agent in parameter.confirmed and self._random.random() < LATE
            ):
                applied = self._random.random() < 0.9
                return ConfirmParameter(
                    session, number, parameter.name, parameter.version, applied, ""
                )
        for proposal in self._opened.values():
            if agent in proposal.electorate and (proposal.id, agent) not in self._voted:
                return self._vote(proposal.id, agent, session, number)
        return None

    def _vote(
        self, proposal: ProposalId, agent: AgentId, session: SessionId, number: int
    ) -> CastVote:
        random = self._random
        self._voted[proposal, agent] = None
        self._last = proposal
        choice = MINDS[sum(proposal.encode()) % len(MINDS)]
        if choice is None or random.random() < 0.15:
            choice = random.choice(tuple(Choice))
        return CastVote(session, number, proposal, choice, random.randint(0, 1000), "")
