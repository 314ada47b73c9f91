"""Proposals, votes and decisions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mabeam_p2p.api.results.base import (
    Decoded,
    Result,
    decoded,
    seconds,
)
from mabeam_p2p.errors import InvalidValue, Rejected
from mabeam_p2p.records import Choice, ProposalStatus
from mabeam_p2p.records import Proposal as ProposalRecord
from mabeam_p2p.records import Vote as VoteRecord

ChoiceWord = Literal["accept", "reject", "abstain"]
StatusWord = Literal["open", "accepted", "rejected", "no_clear_majority", "no_quorum", "conflict"]

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
    """Of the log entry that closed it; the parameter's version if it was accepted, unless another
    change of that parameter fell on the same entry: then its version is greater."""
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
