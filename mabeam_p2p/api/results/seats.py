"""What the API tells of seats and elections: frozen objects, made here from records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mabeam_p2p.api.results.base import Result, seconds
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import AgentId, unscoped
from mabeam_p2p.records import Among, ElectionStatus
from mabeam_p2p.records import Candidate as CandidateRecord
from mabeam_p2p.records import Election as ElectionRecord
from mabeam_p2p.records import Seat as SeatRecord

AmongWord = Literal["eligible", "standing"]
ElectionWord = Literal["open", "elected", "no_candidates"]

AMONG: dict[AmongWord, Among] = {"eligible": Among.ELIGIBLE, "standing": Among.STANDING}

_STATUS_WORDS: dict[ElectionStatus, ElectionWord] = {
    ElectionStatus.OPEN: "open",
    ElectionStatus.ELECTED: "elected",
    ElectionStatus.NO_CANDIDATES: "no_candidates",
}

STEPS = 1000
"""Scores and points travel in thousandths."""


def thousandths(amounts: Mapping[str, float], what: str) -> tuple[tuple[str, int], ...]:
    """Numbers from 0 to 1 as they travel. Raises InvalidValue."""
    given: Mapping[str, object] = amounts
    for name, amount in given.items():
        # Whatever a program gives, or a function of the user's returns.
        if not isinstance(amount, int | float) or not 0 <= amount <= 1:
            raise InvalidValue(f"{what} {name!r} is {amount!r}: take a number from 0 to 1")
    return tuple(sorted((name, round(amount * STEPS)) for name, amount in amounts.items()))


@dataclass(frozen=True, slots=True)
class Seat(Result):
    """A part that one agent of a group plays at a time."""

    name: str
    group: str
    holder: str | None
    """None while it is vacant."""
    token: int
    """Grows with every grant: what a resource checks to refuse a holder of before; 0: none yet."""
    is_me: bool
    """Whether the agent that asked holds it."""
    since: float
    """When it was granted."""
    reason: str
    """Why it is held or vacant, as `elected` or `resigned`."""

    @staticmethod
    def of(record: SeatRecord, agent: str) -> "Seat":
        return Seat(
            unscoped(record.group, record.name),
            record.group,
            str(record.holder) or None,
            record.token,
            record.holder == agent,
            seconds(record.granted_clock),
            record.reason,
        )

    @staticmethod
    def vacant(name: str, group: str) -> "Seat":
        """One that nobody has been elected to."""
        return Seat(name, group, None, 0, False, 0.0, "")


@dataclass(frozen=True, slots=True)
class Candidate(Result):
    """An agent that can be elected, as it was when the election opened."""

    agent: str
    score: float
    """0..1: what an empty ballot gives it, without the incumbent's bonus."""
    scores: Mapping[str, float]
    """What it had published for this seat."""
    is_incumbent: bool
    joined_index: int
    """Who came earlier wins a tie."""

    @staticmethod
    def of(record: CandidateRecord, incumbent: AgentId) -> "Candidate":
        return Candidate(
            str(record.agent),
            record.score / STEPS,
            {name: amount / STEPS for name, amount in record.scores},
            record.agent == incumbent,
            record.joined_index,
        )


@dataclass(frozen=True, slots=True)
class Election(Result):
    """Who was, or is to be, elected to a seat, by whom, and how."""

    seat: str
    group: str
    number: int
    """Log index of its opening."""
    status: ElectionWord
    candidates: tuple[Candidate, ...]
    electorate: tuple[str, ...]
    rankings: Mapping[str, Mapping[str, float]]
    """By voter, the points of each candidate; no points: by the published scores."""
    winner: str | None
    tally: Mapping[str, float]
    """Points of the candidates that were left at the end, the winner first."""
    when: float
    """When it was opened."""
    deadline: float
    reason: str
    """Why it ended when it did; empty while it runs."""

    @staticmethod
    def of(record: ElectionRecord) -> "Election":
        return Election(
            unscoped(record.group, record.seat),
            record.group,
            record.opened_index,
            _STATUS_WORDS[record.status],
            tuple(Candidate.of(one, record.incumbent) for one in record.candidates),
            tuple(map(str, record.electorate)),
            {
                str(ranking.agent): {str(name): given / STEPS for name, given in ranking.points}
                for ranking in record.rankings
            },
            str(record.winner) or None,
            {str(agent): points / STEPS for agent, points in record.tally},
            seconds(record.opened_clock),
            seconds(record.deadline),
            record.reason,
        )
