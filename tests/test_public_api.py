"""What mabeam_p2p exports is public: this list changes on purpose only."""

import subprocess
import sys

import mabeam_p2p

ERRORS = [
    "AckTimeout",
    "AddressError",
    "AuctionEnded",
    "AuctionTimeout",
    "AuthenticationError",
    "BarrierBroken",
    "BarrierMismatch",
    "BudgetExceeded",
    "BulkBroken",
    "BulkMismatch",
    "Closed",
    "ConfigError",
    "ConflictingOperation",
    "ConflictingVote",
    "DaemonNotRunning",
    "DataFolderHeld",
    "ElectionTimeout",
    "InsufficientFunds",
    "InvalidJoinCode",
    "InvalidName",
    "InvalidValue",
    "JournalFull",
    "JournalMismatch",
    "KeyFileError",
    "LeadershipLost",
    "LeaseLost",
    "LockMismatch",
    "LockTimeout",
    "LogCorrupt",
    "MabeamError",
    "MabeamTimeout",
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
    "PeerRefused",
    "ProposalClosed",
    "ProposalTimeout",
    "Rejected",
    "RemoteTaskError",
    "StaleToken",
    "StorageError",
    "TaskCancelled",
    "TaskDead",
    "TransferFailed",
    "UnknownAuction",
    "UnknownBudget",
    "UnknownPeer",
    "UnknownProposal",
    "UnknownSeat",
    "UnknownTask",
    "VotersUnchanged",
]

RESULTS = [
    "Acknowledgement",
    "AgentFacts",
    "Allocation",
    "Answers",
    "Applied",
    "Auction",
    "Award",
    "Balance",
    "Bid",
    "BudgetFacts",
    "BulkResult",
    "Candidate",
    "Change",
    "Currency",
    "Deal",
    "Decision",
    "Election",
    "Event",
    "Held",
    "Holder",
    "Info",
    "JournalItem",
    "KeyFacts",
    "KeyRotation",
    "Leader",
    "LockFacts",
    "Member",
    "Message",
    "Movement",
    "PeerEvidence",
    "PeerKeys",
    "PeerStatus",
    "PlacedBid",
    "Proposal",
    "QueueFacts",
    "Rating",
    "Reading",
    "Receipt",
    "Receipts",
    "RecordedVote",
    "Release",
    "Reputation",
    "Sealed",
    "Seat",
    "TaskFacts",
    "TaskResult",
    "ValueSchema",
    "Vote",
    "WorkerFacts",
]

HANDLES = [
    "Agent",
    "Barrier",
    "Batch",
    "Budget",
    "Counter",
    "Delivery",
    "FileGuard",
    "Group",
    "Guard",
    "Hold",
    "Journal",
    "Keys",
    "Leadership",
    "Lease",
    "Ledger",
    "Lock",
    "Market",
    "Parameters",
    "Peer",
    "Queue",
    "ReadWriteLock",
    "Reputations",
    "Reservation",
    "SqlGuard",
    "TaskHandle",
    "TaskStream",
    "Variables",
]

SETTINGS = ["Config", "Limits", "Policy", "Timing"]

ENTRANCES = [
    "__version__",
    "allocate",
    "blocking",
    "connect",
    "join",
    "load_score",
    "uptime_score",
]


def test_public_names_are_these() -> None:
    assert sorted(mabeam_p2p.__all__) == sorted(ERRORS + RESULTS + HANDLES + SETTINGS + ENTRANCES)


def test_every_public_name_can_be_had() -> None:
    for name in mabeam_p2p.__all__:
        assert getattr(mabeam_p2p, name) is not None
    assert set(dir(mabeam_p2p)) >= set(mabeam_p2p.__all__)


def test_every_public_error_is_a_mabeam_error() -> None:
    for name in ERRORS:
        assert issubclass(getattr(mabeam_p2p, name), mabeam_p2p.MabeamError)


def test_import_loads_neither_network_nor_disk() -> None:
    heavy = "{'asyncio', 'zmq', 'cbor2', 'zeroconf', 'sqlite3', 'click'}"
    code = f"import sys, mabeam_p2p; print(*sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""
