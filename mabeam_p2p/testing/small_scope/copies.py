"""Copies of a core, and what stands for all that it holds.

Both go through whatever a core has, by name, so that a new field is neither shared nor forgotten.
"""

from collections import deque
from collections.abc import Hashable
from enum import Enum
from types import FunctionType, MethodType
from typing import Any

from msgspec import Struct

from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import Batch

_LEFT_OUT = ("_outbox", "_timing", "_limits", "peer", "_peer", "log_id", "_log_id")
_NUMBERS = ("persist", "log_persist", "_term_persist", "_persists")
_TIMES = ("contact", "heard_at", "said", "dropped_count")
"""As all is written at once, numbers of writes decide nothing; nor do times and what is counted."""
_SKIPPED = dict.fromkeys((*_LEFT_OUT, *_NUMBERS, *_TIMES))
_PLAIN = dict.fromkeys((type(None), str, int, float, bool, bytes, tuple, Batch))
_names: dict[type, tuple[list[str], list[str]]] = {}


def _names_of(thing: object) -> tuple[list[str], list[str]]:
    """Of its fields: all, and those that stand for it."""
    kind = type(thing)
    if kind not in _names:
        slots = getattr(kind, "__slots__", None)
        names = list(slots) if slots is not None else list(vars(thing))
        _names[kind] = names, [name for name in names if name not in _SKIPPED]
    return _names[kind]


def _is_part(thing: object) -> bool:
    """Whether it is a core, or a part of one, that can change."""
    kind = type(thing)
    return kind.__module__.startswith("mabeam_p2p.protocol.") and not isinstance(
        thing, Struct | Enum | tuple
    )


def clone(thing: Any, known: dict[int, Any]) -> Any:
    """A copy of a core that shares nothing with it that changes."""
    if type(thing) in _PLAIN or isinstance(thing, tuple | Struct | Enum):
        return thing
    if isinstance(thing, list):
        is_plain = not thing or type(thing[0]) in _PLAIN
        return thing.copy() if is_plain else [clone(item, known) for item in thing]
    if isinstance(thing, deque):
        return deque(thing)
    if isinstance(thing, dict):
        return {key: clone(value, known) for key, value in thing.items()}
    if isinstance(thing, MethodType):
        return MethodType(thing.__func__, clone(thing.__self__, known))
    if _is_part(thing):
        copied = known.get(id(thing))
        if copied is None:
            copied = known[id(thing)] = object.__new__(type(thing))
            for name in _names_of(thing)[0]:
                setattr(copied, name, clone(getattr(thing, name), known))
        return copied
    assert isinstance(thing, FunctionType), f"how is {thing!r} copied?"
    return thing


def frozen(thing: Any, known: dict[int, None] | None = None) -> Hashable:
    """All that it holds, as something that can be compared. What is shared counts once."""
    if type(thing) in _PLAIN or isinstance(thing, tuple | Struct | Enum):
        plain: Hashable = thing
        return plain
    known = {} if known is None else known
    if isinstance(thing, list | deque):
        return tuple([frozen(item, known) for item in thing])
    if isinstance(thing, dict):
        return tuple([(key, frozen(value, known)) for key, value in thing.items()])
    if isinstance(thing, MethodType | FunctionType | Outbox) or id(thing) in known:
        return None
    assert _is_part(thing), f"what is {thing!r}?"
    known[id(thing)] = None
    return tuple([frozen(getattr(thing, name), known) for name in _names_of(thing)[1]])
