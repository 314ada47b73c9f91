"""What is done now and then so that nothing grows for ever: tombstones forgotten, writers retired.

A variable that was deleted is forgotten once all its writes are known here, `tombstone_seconds`
have passed here, and no push of it is under way. Which peer forgets when makes no difference to
what anybody holds; the time only keeps the order of a deletion and a new value for a while, for
peers that have missed both.

A writer that has been gone for as long no longer stands in contexts, but where its own value does
and for writes that are not known here. After `retire_seconds` those are taken for known: had it
made others before them, which have reached nobody, they are given up should it ever come back. Only
a peer with the quorum does that: who is cut off from it would give up writes that all the others
hold. The live member with the lowest id begins, and the others learn it from each other.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from math import inf

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.marks import Marks
from mabeam_p2p.protocol.variables.pushes import Pushes
from mabeam_p2p.protocol.variables.table import Table

AT_ONCE = 1_024
"""Variables that are looked at in one tick."""


class Upkeep:
    """One peer's."""

    def __init__(
        self, peer: PeerId, table: Table, marks: Marks, pushes: Pushes, timing: Timing
    ) -> None:
        self._peer = peer
        self._table = table
        self._marks = marks
        self._pushes = pushes
        self._timing = timing
        self._gone: dict[PeerId, float] = {}
        """Since when each writer that is no member has been missed; inf: it is retired."""
        self._to_strip: Iterator[str] | None = None

    def tick(self, live: Mapping[PeerId, object], now: float, *, gives_up: bool = True) -> None:
        """live: the other members that are here, sorted. gives_up: whether what is not known of a
        writer that has gone may be taken for known."""
        self._forget_tombstones(now)
        self._retire(live, now, gives_up=gives_up)
        self._strip(now)

    def strip_all(self) -> None:
        """Contexts may leave out more than before."""
        self._to_strip = iter([variable.name for variable in self._table.all()])

    def _forget_tombstones(self, now: float) -> None:
        oldest = list(islice(self._table.tombstones.items(), AT_ONCE))
        for name, since in oldest:
            if now - since < self._timing.tombstone_seconds:
                return
            variable = self._table.get(name)
            assert variable is not None, "a tombstone of nothing"
            if self._marks.covers(variable) and not self._pushes.is_open(name):
                self._table.forget(name)
            else:
                # To the end of the queue: what cannot be forgotten yet must not hide the others.
                self._table.tombstones[name] = self._table.tombstones.pop(name)

    def _retire(self, live: Mapping[PeerId, object], now: float, *, gives_up: bool) -> None:
        gone = [a for a in self._table.actors if a not in live and a != self._peer]
        self._gone = {actor: self._gone.get(actor, now) for actor in gone}
        if not self._gone or any(peer < self._peer for peer in live):
            return
        known, base, timing = self._marks.known, self._marks.base, self._timing
        last = {
            actor: known[actor]
            for actor, since in self._gone.items()
            if now - since >= timing.tombstone_seconds and base.get(actor, 0) < known.get(actor, 0)
        }
        given_up = [a for a, since in self._gone.items() if now - since >= timing.retire_seconds]
        if given_up and gives_up:
            last |= self._last_of(given_up)
            self._gone |= dict.fromkeys(given_up, inf)
        if last and self._marks.retire(last):
            self._table.more_is_known()
            self._table.settle()
            self.strip_all()

    def _last_of(self, actors: list[PeerId]) -> dict[PeerId, int]:
        """The last write of each that stands in any context."""
        last = {actor: self._marks.known.get(actor, 0) for actor in actors}
        for variable in self._table.all():
            for actor, counter in variable.context:
                if actor in last:
                    last[actor] = max(counter, last[actor])
        return last

    def _strip(self, now: float) -> None:
        if self._to_strip is None:
            return
        names = list(islice(self._to_strip, AT_ONCE))
        if not names:
            self._to_strip = None
        for name in names:
            variable = self._table.get(name)
            if variable is not None:
                shorter = dotted.stripped(variable, self._marks.base)
                if shorter is not variable:
                    self._table.keep(shorter, now)
