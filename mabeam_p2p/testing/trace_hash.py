"""The hash of everything that happens in a run: two runs are one exactly when it is equal."""

import sys
from array import array
from hashlib import sha256

from mabeam_p2p.testing.disk import LogView

TAPE_LENGTH = 4_096
"""Numbers that are gathered before they are hashed."""


class TraceHash:
    """Of one run, so far."""

    __slots__ = ("_batches", "_hash", "_numbers", "steps")

    def __init__(self) -> None:
        self.steps = 0
        """Inputs to nodes."""
        self._numbers = array("q")
        self._hash = sha256()
        self._batches = 0
        """Committed batches that are in it."""

    def step(self, now: int, host: int, kind: int, effects: int) -> None:
        """A node had an input of this kind, and wanted so many effects."""
        self.steps += 1
        self._numbers.extend((now, host, kind, effects))
        if len(self._numbers) >= TAPE_LENGTH:
            self._fold()

    def digest(self, committed: LogView) -> str:
        """Of all steps, and of the log that they came to."""
        self._fold()
        for batch in committed.batches[self._batches :]:
            self._hash.update(repr((batch.last_index, batch.term, batch.blob)).encode())
        self._batches = len(committed.batches)
        return self._hash.hexdigest()[:16]

    def _fold(self) -> None:
        if sys.byteorder == "big":
            self._numbers.byteswap()
        self._hash.update(self._numbers.tobytes())
        del self._numbers[:]
