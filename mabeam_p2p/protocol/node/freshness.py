"""How old the state is that this peer has applied: when it last had all that was committed.

Rules
1. Who has applied what a leader says is committed was up to date when that was said, provided that
   it has applied an entry of that leader's term: before one is committed, a leader may not know
   what others have committed before it (Raft §8).
2. For a leader it is said whenever a majority has answered it.
3. Who has not come to that in this life tells how far the wall clock is from the log's clock. That
   one stands still while nobody leads, so a state counts as older than it is, never as younger
   unless a wall clock is wrong; and then it is no younger than what was last heard.
4. One word is kept until it is reached, while later ones come: who is always a little behind a
   leader that commits without pause is up to date with what was said a little before.
"""

from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.replication import Replication, Said

MICROSECONDS = 1_000_000


class Freshness:
    """Compares what is applied with what was said."""

    def __init__(self, replication: Replication, machine: Machine, wall: float) -> None:
        """wall: seconds since 1970 at the monotonic time 0."""
        self._replication = replication
        self._machine = machine
        self._wall = wall
        self._awaited: Said | None = None
        self._fresh_at: float | None = None

    @property
    def has_caught_up(self) -> bool:
        """Whether this peer was up to date with a leader in this life."""
        return self._fresh_at is not None

    def look(self, now: float) -> None:
        """Something was heard, or applied."""
        latest = self._latest(now)
        if self._awaited is None or self._reach(self._awaited):
            self._awaited = latest
        if latest is not None:
            self._reach(latest)

    def age(self, now: float) -> float:
        """Seconds since this peer last knew itself to be up to date."""
        self.look(now)
        if self._fresh_at is not None:
            return now - self._fresh_at
        by_clock = self._wall + now - self._machine.clock / MICROSECONDS
        return max(by_clock, now - self._replication.heard_at)

    def _latest(self, now: float) -> Said | None:
        replication, leadership = self._replication, self._replication.leadership
        if leadership is None:
            return replication.said
        return Said(leadership.answered_at(now), replication.term, replication.commit_index)

    def _reach(self, said: Said) -> bool:
        """Whether what is applied goes as far as that."""
        machine = self._machine
        if machine.applied_index < said.commit_index or machine.applied_term < said.term:
            return False
        self._fresh_at = said.at if self._fresh_at is None else max(self._fresh_at, said.at)
        return True
