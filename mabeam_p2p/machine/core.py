"""What the machines share: where a command stands, and the deadlines that are open.

Rules of all machines:
1. A command is applied at one log index; everything it changes, changes at that index.
2. Any command that can be decoded gets an outcome; none raises. Own invariants are asserted.
3. A refused command changes nothing but the record of its own outcome.
4. Tables keep the order in which the log filled them: replicas agree on order, too.
"""

import heapq
from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.requests import Committed


class Entry(Struct, frozen=True, gc=False):
    """Where a command stands in the log. clock: microseconds of the log's clock."""

    index: int
    term: int
    clock: int

    def committed(self, number: int = 0) -> Committed:
        """The outcome of a command that has taken effect here."""
        return Committed(self.index, self.term, number)

    def can_wait(self, timeout: int) -> bool:
        """Whether a deadline that many microseconds from here lies ahead and can be written."""
        return 0 < timeout <= INTEGER_MAX - self.clock


class DeadlineKind(IntEnum):
    """Whose deadline it is. At equal times the lower kind is due first, then the lower name."""

    PROPOSAL = 0
    BARRIER = 1
    SESSION = 2
    GUARD = 8


class Deadlines:
    """Open deadlines by (kind, name), at most one each. Derived: not part of a snapshot."""

    __slots__ = ("_heap", "_open")

    def __init__(self) -> None:
        self._heap: list[tuple[int, DeadlineKind, str]] = []
        """May hold deadlines that were removed; they are known by not being in `_open`."""
        self._open: dict[tuple[DeadlineKind, str], int] = {}

    def add(self, kind: DeadlineKind, name: str, deadline: int) -> None:
        assert (kind, name) not in self._open
        self._open[kind, name] = deadline
        heapq.heappush(self._heap, (deadline, kind, name))

    def remove(self, kind: DeadlineKind, name: str) -> None:
        del self._open[kind, name]
        # What closes long before its deadline must not pile up until then.
        if len(self._heap) > 2 * len(self._open) + 64:
            self._heap = [(due, *key) for key, due in self._open.items()]
            heapq.heapify(self._heap)

    def first(self) -> tuple[int, DeadlineKind, str] | None:
        """The least open one as (deadline, kind, name)."""
        heap = self._heap
        while heap and self._open.get(heap[0][1:]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def clear(self) -> None:
        self._heap.clear()
        self._open.clear()
