"""What waits to be written to one client, within bounds.

1. Answers are never dropped: the number of questions under way bounds them.
2. Events are dropped oldest first when there are too many of them or of their bytes; the number
   dropped goes out in front of the next one that is sent.
3. Answers and events leave in the order in which they came.
"""

import asyncio
from collections import deque
from collections.abc import Callable

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""Events that wait for one client, together."""

WRITE_BYTES = 256 * 1024
"""What is handed to the socket at a time."""


class Outgoing:
    """Two queues with one order. `tell_dropped` makes the message that says how many were lost."""

    def __init__(self, events_max: int, tell_dropped: Callable[[int], bytes]) -> None:
        self._events_max = events_max
        self._tell_dropped = tell_dropped
        self._answers: deque[tuple[int, bytes]] = deque()
        self._events: deque[tuple[int, bytes]] = deque()
        self._event_bytes = 0
        self.answer_bytes = 0
        """Of answers that wait."""
        self._count = 0
        self._dropped_count = 0
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._is_closed = False

    def put_answer(self, message: bytes) -> None:
        if self._is_closed:
            return
        self._count += 1
        self._answers.append((self._count, message))
        self.answer_bytes += len(message)
        self._changed.set()

    def put_event(self, message: bytes) -> int:
        """How many events were dropped to make room."""
        if self._is_closed:
            return 0
        dropped_count = self._dropped_count
        self._count += 1
        self._events.append((self._count, message))
        self._event_bytes += len(message)
        while len(self._events) > self._events_max or self._event_bytes > EVENT_BYTES_MAX:
            self._event_bytes -= len(self._events.popleft()[1])
            self._dropped_count += 1
        self._changed.set()
        return self._dropped_count - dropped_count

    def close(self) -> None:
        """Ignore what is put from now on; what is here may still be taken. Idempotent."""
        self._is_closed = True
        self._changed.set()
        self._taken.set()

    def discard(self) -> None:
        """Nobody takes what is still here."""
        self.close()
        self._answers.clear()
        self._events.clear()
        self._event_bytes = self.answer_bytes = 0

    async def take(self) -> bytes:
        """The next bytes to write, when there are some. Empty: closed, and all was taken."""
        while not (self._answers or self._events or self._is_closed):
            self._changed.clear()
            await self._changed.wait()
        parts: list[bytes] = []
        size = 0
        while size < WRITE_BYTES and (self._answers or self._events):
            parts.append(self._next())
            size += len(parts[-1])
        self._taken.set()
        return b"".join(parts)

    async def wait_below(self, answers_max: int) -> None:
        """Until fewer answers wait than that."""
        while len(self._answers) >= answers_max and not self._is_closed:
            self._taken.clear()
            await self._taken.wait()

    def _next(self) -> bytes:
        events_first = not self._answers or (
            bool(self._events) and self._events[0][0] < self._answers[0][0]
        )
        if not events_first:
            answer = self._answers.popleft()[1]
            self.answer_bytes -= len(answer)
            return answer
        if self._dropped_count:
            count, self._dropped_count = self._dropped_count, 0
            return self._tell_dropped(count)
        message = self._events.popleft()[1]
        self._event_bytes -= len(message)
        return message
