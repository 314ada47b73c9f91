"""60..64: what goes by way of the coordinator of a section (docs/hierarchy.md)."""

from msgspec import Struct

from mabeam_p2p.ids import PeerId


class Relay(Struct, frozen=True, gc=False, array_like=True, tag=60):
    """A Forward by way of the section's coordinator, which answers ForwardRefused as a leader
    does."""

    log: int
    number: int
    """The sender's own count, of Forwards and Relays together."""
    count: int
    blob: bytes


class Relayed(Struct, frozen=True, gc=False, array_like=True, tag=61):
    """Commands of a section's members, one behind the other, for the leader to append."""

    log: int
    number: int
    """The coordinator's own count of these."""
    count: int
    blob: bytes


class RelayRefused(Struct, frozen=True, gc=False, array_like=True, tag=62):
    """As ForwardRefused, of a Relayed."""

    log: int
    number: int
    reason: str


class AckRelay(Struct, frozen=True, gc=False, array_like=True, tag=63):
    """Was a VariableAck by way of a coordinator. Kept for its tag; nobody sends it, and it has no
    effect."""

    target: PeerId
    number: int
    outcomes: tuple[int, ...]


class RelayedAck(Struct, frozen=True, gc=False, array_like=True):
    """Was a part of AcksRelayed."""

    source: PeerId
    number: int
    outcomes: tuple[int, ...]


class AcksRelayed(Struct, frozen=True, gc=False, array_like=True, tag=64):
    """Was what a coordinator had gathered. Kept for its tag; nobody sends it, and it has no
    effect."""

    acks: tuple[RelayedAck, ...]


AckMessage = AckRelay | AcksRelayed
