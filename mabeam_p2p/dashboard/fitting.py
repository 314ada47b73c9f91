"""What makes facts fit for a page: texts of a bounded length, lists of a bounded size."""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Generic, TypeVar

import msgspec

from mabeam_p2p.api.results import decoded
from mabeam_p2p.errors import MabeamError

VALUE_LENGTH_MAX = 240
"""Characters shown of one value."""
TEXT_LENGTH_MAX = 400
"""Characters shown of what somebody has written: a rationale, a note, an error."""
NAMES_MAX = 24
"""Names shown of one list within a row."""
ROWS_BYTES_MAX = 192 * 1024
"""Rows of one list, encoded: more are left out and counted."""

AT_ONCE = 1_000
"""Entries looked at in one turn of the loop: some milliseconds."""

ELLIPSIS = "…"
NOT_SHOWN = "(cannot be shown: no value that this release knows)"

Row = dict[str, object]
T = TypeVar("T")
K = TypeVar("K", str, tuple[str, str])


def cut(text: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= length_max else text[: length_max - 1] + ELLIPSIS


def shown(value: object) -> str:
    """A value as `mabeam get` prints it, cut: text as it is, anything else as JSON. As text, since
    a browser's numbers do not hold every integer of ours."""
    if isinstance(value, str):
        return cut(value, VALUE_LENGTH_MAX)
    # Of a large value not all is encoded to show its beginning.
    return cut(msgspec.json.encode(_pruned(value)).decode(), VALUE_LENGTH_MAX)


def _pruned(value: object) -> object:
    match value:
        case str() | bytes() if len(value) > VALUE_LENGTH_MAX:
            return value[:VALUE_LENGTH_MAX]
        case list():
            return [_pruned(one) for one in value[:VALUE_LENGTH_MAX]]
        case Mapping():
            names = list(value)[:VALUE_LENGTH_MAX]
            return {name: _pruned(value[name]) for name in names}
        case _:
            return value


def stored(data: bytes) -> str:
    """An encoded value as a page shows it."""
    try:
        return shown(decoded(data))
    except MabeamError:
        return NOT_SHOWN


def some(names: Iterable[str], count: int) -> dict[str, object]:
    """The first of `count` names, and how many there are."""
    first = [str(name) for name, _ in zip(names, range(NAMES_MAX), strict=False)]
    return {"shown": first, "count": count}


def rows(
    things: Iterable[T], row: Callable[[T], Row | None], count: int, *, rows_max: int
) -> dict[str, object]:
    """A list of a bounded size: `shown`, and the `count` of all there are. `row` gives None for
    what is not there any more."""
    shown_rows: list[msgspec.Raw] = []
    size = 0
    for thing in things:
        made = row(thing)
        if made is None:
            continue
        encoded = msgspec.json.encode(made)
        size += len(encoded)
        if len(shown_rows) >= rows_max or size > ROWS_BYTES_MAX:
            break
        shown_rows.append(msgspec.Raw(encoded))
    return {"shown": shown_rows, "count": max(count, len(shown_rows))}


class Latest(Generic[K]):
    """Keys of which only the ones that changed last are kept."""

    def __init__(self, keys_max: int) -> None:
        self._keys_max = keys_max
        self._keys: OrderedDict[K, None] = OrderedDict()

    def put(self, key: K) -> None:
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._keys_max:
            self._keys.popitem(last=False)

    async def fill(self, entries: Mapping[K, T], rank: Callable[[T], int]) -> None:
        """Begin anew with the entries of the highest rank. There may be many: others get their turn
        meanwhile, and what is put then stays."""
        self._keys = OrderedDict()
        highest: list[tuple[int, K]] = []
        keys = list(entries)
        for start in range(0, len(keys), AT_ONCE):
            some_keys = keys[start : start + AT_ONCE]
            ranked = [(rank(entries[key]), key) for key in some_keys if key in entries]
            highest = heapq.nlargest(self._keys_max, chain(highest, ranked))
            await asyncio.sleep(0)
        changed, self._keys = self._keys, OrderedDict.fromkeys(key for _, key in reversed(highest))
        for key in changed:
            self.put(key)

    def __iter__(self) -> Iterator[K]:
        """Sorted: what changes stays where it is."""
        return iter(sorted(self._keys))

    def __len__(self) -> int:
        return len(self._keys)
