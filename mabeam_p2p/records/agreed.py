"""What the log has made of agents, ballots, barriers and journals."""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import AgentId, PeerId, ProposalId, SessionId


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
    shrink: bool = False
    """Whether an agent that departs before it has voted leaves the electorate, as long as a
    majority of the first one and `min_voters` remain; else it counts as outstanding."""


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
    guard: int = 0
    """Microseconds within which the electorate must confirm an accepted value; 0: it need not."""
    departed: tuple[AgentId, ...] = ()
    """Who has left the electorate, in order: only where the policy shrinks it."""


class Parameter(Struct, frozen=True, gc=False, array_like=True):
    name: str
    value: bytes
    version: int
    """Log index of the decision, or one more than the last version if that is as great."""
    proposal: ProposalId
    clock: int
    awaited: tuple[AgentId, ...] = ()
    """Who has yet to confirm a guarded version."""
    confirmed: tuple[AgentId, ...] = ()
    """Who has confirmed it, in order."""
    guard_deadline: int = 0
    """By the log's clock; 0: it stands."""
    reverted: str = ""
    """Why this is the value before last; empty: it is not."""


class ParameterSchema(Struct, frozen=True, gc=False, array_like=True):
    """Which values a parameter may have, as its first declaration said."""

    name: str
    schema: bytes
    agent: AgentId
    index: int


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
    members: tuple[AgentId, ...] = ()
    """Sorted: who alone may arrive. Empty: whoever comes."""
    since: int = 0
    """Index since which the members' sessions are open; 0: any session."""
    departed: tuple[AgentId, ...] = ()
    """Parties by whose departure it broke or has shrunk, in this order."""
    notes: tuple[str, ...] = ()
    """What each of `arrived` has told; empty: none of them anything."""


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
    yields: bool = False
    """It holds a seat only while no other agent can."""


class Journal(Struct, frozen=True, gc=False, array_like=True):
    """A journal, or a run of its items."""

    name: str
    first: int
    """Position of the first of `items`, from 1."""
    items: tuple[bytes, ...]
    capacity: int = 0
    """How many items it holds for good; 0: the oldest leave."""
    last: int = 0
    """Position of the journal's last item, whether it is among `items` or not."""
