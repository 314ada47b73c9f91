"""Events: what a peer tells whoever listens to it. They inform, they decide nothing."""

from msgspec import Struct

from mabeam_p2p.ids import (
    AgentId,
    AuctionId,
    PeerId,
    TaskId,
)
from mabeam_p2p.records import (
    Account,
    Agent,
    Auction,
    Bid,
    Budget,
    BudgetChange,
    Claim,
    Counter,
    Deal,
    Election,
    Generation,
    Journal,
    Member,
    Movement,
    Parameter,
    ParameterSchema,
    Proposal,
    Rating,
    Reputation,
    Seat,
    Task,
    TaskWorker,
    Variable,
    Vote,
)


class MemberChanged(Struct, frozen=True, gc=False, array_like=True, tag=1):
    member: Member


class LeaderChanged(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """`leader` is None while nobody leads, as far as this peer knows."""

    leader: PeerId | None
    leader_name: str
    term: int
    reason: str


class RoleChanged(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """This peer's own part in the log: leader, follower, candidate, learner, none."""

    role: str
    term: int


class QuorumChanged(Struct, frozen=True, gc=False, array_like=True, tag=4):
    quorum: bool


class ClusterFormed(Struct, frozen=True, gc=False, array_like=True, tag=5):
    cluster_id: str
    voters: tuple[PeerId, ...]


class VotersChanged(Struct, frozen=True, gc=False, array_like=True, tag=9):
    """The configuration at `index` of the log is committed."""

    index: int
    voters: tuple[PeerId, ...]
    added: tuple[PeerId, ...]
    removed: tuple[PeerId, ...]


class VersionRaised(Struct, frozen=True, gc=False, array_like=True, tag=70):
    """From `index` on the log is applied by this machine version."""

    index: int
    version: int


class KeysChanged(Struct, frozen=True, gc=False, array_like=True, tag=71):
    """The log lets other keys in. what: admitted, revoked, renewed; secret: `peer` has rotated the
    join secret."""

    index: int
    peer: PeerId
    what: str


class Ready(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """The peer has caught up with a leader that it hears, and has been given all variables: it can
    serve."""


class Refused(Struct, frozen=True, gc=False, array_like=True, tag=7):
    """Another peer refuses this one. `fatal`: it can never succeed while both run as they are."""

    peer: PeerId
    """The peer that refuses."""
    reason: str
    detail: str
    fatal: bool


EVENTS_LOST = "slow_listener"
"""Reason of a Dropped event which says that events did not reach whoever gets it: it was slow, or
its peer has caught up by a snapshot, or from its own disk. What they told of is to be read anew."""


class Dropped(Struct, frozen=True, gc=False, array_like=True, tag=8):
    """Something from `source` broke the protocol and was dropped. At most one a second for each
    (source, reason); `count` says how many since the last, this one included: the rest of a burst
    is told with the next of its kind, and never if there is none, or if more kinds came between
    than are remembered."""

    source: str
    reason: str
    detail: str
    count: int


class HandOverBegan(Struct, frozen=True, gc=False, array_like=True, tag=15):
    """This peer leads, and has another one take over. Who leads then, `LeaderChanged` tells."""

    target: PeerId
    target_name: str
    term: int
    reason: str
    """asked, leaving, preferred or caretaker."""


class AgentJoined(Struct, frozen=True, gc=False, array_like=True, tag=20):
    agent: Agent


class AgentLeft(Struct, frozen=True, gc=False, array_like=True, tag=21):
    agent: Agent
    reason: str


class ProposalOpened(Struct, frozen=True, gc=False, array_like=True, tag=22):
    proposal: Proposal


class VoteRecorded(Struct, frozen=True, gc=False, array_like=True, tag=23):
    proposal: str
    vote: Vote


class ProposalDecided(Struct, frozen=True, gc=False, array_like=True, tag=24):
    proposal: Proposal


class ParameterChanged(Struct, frozen=True, gc=False, array_like=True, tag=25):
    parameter: Parameter


class BarrierChanged(Struct, frozen=True, gc=False, array_like=True, tag=26):
    """An arrival, or the end of a generation."""

    generation: Generation


class JournalAppended(Struct, frozen=True, gc=False, array_like=True, tag=27):
    """`journal.items` holds the new item alone, `journal.first` and `last` its position."""

    journal: Journal


class AgentChanged(Struct, frozen=True, gc=False, array_like=True, tag=28):
    """An agent has joined or left a group, or describes itself anew."""

    agent: Agent


class ParameterConfirmed(Struct, frozen=True, gc=False, array_like=True, tag=29):
    """Somebody has put a guarded version into effect."""

    parameter: Parameter


class ParameterDeclared(Struct, frozen=True, gc=False, array_like=True, tag=63):
    schema: ParameterSchema


class LedgerChanged(Struct, frozen=True, gc=False, array_like=True, tag=50):
    """Money has moved. accounts: what it came from and to, as they are now."""

    movement: Movement
    accounts: tuple[Account, ...]


class BudgetChanged(Struct, frozen=True, gc=False, array_like=True, tag=51):
    """budget: as it is now, or was when it was removed. What it is part of has changed as well."""

    budget: Budget
    change: BudgetChange
    amount: int
    """SET: the limit. Else what was reserved, spent, released or forgotten."""
    agent: str
    """Who did it, or, RELEASED, had it; empty: the log's clock."""


class DealSettled(Struct, frozen=True, gc=False, array_like=True, tag=52):
    """Two agents can rate each other."""

    deal: Deal


class ReputationChanged(Struct, frozen=True, gc=False, array_like=True, tag=53):
    reputation: Reputation
    rating: Rating


class SeatChanged(Struct, frozen=True, gc=False, array_like=True, tag=35):
    """A seat has got or lost its holder, or the holder has kept it in an election."""

    seat: Seat


class ElectionOpened(Struct, frozen=True, gc=False, array_like=True, tag=36):
    """Whoever is in the electorate is asked for a ranking."""

    election: Election


class ElectionEnded(Struct, frozen=True, gc=False, array_like=True, tag=37):
    """Without the electorate and its ballots."""

    election: Election


class LockGranted(Struct, frozen=True, gc=False, array_like=True, tag=30):
    lock: str
    limit: int
    claim: Claim


class LockEnded(Struct, frozen=True, gc=False, array_like=True, tag=31):
    """A claim, held or waiting, is no more.

    `reason`: released, timeout, lease expired, departed.
    """

    lock: str
    claim: Claim
    reason: str


class CounterChanged(Struct, frozen=True, gc=False, array_like=True, tag=32):
    counter: Counter


class ItemTaken(Struct, frozen=True, gc=False, array_like=True, tag=33):
    queue: str
    claim: Claim


class TakeEnded(Struct, frozen=True, gc=False, array_like=True, tag=34):
    """A claim, held or waiting, is no more.

    `reason`: acknowledged, returned, timeout, departed.
    """

    queue: str
    claim: Claim
    reason: str


class TaskChanged(Struct, frozen=True, gc=False, array_like=True, tag=45):
    """A task has another status. Without its argument and its result."""

    task: Task


class TaskRevoked(Struct, frozen=True, gc=False, array_like=True, tag=46):
    """An agent works no longer on a task, before its end. `reason`: `failed`, `timeout`, `lost`,
    `stolen` or `cancelled`."""

    task: TaskId
    name: str
    agent: AgentId
    token: int
    reason: str


class WorkerChanged(Struct, frozen=True, gc=False, array_like=True, tag=47):
    """What an agent offers, or whether it is heard of, has changed. Without names: it offers
    nothing any more."""

    worker: TaskWorker


class AuctionOpened(Struct, frozen=True, gc=False, array_like=True, tag=55):
    auction: Auction


class BidPlaced(Struct, frozen=True, gc=False, array_like=True, tag=56):
    """A bid was placed, sealed, revealed or withdrawn, or has lost units to another one."""

    auction: AuctionId
    bid: Bid
    deadline: int
    """Of the auction, as it now is."""


class AuctionRevealing(Struct, frozen=True, gc=False, array_like=True, tag=57):
    """Bidding has ended: sealed bids can be revealed until the auction's deadline."""

    auction: Auction


class AuctionClosed(Struct, frozen=True, gc=False, array_like=True, tag=58):
    """Awarded, unsold or cancelled; what was to be paid is paid."""

    auction: Auction


class MailArrived(Struct, frozen=True, gc=False, array_like=True, tag=38):
    """A letter lies in the mailboxes of `targets`, who take it by TakeMail. Nobody else is told."""

    letter: int
    """This peer's own count."""
    sender: AgentId
    targets: tuple[AgentId, ...]
    group: str
    topic: str
    value: bytes
    wants_answer: bool
    timeout: int
    """Microseconds until it makes room for others."""


class VariableChanged(Struct, frozen=True, gc=False, array_like=True, tag=40):
    """The variables of one batch, as they now are."""

    variables: tuple[Variable, ...]
    source: PeerId


MachineEvent = (
    AgentJoined
    | AgentLeft
    | ProposalOpened
    | VoteRecorded
    | ProposalDecided
    | ParameterChanged
    | BarrierChanged
    | JournalAppended
    | AgentChanged
    | ParameterConfirmed
    | ParameterDeclared
    | LedgerChanged
    | BudgetChanged
    | DealSettled
    | ReputationChanged
    | SeatChanged
    | ElectionOpened
    | ElectionEnded
    | LockGranted
    | LockEnded
    | CounterChanged
    | ItemTaken
    | TakeEnded
    | TaskChanged
    | TaskRevoked
    | WorkerChanged
    | AuctionOpened
    | BidPlaced
    | AuctionRevealing
    | AuctionClosed
    | VotersChanged
    | VersionRaised
    | KeysChanged
)

Event = (
    MemberChanged
    | LeaderChanged
    | RoleChanged
    | QuorumChanged
    | ClusterFormed
    | Ready
    | Refused
    | Dropped
    | HandOverBegan
    | AgentJoined
    | AgentLeft
    | ProposalOpened
    | VoteRecorded
    | ProposalDecided
    | ParameterChanged
    | BarrierChanged
    | JournalAppended
    | AgentChanged
    | ParameterConfirmed
    | ParameterDeclared
    | LedgerChanged
    | BudgetChanged
    | DealSettled
    | ReputationChanged
    | SeatChanged
    | ElectionOpened
    | ElectionEnded
    | LockGranted
    | LockEnded
    | CounterChanged
    | ItemTaken
    | TakeEnded
    | TaskChanged
    | TaskRevoked
    | WorkerChanged
    | MailArrived
    | VariableChanged
    | AuctionOpened
    | BidPlaced
    | AuctionRevealing
    | AuctionClosed
    | VotersChanged
    | VersionRaised
    | KeysChanged
)
