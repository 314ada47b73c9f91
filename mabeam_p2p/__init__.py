"""Peers without a broker that find each other, elect, vote, agree and meet at barriers.

The names below are public; everything else may change. Those that need the network or the disk are
imported when they are first used, so that `import mabeam_p2p` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mabeam_p2p.config import Config, Limits, Timing
from mabeam_p2p.errors import (
    AckTimeout,
    AddressError,
    AuctionEnded,
    AuctionTimeout,
    AuthenticationError,
    BarrierBroken,
    BarrierMismatch,
    BudgetExceeded,
    BulkBroken,
    BulkMismatch,
    Closed,
    ConfigError,
    ConflictingOperation,
    ConflictingVote,
    DaemonNotRunning,
    DataFolderHeld,
    ElectionTimeout,
    InsufficientFunds,
    InvalidJoinCode,
    InvalidName,
    InvalidValue,
    JournalFull,
    JournalMismatch,
    KeyFileError,
    LeadershipLost,
    LeaseLost,
    LockMismatch,
    LockTimeout,
    LogCorrupt,
    MabeamError,
    MabeamTimeout,
    NameTaken,
    NobodyThere,
    NoCandidates,
    NoElectorate,
    NoQuorum,
    NoRoute,
    NotEligible,
    NotHolder,
    NotOwner,
    NotParty,
    NoWorker,
    Outbid,
    OutcomeUnknown,
    Overloaded,
    ParameterReverted,
    PeerRefused,
    ProposalClosed,
    ProposalTimeout,
    Rejected,
    RemoteTaskError,
    StaleToken,
    StorageError,
    TaskCancelled,
    TaskDead,
    TransferFailed,
    UnknownAuction,
    UnknownBudget,
    UnknownPeer,
    UnknownProposal,
    UnknownSeat,
    UnknownTask,
    VotersUnchanged,
)
from mabeam_p2p.records import Policy

if TYPE_CHECKING:
    import mabeam_p2p.blocking as blocking
    from mabeam_p2p.api.agent import (
        Agent,
        Group,
    )
    from mabeam_p2p.api.barriers import (
        Barrier,
    )
    from mabeam_p2p.api.budgets import (
        Budget,
        Reservation,
    )
    from mabeam_p2p.api.collectives import (
        BulkResult,
    )
    from mabeam_p2p.api.connecting import (
        connect,
    )
    from mabeam_p2p.api.counters import (
        Counter,
    )
    from mabeam_p2p.api.fitness import (
        load_score,
        uptime_score,
    )
    from mabeam_p2p.api.grants import (
        Lease,
    )
    from mabeam_p2p.api.guards import (
        FileGuard,
        Guard,
        SqlGuard,
    )
    from mabeam_p2p.api.holdings import (
        Balance,
        BudgetFacts,
        Currency,
        Deal,
        Held,
        Movement,
        Rating,
        Receipt,
        Reputation,
    )
    from mabeam_p2p.api.journals import (
        Journal,
    )
    from mabeam_p2p.api.keys import KeyFacts, KeyRotation, Keys, PeerKeys
    from mabeam_p2p.api.leadership import (
        Leadership,
    )
    from mabeam_p2p.api.ledger import (
        Hold,
        Ledger,
    )
    from mabeam_p2p.api.locks import (
        Holder,
        Lock,
        LockFacts,
        ReadWriteLock,
    )
    from mabeam_p2p.api.lots import (
        Auction,
        Award,
        Bid,
        PlacedBid,
    )
    from mabeam_p2p.api.market import (
        Market,
        Sealed,
    )
    from mabeam_p2p.api.parameters import (
        Parameters,
    )
    from mabeam_p2p.api.peer import (
        Peer,
        join,
    )
    from mabeam_p2p.api.queues import (
        Delivery,
        Queue,
        QueueFacts,
    )
    from mabeam_p2p.api.reputations import (
        Reputations,
    )
    from mabeam_p2p.api.results import (
        Acknowledgement,
        AgentFacts,
        Applied,
        Change,
        Decision,
        Event,
        Info,
        JournalItem,
        Leader,
        Member,
        PeerEvidence,
        PeerStatus,
        Proposal,
        Reading,
        RecordedVote,
        Release,
        ValueSchema,
        Vote,
    )
    from mabeam_p2p.api.results.mail import (
        Answers,
        Message,
        Receipts,
    )
    from mabeam_p2p.api.results.seats import (
        Candidate,
        Election,
        Seat,
    )
    from mabeam_p2p.api.results.tasks import (
        TaskFacts,
        TaskResult,
        WorkerFacts,
    )
    from mabeam_p2p.api.tasks import (
        TaskHandle,
        TaskStream,
    )
    from mabeam_p2p.api.variables import (
        Batch,
        Variables,
    )
    from mabeam_p2p.machine.allocation import Allocation, allocate

__version__ = "0.1.0"

_LATER = {
    "api.agent": (
        "Agent",
        "Group",
    ),
    "api.barriers": ("Barrier",),
    "api.budgets": (
        "Budget",
        "Reservation",
    ),
    "api.collectives": ("BulkResult",),
    "api.connecting": ("connect",),
    "api.counters": ("Counter",),
    "api.fitness": (
        "load_score",
        "uptime_score",
    ),
    "api.grants": ("Lease",),
    "api.guards": (
        "FileGuard",
        "Guard",
        "SqlGuard",
    ),
    "api.holdings": (
        "Balance",
        "BudgetFacts",
        "Currency",
        "Deal",
        "Held",
        "Movement",
        "Rating",
        "Receipt",
        "Reputation",
    ),
    "api.journals": ("Journal",),
    "api.keys": ("KeyFacts", "KeyRotation", "Keys", "PeerKeys"),
    "api.leadership": ("Leadership",),
    "api.ledger": (
        "Hold",
        "Ledger",
    ),
    "api.locks": (
        "Holder",
        "Lock",
        "LockFacts",
        "ReadWriteLock",
    ),
    "api.lots": (
        "Auction",
        "Award",
        "Bid",
        "PlacedBid",
    ),
    "api.market": (
        "Market",
        "Sealed",
    ),
    "api.parameters": ("Parameters",),
    "api.peer": (
        "Peer",
        "join",
    ),
    "api.queues": (
        "Delivery",
        "Queue",
        "QueueFacts",
    ),
    "api.reputations": ("Reputations",),
    "api.results": (
        "Acknowledgement",
        "AgentFacts",
        "Applied",
        "Change",
        "Decision",
        "Event",
        "Info",
        "JournalItem",
        "Leader",
        "Member",
        "PeerEvidence",
        "PeerStatus",
        "Proposal",
        "Reading",
        "RecordedVote",
        "Release",
        "ValueSchema",
        "Vote",
    ),
    "api.results.mail": (
        "Answers",
        "Message",
        "Receipts",
    ),
    "api.results.seats": (
        "Candidate",
        "Election",
        "Seat",
    ),
    "api.results.tasks": (
        "TaskFacts",
        "TaskResult",
        "WorkerFacts",
    ),
    "api.tasks": (
        "TaskHandle",
        "TaskStream",
    ),
    "api.variables": (
        "Batch",
        "Variables",
    ),
    "machine.allocation": ("Allocation", "allocate"),
}
"""Modules, and the public names that are imported from them on first use."""

_HOME_OF = {name: home for home, names in _LATER.items() for name in names}

__all__ = [
    "AckTimeout",
    "Acknowledgement",
    "AddressError",
    "Agent",
    "AgentFacts",
    "Allocation",
    "Answers",
    "Applied",
    "Auction",
    "AuctionEnded",
    "AuctionTimeout",
    "AuthenticationError",
    "Award",
    "Balance",
    "Barrier",
    "BarrierBroken",
    "BarrierMismatch",
    "Batch",
    "Bid",
    "Budget",
    "BudgetExceeded",
    "BudgetFacts",
    "BulkBroken",
    "BulkMismatch",
    "BulkResult",
    "Candidate",
    "Change",
    "Closed",
    "Config",
    "ConfigError",
    "ConflictingOperation",
    "ConflictingVote",
    "Counter",
    "Currency",
    "DaemonNotRunning",
    "DataFolderHeld",
    "Deal",
    "Decision",
    "Delivery",
    "Election",
    "ElectionTimeout",
    "Event",
    "FileGuard",
    "Group",
    "Guard",
    "Held",
    "Hold",
    "Holder",
    "Info",
    "InsufficientFunds",
    "InvalidJoinCode",
    "InvalidName",
    "InvalidValue",
    "Journal",
    "JournalFull",
    "JournalItem",
    "JournalMismatch",
    "KeyFacts",
    "KeyFileError",
    "KeyRotation",
    "Keys",
    "Leader",
    "Leadership",
    "LeadershipLost",
    "Lease",
    "LeaseLost",
    "Ledger",
    "Limits",
    "Lock",
    "LockFacts",
    "LockMismatch",
    "LockTimeout",
    "LogCorrupt",
    "MabeamError",
    "MabeamTimeout",
    "Market",
    "Member",
    "Message",
    "Movement",
    "NameTaken",
    "NoCandidates",
    "NoElectorate",
    "NoQuorum",
    "NoRoute",
    "NoWorker",
    "NobodyThere",
    "NotEligible",
    "NotHolder",
    "NotOwner",
    "NotParty",
    "Outbid",
    "OutcomeUnknown",
    "Overloaded",
    "ParameterReverted",
    "Parameters",
    "Peer",
    "PeerEvidence",
    "PeerKeys",
    "PeerRefused",
    "PeerStatus",
    "PlacedBid",
    "Policy",
    "Proposal",
    "ProposalClosed",
    "ProposalTimeout",
    "Queue",
    "QueueFacts",
    "Rating",
    "ReadWriteLock",
    "Reading",
    "Receipt",
    "Receipts",
    "RecordedVote",
    "Rejected",
    "Release",
    "RemoteTaskError",
    "Reputation",
    "Reputations",
    "Reservation",
    "Sealed",
    "Seat",
    "SqlGuard",
    "StaleToken",
    "StorageError",
    "TaskCancelled",
    "TaskDead",
    "TaskFacts",
    "TaskHandle",
    "TaskResult",
    "TaskStream",
    "Timing",
    "TransferFailed",
    "UnknownAuction",
    "UnknownBudget",
    "UnknownPeer",
    "UnknownProposal",
    "UnknownSeat",
    "UnknownTask",
    "ValueSchema",
    "Variables",
    "Vote",
    "VotersUnchanged",
    "WorkerFacts",
    "__version__",
    "allocate",
    "blocking",
    "connect",
    "join",
    "load_score",
    "uptime_score",
]


def __getattr__(name: str) -> object:
    if name == "blocking":
        return import_module("mabeam_p2p.blocking")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
