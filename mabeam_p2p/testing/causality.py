"""The rule I14 of variables, judged by what peers write to their disks.

    clocks only grow        a context, and what a peer knows, never goes back
    nothing is invented     whatever a peer holds was written once, by its actor, with that value
                            and stamp: so equal clocks mean equal values
    nothing is lost         a value goes only where some write exists that had seen it; what a peer
                            claims to know it holds, or such a write exists
    nothing comes back      no value stands where a write is known that had seen it
    nothing is forgotten    but what was deleted, and is known
    all become equal        in the end every peer holds exactly the values that no write has seen

The ghost of a write lives as long as it can reach anybody: one that a crash has taken back before
it was durable never was. Ghosts stand outside the peers and survive their crashes.
"""

from collections.abc import Iterable, Mapping

from mabeam_p2p.ids import INTEGER_MAX, PeerId
from mabeam_p2p.protocol.vector_clock import Vector
from mabeam_p2p.records import Record, Sibling, Variable, VariableForgotten, VariableMarks
from mabeam_p2p.testing.violation import Violation

Dot = tuple[PeerId, int]


class Write:
    """One write of one variable."""

    __slots__ = ("forgotten_at", "killers", "name", "seen", "sibling")

    def __init__(self, name: str, sibling: Sibling, seen: tuple[Dot, ...]) -> None:
        self.name = name
        self.sibling = sibling
        self.seen = seen
        """The siblings that it superseded where it was made."""
        self.killers: dict[Dot, None] = {}
        """Writes that have superseded it where they were made."""
        self.forgotten_at = INTEGER_MAX
        """The counter of its writer's last write of the variable before that forgot it. What this
        had seen is in no context of a later one, but in what the writer tells that it knows."""


class View:
    """What one peer has written down, durable or not."""

    __slots__ = ("base", "held", "known", "unsynced")

    def __init__(self, held: dict[str, Variable], marks: VariableMarks | None) -> None:
        self.held = held
        self.known: dict[PeerId, int] = dict(marks.known) if marks else {}
        self.base: dict[PeerId, int] = dict(marks.base) if marks else {}
        self.unsynced: dict[Dot, int] = {}
        """Its own writes that are not durable yet, with the number of the record."""


class Causality:
    """Hears of every record in the order in which it is written. Raises Violation."""

    def __init__(self) -> None:
        self.siblings_max = 64
        self.is_judging = True
        """Where a member lies, anything can be written under anybody's name: nothing is judged."""
        self._views: dict[PeerId, View] = {}
        self._writes: dict[Dot, Write] = {}
        self._standing: dict[PeerId, dict[Dot, Write]] = {}
        """By actor: values that nobody has superseded."""
        self._remembered: dict[tuple[PeerId, str], list[Write]] = {}
        """Each peer's own writes of a variable since it last forgot that."""

    # ---- inputs ------------------------------------------------------------------------------

    def started(
        self,
        peer: PeerId,
        held: Mapping[str, Variable],
        marks: VariableMarks | None,
        durable: int = 0,
    ) -> None:
        """A process begins with what its disk holds: the first `durable` of all records."""
        before = self._views.get(peer)
        view = self._views[peer] = View(dict(held), marks)
        if not self.is_judging:
            return
        for dot, number in before.unsynced.items() if before is not None else ():
            if number > durable:
                self._take_back(dot)
        self._check_known(peer, view)

    def persisted(self, peer: PeerId, record: Record, number: int = 0) -> None:
        """number: which of all records that this peer's disk has been given."""
        if not self.is_judging:
            return
        match record:
            case Variable():
                self._variable(peer, self._views[peer], record, number)
            case VariableForgotten(name):
                self._forgotten(peer, self._views[peer], name)
            case VariableMarks():
                self._marks(peer, self._views[peer], record)
            case _:
                pass

    def synced(self, peer: PeerId, durable: int) -> None:
        """The peer's disk holds the first `durable` of all records now."""
        unsynced = self._views[peer].unsynced
        while unsynced:
            oldest = next(iter(unsynced))
            if unsynced[oldest] > durable:
                return
            del unsynced[oldest]

    def settled(self, peers: Iterable[PeerId]) -> None:
        """These have had the time to hear of everything."""
        if not self.is_judging:
            return
        views = {peer: self._views[peer] for peer in peers}
        # What a stranger has written need not have reached anybody, nor need what it superseded go.
        standing = {
            dot: write
            for dot, write in self._writes.items()
            if write.sibling.value is not None
            and not any(_has_reached(views, killer, write.name) for killer in write.killers)
        }
        shown = {
            (one.actor, one.counter): (peer, name)
            for peer, view in views.items()
            for name, variable in view.held.items()
            for one in variable.siblings
            if one.value is not None
        }
        for dot, write in standing.items():
            for peer, view in views.items() if dot[0] in views or dot in shown else ():
                found = view.held.get(write.name)
                if found is None or write.sibling not in found.siblings:
                    raise Violation("I14", f"{peer} has lost {dot} of {write.name!r}")
        for dot, (peer, name) in shown.items():
            if dot not in standing:
                raise Violation("I14", f"{peer} shows {dot} of {name!r}, which is superseded")

    # ---- rules -------------------------------------------------------------------------------

    def _variable(self, peer: PeerId, view: View, record: Variable, number: int) -> None:
        held = view.held.get(record.name)
        before = held.siblings if held is not None else ()
        context = dict(record.context)
        for actor, counter in held.context if held is not None else ():
            if max(context.get(actor, 0), view.base.get(actor, 0)) < counter:
                raise Violation("I14", f"{peer}: the clock of {record.name!r} goes back: {record}")
        gone = [s for s in before if s not in record.siblings]
        for sibling in record.siblings:
            if sibling in before:
                continue
            dot = sibling.actor, sibling.counter
            write = self._writes.get(dot)
            if write is None:
                self._written(peer, record.name, sibling, gone)
                view.unsynced[dot] = number
            elif write.name != record.name or write.sibling != sibling:
                raise Violation("I14", f"{peer} has {sibling}, written as {write.sibling}")
        self._check_siblings(peer, view, record)
        for sibling in gone:
            write = self._writes.get((sibling.actor, sibling.counter))
            if write is None or sibling.value is None or write.killers:
                continue
            if len(record.siblings) < self.siblings_max:
                raise Violation("I14", f"{peer} loses {sibling} of {record.name!r}: {record}")
        view.held[record.name] = record

    def _check_siblings(self, peer: PeerId, view: View, record: Variable) -> None:
        for sibling in record.siblings:
            write = self._writes.get((sibling.actor, sibling.counter))
            if write is None or sibling.value is None:
                continue
            for killer in write.killers:
                is_known = killer[1] <= view.known.get(killer[0], 0)
                if is_known or self._is_told(record.context, killer):
                    raise Violation("I14", f"{peer} has {sibling} beside {killer}: {record}")

    def _written(self, peer: PeerId, name: str, sibling: Sibling, gone: list[Sibling]) -> None:
        dot = sibling.actor, sibling.counter
        if sibling.actor != peer:
            raise Violation("I14", f"{peer} holds {dot} of {name!r}, which nobody has written")
        write = Write(name, sibling, tuple((s.actor, s.counter) for s in gone))
        self._writes[dot] = write
        self._remembered.setdefault((peer, name), []).append(write)
        for seen in write.seen:
            victim = self._writes.get(seen)
            if victim is not None:
                victim.killers[dot] = None
                self._standing.get(seen[0], {}).pop(seen, None)
        if sibling.value is not None:
            self._standing.setdefault(peer, {})[dot] = write

    def _forgotten(self, peer: PeerId, view: View, name: str) -> None:
        variable = view.held.pop(name, None)
        if variable is None or any(s.value is not None for s in variable.siblings):
            raise Violation("I14", f"{peer} forgets {name!r}, which stands: {variable}")
        for actor, counter in variable.context:
            if actor != peer and counter > view.known.get(actor, 0):
                raise Violation("I14", f"{peer} forgets {name!r} and could be told of it anew")
        own = self._remembered.pop((peer, name), [])
        for write in own:
            write.forgotten_at = own[-1].sibling.counter

    def _is_told(self, context: Vector, dot: Dot) -> bool:
        """Whether a context is word of this write, or of a later one that had seen it."""
        write = self._writes.get(dot)
        last = INTEGER_MAX if write is None else write.forgotten_at
        return any(actor == dot[0] and dot[1] <= counter <= last for actor, counter in context)

    def _marks(self, peer: PeerId, view: View, record: VariableMarks) -> None:
        known, base = dict(record.known), dict(record.base)
        for before, now in ((view.known, known), (view.base, base)):
            if any(counter > now.get(actor, 0) for actor, counter in before.items()):
                raise Violation("I14", f"{peer} knows less than before: {record}")
        if any(counter > known.get(actor, 0) for actor, counter in base.items()):
            raise Violation("I14", f"{peer} leaves out what it does not know: {record}")
        view.known, view.base = known, base
        self._check_known(peer, view)

    def _check_known(self, peer: PeerId, view: View) -> None:
        """Whatever stands of what it knows, it holds."""
        for actor, counter in view.known.items():
            for dot, write in self._standing.get(actor, {}).items():
                if dot[1] > counter:
                    continue
                held = view.held.get(write.name)
                if held is None or write.sibling not in held.siblings:
                    raise Violation("I14", f"{peer} knows {dot} of {write.name!r} and lacks it")

    # ---- ghosts ------------------------------------------------------------------------------

    def _take_back(self, dot: Dot) -> None:
        """This write never was."""
        write = self._writes.pop(dot)
        self._standing.get(dot[0], {}).pop(dot, None)
        for seen in write.seen:
            victim = self._writes.get(seen)
            if victim is not None:
                victim.killers.pop(dot, None)
                if not victim.killers and victim.sibling.value is not None:
                    self._standing.setdefault(seen[0], {})[seen] = victim


def _has_reached(views: Mapping[PeerId, View], dot: Dot, name: str) -> bool:
    """Whether this write is of one of these peers, or is known to one."""
    return dot[0] in views or any(
        dot[1] <= view.known.get(dot[0], 0)
        or (name in view.held and _covers(view.held[name].context, dot))
        for view in views.values()
    )


def _covers(context: Vector, dot: Dot) -> bool:
    return any(actor == dot[0] and counter >= dot[1] for actor, counter in context)
