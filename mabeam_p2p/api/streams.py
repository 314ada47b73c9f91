"""What `async for` runs over: events, and changes of watched names. Each has a queue of its own.

A slow reader loses nothing but age: changes are coalesced by name, events are dropped oldest first
and counted. A stream that nobody holds any more is forgotten by itself.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeAlias, TypeVar

from mabeam_p2p.api.event_names import EVENT_NAMES, named
from mabeam_p2p.api.patterns import matches
from mabeam_p2p.api.results import Change, Event
from mabeam_p2p.api.view import Shelf, View
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.events import Event as PeerEvent
from mabeam_p2p.ids import scoped

T = TypeVar("T")


class Stream(Generic[T]):
    """An asynchronous iterator that begins when it is made and ends with `close`."""

    def __init__(self) -> None:
        self._is_closed = False
        self._woken = asyncio.Event()

    def __aiter__(self) -> "Stream[T]":
        return self

    async def __anext__(self) -> T:
        while True:
            item = self._take()
            if item is not None:
                return item
            if self._is_closed:
                raise StopAsyncIteration
            self._woken.clear()
            await self._woken.wait()

    def close(self) -> None:
        """End the iteration after what has come already. Idempotent."""
        self._is_closed = True
        self._woken.set()

    def _take(self) -> T | None:
        raise NotImplementedError


class EventStream(Stream[Event]):
    """Events whose names match one of the patterns; none means all."""

    def __init__(
        self,
        view: View,
        patterns: tuple[str, ...],
        pending_max: int,
        concerns: Callable[[PeerEvent], bool] = lambda event: True,
    ) -> None:
        """concerns: whether an event is for this listener."""
        super().__init__()
        self._concerns = concerns
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in EVENT_NAMES):
                raise InvalidValue(
                    f"no event is called {pattern!r}: there are {', '.join(EVENT_NAMES)}"
                )
        self.dropped = 0
        """Events lost because they were not read in time."""
        self._patterns = patterns
        self._pending: deque[Event] = deque(maxlen=pending_max)
        self._end = view.listen(_weakly(self._on_event))
        weakref.finalize(self, self._end)

    def close(self) -> None:
        self._end()
        super().close()

    def _take(self) -> Event | None:
        return self._pending.popleft() if self._pending else None

    def _on_event(self, event: PeerEvent) -> None:
        if not self._concerns(event):
            return
        happened = named(event)
        if self._patterns and not any(matches(happened.name, p) for p in self._patterns):
            return
        if len(self._pending) == self._pending.maxlen:
            self.dropped += 1
        self._pending.append(happened)
        self._woken.set()


class Watch(Stream[Change], Generic[T]):
    """Changes of the entries of a shelf whose names match; first those that are there, as initial
    where they have not changed since the watch began.

    read: the Change of an entry, given the name and whether it is initial; None if there is nothing
    to tell.
    """

    def __init__(
        self, shelf: Shelf[T], pattern: str, read: Callable[[str, bool], Change | None]
    ) -> None:
        super().__init__()
        self._shelf = shelf
        self._pattern = pattern
        self._read = read
        self._initial: deque[str] = deque(self._matching(shelf.entries))
        self._changed: dict[str, None] = {}
        shelf.watch(self._on_change)

    def close(self) -> None:
        self._shelf.unwatch(self._on_change)
        super().close()

    def _take(self) -> Change | None:
        while self._initial:
            name = self._initial.popleft()
            # What changed meanwhile is read as it is now, and told once: as a change.
            is_initial = name not in self._changed
            self._changed.pop(name, None)
            change = self._read_here(name, is_initial)
            if change is not None and not (is_initial and change.deleted):
                return change
        while self._changed:
            name = next(iter(self._changed))
            del self._changed[name]
            if (change := self._read_here(name, False)) is not None:
                return change
        return None

    def _read_here(self, name: str, initial: bool) -> Change | None:
        # What was to be told may have been forgotten, with its whole log.
        return self._read(name, initial) if name in self._shelf.entries else None

    def _on_change(self, name: str) -> None:
        if matches(name, self._pattern):
            self._changed[name] = None
            self._woken.set()

    def _matching(self, names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if matches(name, self._pattern))


def names_in(group: str, names: Iterable[str]) -> list[str]:
    """Those of the group, as the log has them; all of them in the group `all`."""
    prefix = scoped(group, "")
    return [name for name in names if name.startswith(prefix)]


def _weakly(method: Callable[[PeerEvent], None]) -> Callable[[PeerEvent], None]:
    """Calls the bound method while its object lives."""
    reference = weakref.WeakMethod(method)

    def call(event: PeerEvent) -> None:
        if (live := reference()) is not None:
            live(event)

    return call


Streams: TypeAlias = "weakref.WeakSet[EventStream | Watch[Any]]"
"""The streams of one agent, which end with it. Any: whatever they watch."""
