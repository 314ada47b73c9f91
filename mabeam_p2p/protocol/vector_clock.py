"""Version vectors: which writes of which actor somebody has seen (Parker et al. 1983).

A vector is a tuple of (actor, counter), sorted by actor, each actor once, counters 1 or more. An
entry (a, n) says that every write of `a` up to `n` was seen; a missing actor stands for 0. The
functions take well-formed vectors; `is_vector` judges those that come from elsewhere.
"""

from enum import Enum, auto

from mabeam_p2p.ids import PeerId, is_peer_id

Vector = tuple[tuple[PeerId, int], ...]

COUNTER_MAX = 2**62
"""No counter or clock reaches this: it leaves room to add within a signed 64-bit integer."""


class Order(Enum):
    """How one vector stands to another."""

    EQUAL = auto()
    BEFORE = auto()
    AFTER = auto()
    CONCURRENT = auto()


def counter_of(vector: Vector, actor: PeerId) -> int:
    """The last write of `actor` that the vector has seen; 0 if none."""
    for name, counter in vector:
        if name == actor:
            return counter
    return 0


def covers(vector: Vector, actor: PeerId, counter: int) -> bool:
    """Whether the vector has seen this write."""
    return counter <= counter_of(vector, actor)


def join(left: Vector, right: Vector) -> Vector:
    """Pointwise maximum: the least vector that dominates both."""
    if left == right:
        return left
    joined = dict(left)
    for actor, counter in right:
        if counter > joined.get(actor, 0):
            joined[actor] = counter
    return tuple(sorted(joined.items()))


def advance(vector: Vector, actor: PeerId, counter: int) -> Vector:
    """The vector that has seen this write too."""
    return join(vector, ((actor, counter),))


def dominates(left: Vector, right: Vector) -> bool:
    """Whether `left` has seen everything that `right` has; equal vectors dominate each other."""
    if left == right:
        return True
    mine = dict(left)
    return all(counter <= mine.get(actor, 0) for actor, counter in right)


def compare(left: Vector, right: Vector) -> Order:
    if left == right:
        return Order.EQUAL
    if dominates(left, right):
        return Order.AFTER
    if dominates(right, left):
        return Order.BEFORE
    return Order.CONCURRENT


def is_vector(entries: Vector, entries_max: int) -> bool:
    """Whether `entries`, from anywhere, form a vector of at most `entries_max` actors."""
    if len(entries) > entries_max:
        return False
    previous = ""
    for actor, counter in entries:
        if not (previous < actor and is_peer_id(actor) and 0 < counter < COUNTER_MAX):
            return False
        previous = actor
    return True
