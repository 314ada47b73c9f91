"""One right specimen of everything that a daemon can say to a client.

Answers and events hold most records that there are. Theirs are made from the types, so that none is
forgotten: every field is filled, and numbers and texts differ from each other.
"""

from itertools import count
from typing import Any, assert_never, get_args

from msgspec import inspect

from mabeam_p2p.events import Event
from mabeam_p2p.ids import PeerId
from mabeam_p2p.requests import Answer
from mabeam_p2p.wire.local import (
    LOCAL_VERSION,
    Answered,
    DaemonMessage,
    Goodbye,
    Told,
    Welcome,
)


def specimen(kind: type) -> Any:
    """One value of a struct: of tuples one element, of alternatives and enums the first, no None.
    It is the same in every run."""
    return _made(inspect.type_info(kind), count(1))


def _made(kind: inspect.Type, numbers: "count[int]") -> Any:
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return cls(*(_made(field.type, numbers) for field in fields))
        case inspect.VarTupleType(item_type=item):
            return (_made(item, numbers),)
        case inspect.TupleType(item_types=items):
            return tuple(_made(item, numbers) for item in items)
        case inspect.UnionType(types=types):
            first = next(one for one in types if not isinstance(one, inspect.NoneType))
            return _made(first, numbers)
        case inspect.EnumType(cls=enum):
            return next(iter(enum))
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return next(numbers)
        case inspect.FloatType():
            return next(numbers) + 0.5
        case inspect.StrType():
            return f"text {next(numbers)}"
        case inspect.BytesType():
            return next(numbers).to_bytes(2, "big")
        case _:
            raise TypeError(f"no specimen of {kind}")


DAEMON_MESSAGES: tuple[DaemonMessage, ...] = (
    Welcome(LOCAL_VERSION, PeerId("0123456789abcdef"), "one", "default", 4),
    *(Answered(7, specimen(kind)) for kind in get_args(Answer)),
    *(Told(specimen(kind)) for kind in get_args(Event)),
    Goodbye("closed", "the peer has been closed"),
)


def label_of(message: DaemonMessage) -> str:
    """Its kind, and that of what it answers or tells, as `Told-Ready`."""
    match message:
        case Answered(answer=part) | Told(event=part):
            return f"{type(message).__name__}-{type(part).__name__}"
        case Welcome() | Goodbye():
            return type(message).__name__
        case _:
            assert_never(message)
