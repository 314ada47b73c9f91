"""What is said of locks, counters and queues.

A claim is named by the sequence number of the command that made it. So whoever never heard what
became of the command can still end the claim: EndClaim also takes a number that has not come yet,
and then it never has an effect.
"""

from mabeam_p2p.commands.base import SessionCommand


class RecipeCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what is said of locks, counters and queues."""


class EndClaim(RecipeCommand, frozen=True, gc=False, array_like=True):
    """Base of what ends a claim of this session."""

    claim: int
    """Sequence number of the command that made it."""


class AcquireLock(RecipeCommand, frozen=True, gc=False, array_like=True, tag=20):
    """Take `permits` of the `limit` permits of a lock, in turn."""

    lock: str
    limit: int
    permits: int
    timeout: int
    """Microseconds of the log's clock to wait; 0: now or not at all."""
    lease: int = 0
    """Microseconds of the log's clock after which the permits come back unless the claim is
    renewed; 0: they come back when they are released or the session ends."""


class ReleaseLock(EndClaim, frozen=True, gc=False, array_like=True, tag=21):
    """Give back what the claim holds, or stop waiting."""

    lock: str


class RenewLock(RecipeCommand, frozen=True, gc=False, array_like=True, tag=22):
    """Begin the lease of a held claim anew."""

    lock: str
    claim: int


class AddCounter(RecipeCommand, frozen=True, gc=False, array_like=True, tag=23):
    counter: str
    amount: int
    """May be negative."""


class SetCounter(RecipeCommand, frozen=True, gc=False, array_like=True, tag=24):
    counter: str
    value: int
    expected: int | None = None
    """What the counter must be; None: anything."""


class PutItem(RecipeCommand, frozen=True, gc=False, array_like=True, tag=25):
    queue: str
    item: bytes


class TakeItem(RecipeCommand, frozen=True, gc=False, array_like=True, tag=26):
    """Take the first item, in turn: it is this session's until it is acknowledged or returned."""

    queue: str
    timeout: int
    """Microseconds of the log's clock to wait for an item; 0: now or not at all."""


class AcknowledgeItem(EndClaim, frozen=True, gc=False, array_like=True, tag=27):
    """The item is done with, for good."""

    queue: str


class ReturnItem(EndClaim, frozen=True, gc=False, array_like=True, tag=28):
    """The item goes back to its place in the queue; of a claim that waits: stop waiting."""

    queue: str


AnyEndClaim = ReleaseLock | AcknowledgeItem | ReturnItem

AnyRecipeCommand = (
    AnyEndClaim | AcquireLock | RenewLock | AddCounter | SetCounter | PutItem | TakeItem
)
