"""Commands: what stands in the log. Tags are only ever appended.

Every command names its session and its number in that session, which make its effect
exactly-once (Raft thesis §6.3). Commands of the cluster itself have session 0 and sequence 0.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from mabeam_p2p.ids import AgentId, ClusterId, PeerId, ProposalId, SessionId
from mabeam_p2p.records import Choice, OnDeparture, Policy


class Command(Struct, frozen=True, gc=False, array_like=True):
    """What all commands begin with."""

    session: SessionId
    sequence: int
    """Counts from 1 in its session."""


class Noop(Command, frozen=True, gc=False, array_like=True, tag=1):
    """A new leader's first entry: commits what earlier terms left (Raft §8)."""


class Tick(Command, frozen=True, gc=False, array_like=True, tag=2):
    """Moves the log's clock past a deadline."""


class Configure(Command, frozen=True, gc=False, array_like=True, tag=3):
    """The voters from this index on. The first entry of every log."""

    cluster_id: ClusterId
    voters: tuple[PeerId, ...]


class OpenSession(Command, frozen=True, gc=False, array_like=True, tag=4):
    """An agent begins. It may take over from its own older session, never from another peer."""

    agent: AgentId
    peer: PeerId
    epoch: int
    groups: tuple[str, ...]
    participates: bool
    eligible: bool
    capabilities: tuple[tuple[str, int], ...] = ()


class CloseSession(Command, frozen=True, gc=False, array_like=True, tag=5):
    """An agent ends; what it held is released here."""

    reason: str


class DepartPeer(Command, frozen=True, gc=False, array_like=True, tag=6):
    """The sessions of `peer` up to `epoch` end: its process is gone."""

    peer: PeerId
    epoch: int
    reason: str


class OpenProposal(Command, frozen=True, gc=False, array_like=True, tag=7):
    proposal: ProposalId
    parameter: str
    value: bytes
    rationale: str
    metadata: bytes
    group: str
    timeout: int
    """Microseconds of the log's clock."""
    base_version: int | None
    policy: Policy


class CastVote(Command, frozen=True, gc=False, array_like=True, tag=8):
    proposal: ProposalId
    choice: Choice
    confidence: int
    """Thousandths, 0..1000."""
    rationale: str


class Arrive(Command, frozen=True, gc=False, array_like=True, tag=9):
    barrier: str
    parties: int
    timeout: int
    """Microseconds of the log's clock."""
    on_departure: OnDeparture
    generation: int = 0
    """0: the running one; otherwise that one, whose recorded outcome is returned if finished."""


class AppendJournal(Command, frozen=True, gc=False, array_like=True, tag=10):
    """Append one item to a list that only grows."""

    journal: str
    item: bytes


AnyCommand = (
    Noop
    | Tick
    | Configure
    | OpenSession
    | CloseSession
    | DepartPeer
    | OpenProposal
    | CastVote
    | Arrive
    | AppendJournal
)


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
    "AnyCommand",
    "AppendJournal",
    "Arrive",
    "CastVote",
    "CloseSession",
    "Command",
    "CommandCodec",
    "Configure",
    "DepartPeer",
    "Noop",
    "OpenProposal",
    "OpenSession",
    "Tick",
]
