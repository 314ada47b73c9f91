"""What the machines share: where a command stands, and the deadlines that are open.

Rules of all machines:
1. A command is applied at one log index; everything it changes, changes at that index.
2. Any command that can be decoded gets an outcome; none raises. Own invariants are asserted.
3. A refused command does nothing of what it asks for. Its outcome is recorded, and what its coming
   alone says counts: its session is alive, its agent was heard at its work, the claim that it gives
   up never comes, one more change of voters was ignored.
4. Tables keep the order in which the log filled them: replicas agree on order, too.
"""

import heapq
from enum import IntEnum
from typing import Protocol

from msgspec import Struct

from mabeam_p2p.ids import INTEGER_MAX, AgentId
from mabeam_p2p.requests import Committed, Refused


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


class Escrow(Protocol):
    """Money that is held for a machine: the ledger, as others see it. account: who owns the money.
    operation: names the hold, once and for all. Amounts: micro-units, 1 or more."""

    def hold(
        self, entry: Entry, account: str, currency: str, amount: int, operation: str
    ) -> Refused | None:
        """Set `amount` of the account's balance aside, or say why not and change nothing."""
        ...

    def release(self, entry: Entry, operation: str, amount: int) -> None:
        """Give `amount` of a hold back to its owner; no more than is held."""
        ...

    def capture(self, entry: Entry, operation: str, amount: int, account: str) -> None:
        """Pay `amount` of a hold to `account`; no more than is held. Never refused: what is held
        can be paid to anyone."""
        ...


class Deals(Protocol):
    """Where it is written down that two agents have finished something with each other: each may
    then say once how the other did (machine/reputations.py)."""

    def settled(self, entry: Entry, deal: str, one: AgentId, other: AgentId) -> None:
        """deal: KIND/NAME, as `auction/7`, once and for all. Of an agent with itself there is no
        deal; one that is known changes nothing."""
        ...


class DeadlineKind(IntEnum):
    """Whose deadline it is. At equal times the lower kind is due first, then the lower name."""

    PROPOSAL = 0
    BARRIER = 1
    SESSION = 2
    LOCK = 3
    SEAT = 4
    TASK = 5
    AUCTION = 6
    LEDGER = 7
    BUDGET = 8
    GUARD = 9


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
