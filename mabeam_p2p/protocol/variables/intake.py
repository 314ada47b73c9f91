"""Takes what another peer holds of a variable into what this one holds, or says why not.

Rules
1. Nobody but its actor makes a dot: what claims a write of this peer that it never made is refused,
   and what claims one of an epoch that a member has not begun waits until it has.
2. A write from the future is refused until the clock admits it (`hybrid_clock`).
3. Each side is filled with what its holder knows before the two are joined (`dotted`, rule 4), and
   what was filled in is not kept.
4. A tombstone is superseded by what a context says alone: of one that this peer knows and does not
   hold, it has perhaps forgotten that it deletes, and what it was written beside must not show.
5. What does not stand for want of room is said to be refused, each time that it comes, though the
   context covers it from then on. Of more than this peer remembers, and of what others gave up, it
   says so as long as there is no room.
"""

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from mabeam_p2p.config import Limits
from mabeam_p2p.events import Dropped
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.hybrid_clock import HybridClock
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.marks import Marks
from mabeam_p2p.protocol.variables.pushes import Outcome
from mabeam_p2p.protocol.variables.table import Table
from mabeam_p2p.protocol.vector_clock import Vector, counter_of, covers, is_vector, join
from mabeam_p2p.records import Sibling, Variable

DROP_REPORT_SECONDS = 1.0

GIVEN_UP_MAX = 4_096
"""Writes that are remembered as given up: of many times more than can be on their way again."""

EPOCH_BITS = 32
"""Writes of one process life: more than a million a second for an hour."""


class Taken(NamedTuple):
    """What became of one variable."""

    outcome: Outcome | None
    """None: it cannot be judged yet, and is not answered."""
    is_changed: bool
    """Whether this peer holds another state than before."""
    is_visible: bool
    """Whether its siblings are others."""
    result: Variable
    """What this peer makes of the name, with all that it knows of the other's writers."""
    is_unlike: bool = False
    """Whether the result is something else than what came."""

    @property
    def is_refused(self) -> bool:
        """Whether nothing of it was taken, perhaps only for now."""
        return self.outcome is None or self.outcome is Outcome.REFUSED


class Drops:
    """Counts what broke the protocol; tells of it at most once a second for each reason."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._told: dict[tuple[PeerId, str], tuple[float, int]] = {}

    def drop(self, source: PeerId, reason: str, detail: str, now: float) -> None:
        reported_at, dropped_count = self._told.get((source, reason), (-inf, 0))
        if now - reported_at < DROP_REPORT_SECONDS:
            self._told[source, reason] = reported_at, dropped_count + 1
            return
        self._outbox.notify(Dropped(source, reason, detail, dropped_count + 1))
        self._told[source, reason] = now, 0

    def keep_only(self, peers: Mapping[PeerId, object]) -> None:
        self._told = {key: drop for key, drop in self._told.items() if key[0] in peers}


class Intake:
    """`counter`: the last number of this peer's own writes. `epochs`: of each live member."""

    def __init__(
        self,
        peer: PeerId,
        table: Table,
        marks: Marks,
        clock: HybridClock,
        limits: Limits,
        drops: Drops,
    ) -> None:
        self._peer = peer
        self._table = table
        self._marks = marks
        self._clock = clock
        self._limits = limits
        self._drops = drops
        self._given_up: dict[tuple[str, PeerId, int], None] = {}
        """Name and dot of the last writes that did not stand for want of room, oldest first."""
        self.counter = 0
        self.epochs: dict[PeerId, int] = {}

    def take(
        self, source: PeerId, pushed: Variable, fill: Mapping[PeerId, int], now: float
    ) -> Taken:
        """fill: what `source` knows, beyond the context that it sent."""
        if self._is_ahead(pushed.context):
            self._drops.drop(source, "variable", "a write of an epoch to come", now)
            return Taken(None, False, False, pushed)
        defect = self._defect(pushed)
        if defect:
            return self._refuse(source, pushed, "variable", defect, now)
        held = self._table.get(pushed.name)
        known = () if held is None else held.siblings
        for sibling in pushed.siblings:
            if sibling not in known and not self._clock.admits(sibling.clock, now):
                lead = f"{pushed.name!r} is stamped too far ahead"
                return self._refuse(source, pushed, "variable_clock", lead, now)
        mine = dotted.filled(held or dotted.blank(pushed), pushed.context, self._marks.known)
        joined = dotted.sync(mine, dotted.filled(pushed, mine.context, fill))
        context = pushed.context if held is None else join(held.context, pushed.context)
        siblings = self._with_tombstones(joined, held or dotted.blank(pushed), pushed)
        merged = dotted.stripped(
            Variable(joined.name, joined.resolver, context, siblings), self._marks.base
        )
        if len(merged.context) > self._limits.members_max:
            return self._refuse(source, pushed, "variable", "written by too many peers", now)
        if held is None and dotted.is_deleted(merged) and self._marks.covers(merged):
            result = self._with_proof(merged, mine)
            return Taken(
                Outcome.SUPERSEDED, False, False, result, is_unlike=not dotted.is_deleted(pushed)
            )
        if held is None and len(self._table) >= self._limits.variables_max:
            return self._refuse(source, pushed, "variable", "no room for another variable", now)
        kept = dotted.bounded(merged, self._limits)
        if kept is not merged:
            detail = f"of {pushed.name!r}: the oldest given up"
            self._drops.drop(source, "siblings", detail, now)
            self._remember_given_up(merged, kept)
        if kept != held:
            for sibling in pushed.siblings:
                self._clock.observe(sibling.clock, now)
            self._table.keep(kept, now)
        is_visible = held is None or kept.siblings != held.siblings
        return Taken(
            _outcome(kept, pushed),
            kept != held,
            is_visible,
            self._with_proof(kept, mine),
            _differ(kept, pushed),
        )

    def has_no_room(self, writer: PeerId, pushed: Variable) -> bool:
        """Whether what `writer` has pushed does not stand here for want of room (rule 5): its own
        write, or, if nothing of what came stands, any."""
        held = self._table.get(pushed.name) or dotted.blank(pushed)
        lacking = [sibling for sibling in pushed.siblings if sibling not in held.siblings]
        stands = bool(lacking) and _stands(pushed, held)
        return any(
            self.has_given_up(pushed.name, sibling.actor, sibling.counter)
            or self._is_crowded_out(held, sibling)
            for sibling in lacking
            if sibling.actor == writer or not stands
        )

    def has_given_up(self, name: str, actor: PeerId, counter: int) -> bool:
        """Whether this write is remembered as one that did not stand here for want of room."""
        return (name, actor, counter) in self._given_up

    def _is_crowded_out(self, held: Variable, sibling: Sibling) -> bool:
        """Whether the values that stand side by side would leave it no room. One value alone is
        no crowd: that has taken its place."""
        if len(held.siblings) < 2:
            return False
        siblings = (*held.siblings, sibling)
        both = Variable(held.name, held.resolver, held.context, siblings)
        return sibling not in dotted.bounded(both, self._limits).siblings

    def _remember_given_up(self, merged: Variable, kept: Variable) -> None:
        for sibling in merged.siblings:
            if sibling not in kept.siblings:
                self._given_up[merged.name, sibling.actor, sibling.counter] = None
        while len(self._given_up) > GIVEN_UP_MAX:
            del self._given_up[next(iter(self._given_up))]

    def lacking(self, name: str, fill: Mapping[PeerId, int], now: float) -> Taken | None:
        """Another peer holds nothing under a name that is held here; `fill` is what it knows. It is
        unlike if that says less than what stands here then. None: it is not held."""
        held = self._table.get(name)
        if held is None:
            return None
        other = dotted.filled(dotted.blank(held), held.context, fill)
        joined = dotted.sync(held, other)
        siblings = joined.siblings
        if not dotted.is_deleted(joined):
            # Rule 4: what deletes concurrently with what stands goes on doing so.
            siblings = tuple(s for s in held.siblings if s in siblings or s.value is None)
        kept = held
        if not dotted.is_deleted(held) and siblings != held.siblings:
            kept = Variable(held.name, held.resolver, held.context, siblings)
            self._table.keep(kept, now)
        is_news = not dotted.is_deleted(kept) or any(
            counter > fill.get(actor, 0) for actor, counter in kept.context
        )
        is_changed = kept is not held
        return Taken(Outcome.APPLIED, is_changed, is_changed, kept, is_unlike=is_news)

    def vector_defect(self, vector: Vector) -> str:
        """What is wrong with what another peer claims to know; empty if nothing is."""
        if not is_vector(vector, self._limits.members_max):
            return "no version vector"
        if counter_of(vector, self._peer) > self.counter:
            return "a write of this peer that it never made"
        return "a write of an epoch to come" if self._is_ahead(vector) else ""

    def _with_tombstones(
        self, joined: Variable, held: Variable, pushed: Variable
    ) -> tuple[Sibling, ...]:
        """Rule 4."""
        seen = dotted.filled(held, pushed.context, self._marks.base).context
        more = [
            s
            for s in pushed.siblings
            if s.value is None and s not in joined.siblings and not covers(seen, s.actor, s.counter)
        ]
        if not more:
            return joined.siblings
        return tuple(sorted([*joined.siblings, *more], key=lambda s: (s.actor, s.counter)))

    def _defect(self, pushed: Variable) -> str:
        defect = dotted.defect(pushed, self._limits)
        if not defect and counter_of(pushed.context, self._peer) > self.counter:
            return "a write of this peer that it never made"
        return defect

    def _is_ahead(self, vector: Vector) -> bool:
        """Whether it claims writes of processes that live members have not begun."""
        epochs = self.epochs
        return any(
            actor in epochs and counter >> EPOCH_BITS > epochs[actor] for actor, counter in vector
        )

    def _refuse(
        self, source: PeerId, pushed: Variable, reason: str, detail: str, now: float
    ) -> Taken:
        self._drops.drop(source, reason, detail, now)
        return Taken(Outcome.REFUSED, False, False, pushed)

    def _with_proof(self, kept: Variable, mine: Variable) -> Variable:
        """`mine` knows more of the other's writers, which is why some of its siblings fell."""
        context = join(kept.context, mine.context)
        return Variable(kept.name, kept.resolver, context, kept.siblings)


def _outcome(kept: Variable, pushed: Variable) -> Outcome:
    if kept.siblings == pushed.siblings:
        return Outcome.APPLIED
    return Outcome.MERGED if _stands(pushed, kept) else Outcome.SUPERSEDED


def _stands(pushed: Variable, held: Variable) -> bool:
    """Whether some of what was pushed stands in what is held."""
    return any(sibling in held.siblings for sibling in pushed.siblings)


def _differ(kept: Variable, pushed: Variable) -> bool:
    """Whether a comparison would find a difference between the two."""
    if dotted.is_deleted(kept) and dotted.is_deleted(pushed):
        return kept.context != pushed.context
    return kept.siblings != pushed.siblings or kept.resolver != pushed.resolver
