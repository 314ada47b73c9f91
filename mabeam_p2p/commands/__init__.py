"""Commands: what stands in the log. Tags are only ever appended.

Every command names its session and its number in that session, which make its effect
exactly-once (Raft thesis §6.3). Commands of the cluster itself have session 0 and sequence 0. One
file for each family; a family whose machine tells its commands apart has a base class of its own.
"""

from collections.abc import Sequence
from typing import Protocol

from mabeam_p2p.commands.auctions import (
    AnyAuctionCommand,
    AuctionCommand,
    CancelAuction,
    OpenAuction,
    PlaceBid,
    RevealBid,
    SealBid,
)
from mabeam_p2p.commands.base import ClusterCommand, Command, SessionCommand
from mabeam_p2p.commands.cluster import (
    AnyClusterCommand,
    Configure,
    DepartPeer,
    Noop,
    RaiseVersion,
    Tick,
)
from mabeam_p2p.commands.keys import (
    Admit,
    AnyKeyCommand,
    KeyCommand,
    RevokePeer,
    RotateSecret,
    SetKeys,
)
from mabeam_p2p.commands.ledger import (
    AnyBudgetCommand,
    AnyLedgerCommand,
    BudgetCommand,
    Burn,
    CaptureHold,
    LedgerCommand,
    Mint,
    PlaceHold,
    Rate,
    ReleaseHold,
    Reserve,
    SetBudget,
    SpendReserved,
    Transfer,
)
from mabeam_p2p.commands.meeting import AppendJournal, Arrive
from mabeam_p2p.commands.parameters import (
    AnyParameterCommand,
    ConfirmParameter,
    DeclareParameter,
    ParameterCommand,
)
from mabeam_p2p.commands.proposals import (
    AnyProposalCommand,
    CastVote,
    OpenProposal,
    ProposalCommand,
)
from mabeam_p2p.commands.recipes import (
    AcknowledgeItem,
    AcquireLock,
    AddCounter,
    AnyEndClaim,
    AnyRecipeCommand,
    EndClaim,
    PutItem,
    RecipeCommand,
    ReleaseLock,
    RenewLock,
    ReturnItem,
    SetCounter,
    TakeItem,
)
from mabeam_p2p.commands.seats import (
    AnySeatCommand,
    CastRanking,
    Elect,
    PublishScore,
    Resign,
    SeatCommand,
    Stand,
)
from mabeam_p2p.commands.sessions import (
    AnySessionsCommand,
    CloseSession,
    Describe,
    JoinGroup,
    KeepAlive,
    LeaveGroup,
    OpenSession,
)
from mabeam_p2p.commands.tasks import (
    AnyTaskCommand,
    CancelTask,
    CompleteTask,
    FailTask,
    OfferTasks,
    RenewTasks,
    RetryTask,
    SubmitTask,
    TaskCommand,
)

AnySessionCommand = (
    AnySessionsCommand
    | AnyParameterCommand
    | AnyProposalCommand
    | Arrive
    | AppendJournal
    | AnyLedgerCommand
    | AnyBudgetCommand
    | Rate
    | AnySeatCommand
    | AnyRecipeCommand
    | AnyTaskCommand
    | AnyAuctionCommand
    | AnyKeyCommand
)
"""What an agent says in its session."""

AnyCommand = AnyClusterCommand | Admit | OpenSession | AnySessionCommand


class CommandCodec(Protocol):
    """Commands to the blob of a batch and back. The one thing that a node cannot do by itself."""

    def encode_commands(self, commands: Sequence[AnyCommand]) -> bytes:
        """The commands one behind the other: results can be joined by concatenation.

        Raises InvalidValue for a command that decoding would refuse."""
        ...

    def decode_commands(self, count: int, blob: bytes) -> tuple[AnyCommand, ...]:
        """Inverse of encode_commands for exactly `count` commands. Raises RemoteProtocolError."""
        ...


__all__ = [
    "AcknowledgeItem",
    "AcquireLock",
    "AddCounter",
    "Admit",
    "AnyAuctionCommand",
    "AnyBudgetCommand",
    "AnyClusterCommand",
    "AnyCommand",
    "AnyEndClaim",
    "AnyKeyCommand",
    "AnyLedgerCommand",
    "AnyParameterCommand",
    "AnyProposalCommand",
    "AnyRecipeCommand",
    "AnySeatCommand",
    "AnySessionCommand",
    "AnySessionsCommand",
    "AnyTaskCommand",
    "AppendJournal",
    "Arrive",
    "AuctionCommand",
    "BudgetCommand",
    "Burn",
    "CancelAuction",
    "CancelTask",
    "CaptureHold",
    "CastRanking",
    "CastVote",
    "CloseSession",
    "ClusterCommand",
    "Command",
    "CommandCodec",
    "CompleteTask",
    "Configure",
    "ConfirmParameter",
    "DeclareParameter",
    "DepartPeer",
    "Describe",
    "Elect",
    "EndClaim",
    "FailTask",
    "JoinGroup",
    "KeepAlive",
    "KeyCommand",
    "LeaveGroup",
    "LedgerCommand",
    "Mint",
    "Noop",
    "OfferTasks",
    "OpenAuction",
    "OpenProposal",
    "OpenSession",
    "ParameterCommand",
    "PlaceBid",
    "PlaceHold",
    "ProposalCommand",
    "PublishScore",
    "PutItem",
    "RaiseVersion",
    "Rate",
    "RecipeCommand",
    "ReleaseHold",
    "ReleaseLock",
    "RenewLock",
    "RenewTasks",
    "Reserve",
    "Resign",
    "RetryTask",
    "ReturnItem",
    "RevealBid",
    "RevokePeer",
    "RotateSecret",
    "SealBid",
    "SeatCommand",
    "SessionCommand",
    "SetBudget",
    "SetCounter",
    "SetKeys",
    "SpendReserved",
    "Stand",
    "SubmitTask",
    "TakeItem",
    "TaskCommand",
    "Tick",
    "Transfer",
]
