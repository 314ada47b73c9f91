"""Journals: lists that only grow. An item's position never changes and is never used again.

1. The first append of a journal sets its capacity; one that asks for another is refused.
2. Capacity 0: the last `journal_items_max` items are kept, the oldest leave at the front.
3. Otherwise every item is kept, and a journal that holds as many as its capacity refuses more. It
   never changes again, so that whoever has seen it full has seen all of it.
"""

from collections import deque
from itertools import islice

from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.config import Limits
from mabeam_p2p.events import JournalAppended, MachineEvent
from mabeam_p2p.ids import is_key
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.records import Journal
from mabeam_p2p.requests import Outcome, Refused


class _Items:
    __slots__ = ("capacity", "kept", "last")

    def __init__(self, capacity: int, last: int, kept: deque[bytes]) -> None:
        self.capacity = capacity
        self.last = last
        """Position of the last item; positions count from 1."""
        self.kept = kept

    @property
    def first(self) -> int:
        """Position of the first item that is kept."""
        return self.last - len(self.kept) + 1


class Journals:
    """Every journal by name, with the items that it keeps."""

    def __init__(self, limits: Limits, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._events = events
        self._journals: dict[str, _Items] = {}

    def append(self, entry: Entry, command: AppendJournal) -> Outcome:
        """Committed.number is the item's position.

        Refused: invalid, too_large, limit, journal_mismatch, journal_full.
        """
        name, item = command.journal, command.item
        if len(item) > self._limits.value_bytes_max:
            return Refused("too_large", f"an item holds at most {self._limits.value_bytes_max} B")
        items = self._journals.get(name)
        if items is None:
            refusal = self._refusal(command)
            if refusal is not None:
                return refusal
            kept: deque[bytes] = deque(maxlen=self._limits.journal_items_max)
            items = self._journals[name] = _Items(command.capacity, 0, kept)
        if items.capacity != command.capacity:
            return Refused("journal_mismatch", f"it was begun with capacity {items.capacity}")
        if items.capacity and items.last >= items.capacity:
            return Refused("journal_full", f"it holds {items.capacity} items")
        items.kept.append(item)
        items.last += 1
        assert not items.capacity or items.first == 1, (name, items.first)
        told = Journal(name, items.last, (item,), items.capacity, items.last)
        self._events.append(JournalAppended(told))
        return entry.committed(items.last)

    def journals(self, name: str, first: int = 1) -> tuple[Journal, ...]:
        """The one of this name, or none; of its items a page from position `first` on."""
        items = self._journals.get(name)
        if items is None:
            return ()
        first = max(first, items.first)
        page: list[bytes] = []
        left = self._limits.journal_page_bytes_max
        for item in islice(items.kept, first - items.first, None):
            left -= len(item)
            if left < 0 and page:
                break
            page.append(item)
        return (Journal(name, first, tuple(page), items.capacity, items.last),)

    @property
    def count(self) -> int:
        """Journals that are kept."""
        return len(self._journals)

    def state(self) -> tuple[Journal, ...]:
        return tuple(
            Journal(name, items.first, tuple(items.kept), items.capacity, items.last)
            for name, items in self._journals.items()
        )

    def load(self, state: tuple[Journal, ...]) -> None:
        keep = self._limits.journal_items_max
        self._journals = {
            journal.name: _Items(journal.capacity, journal.last, deque(journal.items, maxlen=keep))
            for journal in state
        }

    def _refusal(self, command: AppendJournal) -> Refused | None:
        """Why the command cannot begin a journal."""
        if not is_key(command.journal):
            return Refused("invalid", "the journal has no usable name")
        if not 0 <= command.capacity <= self._limits.journal_items_max:
            most = self._limits.journal_items_max
            return Refused("invalid", f"a journal holds up to {most} items for good")
        if len(self._journals) >= self._limits.journals_max:
            return Refused("limit", f"there are {self._limits.journals_max} journals already")
        return None
