"""Which section goes to whom, and when.

1. A section is made at most once in its pause, however often it changes, and only while somebody
   looks. What looks as it did is not sent again.
2. For a reader no more waits than each section once, the newest: who reads slowly gets fewer
   versions, and takes no memory for those left out.
3. A section that could not be read is tried again after SLOW_SECONDS, whether it changes or not.
4. The loop belongs to the peer: between two sections others get their turn.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import inf

import msgspec

from mabeam_p2p.dashboard.board import GONE, SECTIONS
from mabeam_p2p.dashboard.fitting import Row
from mabeam_p2p.errors import MabeamError

READERS_MAX = 16

PAUSE_SECONDS = 0.5
"""Between two versions of a section, of which the first comes at once. A full list of values costs
some ten milliseconds, and the loop is the peer's."""
SLOW_SECONDS = 1.0
"""The same for sections that are made of several questions or long lists."""
SLOW = ("members", "tasks", "ledger", "auctions")
POLLED = {"peer": 1.0, "members": 1.2}
"""What changes without an event, and how often it is looked at, in seconds: the peer's log and
disk; whom it hears."""

_log = logging.getLogger(__name__)


class Reader:
    """One open page. `take` gives what it has not had yet."""

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._woken = asyncio.Event()
        self._is_ended = False

    def put(self, section: str, version: bytes) -> None:
        self._waiting[section] = version
        self._woken.set()

    def end(self) -> None:
        """`take` gives None from now on."""
        self._is_ended = True
        self._woken.set()

    async def take(self) -> tuple[str, bytes] | None:
        """The next section and its encoded version; None: the end."""
        while not self._is_ended:
            for section in SECTIONS:
                if section in self._waiting:
                    return section, self._waiting.pop(section)
            self._woken.clear()
            await self._woken.wait()
        return None


class Feed:
    """read: a section as it is now. Runs from `start` until `close`."""

    def __init__(self, read: Callable[[str], Awaitable[Row]]) -> None:
        self._read = read
        self._readers: dict[Reader, None] = {}
        self._versions: dict[str, bytes] = {}
        self._due: dict[str, float] = {}
        """By section, when it may be made again: only of those that have changed."""
        self._made_at: dict[str, float] = {}
        self._unread: dict[str, None] = {}
        """Those that could not be read the last time: that is logged once."""
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="dashboard feed")

    async def close(self) -> None:
        """End every reader. Idempotent."""
        self._is_closed = True
        for reader in tuple(self._readers):
            reader.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def on_changed(self, section: str) -> None:
        """The section may look otherwise now."""
        pause = SLOW_SECONDS if section in SLOW else PAUSE_SECONDS
        due = self._made_at.get(section, -pause) + pause
        self._ask(section, due)

    def _ask(self, section: str, due: float) -> None:
        """Make it then, if somebody looks. It may be due already, for a look that comes later."""
        if self._readers and due < self._due.get(section, inf):
            self._due[section] = due
            self._woken.set()

    @property
    def reader_count(self) -> int:
        return len(self._readers)

    def join(self) -> Reader | None:
        """A reader that gets everything; None: there are too many, or the feed has ended."""
        if len(self._readers) >= READERS_MAX or self._is_closed:
            return None
        reader = Reader()
        self._readers[reader] = None
        for section in SECTIONS:
            # At first nothing is known: it would be as old as the last reader.
            if section in self._versions:
                reader.put(section, self._versions[section])
            else:
                self.on_changed(section)
        return reader

    def leave(self, reader: Reader) -> None:
        """Idempotent."""
        self._readers.pop(reader, None)
        if not self._readers:
            self._due.clear()
            self._versions.clear()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for section in SECTIONS:
                if self._readers and self._due.get(section, now + 1) <= now:
                    del self._due[section]
                    self._made_at[section] = now
                    if not await self._make(section):
                        return
                    await asyncio.sleep(0)
            for section, pause in POLLED.items():
                if self._readers and section not in self._due:
                    self._due[section] = self._made_at.get(section, now) + pause
            await self._rest(min(self._due.values(), default=None))

    async def _rest(self, until: float | None) -> None:
        """Until something is due, or becomes so."""
        if not self._woken.is_set():
            try:
                async with asyncio.timeout_at(until):
                    await self._woken.wait()
            except TimeoutError:
                return
        self._woken.clear()

    async def _make(self, section: str) -> bool:
        """Whether there is a peer to look at."""
        try:
            version = msgspec.json.encode(await self._read(section))
        except GONE:
            return False
        except MabeamError as error:
            # As with an answer that came too late.
            if section not in self._unread:
                self._unread[section] = None
                _log.info("dashboard: %s cannot be read: %s", section, error)
            self._ask(section, asyncio.get_running_loop().time() + SLOW_SECONDS)
            return True
        except Exception:
            # Of one section: the others are worth as much, and so is the page.
            _log.exception("the dashboard broke an invariant at %s", section)
            return True
        self._unread.pop(section, None)
        if self._readers and self._versions.get(section) != version:
            self._versions[section] = version
            for reader in tuple(self._readers):
                reader.put(section, version)
        return True
