"""Resolvers: what the concurrent values of a variable mean together. Pure functions of decoded
values, called where a variable is read; nothing they decide is ever stored or sent.

Each resolver lifts every sibling to a state, merges the states, and shows the result:

    word         state of one sibling             merge                      shown
    lww          the sibling                      the greatest (clock, dot)  its value
    max, min     the value                        greatest, least `order`    the value
    counter      {actor: [added, taken]}          pointwise maximum          sum added - sum taken
    set          its distinct elements, sorted    union                      list of elements
    map          {key: [n, actor, value?]}        for each key the greatest  {key: value}
    multi_value  [value]                          union                      list of values, sorted
    function     the value                        the user's                 the value

Laws: `merge` is commutative, associative and idempotent, so that all who hold the same siblings
show the same value, however these met (`mabeam_p2p.testing.laws` tests a user's function).

Tombstones. For lww a tombstone competes by its clock like any value. For all others a value beats
a concurrent tombstone: deletion removes what its writer had seen, nothing else.

Sets. An element stands if any sibling holds it: an addition beats a concurrent removal, and
so does a concurrent write of somebody who still held the element.

Counters and maps are conflict-free within their values (Shapiro et al. 2011: PN-counter and
LWW-element map): a writer builds the next value from `state` with `counter_add`, `map_put` and
`map_remove`, and `actor` must be one writer that writes in sequence, as an agent's id. In a map an
entry counts its writes, n, so that a write beats all that its writer had seen, and the actor
breaks ties of concurrent ones.

Siblings whose value has not the shape of their word count as empty; they never raise.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from math import copysign, isnan
from typing import Final

from msgspec import Struct

from mabeam_p2p.errors import ConfigError, InvalidValue
from mabeam_p2p.ids import PeerId

COUNT_MAX = 2**62
"""No count in a counter or map reaches this."""


class Absent(Enum):
    """The type of ABSENT: no value, as of a deleted variable. (None is a value.)"""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class Written(Struct, frozen=True):
    """A decoded sibling. value: plain data, or ABSENT for a tombstone."""

    actor: PeerId
    counter: int
    clock: int
    value: object


Merge = Callable[[Sequence[object]], object]
"""One value of one or more."""


class Resolver(Struct, frozen=True):
    """lift, merge and show as in the table above; `merge` takes at least one state."""

    merge: Merge
    lift: Callable[[Written], object] = lambda sibling: sibling.value
    show: Callable[[object], object] = lambda state: state
    sees_tombstones: bool = False


def resolve(word: str, siblings: Sequence[Written], function: Merge | None = None) -> object:
    """The one value of these siblings; ABSENT if there is none.

    word: one of RESOLVERS; `function` belongs to the word "function". Raises ConfigError for an
    unknown word or a missing function, and what the function raises.
    """
    resolver = resolver_of(word, function)
    merged = state(word, siblings, function)
    return merged if merged is ABSENT else resolver.show(merged)


def state(word: str, siblings: Sequence[Written], function: Merge | None = None) -> object:
    """The merged state that `resolve` shows: what a writer of a counter, map or set builds on."""
    resolver = resolver_of(word, function)
    standing = sorted(siblings, key=lambda s: (s.clock, s.actor, s.counter))
    if not resolver.sees_tombstones:
        standing = [sibling for sibling in standing if sibling.value is not ABSENT]
    if not standing:
        return ABSENT
    return resolver.merge([resolver.lift(sibling) for sibling in standing])


def resolver_of(word: str, function: Merge | None = None) -> Resolver:
    """The resolver of this word. Raises ConfigError."""
    if word == "function":
        if function is None:
            raise ConfigError(
                "this variable is resolved by a function: declare it here too before reading"
            )
        return Resolver(function)
    try:
        return _RESOLVERS[word]
    except KeyError:
        raise ConfigError(
            f"no resolver is called {word!r}; there are {', '.join(_RESOLVERS)} and function"
        ) from None


# ---- an order of all plain data ---------------------------------------------------------------


def order(value: object) -> tuple[object, ...]:
    """A key that sorts plain data of any types, and is equal for equal data of one type only.

    null < booleans < NaN < numbers < text < bytes < lists < maps. Numbers by size, an integer
    before the float of the same size; text by code point; maps by their sorted entries. Raises
    TypeError for anything else.
    """
    match value:
        case None:
            return (0,)
        case bool():
            return 1, value
        case float() if isnan(value):
            return (2,)
        case int():
            return 3, value, False, 1.0
        case float():
            return 3, value, True, copysign(1.0, value)
        case str():
            return 4, value
        case bytes():
            return 5, value
        case list() | tuple():
            return 6, tuple(order(item) for item in value)
        case dict():
            return 7, tuple(sorted((order(key), order(item)) for key, item in value.items()))
        case _:
            raise TypeError(f"{type(value).__name__} is not plain data")


def _union(states: Sequence[object]) -> list[object]:
    """Distinct elements of all lists, sorted."""
    found: dict[tuple[object, ...], object] = {}
    for elements in states:
        assert isinstance(elements, list)
        for element in elements:
            found.setdefault(order(element), element)
    return [found[key] for key in sorted(found)]


# ---- last writer ------------------------------------------------------------------------------


def _latest(states: Sequence[object]) -> object:
    def age(sibling: object) -> tuple[int, PeerId, int]:
        assert isinstance(sibling, Written)
        return sibling.clock, sibling.actor, sibling.counter

    return max(states, key=age)


def _value_of(sibling: object) -> object:
    assert isinstance(sibling, Written)
    return sibling.value


# ---- counters ---------------------------------------------------------------------------------

Counts = dict[str, tuple[int, int]]
"""What each actor has added and taken away in all."""


def _counts(value: object) -> Counts:
    counts: Counts = {}
    if isinstance(value, Mapping):
        for actor, pair in value.items():
            match pair:
                case [int(added), int(taken)] if _is_count(added) and _is_count(taken):
                    counts[str(actor)] = added, taken
    return counts


def _is_count(number: int) -> bool:
    return not isinstance(number, bool) and 0 <= number < COUNT_MAX


def _most(states: Sequence[object]) -> Counts:
    counts: Counts = {}
    for counted in states:
        for actor, (added, taken) in _counts(counted).items():
            most_added, most_taken = counts.get(actor, (0, 0))
            counts[actor] = max(added, most_added), max(taken, most_taken)
    return counts


def _total(counts: object) -> int:
    return sum(added - taken for added, taken in _counts(counts).values())


def counter_add(value: object, actor: str, amount: int) -> dict[str, list[int]]:
    """The counter that `actor` writes to add `amount`, which may be negative, to the state
    `value`; ABSENT counts as 0. Raises InvalidValue beyond 2^62."""
    counts = _counts(value)
    added, taken = counts.get(actor, (0, 0))
    counts[actor] = added + max(amount, 0), taken + max(-amount, 0)
    if max(counts[actor]) >= COUNT_MAX:
        raise InvalidValue(f"adding {amount} would take the count of {actor} beyond 2^62")
    return {name: list(pair) for name, pair in sorted(counts.items())}


# ---- maps -------------------------------------------------------------------------------------

Entries = dict[str, tuple[object, ...]]
"""For each key (n, actor, value), or (n, actor) where the key was removed."""


def _entries(value: object) -> Entries:
    entries: Entries = {}
    if isinstance(value, Mapping):
        for key, entry in value.items():
            match entry:
                case [int(number), str(actor), *held] if _is_count(number) and len(held) <= 1:
                    entries[str(key)] = number, actor, *held
    return entries


def _newest(states: Sequence[object]) -> Entries:
    entries: Entries = {}
    for held in states:
        for key, entry in _entries(held).items():
            if key not in entries or order(entry) > order(entries[key]):
                entries[key] = entry
    return entries


def _shown(entries: object) -> dict[str, object]:
    shown = sorted(_entries(entries).items())
    return {key: entry[2] for key, entry in shown if len(entry) == 3}


def map_put(value: object, actor: str, key: str, item: object) -> dict[str, list[object]]:
    """The map that `actor` writes to set one key in the state `value`; ABSENT counts as empty."""
    return _with_entry(value, actor, key, (item,))


def map_remove(value: object, actor: str, key: str) -> dict[str, list[object]]:
    """The map that `actor` writes to remove one key from the state `value`."""
    return _with_entry(value, actor, key, ())


def _with_entry(
    value: object, actor: str, key: str, held: tuple[object, ...]
) -> dict[str, list[object]]:
    entries = _entries(value)
    number = 0
    if key in entries:
        present = entries[key][0]
        assert isinstance(present, int)
        number = present
    entries[key] = number + 1, actor, *held
    return {name: list(entry) for name, entry in sorted(entries.items())}


# ---- the table --------------------------------------------------------------------------------


def _elements(sibling: Written) -> object:
    return _union([list(sibling.value)]) if isinstance(sibling.value, list | tuple) else []


_RESOLVERS: Final[Mapping[str, Resolver]] = {
    "lww": Resolver(_latest, lambda sibling: sibling, _value_of, sees_tombstones=True),
    "max": Resolver(lambda states: max(states, key=order)),
    "min": Resolver(lambda states: min(states, key=order)),
    "counter": Resolver(_most, lambda sibling: _counts(sibling.value), _total),
    "set": Resolver(_union, _elements),
    "map": Resolver(_newest, lambda sibling: _entries(sibling.value), _shown),
    "multi_value": Resolver(_union, lambda sibling: [sibling.value]),
}
