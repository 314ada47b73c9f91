"""What all results share: plain data, times, decoded values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.wire.cbor import decode_value

Decoded: TypeAlias = Any
"""A value as it was agreed or shared: null, bool, int, float, text, bytes, list, dict with text
keys. Any, because only the application knows which of them stands under a name."""

Level = Literal["local", "linearizable"]

MICROSECONDS = 1_000_000


def decoded(data: bytes) -> Decoded:
    """The value in `data`; InvalidValue if some other program wrote what is no value."""
    try:
        return decode_value(data)
    except RemoteProtocolError as error:
        raise InvalidValue(f"a stored value cannot be decoded: {error}") from error


def seconds(clock: int) -> float:
    return clock / MICROSECONDS


def plain(value: object) -> object:
    """Results within results made plain, too."""
    match value:
        case Result():
            return value.to_dict()
        case tuple() | list():
            return [plain(element) for element in value]
        case Decimal():
            # Exact, and what JSON can carry.
            return format(value, "f")
        case Mapping():
            return {key: plain(element) for key, element in value.items()}
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Result:
    """Base of all results."""

    def to_dict(self) -> dict[str, object]:
        """Plain data: dicts, lists and values, keyed by the fields' names."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}
