"""Who sends which slice to whom: one shape for all collectives.

The result is cut into slices, and each slice has an owner. In stage PART the sources of a slice
send what they contribute to its owner, which combines it; in stage WHOLE the owner sends what it
has combined to the targets. A reduction in which everybody is source, owner and target moves what
a ring does, 2 (n - 1) / n of the size in and out of each member, and every slice is combined in
one place: the result is the same bits for everybody (Rabenseifner 2004, reduce-scatter and
allgather).

Members are known by their places, from 0, in the sorted list of their ids.
"""

from itertools import pairwise

from msgspec import Struct

PART = 0
"""From the sources of a slice to its owner."""

WHOLE = 1
"""From the owner of a slice to its targets."""

SPLIT_BYTES_MIN = 262_144
"""What is smaller is not cut to be spread by others: more messages cost more than they save."""

ALIGNMENT = 64
"""What is gathered begins at multiples of this, so that any number may lie there."""


class Slice(Struct, frozen=True, gc=False):
    """A run of bytes of the result."""

    offset: int
    size: int
    owner: int
    sources: tuple[int, ...]
    """Who contributes, ascending."""
    targets: tuple[int, ...]
    """Who gets it from the owner, ascending."""


class Plan(Struct, frozen=True, gc=False):
    """One exchange among `count` members."""

    count: int
    chunk_bytes: int
    slices: tuple[Slice, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole result."""
        return max((one.offset + one.size for one in self.slices), default=0)

    def chunk_count(self, number: int) -> int:
        """How many chunks slice `number` has."""
        return -(-self.slices[number].size // self.chunk_bytes)

    def chunk_size(self, number: int, chunk: int) -> int:
        """Bytes of a chunk of slice `number`; the last one may be shorter."""
        return min(self.chunk_bytes, self.slices[number].size - chunk * self.chunk_bytes)

    def chunk_offset(self, number: int, chunk: int) -> int:
        """Where the chunk begins in the result."""
        return self.slices[number].offset + chunk * self.chunk_bytes


def reduce_plan(count: int, item_count: int, item_bytes: int, chunk_bytes: int) -> Plan:
    """Everybody contributes to everything and gets everything; slices are whole items."""
    everybody = tuple(range(count))
    edges = [item_count * place // count * item_bytes for place in range(count + 1)]
    slices = tuple(
        Slice(start, end - start, place, everybody, _without(everybody, place))
        for place, (start, end) in enumerate(pairwise(edges))
    )
    return Plan(count, _whole_items(chunk_bytes, item_bytes), slices)


def broadcast_plan(count: int, root: int, size: int, chunk_bytes: int) -> Plan:
    """The root's data to everybody. What is large the root sends once in all, a slice to each
    other member, and these send their slices to the rest."""
    everybody = tuple(range(count))
    others = _without(everybody, root)
    if count <= 2 or size < SPLIT_BYTES_MIN:
        return Plan(count, chunk_bytes, (Slice(0, size, root, (root,), others),))
    edges = [size * number // len(others) for number in range(len(others) + 1)]
    slices = tuple(
        Slice(start, end - start, owner, (root,), _without(others, owner))
        for owner, (start, end) in zip(others, pairwise(edges), strict=True)
    )
    return Plan(count, chunk_bytes, slices)


def gather_plan(sizes: tuple[int, ...], target: int | None, chunk_bytes: int) -> Plan:
    """The data of each member, of these sizes, to one of them, or, with None, to everybody."""
    everybody = tuple(range(len(sizes)))
    slices: list[Slice] = []
    offset = 0
    for place, size in enumerate(sizes):
        targets = everybody if target is None else (target,)
        slices.append(Slice(offset, size, place, (place,), _without(targets, place)))
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    return Plan(len(sizes), chunk_bytes, tuple(slices))


def _without(places: tuple[int, ...], place: int) -> tuple[int, ...]:
    return tuple(other for other in places if other != place)


def _whole_items(chunk_bytes: int, item_bytes: int) -> int:
    """Chunks hold whole items, so that each can be combined by itself."""
    return max(1, chunk_bytes // item_bytes) * item_bytes
