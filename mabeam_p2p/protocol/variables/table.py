"""The variables that one peer holds, and the digests by which two peers compare theirs.

Names are spread over buckets by their hash. A bucket's digest is the exclusive or of the
fingerprints in it, so that a write changes it in constant time (as in a Merkle tree of one level;
Demers et al. 1987 compare checksums in this way).
"""

from collections.abc import Iterable, Mapping

from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.vector_clock import Vector, dominates
from mabeam_p2p.records import Variable

BUCKETS = 64
"""Buckets of a digest: a digest stays under 600 bytes, and one write in a large table lets peers
compare a sixty-fourth of it."""


class Table:
    """Holds records and emits the Persist of each that is kept."""

    __slots__ = ("_buckets", "_digests", "_outbox", "_variables", "persisted")

    def __init__(self, recovered: Iterable[Variable], outbox: Outbox) -> None:
        self._outbox = outbox
        self._variables: dict[str, Variable] = {}
        self._buckets: list[dict[str, int]] = [{} for _ in range(BUCKETS)]
        self._digests = [0] * BUCKETS
        self.persisted = 0
        """Number of the last Persist of a variable: what is held is durable with it."""
        for variable in recovered:
            self._put(variable)

    def __len__(self) -> int:
        return len(self._variables)

    def get(self, name: str) -> Variable | None:
        return self._variables.get(name)

    def all(self) -> tuple[Variable, ...]:
        """Every variable, by name."""
        return tuple(self._variables[name] for name in sorted(self._variables))

    def keep(self, variable: Variable) -> None:
        """Hold this state, durably, in place of one that it dominates."""
        self._put(variable)
        self.persisted = self._outbox.persist(variable)

    def _put(self, variable: Variable) -> None:
        name = variable.name
        known: Vector = ()
        if (held := self._variables.get(name)) is not None:
            known = held.context
        assert dominates(variable.context, known), f"the context of {name!r} went back"
        number = dotted.bucket(name, BUCKETS)
        fingerprint = dotted.fingerprint(variable)
        self._digests[number] ^= self._buckets[number].get(name, 0) ^ fingerprint
        self._buckets[number][name] = fingerprint
        self._variables[name] = variable

    def digests(self) -> tuple[int, ...]:
        return tuple(self._digests)

    def bucket(self, number: int) -> Mapping[str, int]:
        """The fingerprint of each name in this bucket."""
        return self._buckets[number]

    def fingerprint(self, name: str) -> int:
        """0 if the name is not held."""
        return self._buckets[dotted.bucket(name, BUCKETS)].get(name, 0)

    def check(self) -> None:
        """Assert that digests say what is held. Costs a pass over the table."""
        for number, names in enumerate(self._buckets):
            digest = 0
            for name, fingerprint in names.items():
                assert dotted.bucket(name, BUCKETS) == number
                assert dotted.fingerprint(self._variables[name]) == fingerprint
                digest ^= fingerprint
            assert digest == self._digests[number], f"the digest of bucket {number} is wrong"
        assert sum(len(names) for names in self._buckets) == len(self._variables)
