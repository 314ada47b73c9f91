"""Any object of this package as lines of text: every field of it, and of all that it holds.

It is read from beside, while its owner may go on: containers are copied at once, so that each is
whole, but two of them may be of different moments. Nothing is called but what reads.

Rules
1. Values of others stay out: bytes and WORDS are told by their number; other text is cut. What a
   name calls a secret, what has a type of that name, and what looks like a CURVE key is not shown
   at all.
2. Bounded: ROWS_MAX of each container, DEPTH_MAX levels, and BYTES_MAX together. What is left out
   is counted.
3. Each object is told once; where it comes again, its first place is named.
4. What belongs to other packages is told by its type alone.
"""

import enum
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from types import BuiltinFunctionType, FunctionType, MethodType

import msgspec

ROWS_MAX = 64
FIRST_ROWS = 16
"""Of those; the others are the last ones, which are the newest."""
DEPTH_MAX = 14
BYTES_MAX = 4 * 1024 * 1024
TEXT_MAX = 160
COPIES_MAX = 8
"""Attempts to copy a container while its owner changes it."""
HIDDEN = "(not shown)"
WORDS = frozenset(
    {"attributes", "detail", "error", "message", "note", "notes", "reverted", "text", "traceback"}
)
"""Fields that hold what an application says: errors of its functions, and notes, in which its
libraries put tokens. Names and rationales are none: they are there for others to read."""

_PACKAGE = "mabeam_p2p."
_WITHOUT_STATE = ("mabeam_p2p.wire.",)
"""Tables of checks, equal in every peer."""
_SECRET_NAME = re.compile(
    r"secret|password|passphrase|private|join_code|invitation|(?:curve|public|server|client)_?key"
)
_SECRET_TEXT_NAME = re.compile(r"token|_key$|\bcode\b")
"""What is a number, or a table, under these names is none."""
_CURVE_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")

_CALLABLES = (FunctionType, MethodType, BuiltinFunctionType)
_ROWS = (list, tuple, deque, set, frozenset)


class _Full(Exception):
    """The limit is reached."""


class Describer:
    """Writes one tree, within one limit."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._left = bytes_max
        self._seen: dict[int, str] = {}
        self._kept: list[object] = []
        """What was seen, so that no id is used again meanwhile."""
        self._lines: list[str] = []

    def lines(self, name: str, root: object) -> list[str]:
        """`root` as a tree under `name`."""
        self._lines = []
        try:
            self._tell(name, name, root, 0, name)
        except _Full:
            self._lines.append("... cut here: the limit of a dump is reached")
        return self._lines

    def _put(self, depth: int, name: str, text: str) -> None:
        line = f"{'  ' * depth}{name}: {text}" if text else f"{'  ' * depth}{name}:"
        self._left -= len(line) + 1
        if self._left < 0:
            raise _Full
        self._lines.append(line)

    def _tell(self, name: str, field: str, value: object, depth: int, path: str) -> None:
        """field: of the object that holds it, perhaps in containers; else as `name`."""
        text = _plain(name, field, value)
        if text is not None:
            self._put(depth, name, text)
            return
        first = self._seen.setdefault(id(value), path)
        if first != path:
            self._put(depth, name, f"as {first}")
            return
        self._kept.append(value)
        if depth >= DEPTH_MAX:
            self._put(depth, name, f"{_kind(value)}, too deep to be shown")
        elif isinstance(value, Mapping):
            items = _items(value)
            self._put(depth, name, f"{_kind(value)} of {len(items)}")
            self._rows([(_key(key), one) for key, one in items], field, depth, path)
        elif isinstance(value, _ROWS):
            rows = _elements(value)
            self._put(depth, name, f"{_kind(value)} of {len(rows)}")
            self._rows([(str(place), one) for place, one in enumerate(rows)], field, depth, path)
        else:
            self._put(depth, name, _kind(value))
            for own, one in _fields(value):
                self._tell(own, own, one, depth + 1, f"{path}.{own}")

    def _rows(self, rows: list[tuple[str, object]], field: str, depth: int, path: str) -> None:
        left_out = len(rows) - ROWS_MAX
        for place, (key, one) in enumerate(rows):
            if left_out <= 0 or place < FIRST_ROWS or place >= FIRST_ROWS + left_out:
                self._tell(key, field, one, depth + 1, f"{path}[{key}]")
            elif place == FIRST_ROWS:
                self._put(depth + 1, "...", f"{left_out} more")


def _plain(name: str, field: str, value: object) -> str | None:
    """A value of one line; None: it has parts."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | complex | Decimal):
        return repr(value)
    if "secret" in type(value).__name__.lower() or _is_secret(name, value):
        return HIDDEN
    if isinstance(value, str):
        is_words = field.lstrip("_") in WORDS
        return f"<{len(value)} characters>" if is_words else _text(value)
    if isinstance(value, (*_CALLABLES, type)):
        return f"<{getattr(value, '__qualname__', type(value).__name__)}>"
    if isinstance(value, Mapping | list | tuple | deque | set | frozenset):
        return f"{_kind(value)} of 0" if not value else None
    if isinstance(value, msgspec.Struct) or _is_ours(value):
        return None
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _is_secret(name: str, value: object) -> bool:
    if not isinstance(value, str):
        return bool(_SECRET_NAME.search(name.lower())) and not isinstance(value, msgspec.Struct)
    if _SECRET_TEXT_NAME.search(name.lower()):
        return True
    return bool(_SECRET_NAME.search(name.lower()) or _CURVE_KEY.fullmatch(value))


def _text(value: str) -> str:
    shown = value if len(value) <= TEXT_MAX else value[:TEXT_MAX]
    more = f" and {len(value) - TEXT_MAX} characters more" if len(value) > TEXT_MAX else ""
    return f"{shown!r}{more}"


def _key(key: object) -> str:
    """Of a mapping, on one line. It may hold what no value may show."""
    if isinstance(key, tuple | frozenset):
        return f"({', '.join(_key(part) for part in list(key)[:ROWS_MAX])})"
    return _plain("", "", key) or f"<{_kind(key)}>"


def _is_ours(value: object) -> bool:
    module = type(value).__module__ + "."
    return module.startswith(_PACKAGE) and not module.startswith(_WITHOUT_STATE)


def _kind(value: object) -> str:
    return type(value).__qualname__


def _items(value: Mapping[object, object]) -> list[tuple[object, object]]:
    """At once; nothing of one that changes under the hand again and again."""
    for _ in range(COPIES_MAX):
        try:
            return list(value.items())
        except RuntimeError:
            continue
    return []


def _elements(value: Iterable[object]) -> list[object]:
    for _ in range(COPIES_MAX):
        try:
            return list(value)
        except RuntimeError:
            continue
    return []


def _fields(value: object) -> Iterator[tuple[str, object]]:
    """Of an object, by name, as they were set."""
    names: Iterable[str]
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    else:
        slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
        names = [*slots, *getattr(value, "__dict__", {})]
    for name in names:
        if not name.startswith("__"):
            try:
                yield name, getattr(value, name)
            except AttributeError:
                continue
