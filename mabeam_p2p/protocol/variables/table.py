"""The variables that one peer holds, and the hash tree by which two peers compare theirs.

A variable without a value is held as a tombstone until everything in it is known (`marks`), and
for a while longer. Once all is known it stands in no tree, so that it is the same to hold it or
not; before, it is compared as all others are, so that who learns of a deletion also learns what it
had seen.
"""

from collections import deque
from collections.abc import Iterable

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.marks import Marks
from mabeam_p2p.protocol.variables.tree import HashTree
from mabeam_p2p.protocol.vector_clock import Vector, covers
from mabeam_p2p.records import Variable, VariableForgotten

RECENT_MAX = 4_096
"""Changes that are remembered by name."""


class Table:
    """Holds records and emits the Persist of each that is kept or forgotten.

    tree: of all that have a value, or not everything of which is known. tombstones: since when each
    of those without a value is held; `unknown` those of them that are in the tree. actors: in how
    many contexts each writer stands.
    """

    __slots__ = (
        "_marks", "_outbox", "_recent", "_variables", "actors", "change_count", "persisted",
        "tombstones", "tree", "unknown", "written",
    )  # fmt: skip

    def __init__(
        self, recovered: Iterable[Variable], marks: Marks, outbox: Outbox, now: float
    ) -> None:
        self._outbox = outbox
        self._marks = marks
        self._variables: dict[str, Variable] = {}
        self.tree = HashTree()
        self.tombstones: dict[str, float] = {}
        self.unknown: dict[str, None] = {}
        self.actors: dict[PeerId, int] = {}
        self.change_count = 0
        self._recent: deque[str] = deque(maxlen=RECENT_MAX)
        """Names of the last changes, newest last."""
        self.persisted = 0
        """Number of the last Persist that anything here rests on: what is held is durable with
        it."""
        self.written = 0
        """Number of the last Persist of a variable: what is shown of them is durable with it."""
        for variable in recovered:
            self._put(variable, now)

    def __len__(self) -> int:
        return len(self._variables)

    def get(self, name: str) -> Variable | None:
        return self._variables.get(name)

    def all(self) -> tuple[Variable, ...]:
        """Every variable, by name."""
        return tuple(self._variables[name] for name in sorted(self._variables))

    def keep(self, variable: Variable, now: float) -> None:
        """Hold this state, durably, in place of one that it dominates."""
        self._put(variable, now)
        self.change_count += 1
        self._recent.append(variable.name)
        self.written = self._outbox.persist(variable)
        self.settle()

    def settle(self) -> None:
        """What is emitted from here on rests on all that was persisted so far."""
        self.persisted = self._outbox.persisted

    def has_taken(self, change_count: int, known: Vector) -> bool:
        """Whether a value that `known` covers may have come in since there were so many
        changes."""
        since = self.change_count - change_count
        if since > len(self._recent):
            return True
        names = dict.fromkeys(list(self._recent)[-since:] if since else ())
        return any(
            sibling.value is not None and covers(known, sibling.actor, sibling.counter)
            for name in names
            if (variable := self._variables.get(name)) is not None
            for sibling in variable.siblings
        )

    def forget(self, name: str) -> None:
        """The variable is deleted, and all of it is known."""
        variable = self._variables.pop(name)
        assert dotted.is_deleted(variable), f"{name!r} has a value"
        assert self._marks.covers(variable), f"{name!r} could come back"
        del self.tombstones[name]
        if name in self.unknown:
            del self.unknown[name]
            self.tree.put(name, 0)
        self._count_actors(variable, -1)
        self._marks.store_own()
        self._outbox.persist(VariableForgotten(name))
        self.settle()

    def _put(self, variable: Variable, now: float) -> None:
        name = variable.name
        if (held := self._variables.get(name)) is not None:
            later = dict(variable.context)
            for actor, counter in held.context:
                grown = max(later.get(actor, 0), self._marks.base.get(actor, 0))
                assert counter <= grown, f"the context of {name!r} went back"
            self._count_actors(held, -1)
        self._count_actors(variable, 1)
        self._variables[name] = variable
        self.unknown.pop(name, None)
        if not dotted.is_deleted(variable):
            self.tombstones.pop(name, None)
        else:
            self.tombstones.setdefault(name, now)
            if self._marks.covers(variable):
                self.tree.put(name, 0)
                return
            self.unknown[name] = None
        self.tree.put(name, dotted.fingerprint(variable))

    def more_is_known(self) -> None:
        """Take out of the tree what is deleted and now known."""
        for name in list(self.unknown):
            if self._marks.covers(self._variables[name]):
                del self.unknown[name]
                self.tree.put(name, 0)

    def _count_actors(self, variable: Variable, added: int) -> None:
        for actor, _ in variable.context:
            count = self.actors.get(actor, 0) + added
            if count:
                self.actors[actor] = count
            else:
                del self.actors[actor]

    def check(self) -> None:
        """Assert that all the accounts say what is held. Costs a pass over the table."""
        fingerprints: dict[str, int] = {}
        actors: dict[PeerId, int] = {}
        for name, variable in self._variables.items():
            assert (name in self.tombstones) == dotted.is_deleted(variable)
            if name not in self.tombstones or name in self.unknown:
                fingerprints[name] = dotted.fingerprint(variable)
            else:
                assert self._marks.covers(variable), f"{name!r} is not compared"
            for actor, _ in variable.context:
                actors[actor] = actors.get(actor, 0) + 1
        assert actors == self.actors, "writers are counted wrongly"
        self.tree.check(fingerprints)
