"""What is due when: the deadlines of many things, each of which mostly ends before its own.

A deadline that is no longer wanted stays in the heap until it comes first, or until such outnumber
the others: setting and dropping one costs next to nothing, and memory follows the number of things.
"""

from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

UNWANTED_MAX = 1024
"""Unwanted deadlines that are kept, however few are wanted."""


class Deadlines(Generic[Thing]):
    """One deadline for each thing. Things are compared when deadlines are equal."""

    __slots__ = ("_heap", "_wanted")

    def __init__(self) -> None:
        self._wanted: dict[Thing, float] = {}
        self._heap: list[tuple[float, Thing]] = []

    def set(self, thing: Thing, deadline: float) -> None:
        """In place of any earlier deadline of `thing`."""
        self._wanted[thing] = deadline
        heappush(self._heap, (deadline, thing))
        if len(self._heap) > 2 * len(self._wanted) + UNWANTED_MAX:
            self._heap = [(due, kept) for kept, due in self._wanted.items()]
            heapify(self._heap)

    def drop(self, thing: Thing) -> None:
        self._wanted.pop(thing, None)

    def take_due(self, now: float) -> list[Thing]:
        """The things whose deadline has come, soonest first; they have none any more."""
        due: list[Thing] = []
        while self._heap and self._heap[0][0] <= now:
            deadline, thing = heappop(self._heap)
            if self._wanted.get(thing) == deadline:
                del self._wanted[thing]
                due.append(thing)
        return due

    def next(self) -> float:
        """The soonest deadline; inf if there is none. What is no longer wanted wakes nobody."""
        heap = self._heap
        while heap and self._wanted.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else inf
