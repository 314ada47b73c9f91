"""What makes facts fit for a page: texts of a bounded length, lists of a bounded size."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
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
    """Keys by when they changed, of which the last `shown_max` are told, and all are counted: when
    some of those are dropped, the ones before them are told again."""

    def __init__(self, shown_max: int) -> None:
        self._shown_max = shown_max
        self._found: dict[K, None] = {}
        """By rank, those of the highest rank last; before them the others in any order."""
        self._changed: dict[K, None] = {}
        """The last one last."""

    def put(self, key: K) -> None:
        """It has changed."""
        self.drop(key)
        self._changed[key] = None

    def drop(self, key: K) -> None:
        """It is gone."""
        self._changed.pop(key, None)
        self._found.pop(key, None)

    async def fill(self, entries: Mapping[K, T], rank: Callable[[T], int | None]) -> None:
        """Begin anew with the entries, those of the highest rank as the last ones that changed;
        None: it is gone. There may be many: others get their turn meanwhile, and what is put or
        dropped then stays so."""
        self._found, self._changed = {}, {}
        highest: list[tuple[int, K]] = []
        keys = list(entries)
        for start in range(0, len(keys), AT_ONCE):
            some_keys = (key for key in keys[start : start + AT_ONCE] if key in entries)
            ranks = ((rank(entries[key]), key) for key in some_keys)
            ranked = [(place, key) for place, key in ranks if place is not None]
            self._found |= dict.fromkeys(key for _, key in ranked if key not in self._changed)
            highest = heapq.nlargest(self._shown_max, chain(highest, ranked))
            await asyncio.sleep(0)
        for _, key in reversed(highest):
            if key in self._found:
                del self._found[key]
                self._found[key] = None

    def __iter__(self) -> Iterator[K]:
        """Those that are told, sorted: what changes stays where it is."""
        newest = chain(reversed(self._changed), reversed(self._found))
        return iter(sorted(islice(newest, self._shown_max)))

    def __len__(self) -> int:
        return len(self._changed) + len(self._found)
