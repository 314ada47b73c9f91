"""What the log has made of seats: who stands, who ranks whom, who holds what."""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import AgentId


class Among(IntEnum):
    """Who is a candidate of a seat's elections."""

    ELIGIBLE = 0
    """Every eligible agent of the group that has not stood down."""
    STANDING = 1
    """Those of them alone that have said that they stand."""


class ElectionStatus(IntEnum):
    OPEN = 0
    ELECTED = 1
    NO_CANDIDATES = 2


class Candidate(Struct, frozen=True, gc=False, array_like=True):
    """An agent that stands, as it was when the election opened."""

    agent: AgentId
    joined_index: int
    score: int
    """Thousandths, 0..1000: its published scores under the seat's weights."""
    scores: tuple[tuple[str, int], ...] = ()
    """What it had published for this seat, in thousandths, sorted by name."""


class Ranking(Struct, frozen=True, gc=False, array_like=True):
    """One agent's ballot."""

    agent: AgentId
    points: tuple[tuple[AgentId, int], ...]
    """0..1000 for each candidate; one that is not named gets 0. Empty: by the published scores."""
    index: int


class Election(Struct, frozen=True, gc=False, array_like=True):
    """Who gets a seat (docs/protocol.md, Seats)."""

    seat: str
    group: str
    opened_index: int
    """Also the election's number."""
    opened_clock: int
    deadline: int
    """By the log's clock."""
    incumbent: AgentId
    """Who held the seat when it opened; empty: nobody."""
    candidates: tuple[Candidate, ...]
    """Frozen at `opened_index`."""
    electorate: tuple[AgentId, ...]
    """Frozen at `opened_index`, sorted. Left out of what has ended, but for those who ask."""
    rankings: tuple[Ranking, ...] = ()
    """In order of their index; left out but for those who ask."""
    struck: tuple[AgentId, ...] = ()
    """Candidates that departed or stood down meanwhile."""
    absent: tuple[AgentId, ...] = ()
    """Of the electorate: departed without a ballot."""
    status: ElectionStatus = ElectionStatus.OPEN
    winner: AgentId = AgentId("")
    tally: tuple[tuple[AgentId, int], ...] = ()
    """Points of the candidates that were left at the end, the winner first."""
    closed_index: int = 0
    closed_clock: int = 0
    reason: str = ""
    """`decided`, `deadline`, or `no candidates`."""


class Seat(Struct, frozen=True, gc=False, array_like=True):
    """A part that one agent of a group plays at a time."""

    name: str
    """As the log has it: GROUP:NAME."""
    group: str
    holder: AgentId
    """Empty while it is vacant."""
    token: int
    """Log index of the last grant; 0 before the first one."""
    granted_clock: int
    changed_index: int
    reason: str
    """Why it is held or vacant: `elected`, `resigned`, `left group`, `departed`, and the like."""
    election: Election | None = None
    """The one that runs."""
    last: Election | None = None
    """The last one that has ended."""
