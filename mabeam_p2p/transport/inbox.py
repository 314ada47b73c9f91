"""Messages that have come and wait for their turn, so that no connection's take the time of others.
Decides; does no I/O.

In one turn each connection has a share of bytes, and one message at least; those of one connection
stay in order. What waits of one connection is bounded: of more, the newest are dropped, as links
may lose messages. No peer that keeps to its limits has as much under way.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

SHARE_BYTES = 256 * 1024
"""Delivered of one connection in one turn, but for the last message. Most say less."""
WAITING_BYTES_MAX = 16 * 1024 * 1024
"""Of one connection. A leader has 8 MB under way to one follower."""

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    def __init__(self) -> None:
        self._queues: dict[bytes, deque[tuple[int, Item]]] = {}
        self._bytes: dict[bytes, int] = {}

    @property
    def is_empty(self) -> bool:
        return not self._queues

    def is_full(self, connection: bytes) -> bool:
        """Whether what it says now is to be dropped."""
        return self._bytes.get(connection, 0) >= WAITING_BYTES_MAX

    def put(self, connection: bytes, size: int, item: Item) -> None:
        self._queues.setdefault(connection, deque()).append((size, item))
        self._bytes[connection] = self._bytes.get(connection, 0) + size

    def turn(self) -> Iterator[Item]:
        """What is delivered now. To be used up; nothing is put meanwhile."""
        for connection, queue in tuple(self._queues.items()):
            share = SHARE_BYTES
            while queue and share > 0:
                size, item = queue.popleft()
                share -= size
                self._bytes[connection] -= size
                if not queue:
                    del self._queues[connection], self._bytes[connection]
                yield item
