"""Journals: lists that only grow. An item's position never changes and is never used again."""

from collections import deque

from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.config import Limits
from mabeam_p2p.events import JournalAppended, MachineEvent
from mabeam_p2p.ids import is_key
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.records import Journal
from mabeam_p2p.requests import Outcome, Refused


class _Items:
    __slots__ = ("kept", "last")

    def __init__(self, last: int, kept: deque[bytes]) -> None:
        self.last = last
        """Position of the last item; positions count from 1."""
        self.kept = kept


class Journals:
    """Every journal by name, with the last `journal_items_max` items of each."""

    def __init__(self, limits: Limits, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._events = events
        self._journals: dict[str, _Items] = {}

    def append(self, entry: Entry, command: AppendJournal) -> Outcome:
        """Committed.number is the item's position. Refused: invalid, too_large, limit."""
        name, item = command.journal, command.item
        if len(item) > self._limits.value_bytes_max:
            return Refused("too_large", f"an item holds at most {self._limits.value_bytes_max} B")
        items = self._journals.get(name)
        if items is None:
            if not is_key(name):
                return Refused("invalid", "the journal has no usable name")
            if len(self._journals) >= self._limits.journals_max:
                return Refused("limit", f"there are {self._limits.journals_max} journals already")
            items = self._journals[name] = _Items(0, deque(maxlen=self._limits.journal_items_max))
        items.kept.append(item)
        items.last += 1
        self._events.append(JournalAppended(Journal(name, items.last, (item,))))
        return entry.committed(items.last)

    def journals(self, name: str) -> tuple[Journal, ...]:
        """The one of this name, or none."""
        items = self._journals.get(name)
        return () if items is None else (_as_record(name, items),)

    def state(self) -> tuple[Journal, ...]:
        return tuple(_as_record(name, items) for name, items in self._journals.items())

    def load(self, state: tuple[Journal, ...]) -> None:
        keep = self._limits.journal_items_max
        self._journals = {
            journal.name: _Items(
                journal.first + len(journal.items) - 1, deque(journal.items, maxlen=keep)
            )
            for journal in state
        }


def _as_record(name: str, items: _Items) -> Journal:
    return Journal(name, items.last - len(items.kept) + 1, tuple(items.kept))
