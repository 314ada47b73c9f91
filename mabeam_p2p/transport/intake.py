"""Messages of one number of parts, out of a ROUTER. Whatever has another number is dropped, some
parts at a time: a message may have a million, and libzmq hands them up one by one.
"""

import zmq

from mabeam_p2p.transport.callers import Callers
from mabeam_p2p.transport.curve import descriptor_of

PARTS_PER_TAKE = 64
"""That are dropped at a time."""
PARTS_MAX = 16
"""Beyond which its connection is cut: nobody errs by so many."""


class Intake:
    def __init__(
        self, router: "zmq.Socket[bytes]", part_count: int, counters: dict[str, int], wrong: str
    ) -> None:
        """part_count: of a right message, with its routing id. wrong: the name under which others
        are counted."""
        self.callers: Callers | None = None
        """Told how much was taken."""
        self._recv = router.recv
        self._part_count = part_count
        self._counters = counters
        self._wrong = wrong
        self._dropped_count = 0
        """Parts of a message that is not at its end; 0: there is none."""

    def take(self) -> list[zmq.Frame] | None:
        """The next message, or None: a wrong one was dropped, or a part of it. The last frame has
        the descriptor of its connection. Raises zmq.Again."""
        if self._dropped_count:
            self._drop()
            return None
        frame = self._recv(zmq.NOBLOCK, copy=False)
        frames = [frame]
        while frame.more and len(frames) < self._part_count:
            frame = self._recv(zmq.NOBLOCK, copy=False)
            frames.append(frame)
            self._took(frame)
        if frame.more:
            self._dropped_count = len(frames)
            return None
        if len(frames) == self._part_count:
            return frames
        self._counters[self._wrong] += 1
        return None

    def cut(self, frame: zmq.Frame) -> None:
        """End the connection that it came over."""
        if self.callers is not None:
            self.callers.cut(descriptor_of(frame))

    def _drop(self) -> None:
        for _ in range(PARTS_PER_TAKE):
            frame = self._recv(zmq.NOBLOCK, copy=False)
            self._took(frame)
            self._dropped_count += 1
            if self._dropped_count == PARTS_MAX:
                self.cut(frame)
            if not frame.more:
                self._dropped_count = 0
                self._counters[self._wrong] += 1
                return

    def _took(self, frame: zmq.Frame) -> None:
        if self.callers is not None:
            self.callers.took(descriptor_of(frame), len(frame))
