"""Why a peer is in the state in which another one, or it itself, sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from mabeam_p2p.api.results.base import Result
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Acquaintance as AcquaintanceRecord
from mabeam_p2p.records import Doubt as DoubtRecord
from mabeam_p2p.records import Evidence
from mabeam_p2p.records import Follower as FollowerRecord
from mabeam_p2p.records import Hearing as HearingRecord
from mabeam_p2p.records import Standing as StandingRecord

NameOf = Callable[[PeerId], str]


@dataclass(frozen=True, slots=True)
class Hearing(Result):
    """What has become of the telling peer's own questions to a member."""

    answered_seconds: float | None
    """Since its last answer; None: it has given none yet, or that is forgotten."""
    unanswered: int
    """Questions since then."""
    unanswered_seconds: float
    """Since the oldest of those."""
    patience_seconds: float
    """So long an answer is waited for before the member is suspected."""
    asked: tuple[str, ...]
    """Names of those that were asked to ask it."""
    in_vain: tuple[str, ...]
    """Which of those had no answer either, and said so."""


@dataclass(frozen=True, slots=True)
class Doubt(Result):
    """A suspicion that has not been refuted."""

    accusers: tuple[str, ...]
    """Names."""
    seconds: float
    timeout_seconds: float
    """How long it may stand; then the member counts as dead."""


@dataclass(frozen=True, slots=True)
class Link(Result):
    address: str
    epoch: int
    open: bool
    idle_seconds: float
    greeting_seconds: float
    """Pause between two greetings of its address, as nobody answers there; 0: none are sent."""


@dataclass(frozen=True, slots=True)
class Follower(Result):
    """How far a peer has the log, as its leader knows."""

    state: str
    """probe, replicate or snapshot."""
    match_index: int
    sent_index: int
    inflight: int
    contact_seconds: float
    caught_up: bool


@dataclass(frozen=True, slots=True)
class Standing(Result):
    """Where a peer stands in the order of elections, as it last said."""

    last_term: int
    last_index: int
    score: int
    tenure_minutes: int
    eligible: bool


@dataclass(frozen=True, slots=True)
class Obstacle(Result):
    """Why a peer does not lead, or is not ready; `reason` is a stable word."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class PeerEvidence(Result):
    """All that bears on one peer's state, in the eyes of another, or in its own."""

    peer: str
    name: str
    """Empty: no such member is known."""
    by: str
    """Name of the peer whose view it is."""
    is_self: bool
    state: str
    """alive, suspect, dead, left, or unknown."""
    address: str
    epoch: int
    incarnation: int
    gone_seconds: float | None
    """Since when it is dead, or has left."""
    refutations: int
    """How often it has come back from suspicion or death by its own word."""
    hearing: Hearing | None
    doubt: Doubt | None
    link: Link | None
    part: str
    """voter, learner, or empty."""
    barred: bool
    """A command took it out of the voters."""
    follower: Follower | None
    """Told by the leader alone, of others."""
    standing: Standing | None
    place: int
    """In the order of elections, among the live voters that may lead; 0: none."""
    leads: bool
    obstacles: tuple[Obstacle, ...]
    clock_ahead_seconds: float | None
    """Of its clock against the telling peer's, when it last told the time."""
    leader: str | None
    """Name of the leader that the telling peer hears."""
    term: int
    commit_index: int
    health: int
    """The telling peer's own: 0 is well; each point makes it wait longer before it suspects."""
    disk_used_bytes: int
    disk_bytes_max: int
    """Of the telling peer, if it tells of itself; 0: not known, or nothing limits it."""
    unready: tuple[Obstacle, ...]
    """Why the telling peer is not ready yet, if it tells of itself."""

    @staticmethod
    def of(record: Evidence, name_of: NameOf) -> "PeerEvidence":
        """name_of: the name of a member, or its id."""
        member, standing, follower = record.member, record.standing, record.follower
        return PeerEvidence(
            peer=str(record.peer),
            name="" if member is None else member.name,
            by=name_of(record.by),
            is_self=record.peer == record.by,
            state="unknown" if member is None else member.state.name.lower(),
            address="" if member is None else member.address,
            epoch=0 if member is None else member.epoch,
            incarnation=0 if member is None else member.incarnation,
            gone_seconds=record.gone_seconds,
            refutations=record.refutation_count,
            hearing=None if record.hearing is None else _hearing(record.hearing, name_of),
            doubt=None if record.doubt is None else _doubt(record.doubt, name_of),
            link=None if record.link is None else _link(record.link),
            part=record.part,
            barred=record.is_barred,
            follower=None if follower is None else _follower(follower),
            standing=None if standing is None else _standing(standing),
            place=record.place,
            leads=record.leader == record.peer,
            obstacles=tuple(Obstacle(one.reason, one.detail) for one in record.obstacles),
            clock_ahead_seconds=record.clock_ahead_seconds,
            leader=None if record.leader is None else name_of(record.leader),
            term=record.term,
            commit_index=record.commit_index,
            health=record.health,
            disk_used_bytes=record.disk_used_bytes,
            disk_bytes_max=record.disk_bytes_max,
            unready=tuple(Obstacle(one.reason, one.detail) for one in record.unready),
        )


def _hearing(record: HearingRecord, name_of: NameOf) -> Hearing:
    return Hearing(
        record.answered_seconds,
        record.unanswered_count,
        record.unanswered_seconds,
        record.patience_seconds,
        tuple(map(name_of, record.asked)),
        tuple(map(name_of, record.in_vain)),
    )


def _doubt(record: DoubtRecord, name_of: NameOf) -> Doubt:
    return Doubt(tuple(map(name_of, record.accusers)), record.seconds, record.timeout_seconds)


def _link(record: AcquaintanceRecord) -> Link:
    return Link(
        record.address,
        record.epoch,
        record.is_open,
        record.idle_seconds,
        record.greeting_seconds,
    )


def _follower(record: FollowerRecord) -> Follower:
    return Follower(
        record.state,
        record.match_index,
        record.sent_index,
        record.inflight_count,
        record.contact_seconds,
        record.is_caught_up,
    )


def _standing(record: StandingRecord) -> Standing:
    return Standing(
        record.last_term, record.last_index, record.score, record.tenure, record.eligible
    )
