"""What one peer knows of another, and from what: shown, never stored, and nothing decides by it.

Durations are seconds by the telling peer's own clock.
"""

from msgspec import Struct

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records.members import Member, Standing


class Hearing(Struct, frozen=True, gc=False, array_like=True):
    """What has become of this peer's own questions to a member."""

    answered_seconds: float | None
    """Since its last answer to one; None: it has never answered, or that is forgotten."""
    unanswered_count: int
    unanswered_seconds: float
    """Since the oldest of those."""
    patience_seconds: float
    """So long this peer waits for an answer before it suspects; less than well, it waits longer."""
    asked: tuple[PeerId, ...]
    """Others that were asked to ask it."""
    in_vain: tuple[PeerId, ...]
    """Which of those had no answer either, and said so."""


class Doubt(Struct, frozen=True, gc=False, array_like=True):
    """A suspicion that has not been refuted yet."""

    accusers: tuple[PeerId, ...]
    seconds: float
    """How long it stands."""
    timeout_seconds: float
    """How long it may stand; then the member counts as dead."""


class Acquaintance(Struct, frozen=True, gc=False, array_like=True):
    """The link to a peer."""

    address: str
    epoch: int
    """In which it was met."""
    is_open: bool
    idle_seconds: float
    """Since something was last said over it."""
    greeting_seconds: float = 0.0
    """Pause between two greetings of its address, as nobody answers there; 0: it is not greeted."""


class Follower(Struct, frozen=True, gc=False, array_like=True):
    """How far a peer has the log, as its leader knows."""

    state: str
    """probe, replicate or snapshot (`protocol/replication/progress.py`)."""
    match_index: int
    """0: it has not said yet in this term how far it is."""
    sent_index: int
    inflight_count: int
    contact_seconds: float
    """Since the sending of the last heartbeat that it has answered, or since the election."""
    is_caught_up: bool
    """It holds all that is committed, and has said so just now."""


class Obstacle(Struct, frozen=True, gc=False, array_like=True):
    """Why a peer does not lead, or is not ready. `reason` is a stable word."""

    reason: str
    detail: str = ""


class Evidence(Struct, frozen=True, gc=False, array_like=True):
    """All that bears on one peer's state, as another sees it, or it itself."""

    peer: PeerId
    by: PeerId
    """Whose view it is."""
    member: Member | None
    """The newest record of it; None: it is no member, as far as this peer knows."""
    gone_seconds: float | None = None
    """Since when it is dead or has left."""
    refutation_count: int = 0
    """How often it has come back from suspicion or death by its own word."""
    hearing: Hearing | None = None
    """None: the peer itself, or nobody that is asked."""
    doubt: Doubt | None = None
    link: Acquaintance | None = None
    part: str = ""
    """voter, learner, or nothing of both."""
    is_barred: bool = False
    """A command took it out of the voters."""
    follower: Follower | None = None
    """Told by the leader alone, of others."""
    standing: Standing | None = None
    """Where it last said that it stands in the bully order."""
    place: int = 0
    """In the bully order, among the live voters that may lead; 0: it has none."""
    obstacles: tuple[Obstacle, ...] = ()
    """Why it does not lead; none: it does."""
    clock_ahead_seconds: float | None = None
    """How far its clock was ahead of this peer's when it last told the time; behind: negative."""
    leader: PeerId | None = None
    term: int = 0
    commit_index: int = 0
    """These three as the telling peer sees them."""
    health: int = 0
    """The telling peer's own: 0 is well; each point makes it wait longer before it suspects."""
    disk_used_bytes: int = 0
    disk_bytes_max: int = 0
    """Of the telling peer's own disk, if it tells of itself; 0: not known, or nothing limits it."""
    unready: tuple[Obstacle, ...] = ()
    """Why the telling peer is not ready yet, if it tells of itself."""
