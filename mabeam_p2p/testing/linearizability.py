"""Linearizability of append-only lists, judged by what clients saw and nothing else.

Every item is appended once by one client, so the longest list that anyone read gives the order of
all effects, and an operation's place in it is its version. A history is linearizable exactly when
versions never run backwards in real time; sorting and one sweep decide that, O(n log n). The idea
of unique list items is that of Elle (Kingsbury and Alvaro 2020), the definition that of Herlihy and
Wing 1990.

Operations whose outcome is unknown stay open for ever: they may take effect at any later time.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum

from msgspec import Struct


class Result(IntEnum):
    """What the client was told."""

    OPEN = 0
    """Nothing, or that it is unknown."""
    DONE = 1
    NOT_DONE = 2
    """Certainly not: the item may never be seen."""


class Append(Struct):
    """One append of `item`, unique in its list. Times in any unit that orders them."""

    client: str
    key: str
    item: bytes
    invoked: int
    returned: int = -1
    result: Result = Result.OPEN
    position: int = 0
    """Place in the list as answered, from 1; 0: not answered."""


class Read(Struct):
    """One completed read of a whole list. `items` is what was seen, from the first on."""

    client: str
    key: str
    items: tuple[bytes, ...]
    invoked: int
    returned: int
    linearizable: bool = True
    """A stale read must be a prefix too, but may be of any age."""


Operation = Append | Read


class Anomaly(Struct, frozen=True):
    """`kind`: duplicate, divergence, lost ack, phantom, position, stale read, reordered."""

    kind: str
    key: str
    detail: str


def anomalies(history: Iterable[Operation]) -> Iterator[Anomaly]:
    """Whatever no linearizable list could have shown, key by key in order of first use.

    To find lost acknowledgements the history must end with a read of every key that was invoked
    after all appends returned.
    """
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    for key, operations in by_key.items():
        yield from _anomalies_of(key, operations)


def _anomalies_of(key: str, operations: list[Operation]) -> Iterator[Anomaly]:
    reads = [operation for operation in operations if isinstance(operation, Read)]
    appends = [operation for operation in operations if isinstance(operation, Append)]
    order = max((read.items for read in reads), key=len, default=())
    version = {item: place for place, item in enumerate(order, start=1)}
    if len(version) < len(order):
        twice = next(item for place, item in enumerate(order, start=1) if version[item] != place)
        yield Anomaly("duplicate", key, f"{twice!r} stands twice in the list")
        return
    for read in reads:
        if order[: len(read.items)] != read.items:
            yield Anomaly("divergence", key, f"{read.client} read what is no prefix: {read}")
            return
    known = {append.item for append in appends}
    strange = next((item for item in order if item not in known), None)
    if strange is not None:
        yield Anomaly("phantom", key, f"nobody appended {strange!r}")
    yield from _broken_answers(key, appends, version)
    yield from _backward_edges(key, operations, version)


def _broken_answers(
    key: str, appends: list[Append], version: dict[bytes, int]
) -> Iterator[Anomaly]:
    for append in appends:
        place = version.get(append.item, 0)
        if append.result is Result.DONE and not place:
            yield Anomaly("lost ack", key, f"acknowledged, but in no list: {append}")
        elif append.result is Result.NOT_DONE and place:
            yield Anomaly("phantom", key, f"refused, but stands at {place}: {append}")
        elif append.position and append.position != place:
            yield Anomaly("position", key, f"stands at {place}, not as answered: {append}")


def _backward_edges(
    key: str, operations: list[Operation], version: dict[bytes, int]
) -> Iterator[Anomaly]:
    """Sweep over invocations and returns; `floor` is the newest version that a returned operation
    proves to exist. At equal times an invocation comes first: the two are concurrent."""
    moments: list[tuple[int, int, int]] = []
    versions: list[int] = []
    for number, operation in enumerate(operations):
        if isinstance(operation, Read):
            versions.append(len(operation.items))
            if not operation.linearizable:
                # Proves that its version exists, but need not see anything itself.
                moments.append((operation.returned, 1, number))
                continue
        else:
            versions.append(version.get(operation.item, 0))
            if not versions[-1]:
                continue
        moments.append((operation.invoked, 0, number))
        if isinstance(operation, Read) or operation.result is Result.DONE:
            moments.append((operation.returned, 1, number))
    moments.sort()
    floor = 0
    witness: Operation | None = None
    for _, is_return, number in moments:
        operation, seen = operations[number], versions[number]
        if is_return:
            if seen > floor:
                floor, witness = seen, operation
        elif isinstance(operation, Read):
            if seen < floor:
                yield Anomaly("stale read", key, f"{operation} began after {witness}")
        elif seen <= floor:
            yield Anomaly("reordered", key, f"{operation} began after {witness}")
