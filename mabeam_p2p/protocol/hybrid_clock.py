"""Hybrid logical clock (Kulkarni et al. 2014): near the wall clock, and past every stamp seen.

A stamp is one integer, microseconds since 1970; where the paper keeps a logical part beside it,
this clock counts on in microseconds. The wall clock is read once, by the caller at the start: it
advances by monotonic time from there, so that a wall clock that jumps is never noticed.

Bound
A stamp that lies more than LEAD_MAX ahead of the time is not admitted: it would stand above every
honest write for as long (the paper's ε, §5; CockroachDB refuses beyond its maximum offset). The
time is this peer's own, or, if most others say that it is later, theirs: who has lost its clock
must not take everybody else's writes for writes from the future.
"""

from mabeam_p2p.ids import PeerId

LEAD_MAX = 86_400_000_000
"""Microseconds that stamps of others may lie ahead of the time: one day. Hosts that take their
local time for UTC are up to fourteen hours wrong."""

VOICES_MAX = 1_024
"""Peers whose time is remembered."""


class HybridClock:
    """`wall`: seconds since 1970 at monotonic time `now`."""

    __slots__ = ("_last", "_leads", "_offset")

    def __init__(self, wall: float, now: float) -> None:
        self._offset = wall - now
        self._last = 0
        self._leads: dict[PeerId, int] = {}
        """Microseconds by which each other peer's time was ahead of this one's when it told it."""

    def tick(self, now: float) -> int:
        """A stamp greater than each one given before, and than each one observed within the
        lead."""
        self._last = max(self._last + 1, self.time(now))
        return self._last

    def observe(self, stamp: int, now: float) -> None:
        """Let later stamps be greater than `stamp`, unless it lies further ahead than LEAD_MAX:
        then the clock goes to that bound only, and a writer whose clock is wrong, or lies, does
        not carry everybody's away."""
        self._last = max(self._last, min(stamp, self._bound(now)))

    def admits(self, stamp: int, now: float) -> bool:
        """Whether a write with this stamp may be taken in now; later it may."""
        return stamp <= self._bound(now)

    def heard(self, peer: PeerId, time: int, now: float) -> None:
        """`peer` says that it is `time`."""
        if peer in self._leads or len(self._leads) < VOICES_MAX:
            self._leads[peer] = time - self.time(now)

    def forget(self, peer: PeerId) -> None:
        """`peer` has no say any more."""
        self._leads.pop(peer, None)

    def lead(self, peer: PeerId) -> int | None:
        """Microseconds by which the peer's time was ahead when it last told it; None: never."""
        return self._leads.get(peer)

    def voices(self) -> tuple[PeerId, ...]:
        return tuple(self._leads)

    def time(self, now: float) -> int:
        """This peer's own time, whatever was observed."""
        return max(0, int((self._offset + now) * 1_000_000))

    def _bound(self, now: float) -> int:
        """By the lower median of all voices, so that one of two carries nothing away."""
        leads = sorted([0, *self._leads.values()])
        return self.time(now) + max(0, leads[(len(leads) - 1) // 2]) + LEAD_MAX
