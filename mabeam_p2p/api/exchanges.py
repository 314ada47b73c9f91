"""The kinds of collectives: what each party brings, who gets what, and how it is combined."""

import math
from collections.abc import Mapping, Sequence

from mabeam_p2p.api.arrays import Array, Layout, check_restorable, empty, recognised, restored
from mabeam_p2p.api.collectives import Offer, Work, check_size
from mabeam_p2p.api.reductions import OpWord, check_op, combiner
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import AgentId
from mabeam_p2p.protocol.bulk import broadcast_plan, gather_plan, reduce_plan
from mabeam_p2p.runtime.bulk import NOTHING, Run

Offers = Mapping[AgentId, Offer]


class AllReduce:
    """Everybody brings an array of one shape and dtype; everybody gets one that is made of all."""

    def __init__(self, value: Array, op: OpWord, weight: float | None, trim: float) -> None:
        """Raises InvalidValue."""
        self.layout, self._contribution = recognised(value)
        check_op(op, self.layout, trim)
        if (weight is not None) != (op == "weighted"):
            raise InvalidValue(f"op {op!r} with weight {weight!r}: only `weighted` has weights")
        self.weight = 1.0 if weight is None else float(weight)
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise InvalidValue(f"weight {weight!r}: take a number over 0")
        self.terms = f"all_reduce {op}" + (f" trim {trim}" if op == "trimmed_mean" else "")
        self._value = value
        self._op = op
        self._trim = trim
        self._result = NOTHING

    def mismatch(self, offers: Offers) -> str:
        layouts = [offer.layout for offer in offers.values()]
        kinds = {layout and (layout.dtype, layout.shape) for layout in layouts}
        return "the parties differ in shape or dtype" if len(kinds) > 1 else ""

    def needed(self, offers: Offers) -> AgentId | None:
        return None

    def work(self, me: AgentId, offers: Offers, limits: Limits) -> Work:
        layout = self.layout
        plan = reduce_plan(
            len(offers), layout.item_count, layout.item_bytes, limits.bulk_chunk_bytes
        )
        # Of a round that failed something may still be on its way out: it keeps its memory.
        self._result = empty(layout.size)
        weights = [offer.weight for offer in offers.values()]
        combine = combiner(self._op, layout, weights, self._trim)
        return Work(plan, Run(self._contribution), Run(self._result), combine)

    def value(self, me: AgentId, offers: Offers) -> Array:
        return restored(self.layout, self._result, self._value)


class Broadcast:
    """One party brings an array, everybody gets it. value: None at the others."""

    terms = "broadcast"
    weight = 1.0

    def __init__(self, value: Array) -> None:
        """Raises InvalidValue."""
        self.layout: Layout | None = None
        self._contribution = NOTHING
        if value is not None:
            self.layout, self._contribution = recognised(value)
        self._value = value
        self._result = NOTHING

    def mismatch(self, offers: Offers) -> str:
        count = sum(offer.layout is not None for offer in offers.values())
        return "" if count == 1 else f"{count} parties bring the value, and it must be one"

    def needed(self, offers: Offers) -> AgentId | None:
        return _root(offers)[0]

    def work(self, me: AgentId, offers: Offers, limits: Limits) -> Work:
        root, layout = _root(offers)
        place = tuple(offers).index(root)
        plan = broadcast_plan(len(offers), place, layout.size, limits.bulk_chunk_bytes)
        if self.layout is not None:
            whole = Run(self._contribution)
            return Work(plan, whole, whole, _is_there)
        check_size(layout.size, limits)
        check_restorable(layout)
        self._result = empty(layout.size)
        return Work(plan, Run(NOTHING), Run(self._result), _copy)

    def value(self, me: AgentId, offers: Offers) -> Array:
        if self.layout is not None:
            return self._value
        return restored(_root(offers)[1], self._result)


class Gather:
    """Everybody brings an array of its own. to: who gets them all; None: everybody."""

    weight = 1.0

    def __init__(self, value: Array, to: str | None) -> None:
        """Raises InvalidValue."""
        self.layout, self._contribution = recognised(value)
        self.terms = "gather" if to is None else f"gather to {to}"
        self._value = value
        self._to = None if to is None else AgentId(to)
        self._result = NOTHING

    def mismatch(self, offers: Offers) -> str:
        if self._to is not None and self._to not in offers:
            return f"{self._to} is not among the parties"
        missing = any(offer.layout is None for offer in offers.values())
        return "a party brings nothing" if missing else ""

    def needed(self, offers: Offers) -> AgentId | None:
        return self._to

    def work(self, me: AgentId, offers: Offers, limits: Limits) -> Work:
        layouts = _layouts(offers)
        members = tuple(offers)
        target = None if self._to is None else members.index(self._to)
        sizes = tuple(layout.size for layout in layouts.values())
        plan = gather_plan(sizes, target, limits.bulk_chunk_bytes)
        check_size(plan.size, limits)
        mine = Run(self._contribution, plan.slices[members.index(me)].offset)
        if self._to not in (None, me):
            return Work(plan, mine, mine, _is_there)
        for layout in layouts.values():
            check_restorable(layout)
        self._result = empty(plan.size)
        return Work(plan, mine, Run(self._result), _copy)

    def value(self, me: AgentId, offers: Offers) -> Array:
        if self._to not in (None, me):
            return None
        layouts = _layouts(offers)
        sizes = tuple(layout.size for layout in layouts.values())
        slices = gather_plan(sizes, None, 1).slices
        return {
            str(agent): restored(layout, self._result[one.offset : one.offset + one.size])
            for (agent, layout), one in zip(layouts.items(), slices, strict=True)
        }


def _root(offers: Offers) -> tuple[AgentId, Layout]:
    """Who brings the value of a broadcast."""
    return next(iter(_layouts(offers).items()))


def _layouts(offers: Offers) -> dict[AgentId, Layout]:
    return {agent: one.layout for agent, one in offers.items() if one.layout is not None}


def _copy(parts: Sequence[memoryview], into: memoryview) -> None:
    into[:] = parts[0]


def _is_there(parts: Sequence[memoryview], into: memoryview) -> None:
    """The contribution lies where the result is sent from."""
