"""One variable as a dotted version vector set: pure functions of the record.

After Preguiça et al. 2010, "Dotted version vectors", and Almeida et al. 2014, "Scalable and
accurate causality tracking for eventually consistent stores". A variable is a context, all writes
that were ever seen, and the siblings among them that no other write has seen.

1. A write supersedes exactly the siblings that its writer had seen.
2. A write that is in a context but not among its siblings was superseded.
3. `sync` is a join: commutative, associative, idempotent, and it only grows.
4. What a peer knows beside its records (`marks`) stands for entries that a context lacks. Before
   two states are joined each is `filled` with what its holder knows of the other's writers.
5. The siblings alone decide a fingerprint, if there is a value among them: all that a context says
   beside them is the past of these siblings, which is the same wherever they stand.

Values stay encoded: what concurrent values mean together is decided where they are read
(`protocol.resolvers`).
"""

from collections.abc import Mapping
from hashlib import blake2b

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId, is_key
from mabeam_p2p.protocol.vector_clock import (
    COUNTER_MAX,
    Vector,
    advance,
    covers,
    is_vector,
    join,
)
from mabeam_p2p.records import RESOLVERS, Sibling, Variable

FINGERPRINT_BYTES = 6
"""48 bits: exact in every JSON reader, and of 100 000 names no two are likely to meet."""

VARIABLE_BYTES = 64
SIBLING_BYTES = 48
ENTRY_BYTES = 32
"""What a record, a sibling and an entry of a vector take at most beside names and values."""


def sync(left: Variable, right: Variable) -> Variable:
    """The least state that holds both: each sibling that the other side has too, or has not seen.

    left, right: the same name.
    """
    if left == right:
        return left
    kept = {(s.actor, s.counter): s for s in left.siblings if _survives(s, right)}
    for sibling in right.siblings:
        dot = (sibling.actor, sibling.counter)
        if dot in kept:
            kept[dot] = max(kept[dot], sibling, key=_content)
        elif _survives(sibling, left):
            kept[dot] = sibling
    return Variable(
        left.name,
        min(left.resolver, right.resolver, key=RESOLVERS.index),
        join(left.context, right.context),
        tuple(kept[dot] for dot in sorted(kept)),
    )


def _survives(sibling: Sibling, other: Variable) -> bool:
    if not covers(other.context, sibling.actor, sibling.counter):
        return True
    dot = (sibling.actor, sibling.counter)
    return any((s.actor, s.counter) == dot for s in other.siblings)


def _content(sibling: Sibling) -> tuple[int, bool, bytes]:
    """Honest peers never write two values under one dot; if it happens, all keep the same one."""
    return sibling.clock, sibling.value is not None, sibling.value or b""


def written(
    current: Variable | None, name: str, resolver: str, seen: Vector | None, sibling: Sibling
) -> Variable:
    """The variable after one write whose writer had seen `seen`; None: all that is here.

    What `seen` claims beyond the present context never enters it: a write supersedes nothing that
    this peer does not know. `sibling` carries the next dot of its actor.
    """
    if current is None:
        return Variable(name, resolver, ((sibling.actor, sibling.counter),), (sibling,))
    if seen is None:
        seen = current.context
    concurrent = [s for s in current.siblings if not covers(seen, s.actor, s.counter)]
    return Variable(
        name,
        current.resolver,
        advance(current.context, sibling.actor, sibling.counter),
        tuple(sorted([*concurrent, sibling], key=_dot)),
    )


def bounded(variable: Variable, limits: Limits) -> Variable:
    """The variable with as many siblings as the limits allow: the latest, by (clock, dot).

    The others count as superseded, everywhere, once peers have compared. The same siblings are
    given up wherever the same ones have met.
    """
    if len(variable.siblings) <= limits.siblings_max and _fits(variable, limits):
        return variable
    latest = sorted(variable.siblings, key=_age, reverse=True)[: limits.siblings_max]
    while True:
        shorter = Variable(
            variable.name, variable.resolver, variable.context, tuple(sorted(latest, key=_dot))
        )
        if _fits(shorter, limits) or not latest:
            return shorter
        latest.pop()


def _fits(variable: Variable, limits: Limits) -> bool:
    return size(variable) <= limits.push_bytes_max


def _dot(sibling: Sibling) -> tuple[PeerId, int]:
    return sibling.actor, sibling.counter


def _age(sibling: Sibling) -> tuple[int, PeerId, int]:
    return sibling.clock, sibling.actor, sibling.counter


def size(variable: Variable) -> int:
    """An upper bound of its bytes on the wire."""
    return (
        VARIABLE_BYTES
        + len(variable.name.encode())
        + ENTRY_BYTES * len(variable.context)
        + sum(SIBLING_BYTES + len(s.value or b"") for s in variable.siblings)
    )


def blank(variable: Variable) -> Variable:
    """What a peer that holds nothing under this name holds."""
    return Variable(variable.name, variable.resolver, (), ())


def filled(variable: Variable, others: Vector, known: Mapping[PeerId, int]) -> Variable:
    """The variable with what its holder knows of the actors of `others` in its context."""
    more = tuple((actor, known[actor]) for actor, _ in others if actor in known)
    context = join(variable.context, more)
    if context == variable.context:
        return variable
    return Variable(variable.name, variable.resolver, context, variable.siblings)


def stripped(variable: Variable, base: Mapping[PeerId, int]) -> Variable:
    """The variable without the entries that `base` stands for; those of actors that have a sibling
    stay, so that a context always covers its siblings."""
    if not base:
        return variable
    standing = {sibling.actor: None for sibling in variable.siblings}
    context = tuple(
        (actor, counter)
        for actor, counter in variable.context
        if actor in standing or counter > base.get(actor, 0)
    )
    if context == variable.context:
        return variable
    return Variable(variable.name, variable.resolver, context, variable.siblings)


def is_deleted(variable: Variable) -> bool:
    """Whether no value stands: tombstones at most."""
    return all(sibling.value is None for sibling in variable.siblings)


def fingerprint(variable: Variable) -> int:
    """A hash of the siblings, the same on every peer; never 0. Of what is deleted also of the
    context: there is nothing else to it."""
    state = blake2b(digest_size=FINGERPRINT_BYTES)
    context = variable.context if is_deleted(variable) else ()
    state.update(repr((variable.name, variable.resolver, context)).encode())
    for sibling in variable.siblings:
        length = None if sibling.value is None else len(sibling.value)
        state.update(repr((sibling.actor, sibling.counter, sibling.clock, length)).encode())
        state.update(sibling.value or b"")
    return int.from_bytes(state.digest()) or 1


def defect(variable: Variable, limits: Limits) -> str:
    """What is wrong with a variable that came from elsewhere; empty if nothing is."""
    if not is_key(variable.name):
        return "name"
    if variable.resolver not in RESOLVERS:
        return "resolver"
    if not is_vector(variable.context, limits.members_max):
        return "context"
    if len(variable.siblings) > limits.siblings_max:
        return "sibling count"
    if size(variable) > limits.push_bytes_max:
        return "size"
    previous: tuple[str, int] = ("", 0)
    for sibling in variable.siblings:
        if not previous < _dot(sibling):
            return "sibling order"
        if sibling.counter < 1 or not covers(variable.context, sibling.actor, sibling.counter):
            return "sibling dot"
        if not 0 <= sibling.clock < COUNTER_MAX:
            return "clock"
        if len(sibling.value or b"") > limits.value_bytes_max:
            return "value size"
        previous = _dot(sibling)
    return ""
