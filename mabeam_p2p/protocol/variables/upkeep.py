"""What is done now and then so that nothing grows for ever: tombstones forgotten, writers retired.

A variable that was deleted is forgotten once all its writes are known here, `tombstone_seconds`
have passed here, and no push of it is under way. Which peer forgets when makes no difference to
what anybody holds; the time only keeps the order of a deletion and a new value for a while, for
peers that have missed both.

A writer that has been gone for `retire_seconds` stands in no context any more, but where its own
value does. The live member with the lowest id begins, and the others learn it from each other.
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

    def tick(self, live: Mapping[PeerId, object], now: float) -> None:
        """live: the other members that are here, sorted."""
        self._forget_tombstones(now)
        self._retire(live, now)
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

    def _retire(self, live: Mapping[PeerId, object], now: float) -> None:
        gone = [a for a in self._table.actors if a not in live and a != self._peer]
        self._gone = {actor: self._gone.get(actor, now) for actor in gone}
        due = [a for a, since in self._gone.items() if now - since >= self._timing.retire_seconds]
        is_first = all(self._peer < peer for peer in live)
        if not due or not is_first:
            return
        last = dict.fromkeys(due, 0)
        for variable in self._table.all():
            for actor, counter in variable.context:
                if counter > last.get(actor, counter):
                    last[actor] = counter
        for actor in due:
            self._gone[actor] = inf
        if self._marks.retire(last):
            self._table.settle()
            self.strip_all()

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
