"""What is said of barriers and journals."""

from mabeam_p2p.commands.base import SessionCommand
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import OnDeparture


class Arrive(SessionCommand, frozen=True, gc=False, array_like=True, tag=9):
    barrier: str
    parties: int
    timeout: int
    """Microseconds of the log's clock."""
    on_departure: OnDeparture
    generation: int = 0
    """0: the running one; otherwise that one, whose recorded outcome is returned if finished."""
    members: tuple[AgentId, ...] = ()
    """Sorted: who the parties are. Empty: whoever comes."""
    since: int = 0
    """Of named members: their sessions have been open since this index; they meet once. 0: any
    session, any number of times."""
    present: bool = True
    """False: the generation begins, and the departure of a member counts; nobody arrives yet."""
    note: str = ""
    """What this party tells the others; its last one before the end stands."""


class AppendJournal(SessionCommand, frozen=True, gc=False, array_like=True, tag=10):
    """Append one item to a list that only grows."""

    journal: str
    item: bytes
    capacity: int = 0
    """How many items the journal holds for good: a full one refuses. 0: as many as the limit says,
    and the oldest leave. Set by the first append."""
