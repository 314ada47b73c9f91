"""What a request to write would make of the variables that are held here, or why it is refused."""

from math import inf

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId, is_key
from mabeam_p2p.protocol.hybrid_clock import HybridClock
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.intake import EPOCH_BITS
from mabeam_p2p.protocol.variables.marks import Marks
from mabeam_p2p.protocol.variables.table import Table
from mabeam_p2p.protocol.vector_clock import is_vector
from mabeam_p2p.records import RESOLVERS, Sibling, Variable
from mabeam_p2p.requests import WAIT_MAJORITY, Refused, SetVariables, VariableChange


class Staging:
    """`counter`: the last number that this peer gave to a write; the owner moves it on."""

    def __init__(
        self,
        peer: PeerId,
        counter: int,
        table: Table,
        marks: Marks,
        clock: HybridClock,
        limits: Limits,
    ) -> None:
        self._peer = peer
        self._table = table
        self._marks = marks
        self._clock = clock
        self._limits = limits
        self.counter = counter
        self._counter_max = counter + (1 << EPOCH_BITS) - 1

    def stage(
        self, request: SetVariables, timeout: float, now: float
    ) -> tuple[Variable, ...] | Refused:
        """The variables as the request makes them, or why it is refused. Changes nothing."""
        if not request.changes or request.wait < WAIT_MAJORITY or not 0 <= timeout < inf:
            return Refused("invalid", "no changes, an unknown wait, or a timeout below 0")
        if self.counter + len(request.changes) > self._counter_max:
            return Refused("limit", "no more writes before this peer restarts")
        staged: dict[str, Variable] = {}
        for counter, change in enumerate(request.changes, self.counter + 1):
            current = staged.get(change.name) or self._table.get(change.name)
            objection = self._objection(change, current)
            if objection is not None:
                return objection
            sibling = Sibling(self._peer, counter, self._clock.tick(now), change.value)
            variable = dotted.stripped(
                dotted.written(current, change.name, change.resolver, change.context, sibling),
                self._marks.base,
            )
            if len(variable.siblings) > self._limits.siblings_max:
                return Refused("limit", f"{change.name!r} has too many concurrent values")
            if len(variable.context) > self._limits.members_max:
                return Refused("limit", f"{change.name!r} was written by too many peers")
            staged[change.name] = variable
        if len(self._table) + sum(self._is_new(name) for name in staged) > (
            self._limits.variables_max
        ):
            return Refused("limit", f"more than {self._limits.variables_max} variables")
        if sum(map(dotted.size, staged.values())) > self._limits.push_bytes_max or (
            len(staged) > self._limits.digest_entries_max
        ):
            return Refused("too_large", "together more than one message to others may hold")
        return tuple(staged.values())

    def _is_new(self, name: str) -> bool:
        return self._table.get(name) is None

    def _objection(self, change: VariableChange, current: Variable | None) -> Refused | None:
        if not is_key(change.name):
            return Refused("invalid", "the name is not usable")
        if change.resolver not in RESOLVERS:
            return Refused("invalid", f"resolver {change.resolver!r} is none of {RESOLVERS}")
        if current is not None and current.resolver != change.resolver:
            return Refused("resolver_mismatch", f"{change.name!r} has {current.resolver!r}")
        if len(change.value or b"") > self._limits.value_bytes_max:
            return Refused("too_large", f"{change.name!r} exceeds the limit of one value")
        if change.context is not None and not is_vector(change.context, self._limits.members_max):
            return Refused("invalid", "the context is not a version vector")
        return None
