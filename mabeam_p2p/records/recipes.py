"""What the log has made of locks, counters and queues."""

from msgspec import Struct

from mabeam_p2p.ids import AgentId


class Item(Struct, frozen=True, gc=False, array_like=True):
    """What was put into a queue."""

    position: int
    """Log index of its put: the order of the queue."""
    value: bytes
    deliveries: int = 0
    """How often it was handed to somebody."""


class Claim(Struct, frozen=True, gc=False, array_like=True):
    """What one agent asks of a lock or a queue, or holds of it."""

    ticket: int
    """Log index at which it was made: the order of the line, and its name in questions."""
    agent: AgentId
    number: int
    """Sequence number of the command that made it: its name in the agent's session."""
    permits: int = 1
    lease: int = 0
    """Microseconds of the log's clock after which it ends unless it is renewed; 0: none."""
    token: int = 0
    """What a resource compares to refuse an older holder; 0: it waits."""
    deadline: int = 0
    """By the log's clock, of the wait or of the lease; 0: none."""
    item: Item | None = None
    """What it holds of a queue."""


class Lock(Struct, frozen=True, gc=False, array_like=True):
    """A name of which `limit` permits can be held at a time."""

    name: str
    limit: int
    claims: tuple[Claim, ...]
    """Those that were asked for: holders in order of their grants, then the line that waits."""


class Counter(Struct, frozen=True, gc=False, array_like=True):
    name: str
    value: int


class Queue(Struct, frozen=True, gc=False, array_like=True):
    name: str
    ready_count: int
    """Items that nobody has taken."""
    taken_count: int
    waiting_count: int
    """Agents that wait for an item."""
    claims: tuple[Claim, ...] = ()
    """Those that were asked for."""
