"""What the API gives back: frozen objects that print well and become plain data by `to_dict()`.

Made here from records, and nowhere else. `when`, `deadline` and `decided` are seconds by the log's
clock, which counts from the cluster's beginning while somebody leads: for durations, not for order.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from mabeam_p2p.errors import InvalidValue, Rejected, RemoteProtocolError
from mabeam_p2p.records import Agent as AgentRecord
from mabeam_p2p.records import Choice, Parameter, ProposalStatus, Status
from mabeam_p2p.records import Generation as GenerationRecord
from mabeam_p2p.records import Member as MemberRecord
from mabeam_p2p.records import Proposal as ProposalRecord
from mabeam_p2p.records import Vote as VoteRecord
from mabeam_p2p.requests import Acknowledged
from mabeam_p2p.wire.cbor import decode_value

Decoded: TypeAlias = Any
"""A value as it was agreed or shared: null, bool, int, float, text, bytes, list, dict with text
keys. Any, because only the application knows which of them stands under a name."""

ChoiceWord = Literal["accept", "reject", "abstain"]
StatusWord = Literal["open", "accepted", "rejected", "no_clear_majority", "no_quorum", "conflict"]
Level = Literal["local", "linearizable"]

CHOICES: dict[ChoiceWord, Choice] = {
    "accept": Choice.ACCEPT,
    "reject": Choice.REJECT,
    "abstain": Choice.ABSTAIN,
}
_CHOICE_WORDS: dict[Choice, ChoiceWord] = {choice: word for word, choice in CHOICES.items()}
_STATUS_WORDS: dict[ProposalStatus, StatusWord] = {
    ProposalStatus.OPEN: "open",
    ProposalStatus.ACCEPTED: "accepted",
    ProposalStatus.REJECTED: "rejected",
    ProposalStatus.NO_CLEAR_MAJORITY: "no_clear_majority",
    ProposalStatus.NO_QUORUM: "no_quorum",
    ProposalStatus.CONFLICT: "conflict",
}

CONFIDENCE_STEPS = 1000
"""Confidence travels in thousandths."""

MICROSECONDS = 1_000_000


def decoded(data: bytes) -> Decoded:
    """The value in `data`; InvalidValue if some other program wrote what is no value."""
    try:
        return decode_value(data)
    except RemoteProtocolError as error:
        raise InvalidValue(f"a stored value cannot be decoded: {error}") from error


def seconds(clock: int) -> float:
    return clock / MICROSECONDS


def _plain(value: object) -> object:
    match value:
        case Result():
            return value.to_dict()
        case tuple() | list():
            return [_plain(element) for element in value]
        case Decimal():
            # Exact, and what JSON can carry.
            return format(value, "f")
        case Mapping():
            return {key: _plain(element) for key, element in value.items()}
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Result:
    """Base of all results."""

    def to_dict(self) -> dict[str, object]:
        """Plain data: dicts, lists and values, keyed by the fields' names."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


# ---- ballots -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vote(Result):
    """An agent's opinion. Make one by `Vote.accept(...)`, `Vote.reject(...)`, `Vote.abstain(...)`.

    confidence: 0..1, kept in thousandths. Raises InvalidValue if it is not.
    """

    choice: ChoiceWord
    rationale: str = ""
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise InvalidValue(f"choice {self.choice!r}: take accept, reject or abstain")
        if not 0.0 <= self.confidence <= 1.0:
            raise InvalidValue(f"confidence {self.confidence!r}: take a number from 0 to 1")

    @classmethod
    def accept(cls, rationale: str = "", confidence: float = 1.0) -> "Vote":
        return Vote("accept", rationale, confidence)

    @classmethod
    def reject(cls, rationale: str = "", confidence: float = 1.0) -> "Vote":
        return Vote("reject", rationale, confidence)

    @classmethod
    def abstain(cls, rationale: str = "", confidence: float = 1.0) -> "Vote":
        return Vote("abstain", rationale, confidence)


@dataclass(frozen=True, slots=True)
class RecordedVote(Vote):
    """A vote as it stands in the log."""

    agent: str = ""
    index: int = 0
    when: float = 0.0

    @staticmethod
    def of(record: VoteRecord) -> "RecordedVote":
        return RecordedVote(
            _CHOICE_WORDS[record.choice],
            record.rationale,
            record.confidence / CONFIDENCE_STEPS,
            str(record.agent),
            record.index,
            seconds(record.clock),
        )


@dataclass(frozen=True, slots=True)
class Proposal(Result):
    """What is put to the vote, with the votes so far."""

    id: str
    parameter: str
    value: Decoded
    proposer: str
    rationale: str
    metadata: Mapping[str, Decoded]
    group: str
    base_version: int | None
    electorate: tuple[str, ...]
    """Who may vote; frozen when the proposal was opened."""
    when: float
    """When it was opened."""
    deadline: float
    votes: tuple[RecordedVote, ...]
    status: StatusWord
    reason: str
    """Why it closed when it did; empty while it is open."""
    guard: float | None
    """Seconds within which the electorate must confirm an accepted value; None: it need not."""
    departed: tuple[str, ...]
    """Who has left the electorate, which then is smaller than it was: only where the policy shrinks
    it."""

    @staticmethod
    def of(record: ProposalRecord) -> "Proposal":
        """A Decision if the proposal is closed."""
        common = (
            str(record.id),
            record.parameter,
            decoded(record.value),
            str(record.proposer),
            record.rationale,
            decoded(record.metadata) if record.metadata else {},
            record.group,
            record.base_version,
            tuple(map(str, record.electorate)),
            seconds(record.opened_clock),
            seconds(record.deadline),
            tuple(map(RecordedVote.of, record.votes)),
            _STATUS_WORDS[record.status],
            record.reason,
            seconds(record.guard) if record.guard else None,
            tuple(map(str, record.departed)),
        )
        if record.status is ProposalStatus.OPEN:
            return Proposal(*common)
        return Decision(
            *common,
            index=record.closed_index,
            term=record.closed_term,
            decided=seconds(record.closed_clock),
        )

    @property
    def accept_ratio(self) -> float:
        """Accepts per vote cast, abstentions included; 0 if nobody voted."""
        if not self.votes:
            return 0.0
        return sum(vote.choice == "accept" for vote in self.votes) / len(self.votes)

    @property
    def participation(self) -> float:
        """Votes cast per member of the electorate."""
        return len(self.votes) / len(self.electorate) if self.electorate else 0.0

    @property
    def accepted(self) -> bool:
        return self.status == "accepted"

    def to_dict(self) -> dict[str, object]:
        # Not super(): a class with slots is made twice, and the first one is the wrong one here.
        return Result.to_dict(self) | {
            "accepted": self.accepted,
            "accept_ratio": self.accept_ratio,
            "participation": self.participation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Proposal):
    """A closed proposal: the same on every peer, for ever."""

    index: int
    """Of the log entry that closed it; the parameter's version if it was accepted."""
    term: int
    decided: float
    """When it closed."""

    def raise_for_status(self) -> "Decision":
        """Itself if accepted; else raises Rejected, whose `reason` is the status."""
        if self.accepted:
            return self
        count = Counter(vote.choice for vote in self.votes)
        raise Rejected(
            f"proposal {self.id} on {self.parameter!r} ended as {self.status}: "
            f"{count['accept']} accepts, {count['reject']} rejects, {count['abstain']} "
            f"abstentions of {len(self.electorate)} agents ({self.reason}); "
            f"`mabeam explain {self.id}` tells who voted what and why",
            reason=self.status,
        )


TypeWord = Literal["bool", "int", "float", "text", "bytes", "list", "map"]


@dataclass(frozen=True, slots=True)
class ValueSchema(Result):
    """What a parameter's values may be. A float may be given as an int; None: no bound."""

    type: TypeWord
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Decoded, ...] | None = None


@dataclass(frozen=True, slots=True)
class Applied(Result):
    """A version of a parameter that stands. confirmed: who had to say so, and did."""

    name: str
    version: int
    confirmed: tuple[str, ...]


# ---- agreed and shared values ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading(Result):
    """A value and how far it can be trusted. `level` linearizable: nothing newer was committed
    before the question. `local`: this peer was up to date with a leader `age_seconds` ago."""

    name: str
    value: Decoded
    version: int | str
    """Of a parameter the log index of its decision; of a variable the dot `peer:counter` of its
    latest write."""
    level: Level
    index: int | None
    """Log index up to which the answering peer had applied the log; None for variables."""
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Change(Result):
    """What a watch yields. Changes that nobody took yet are coalesced by name."""

    name: str
    value: Decoded
    """None if the name was deleted."""
    version: int | str
    initial: bool
    """Whether this was so when the watch began."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledgement(Result):
    """Where a write of variables has come; names of peers."""

    applied: tuple[str, ...]
    superseded: tuple[str, ...]
    """Peers that already had something newer."""
    merged: tuple[str, ...]
    """Peers that had something concurrent: both are kept, the resolver decides."""
    missing: tuple[str, ...]
    left: tuple[str, ...]

    @staticmethod
    def of(answer: Acknowledged) -> "Acknowledgement":
        return Acknowledgement(
            answer.applied, answer.superseded, answer.merged, answer.missing, answer.left
        )


@dataclass(frozen=True, slots=True)
class JournalItem(Result):
    position: int
    """Counts from 1."""
    value: Decoded


# ---- barriers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Release(Result):
    """A generation of a barrier that was released."""

    barrier: str
    generation: int
    order: int
    """This agent's place among the arrivals, from 0."""
    parties: tuple[str, ...]
    """Who arrived, in this order."""
    seconds: float
    """How long this agent waited."""

    @staticmethod
    def of(record: GenerationRecord, agent: str, waited: float) -> "Release":
        arrived = tuple(map(str, record.arrived))
        return Release(
            record.barrier, record.generation, arrived.index(agent), arrived, round(waited, 6)
        )


# ---- who is there ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member(Result):
    """A peer of the cluster, as this one sees it."""

    id: str
    name: str
    address: str
    state: Literal["alive", "suspect", "dead", "left"]
    incarnation: int
    agents: tuple[str, ...]

    @staticmethod
    def of(record: MemberRecord, agents: tuple[str, ...]) -> "Member":
        states: tuple[Literal["alive", "suspect", "dead", "left"], ...] = (
            "alive",
            "suspect",
            "dead",
            "left",
        )
        return Member(
            str(record.peer),
            record.name,
            record.address,
            states[record.state],
            record.incarnation,
            agents,
        )


@dataclass(frozen=True, slots=True)
class AgentFacts(Result):
    """An agent of the cluster, wherever it lives."""

    id: str
    peer: str
    groups: tuple[str, ...]
    capabilities: Mapping[str, int]
    participates_in_consensus: bool
    eligible: bool
    attributes: Mapping[str, str]
    """What it tells of itself while it runs."""
    joined_index: int
    """Log index at which it joined: another one under the same id is another session."""

    @staticmethod
    def of(record: AgentRecord) -> "AgentFacts":
        return AgentFacts(
            str(record.id),
            str(record.peer),
            record.groups,
            dict(record.capabilities),
            record.participates,
            record.eligible,
            dict(record.attributes),
            record.joined_index,
        )


@dataclass(frozen=True, slots=True)
class Leader(Result):
    """The peer that leads the log, and in which term."""

    id: str
    name: str
    term: int


@dataclass(frozen=True, slots=True)
class PeerStatus(Result):
    """One peer's own view of the log."""

    peer: str
    name: str
    cluster: str
    cluster_id: str
    address: str
    role: str
    """leader, follower, candidate, learner or none."""
    leader: str | None
    leader_name: str
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    quorum: bool
    voters: tuple[str, ...]
    learners: tuple[str, ...]
    epoch: int
    expect: int
    alive_count: int
    counters: Mapping[str, int]

    @staticmethod
    def of(record: Status) -> "PeerStatus":
        return PeerStatus(
            str(record.peer),
            record.name,
            record.cluster,
            str(record.cluster_id),
            record.address,
            record.role,
            None if record.leader is None else str(record.leader),
            record.leader_name,
            record.term,
            record.commit_index,
            record.applied_index,
            record.last_index,
            record.quorum,
            tuple(map(str, record.voters)),
            tuple(map(str, record.learners)),
            record.epoch,
            record.expect,
            record.alive_count,
            dict(record.counters),
        )


@dataclass(frozen=True, slots=True)
class Info(Result):
    """An agent and its surroundings, from what its peer has told so far; nobody is asked."""

    agent: str
    groups: tuple[str, ...]
    capabilities: Mapping[str, int]
    peer: str
    peer_name: str
    cluster: str
    leader: Leader | None
    quorum: bool
    members: tuple[Member, ...]
    agents: tuple[AgentFacts, ...]
    parameters: int
    """How many are agreed."""
    variables: int
    """How many are shared."""


@dataclass(frozen=True, slots=True)
class Event(Result):
    """Something that a peer told: its name, as `member.alive`, and the facts."""

    name: str
    facts: Mapping[str, Decoded]

    def to_dict(self) -> dict[str, object]:
        return {"event": self.name, **{key: _plain(value) for key, value in self.facts.items()}}


def parameter_reading(record: Parameter, level: Level, index: int, age: float) -> Reading:
    return Reading(record.name, decoded(record.value), record.version, level, index, age)
