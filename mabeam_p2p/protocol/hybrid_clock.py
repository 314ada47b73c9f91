"""Hybrid logical clock (Kulkarni et al. 2014): near the wall clock, and past every stamp seen.

A stamp is one integer, microseconds since 1970; where the paper keeps a logical part beside it,
this clock counts on in microseconds. The wall clock is read once, by the caller at the start: it
advances by monotonic time from there, so that a wall clock that jumps is never noticed.
"""

LEAD_MAX = 3_600_000_000
"""Microseconds that stamps of others may pull this clock ahead of its own time: one hour."""


class HybridClock:
    """`wall`: seconds since 1970 at monotonic time `now`."""

    __slots__ = ("_last", "_offset")

    def __init__(self, wall: float, now: float) -> None:
        self._offset = wall - now
        self._last = 0

    def tick(self, now: float) -> int:
        """A stamp greater than each one given before, and than each one observed within the
        lead."""
        self._last = max(self._last + 1, self._time(now))
        return self._last

    def observe(self, stamp: int, now: float) -> None:
        """Let later stamps be greater than `stamp`, unless it lies further ahead than LEAD_MAX:
        then the clock goes to that bound only, and a writer whose clock is wrong, or lies, does
        not carry everybody's away."""
        self._last = max(self._last, min(stamp, self._time(now) + LEAD_MAX))

    def _time(self, now: float) -> int:
        return max(0, int((self._offset + now) * 1_000_000))
