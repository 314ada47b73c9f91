"""Proposals: ballots of a frozen electorate over a parameter's next value.

1. A proposal opens with the agents of its group that take part in consensus, as they are at that
   index. Who comes later cannot vote; who leaves counts as outstanding. Where the policy shrinks
   the electorate, who leaves without a vote is taken out of it, by the entry of its departure, as
   long as a majority of the first electorate and `min_voters` remain; the record names them.
2. The least electorate is `min_voters`, or all agents of the group where it has fewer; and one.
3. A vote belongs to an agent, not to its session. The first one binds; an equal repeat is
   committed where it stands and changes nothing; another one is refused.
4. It closes once: at the vote after which its result is certain, or past its deadline. Which
   result, `ballots` says.
5. An accepted value becomes the parameter's, as its next version, unless `base_version` is given
   and no longer the version (0: never decided): CONFLICT. That is compared at the close alone,
   where it can still be lost. What parameters do with it stands in `parameters`.
6. The same id with equal content is the same proposal, whoever sends it, while it is remembered.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, assert_never

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import AnyProposalCommand, CastVote, OpenProposal
from mabeam_p2p.config import Limits
from mabeam_p2p.events import (
    MachineEvent,
    ProposalDecided,
    ProposalOpened,
    VoteRecorded,
)
from mabeam_p2p.ids import INTEGER_MAX, AgentId, ProposalId, is_key, is_name
from mabeam_p2p.machine.ballots import is_sound, result_at_close, result_if_certain
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import Agent, Proposal, ProposalStatus, Vote
from mabeam_p2p.requests import Committed, Outcome, Refused

CONFIDENCE_MAX = 1000
"""Thousandths."""


class ProposalsState(Struct, frozen=True, array_like=True):
    open: tuple[Proposal, ...]
    closed: tuple[Proposal, ...]


class ParameterTable(Protocol):
    """What ballots need of the parameters."""

    def version(self, name: str) -> int: ...

    def refusal(self, name: str, guard: int) -> Refused | None: ...

    def decide(self, entry: Entry, proposal: Proposal, awaited: tuple[AgentId, ...]) -> None: ...


class _Ballot:
    """An open proposal with its votes and their counts."""

    __slots__ = ("counts", "departed", "electorate", "first_count", "proposal", "votes")

    def __init__(self, proposal: Proposal) -> None:
        self.proposal = proposal
        """As opened: its own `votes` and `electorate` are not looked at."""
        self.departed = dict.fromkeys(proposal.departed)
        self.first_count = len(proposal.electorate) + len(self.departed)
        self.electorate = dict.fromkeys(proposal.electorate)
        self.votes: dict[AgentId, Vote] = {}
        self.counts = [0, 0, 0]
        """Votes by Choice."""
        for vote in proposal.votes:
            self.add(vote)

    def add(self, vote: Vote) -> None:
        self.votes[vote.agent] = vote
        self.counts[vote.choice] += 1

    def result_if_certain(self) -> ProposalStatus | None:
        abstentions, accepts, rejects = self.counts
        return result_if_certain(
            self.proposal.policy, len(self.electorate), accepts, rejects, abstentions
        )

    def result_at_close(self) -> ProposalStatus:
        abstentions, accepts, rejects = self.counts
        return result_at_close(
            self.proposal.policy, len(self.electorate), accepts, rejects, abstentions
        )

    def can_lose(self, agent: AgentId) -> bool:
        """Whether the electorate may go on without an agent that has departed."""
        policy = self.proposal.policy
        least = max(self.first_count // 2 + 1, policy.min_voters)
        return (
            policy.shrink
            and agent in self.electorate
            and agent not in self.votes
            and len(self.electorate) > least
        )

    def lose(self, agent: AgentId) -> None:
        del self.electorate[agent]
        self.departed[agent] = None

    def snapshot(self) -> Proposal:
        return replace(
            self.proposal,
            votes=tuple(self.votes.values()),
            electorate=tuple(self.electorate),
            departed=tuple(self.departed),
        )


class Proposals:
    """Proposals, open and closed. is_here: whether an agent has a live session."""

    def __init__(
        self,
        limits: Limits,
        deadlines: Deadlines,
        events: list[MachineEvent],
        parameters: ParameterTable,
        is_here: Callable[[AgentId], bool],
    ) -> None:
        self._limits = limits
        self._parameters = parameters
        self._is_here = is_here
        self._deadlines = deadlines
        self._events = events
        self._open: dict[ProposalId, _Ballot] = {}
        self._closed: OrderedDict[ProposalId, Proposal] = OrderedDict()
        """In order of closing; the oldest leave first."""

    # ---- commands --------------------------------------------------------------------------

    def apply(
        self,
        entry: Entry,
        agent: AgentId,
        command: AnyProposalCommand,
        in_group: Callable[[str], tuple[Agent, ...]],
    ) -> Outcome:
        """in_group: the live agents of a group."""
        match command:
            case CastVote():
                return self.vote(entry, agent, command)
            case OpenProposal():
                return self.open(entry, agent, command, in_group(command.group))
            case _:
                assert_never(command)

    def open(
        self, entry: Entry, proposer: AgentId, command: OpenProposal, group: tuple[Agent, ...]
    ) -> Outcome:
        """group: the live agents of `command.group`.

        Refused: invalid, too_large, proposal_exists, limit, no_electorate.
        """
        existing = self.find(command.proposal)
        if existing is not None:
            return _answer_again(existing, command)
        refusal = self._refusal(entry, command)
        if refusal is not None:
            return refusal
        electorate = tuple(sorted(agent.id for agent in group if agent.participates))
        voters_min = min(command.policy.min_voters, len(group))
        if not electorate or len(electorate) < voters_min:
            detail = f"{len(electorate)} of {len(group)} agents vote, {voters_min or 1} must"
            return Refused("no_electorate", detail)
        proposal = Proposal(
            id=command.proposal,
            parameter=command.parameter,
            value=command.value,
            proposer=proposer,
            rationale=command.rationale,
            metadata=command.metadata,
            group=command.group,
            policy=command.policy,
            base_version=command.base_version,
            electorate=electorate,
            opened_index=entry.index,
            opened_term=entry.term,
            opened_clock=entry.clock,
            deadline=entry.clock + command.timeout,
            guard=command.guard,
        )
        self._insert(proposal)
        self._events.append(ProposalOpened(proposal))
        return entry.committed()

    def vote(self, entry: Entry, agent: AgentId, command: CastVote) -> Outcome:
        """Refused: unknown_proposal, not_eligible, conflicting_vote, proposal_closed, too_large,
        invalid. An equal repeat is committed also after the close."""
        ballot = self._open.get(command.proposal)
        if ballot is None:
            return self._vote_late(entry, agent, command)
        if agent not in ballot.electorate:
            return Refused("not_eligible", f"{agent} was not in the electorate")
        cast = ballot.votes.get(agent)
        if cast is not None:
            if _is_equal(cast, command):
                return entry.committed()
            detail = f"voted {cast.choice.name.lower()} at index {cast.index}"
            return Refused("conflicting_vote", detail)
        if not 0 <= command.confidence <= CONFIDENCE_MAX:
            return Refused("invalid", f"confidence is 0 to {CONFIDENCE_MAX} thousandths")
        if len(command.rationale.encode()) > self._limits.rationale_bytes_max:
            return Refused("too_large", f"a rationale is {self._limits.rationale_bytes_max} B long")
        vote = Vote(
            agent, command.choice, command.confidence, command.rationale, entry.index, entry.clock
        )
        ballot.add(vote)
        self._events.append(VoteRecorded(command.proposal, vote))
        result = ballot.result_if_certain()
        if result is not None:
            self._close(entry, ballot, result, "decided")
        return entry.committed()

    def expire(self, entry: Entry, proposal: ProposalId) -> None:
        """Close the open `proposal`, whose deadline is past, with the votes it has."""
        ballot = self._open[proposal]
        self._close(entry, ballot, ballot.result_at_close(), "deadline")

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """Take an agent whose session has ended out of the electorates that shrink."""
        for ballot in tuple(self._open.values()):
            if not ballot.can_lose(agent):
                continue
            ballot.lose(agent)
            result = ballot.result_if_certain()
            if result is not None:
                self._close(entry, ballot, result, "decided")

    # ---- queries ---------------------------------------------------------------------------

    def find(self, proposal: ProposalId) -> Proposal | None:
        ballot = self._open.get(proposal)
        return self._closed.get(proposal) if ballot is None else ballot.snapshot()

    def proposals(self, proposal: ProposalId) -> tuple[Proposal, ...]:
        """The one of this id; with an empty id all: closed ones in order of closing, then open
        ones in order of opening."""
        if proposal:
            one = self.find(proposal)
            return () if one is None else (one,)
        return (*self._closed.values(), *(ballot.snapshot() for ballot in self._open.values()))

    @property
    def count(self) -> int:
        """Proposals that are open."""
        return len(self._open)

    def state(self) -> ProposalsState:
        return ProposalsState(
            tuple(ballot.snapshot() for ballot in self._open.values()),
            tuple(self._closed.values()),
        )

    def load(self, state: ProposalsState) -> None:
        self._open = {}
        for proposal in state.open:
            self._insert(proposal)
        self._closed = OrderedDict((proposal.id, proposal) for proposal in state.closed)

    # ---- transitions -----------------------------------------------------------------------

    def _insert(self, proposal: Proposal) -> None:
        self._open[proposal.id] = _Ballot(proposal)
        self._deadlines.add(DeadlineKind.PROPOSAL, proposal.id, proposal.deadline)

    def _close(self, entry: Entry, ballot: _Ballot, status: ProposalStatus, reason: str) -> None:
        proposal = ballot.proposal
        del self._open[proposal.id]
        self._deadlines.remove(DeadlineKind.PROPOSAL, proposal.id)
        if status is ProposalStatus.ACCEPTED and proposal.base_version is not None:
            version = self._parameters.version(proposal.parameter)
            if version != proposal.base_version:
                status = ProposalStatus.CONFLICT
                reason = f"version is {version}, not {proposal.base_version}"
        closed = replace(
            ballot.snapshot(),
            status=status,
            closed_index=entry.index,
            closed_term=entry.term,
            closed_clock=entry.clock,
            reason=reason,
        )
        self._closed[closed.id] = closed
        if len(self._closed) > self._limits.closed_proposals_max:
            self._closed.popitem(last=False)
        self._events.append(ProposalDecided(closed))
        if status is ProposalStatus.ACCEPTED:
            awaited = tuple(agent for agent in closed.electorate if self._is_here(agent))
            self._parameters.decide(entry, closed, awaited)

    # ---- refusals --------------------------------------------------------------------------

    def _refusal(self, entry: Entry, command: OpenProposal) -> Refused | None:
        limits = self._limits
        if not is_key(command.proposal) or not is_key(command.parameter):
            return Refused("invalid", "the proposal's id or its parameter is no usable name")
        if not is_name(command.group):
            return Refused("invalid", "the group has no usable name")
        if not is_sound(command.policy):
            return Refused("invalid", "fractions lie above 0 and up to 1, min_voters from 1")
        if not entry.can_wait(command.timeout):
            return Refused("invalid", "timeout is no positive number of microseconds")
        if command.guard and not entry.can_wait(command.timeout + command.guard):
            return Refused("invalid", "guard is no number of microseconds")
        if command.base_version is not None and not 0 <= command.base_version <= INTEGER_MAX:
            return Refused("invalid", "base_version is no version")
        for what, size, most in (
            ("value", len(command.value), limits.value_bytes_max),
            ("rationale", len(command.rationale.encode()), limits.rationale_bytes_max),
            ("metadata", len(command.metadata), limits.metadata_bytes_max),
        ):
            if size > most:
                return Refused("too_large", f"{what} has {size} bytes, the limit is {most}")
        if len(self._open) >= limits.open_proposals_max:
            return Refused("limit", f"{limits.open_proposals_max} proposals are open already")
        return self._parameters.refusal(command.parameter, command.guard)

    def _vote_late(self, entry: Entry, agent: AgentId, command: CastVote) -> Outcome:
        closed = self._closed.get(command.proposal)
        if closed is None:
            return Refused("unknown_proposal", "no proposal of this id is remembered")
        for cast in closed.votes:
            if cast.agent == agent and _is_equal(cast, command):
                return entry.committed()
        status = closed.status.name.lower()
        return Refused("proposal_closed", f"{status} at index {closed.closed_index}")


def _answer_again(existing: Proposal, command: OpenProposal) -> Outcome:
    """The answer to an OpenProposal whose id is taken."""
    same = (
        existing.parameter == command.parameter
        and existing.value == command.value
        and existing.rationale == command.rationale
        and existing.metadata == command.metadata
        and existing.group == command.group
        and existing.policy == command.policy
        and existing.base_version == command.base_version
        and existing.deadline - existing.opened_clock == command.timeout
        and existing.guard == command.guard
    )
    if same:
        return Committed(existing.opened_index, existing.opened_term)
    return Refused("proposal_exists", f"{existing.id!r} was opened with other content")


def _is_equal(cast: Vote, command: CastVote) -> bool:
    return (
        cast.choice is command.choice
        and cast.confidence == command.confidence
        and cast.rationale == command.rationale
    )
