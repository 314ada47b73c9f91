"""How long things take in the shell of one peer, for monitors. Nothing decides by it.

Each is written by one thread alone and read by another: a reading may miss the last moment.
"""

from bisect import bisect_left

from mabeam_p2p.records import Histogram

DISK_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds. From a fast disk to one that makes a leader lose its lead."""
COMMIT_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""From a commit on this host to one that outlasts several elections."""
LAG_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""A lag of a heartbeat, 0.1 s, is noticed by others; one of 0.4 s costs a leader its lead."""


class Measure:
    """Counts durations by their size."""

    def __init__(self, name: str, bounds: tuple[float, ...]) -> None:
        self._name = name
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def histogram(self) -> Histogram:
        return Histogram(self._name, self._bounds, tuple(self._counts), self._total)
