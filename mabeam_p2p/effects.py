"""Effects: all that a core can want from the world. A closed union; the lane executes them.

`after` is the number of the Persist that must be durable before the effect may happen; 0: none.
Numbers grow by one from 1 over the life of a Node. That is the whole write-ahead rule: a core may
run ahead of the disk, its outputs may not.
"""

from msgspec import Struct

from mabeam_p2p.events import Event
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Message
from mabeam_p2p.records import Record
from mabeam_p2p.requests import Answer


class Persist(Struct, frozen=True, gc=False):
    """Make `record` durable. Executed in order of `number`; several may share one fsync."""

    number: int
    record: Record


class Send(Struct, frozen=True, gc=False):
    """Send `message` to a linked peer. May be lost, late or doubled."""

    target: PeerId
    message: Message
    after: int = 0


class Notify(Struct, frozen=True, gc=False):
    """Tell whoever listens."""

    event: Event
    after: int = 0


class Resolve(Struct, frozen=True, gc=False):
    """Answer the request that was given this token."""

    token: int
    answer: Answer
    after: int = 0


class Connect(Struct, frozen=True, gc=False):
    """Open the link to `target` at `address`, in place of any older one; None closes it.

    A target that begins with `?` is an address whose peer is not known yet.
    """

    target: PeerId
    address: str | None


Effect = Persist | Send | Notify | Resolve | Connect
Effects = tuple[Effect, ...]
