"""Facts that are stored, sent and shown alike. Frozen, without behaviour beyond what follows from
their own fields.

Encoded everywhere as arrays in the order of the fields: fields are only ever appended, with a
default.
"""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import AgentId, ClusterId, PeerId, ProposalId, SessionId


class Batch(Struct, frozen=True, gc=False, array_like=True):
    """A run of log entries that one leader made in one turn: stored, sent and applied whole.

    Entries are counted one by one, so that an index is unique: this batch holds the indices
    `index` to `index + count - 1`, all of term `term` and with the stamp `clock`.
    """

    index: int
    """Index of the first entry, 1 or more."""
    count: int
    """Entries, 1 or more."""
    term: int
    clock: int
    """The log's clock: integer microseconds that never go back along the log."""
    blob: bytes
    """The commands, each encoded by its proposer's peer, one behind the other. Opaque to Raft."""
    voters: tuple[PeerId, ...] = ()
    """Sorted: the voters from this batch on (Raft thesis §4.1). Empty: as before."""

    @property
    def last_index(self) -> int:
        return self.index + self.count - 1


# ---- what is stored (the closed union of what a Persist can carry) ---------------------------


class HardState(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Raft's currentTerm and votedFor: one record, so that they are never stored apart."""

    log: int
    term: int
    vote: PeerId
    """Empty while no vote was given in this term."""


class LogAppend(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Drop every batch that begins behind `keep_index`, then append `batches`."""

    log: int
    keep_index: int
    """Last index that stays: the end of a batch, or 0."""
    batches: tuple[Batch, ...]


class BootstrapState(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """What this peer has promised while a cluster forms (docs/protocol.md, Bootstrap)."""

    cluster_id: ClusterId
    """Empty: no promise."""
    coordinator: PeerId
    voters: tuple[PeerId, ...]
    first: tuple[Batch, ...]
    """The first batch of the cluster's log, or nothing."""
    formed: bool
    """Whether the cluster is known to exist: no way back."""


class KnownAddresses(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Addresses of members, remembered as hints for the next start."""

    addresses: tuple[str, ...]


class Sibling(Struct, frozen=True, gc=False, array_like=True):
    """One value of a variable that no other value supersedes, with the dot that wrote it."""

    actor: PeerId
    counter: int
    """The actor's write: (epoch << 32) + n. Grows over restarts."""
    clock: int
    """Hybrid logical clock of the write: microseconds since 1970, made to grow past every clock
    seen. For last-writer-wins only."""
    value: bytes | None
    """Encoded value; None is a tombstone."""


RESOLVERS = ("lww", "max", "min", "counter", "set", "map", "multi_value", "function")
"""What can make one value of concurrent ones. Where two words meet in one variable, the earlier
one stands; only ever appended."""


class Variable(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """A variable as a dotted version vector set: `context` dominates every sibling's dot."""

    name: str
    resolver: str
    """One of RESOLVERS."""
    context: tuple[tuple[PeerId, int], ...]
    """Version vector, sorted by actor."""
    siblings: tuple[Sibling, ...]
    """Sorted by (actor, counter)."""


Record = HardState | LogAppend | BootstrapState | KnownAddresses | Variable


class Recovered(Struct, frozen=True):
    """What a data folder held when it was opened."""

    peer: PeerId
    epoch: int
    """Opens of this folder, this one included; stored before it is used."""
    hard_states: tuple[HardState, ...] = ()
    batches: tuple[Batch, ...] = ()
    """Of log 0, in order of index, without a gap."""
    bootstrap: BootstrapState | None = None
    variables: tuple[Variable, ...] = ()
    addresses: tuple[str, ...] = ()


# ---- membership ------------------------------------------------------------------------------


class MemberState(IntEnum):
    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Member(Struct, frozen=True, gc=False, array_like=True):
    """What is known of a peer. Ordered by (incarnation, state): the greater one is newer."""

    peer: PeerId
    name: str
    address: str
    """HOST:PORT, or [IPV6]:PORT."""
    epoch: int
    incarnation: int
    state: MemberState
    eligible: bool = True
    score: int = 50
    version: int = 1


class Standing(Struct, frozen=True, gc=False, array_like=True):
    """What the bully order compares, in this order; the peer's id breaks the tie."""

    last_term: int
    last_index: int
    score_bucket: int
    tenure: int
    """Whole minutes since the peer started."""
    eligible: bool = True


# ---- what the log has made -------------------------------------------------------------------


class Choice(IntEnum):
    ABSTAIN = 0
    ACCEPT = 1
    REJECT = 2


class ProposalStatus(IntEnum):
    OPEN = 0
    ACCEPTED = 1
    REJECTED = 2
    NO_CLEAR_MAJORITY = 3
    NO_QUORUM = 4
    CONFLICT = 5


class Vote(Struct, frozen=True, gc=False, array_like=True):
    agent: AgentId
    choice: Choice
    confidence: int
    """Thousandths, 0..1000."""
    rationale: str
    index: int
    clock: int


class Policy(Struct, frozen=True, gc=False, array_like=True):
    """Thresholds of a ballot as fractions of whole numbers (docs/protocol.md, Ballots)."""

    accept_numerator: int = 3
    accept_denominator: int = 5
    reject_numerator: int = 2
    reject_denominator: int = 5
    min_voters: int = 3


class Proposal(Struct, frozen=True, gc=False, array_like=True):
    id: ProposalId
    parameter: str
    value: bytes
    proposer: AgentId
    rationale: str
    metadata: bytes
    group: str
    policy: Policy
    base_version: int | None
    """Version that the parameter must still have when the value is accepted; None: any."""
    electorate: tuple[AgentId, ...]
    """Frozen at `opened_index`, sorted."""
    opened_index: int
    opened_term: int
    opened_clock: int
    deadline: int
    """By the log's clock."""
    votes: tuple[Vote, ...] = ()
    """In order of their index."""
    status: ProposalStatus = ProposalStatus.OPEN
    closed_index: int = 0
    closed_term: int = 0
    closed_clock: int = 0
    reason: str = ""
    """Why it closed when it did: `decided`, `deadline`, or what was in conflict."""


class Parameter(Struct, frozen=True, gc=False, array_like=True):
    name: str
    value: bytes
    version: int
    """Log index of the decision."""
    proposal: ProposalId
    clock: int


class OnDeparture(IntEnum):
    """What becomes of a generation when a party that has arrived departs."""

    BREAK = 0
    SHRINK = 1
    WAIT = 2


class BarrierStatus(IntEnum):
    WAITING = 0
    RELEASED = 1
    BROKEN = 2


class Generation(Struct, frozen=True, gc=False, array_like=True):
    """One round of a barrier."""

    barrier: str
    generation: int
    """Counts from 1."""
    parties: int
    timeout: int
    """Microseconds of the log's clock from the first arrival."""
    on_departure: OnDeparture
    arrived: tuple[AgentId, ...]
    """In order of arrival, each agent once."""
    status: BarrierStatus
    opened_clock: int
    closed_index: int = 0
    closed_clock: int = 0
    reason: str = ""
    """`all arrived`, `timeout`, or `departed: AGENT`."""


class Agent(Struct, frozen=True, gc=False, array_like=True):
    id: AgentId
    peer: PeerId
    epoch: int
    """Epoch of the peer when the session was opened."""
    session: SessionId
    groups: tuple[str, ...]
    participates: bool
    eligible: bool
    capabilities: tuple[tuple[str, int], ...]
    joined_index: int
    attributes: tuple[tuple[str, str], ...] = ()
    """What it tells of itself while it runs, sorted by key."""
    lease: int = 0
    """Microseconds of the log's clock; 0: none."""


class Journal(Struct, frozen=True, gc=False, array_like=True):
    name: str
    first: int
    """Position of the first item kept, from 1."""
    items: tuple[bytes, ...]


class Status(Struct, frozen=True, gc=False, array_like=True):
    """One peer's own view, as `mabeam status --json` prints it."""

    peer: PeerId
    name: str
    cluster: str
    cluster_id: ClusterId
    role: str
    """leader, follower, candidate, learner or none."""
    leader: PeerId | None
    leader_name: str
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    quorum: bool
    voters: tuple[PeerId, ...]
    learners: tuple[PeerId, ...]
    epoch: int
    address: str
    expect: int
    alive_count: int
    counters: tuple[tuple[str, int], ...] = ()
    ready: bool = False
    """Whether the peer follows the log and has been given all variables once."""
