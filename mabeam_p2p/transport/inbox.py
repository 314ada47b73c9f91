"""Messages that have come and wait for their turn, so that no party's take the time of others.
A party is a peer, by its keys; without keys, a connection. Decides; does no I/O.

Rules
1. In one turn each party has a share of bytes and of time, and one message at least; those of one
   party stay in order.
2. To hear a message takes time of the loop, which all share, with its timers and local clients: a
   party has LOOP_SHARE of it for long, and BURST_SECONDS besides. Whoever has used that up rests,
   and the others go on; for REST_SECONDS_MAX at most, so that no leader is taken for dead where
   one message took long, or the process stood still. A message is finished whatever it takes.
3. What waits of one party is bounded: of more, the newest are dropped, as links may lose messages.
   No peer that keeps to its limits has as much under way.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

SHARE_BYTES = 256 * 1024
"""Delivered of one party in one turn, but for the last message. Most say less."""
SHARE_SECONDS = 0.02
"""The same of time."""
LOOP_SHARE = 0.5
"""A follower hears hardly anybody but its leader; applying and storing are not counted."""
BURST_SECONDS = 1.0
REST_SECONDS_MAX = 0.25
"""At a time. Less than the election timeout that peers have unless they are told another one."""
PARTIES_MAX = 4_096
"""Whose use of the loop is known; of more, those that were heard longest ago are forgotten."""
WAITING_BYTES_MAX = 16 * 1024 * 1024
"""Of one party. A leader has 8 MB under way to one follower."""
MESSAGE_BYTES = 256
"""What a message takes besides its own bytes while it waits."""

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    def __init__(self, clock: Callable[[], float]) -> None:
        """clock: seconds that only grow."""
        self._clock = clock
        self._queues: dict[Hashable, deque[tuple[int, Item]]] = {}
        self._bytes: dict[Hashable, int] = {}
        self._paid_at: dict[Hashable, float] = {}
        """When each will have had no more than LOOP_SHARE since it was last at rest (the generic
        cell rate algorithm, ITU-T I.371)."""

    def is_full(self, party: Hashable) -> bool:
        """Whether what it says now is to be dropped."""
        return self._bytes.get(party, 0) >= WAITING_BYTES_MAX

    def put(self, party: Hashable, size: int, item: Item) -> None:
        size += MESSAGE_BYTES
        self._queues.setdefault(party, deque()).append((size, item))
        self._bytes[party] = self._bytes.get(party, 0) + size

    def turn(self) -> Iterator[Item]:
        """What is delivered now. To be used up, each before the next is asked for: what that takes
        is counted. Nothing is put meanwhile."""
        now = self._clock()
        for party, queue in tuple(self._queues.items()):
            share, end = SHARE_BYTES, now + SHARE_SECONDS
            paid_at = self._paid_at.get(party, now)
            while queue and share > 0 and now <= end and paid_at - now <= BURST_SECONDS:
                size, item = queue.popleft()
                share -= size
                self._bytes[party] -= size
                if not queue:
                    del self._queues[party], self._bytes[party]
                yield item
                began, now = now, self._clock()
                paid_at = max(paid_at, began) + (now - began) / LOOP_SHARE
                paid_at = min(paid_at, now + BURST_SECONDS + REST_SECONDS_MAX)
            self._paid_at.pop(party, None)
            self._paid_at[party] = paid_at
        while len(self._paid_at) > PARTIES_MAX:
            del self._paid_at[next(iter(self._paid_at))]

    def rest(self) -> float | None:
        """Seconds until there is something to deliver; None: nothing waits."""
        if not self._queues:
            return None
        now = self._clock()
        paid_at = min(self._paid_at.get(party, now) for party in self._queues)
        return max(0.0, paid_at - BURST_SECONDS - now)
