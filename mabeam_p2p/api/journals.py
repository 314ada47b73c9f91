"""Journals: lists in the log that only grow."""

import asyncio

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import JournalItem, Level, decoded
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import check_seconds, encoded, whole
from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import CLUSTER_SESSION, check_key
from mabeam_p2p.requests import JournalQuery


class Journal:
    """Items stand in one order for everybody, each once.

    Without a capacity the oldest leave when there are more than `Limits.journal_items_max`. With
    one, nothing leaves: once as many have been appended the journal is full, and stays as it is.
    """

    def __init__(
        self,
        attachment: Attachment,
        session: Session,
        name: str,
        *,
        capacity: int | None = None,
    ) -> None:
        """Raises InvalidName, and InvalidValue if there can be no such journal."""
        most = attachment.limits.journal_items_max
        if capacity is not None and not 1 <= whole(capacity, "capacity") <= most:
            raise InvalidValue(f"capacity {capacity}: take 1 to {most} items, or None")
        self.name = check_key(name, "journal")
        self.capacity = capacity
        self._attachment = attachment
        self._session = session

    async def append(self, value: object, *, timeout: float | None = None) -> int:
        """The item's position, from 1.

        Raises InvalidValue, JournalFull, JournalMismatch, NoQuorum, OutcomeUnknown.
        """
        limits, timing = self._attachment.limits, self._attachment.timing
        item = encoded(value, limits)
        command = AppendJournal(CLUSTER_SESSION, 0, self.name, item, self.capacity or 0)
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        committed = await self._session.commit(
            command, f"appending to journal {self.name!r}", seconds
        )
        return committed.number

    async def read(
        self, first: int = 1, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[JournalItem, ...]:
        """The items that are kept, from position `first` on. What is before costs nothing.

        Raises InvalidValue, NoQuorum.
        """
        if whole(first, "position") < 1:
            raise InvalidValue(f"position {first}: the first item of a journal has position 1")
        seconds = self._attachment.timing.request_timeout_seconds if timeout is None else timeout
        loop = asyncio.get_running_loop()
        deadline = loop.time() + check_seconds(seconds)
        items: list[JournalItem] = []
        while True:
            found = await self._attachment.find(
                JournalQuery(self.name, first),
                f"reading journal {self.name!r}",
                linearizable=level == "linearizable",
                timeout=max(0.0, deadline - loop.time()),
            )
            for page in found.journals:
                numbered = enumerate(page.items, page.first)
                items.extend(JournalItem(n, decoded(item)) for n, item in numbered)
                first = page.first + len(page.items)
            if all(first > page.last for page in found.journals):
                return tuple(items)
