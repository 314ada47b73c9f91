"""Journals: lists in the log that only grow."""

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import JournalItem, Level, decoded
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import encoded
from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.ids import CLUSTER_SESSION, check_key
from mabeam_p2p.requests import JournalQuery


class Journal:
    """Items stand in one order for everybody, each once; the oldest leave when there are more than
    `Limits.journal_items_max`."""

    def __init__(self, attachment: Attachment, session: Session, name: str) -> None:
        self.name = check_key(name, "journal")
        self._attachment = attachment
        self._session = session

    async def append(self, value: object, *, timeout: float | None = None) -> int:
        """The item's position, from 1. Raises InvalidValue, NoQuorum, OutcomeUnknown."""
        limits, timing = self._attachment.limits, self._attachment.timing
        command = AppendJournal(CLUSTER_SESSION, 0, self.name, encoded(value, limits))
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        committed = await self._session.commit(
            command, f"appending to journal {self.name!r}", seconds
        )
        return committed.number

    async def read(
        self, first: int = 1, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[JournalItem, ...]:
        """The items that are kept, from position `first` on."""
        found = await self._attachment.find(
            JournalQuery(self.name),
            f"reading journal {self.name!r}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        items: list[JournalItem] = []
        for journal in found.journals:
            numbered = enumerate(journal.items, journal.first)
            items.extend(JournalItem(n, decoded(item)) for n, item in numbered if n >= first)
        return tuple(items)
