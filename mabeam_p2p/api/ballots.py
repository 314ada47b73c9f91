"""Putting a value to the vote, voting, and looking at what was decided: for one group."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import TypeVar

from mabeam_p2p.api.attachment import RETRY_SECONDS, Attachment
from mabeam_p2p.api.evaluators import Evaluator, Evaluators
from mabeam_p2p.api.results import (
    CHOICES,
    CONFIDENCE_STEPS,
    ChoiceWord,
    Decision,
    Proposal,
    RecordedVote,
    Vote,
    decoded,
)
from mabeam_p2p.api.schemas import fault_of, from_encoded
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import (
    check_rationale,
    encoded,
    encoded_metadata,
    microseconds,
    shortened,
)
from mabeam_p2p.api.view import View
from mabeam_p2p.commands import CastVote, OpenProposal
from mabeam_p2p.errors import InvalidValue, ProposalTimeout, UnknownProposal
from mabeam_p2p.ids import CLUSTER_SESSION, GROUP_ALL, ProposalId, check_key, scoped
from mabeam_p2p.records import ParameterSchema, Policy
from mabeam_p2p.records import Proposal as ProposalRecord
from mabeam_p2p.requests import (
    Committed,
    Failed,
    ProposalQuery,
    Refused,
)

DECISION_GRACE_SECONDS = 5.0
"""How much later than its deadline a decision may reach the proposer: the log closes it, and a
change of leader may come between."""

E = TypeVar("E", bound=Evaluator)


class Ballots:
    """The ballots of one agent in one group."""

    def __init__(
        self, attachment: Attachment, session: Session, evaluators: Evaluators, group: str
    ) -> None:
        self._attachment = attachment
        self._session = session
        self._evaluators = evaluators
        self._group = group

    def on_proposal(self, pattern: str, *, timeout: float | None = None) -> Callable[[E], E]:
        """Declare the decorated function as the evaluator of the parameters that match."""
        group = None if self._group == GROUP_ALL else self._group

        def declare(evaluator: E) -> E:
            self._evaluators.declare(pattern, group, evaluator, timeout)
            return evaluator

        return declare

    async def propose(
        self,
        parameter: str,
        value: object,
        *,
        rationale: str,
        metadata: Mapping[str, object] | None,
        timeout: float | None,
        base_version: int | None,
        policy: Policy | None,
        guard: float | None,
        id: str | None,
    ) -> Decision:
        limits, timing = self._attachment.limits, self._attachment.timing
        seconds = timing.proposal_timeout_seconds if timeout is None else timeout
        proposal = ProposalId(id or secrets.token_hex(8))
        command = OpenProposal(
            CLUSTER_SESSION,
            0,
            proposal,
            check_key(scoped(self._group, parameter), "parameter"),
            encoded(value, limits),
            check_rationale(rationale, limits),
            encoded_metadata(dict(metadata or {}), limits),
            self._group,
            microseconds(seconds),
            base_version,
            policy or Policy(),
            0 if guard is None else microseconds(guard),
        )
        deadline = asyncio.get_running_loop().time() + seconds + DECISION_GRACE_SECONDS
        schema = self._attachment.view.schemas.entries.get(command.parameter)
        fault = None if schema is None else _fault(schema, value)
        if fault is not None:
            raise InvalidValue(
                f"value {value!r} for parameter {command.parameter!r} {fault}, as it was declared; "
                "propose another one"
            )
        what = f"proposal {proposal} on {command.parameter!r}"
        await self._session.commit(command, what, seconds)
        record = await self._decided(proposal, what, deadline)
        decision = Proposal.of(record)
        assert isinstance(decision, Decision), "an open proposal was given as decided"
        return decision

    async def vote(
        self, proposal: str, choice: ChoiceWord, *, confidence: float, rationale: str
    ) -> RecordedVote:
        opinion = Vote(choice, check_rationale(rationale, self._attachment.limits), confidence)
        seconds = self._attachment.timing.request_timeout_seconds
        committed = await self._session.commit(
            _cast(ProposalId(proposal), opinion), f"vote on proposal {proposal}", seconds
        )
        return RecordedVote(
            opinion.choice, opinion.rationale, opinion.confidence, index=committed.index
        )

    async def explain(self, proposal: str) -> Proposal:
        query, what = ProposalQuery(ProposalId(proposal)), f"proposal {proposal}"
        found = await self._attachment.find_anywhere(query, what, lambda seen: seen.proposals)
        if not found.proposals:
            raise UnknownProposal(
                f"peer {self._attachment.peer_name} knows no proposal {proposal!r}: it is too old "
                "to be remembered, or never was; see `mabeam proposals`",
                reason="unknown_proposal",
            )
        return Proposal.of(found.proposals[0])

    async def proposals(self) -> tuple[Proposal, ...]:
        found = await self._attachment.find(ProposalQuery(ProposalId("")), "proposals")
        return tuple(
            Proposal.of(record)
            for record in found.proposals
            if self._group in (GROUP_ALL, record.group)
        )

    async def _decided(self, proposal: ProposalId, what: str, deadline: float) -> ProposalRecord:
        """The closed proposal."""
        found = await self._attachment.settled(ProposalQuery(proposal), what, deadline)
        if found is None:
            raise ProposalTimeout(
                f"{what} is not decided as far as peer {self._attachment.peer_name} "
                f"knows; it goes on: see `mabeam explain {proposal}`, and "
                "`mabeam status` for a quorum",
                proposal=proposal,
            )
        return found.proposals[0]


async def cast(
    attachment: Attachment, session: Session, proposal: Proposal, vote: Vote, seconds: float
) -> str | None:
    """Commit an evaluator's vote while the proposal is open; what kept it from that, or None.

    Raises Closed and DaemonNotRunning.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    short = Vote(vote.choice, shortened(vote.rationale, attachment.limits), vote.confidence)
    command = _cast(ProposalId(proposal.id), short)
    while True:
        answer = await session.ask(command, max(0.0, deadline - loop.time()))
        match answer:
            case Committed():
                return None
            case Refused(reason=reason):
                return reason
            case Failed(reason=reason) if loop.time() + RETRY_SECONDS > deadline:
                return reason
            case _:
                await asyncio.sleep(RETRY_SECONDS)


def _fault(declared: ParameterSchema, value: object) -> str | None:
    schema = from_encoded(declared.schema)
    return None if schema is None else fault_of(schema, value)


def fault_of_proposal(view: View, record: ProposalRecord) -> str | None:
    """What is wrong with the value of a proposal, by the declaration of its parameter."""
    declared = view.schemas.entries.get(record.parameter)
    fault = None if declared is None else _fault(declared, decoded(record.value))
    return None if fault is None else f"the value {fault}, as the parameter was declared"


def _cast(proposal: ProposalId, vote: Vote) -> CastVote:
    confidence = round(vote.confidence * CONFIDENCE_STEPS)
    return CastVote(CLUSTER_SESSION, 0, proposal, CHOICES[vote.choice], confidence, vote.rationale)
