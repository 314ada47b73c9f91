"""What one peer knows of all variables together, and what its contexts may therefore leave out.

After Gonçalves et al. 2017, "DottedDB: anti-entropy without Merkle trees, deletes without
tombstones", whose node clock `known` is. Two vectors over writers:

known   Every write of an actor up to its entry was seen here: it stands, or was superseded.
base    Contexts may lack their entries up to here. `known` dominates it.

Rules
1. `known` grows by this peer's own writes, and by what another one knew when a comparison with it
   began, once that comparison has ended with both holding the same (`anti_entropy`). It holds by
   induction: whatever the other had seen then has been seen here now. And with a write all that
   its writer had seen of the variable is known, or stands in the context of what is held.
2. A name that is not held, and a write that is known, make a write that was superseded. So a
   deleted variable need not be remembered once `known` covers it, whoever comes back after
   whatever time. Nothing is judged by a clock.
3. `base` grows over actors that have gone (`upkeep`), and by the base of another peer in a
   comparison. What lacks entries is read only by who has the same base; to everybody else a
   peer gives whole contexts.
4. What is known is durable before anything rests on it.
"""

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.variables.tree import vector_hash
from mabeam_p2p.protocol.vector_clock import Vector, join
from mabeam_p2p.records import Variable, VariableMarks

NOTHING_LEFT_OUT = 0
"""The hash of a base that stands for no entry."""


class Marks:
    """`recovered`: what storage held; `counter`: the last number that this peer may have used."""

    def __init__(
        self,
        peer: PeerId,
        counter: int,
        recovered: VariableMarks | None,
        limits: Limits,
        outbox: Outbox,
    ) -> None:
        self._peer = peer
        self._limits = limits
        self._outbox = outbox
        self.known: dict[PeerId, int] = dict(recovered.known) if recovered else {}
        self.base: dict[PeerId, int] = dict(recovered.base) if recovered else {}
        self._is_own_stored = peer in self.known
        """A later process takes all of this peer's writes for known if it finds one."""
        if peer in self.known:
            # All that an earlier process has written and not lost stands in what it left.
            self.known[peer] = counter
        self.base_hash = vector_hash(self.base_vector())

    def known_vector(self) -> Vector:
        return tuple(sorted(self.known.items()))

    def base_vector(self) -> Vector:
        return tuple(sorted(self.base.items()))

    def wrote(self, counter: int) -> None:
        """This peer's own writes up to `counter`."""
        self.known[self._peer] = counter

    def store_own(self) -> None:
        """Before anything is forgotten that this peer has written."""
        if self._peer in self.known and not self._is_own_stored:
            self._persist()

    def covers(self, variable: Variable) -> bool:
        """Whether every write of the variable is known."""
        return all(counter <= self.known.get(actor, 0) for actor, counter in variable.context)

    def whole(self, variable: Variable) -> Variable:
        """The variable with every entry that its context may lack."""
        if not self.base:
            return variable
        context = join(variable.context, self.base_vector())
        return Variable(variable.name, variable.resolver, context, variable.siblings)

    def learn(self, known: Vector, base: Vector) -> bool:
        """Both, of a peer that holds the same as this one. Whether `base` has grown.

        Actors beyond `members_max` are left out: their deleted variables stay as tombstones, and
        nothing becomes false.
        """
        before = self.known_vector()
        for actor, counter in known:
            if actor != self._peer and self._has_room(actor):
                self.known[actor] = max(counter, self.known.get(actor, 0))
        has_grown = self._grow_base(base)
        if has_grown or self.known_vector() != before:
            self._persist()
        return has_grown

    def retire(self, last: dict[PeerId, int]) -> bool:
        """Actors that have gone, with the last write of each that is to be left out of contexts.
        Whether `base` has grown.

        What is beyond `known` is taken for known: an earlier write that nobody has seen counts as
        superseded from here on.
        """
        for actor, counter in last.items():
            if self._has_room(actor):
                self.known[actor] = max(counter, self.known.get(actor, 0))
        has_grown = self._grow_base(tuple((actor, self.known.get(actor, 0)) for actor in last))
        if has_grown:
            self._persist()
        return has_grown

    def _has_room(self, actor: PeerId) -> bool:
        """One place is this peer's own."""
        others = len(self.known) - (self._peer in self.known)
        return actor in self.known or others < self._limits.members_max - 1

    def _grow_base(self, base: Vector) -> bool:
        has_grown = False
        for actor, counter in base:
            # Nothing is left out that is not known: rule 2 needs both.
            counter = min(counter, self.known.get(actor, 0))
            if counter > self.base.get(actor, 0):
                self.base[actor] = counter
                has_grown = True
        if has_grown:
            self.base_hash = vector_hash(self.base_vector())
        return has_grown

    def _persist(self) -> None:
        self._is_own_stored = self._peer in self.known
        self._outbox.persist(VariableMarks(self.known_vector(), self.base_vector()))

    def check(self) -> None:
        """Assert rule 3."""
        assert len(self.known) <= self._limits.members_max
        for actor, counter in self.base.items():
            assert 0 < counter <= self.known.get(actor, 0), "what is left out is not known"
