"""What users give, made fit to travel. Raises before anything is sent."""

import math
import re
import reprlib
from functools import lru_cache
from typing import Any, get_args

import msgspec

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.requests import Request
from mabeam_p2p.wire.cbor import encode_value
from mabeam_p2p.wire.codec import to_plain, to_typed
from mabeam_p2p.wire.rules import is_duration
from mabeam_p2p.wire.schema import Schema

ELLIPSIS = "…"


def check_request(request: Request, limits: Limits) -> None:
    """Raises InvalidValue for what no peer would read: its connection would end there. Every
    request passes here, so that no verb has to know the rules of the wire."""
    try:
        # Fields are typed by convention only, and a float passes for an integer.
        typed = to_typed(to_plain(request), type(request))
        _schema(limits).check(typed)
    except (RemoteProtocolError, TypeError) as error:
        fault = error.detail if isinstance(error, RemoteProtocolError) else str(error)
        raise InvalidValue(_said_of(request, fault)) from None


@lru_cache(maxsize=4)
def _schema(limits: Limits) -> Schema:
    """Kept, as its checks take milliseconds to make."""
    return Schema(limits, get_args(Request))


def _said_of(request: Request, fault: str) -> str:
    """Which field has what in it, and what to give. fault: as of the schema, `Kind.field`, or as of
    the types, `... at $[2][1]`."""
    holder, name = _place_of(request, fault)
    if not name:
        return f"{type(request).__name__} cannot travel: {fault}: take what its method names"
    value = reprlib.repr(getattr(holder, name))
    kinds = {field.name: field.type for field in msgspec.structs.fields(holder)}
    kind = kinds[name]
    if kind is int or int in get_args(kind):
        advice = f"a whole number as its method names it, between -{INTEGER_MAX} and {INTEGER_MAX}"
    elif kind is float:
        advice = "a number of seconds, 0 or more"
    else:
        advice = "what its method names: an id or a name, or text that is short and fit for UTF-8"
    return f"{name} {value}: take {advice}"


def _place_of(holder: Any, fault: str) -> tuple[Any, str]:
    """The struct within `holder`, and its field; no field if it cannot be told, as where several
    structs have it."""
    kind, _, field = fault.rpartition(" ")[2].partition(".")
    named = [one for one in _structs_in(holder) if type(one).__name__ == kind]
    if named and field in named[0].__struct_fields__:
        return named[0], field if len(named) == 1 else ""
    name = ""
    for place in map(int, re.findall(r"\[(\d+)\]", fault)):
        inner = getattr(holder, name) if name else holder
        if not isinstance(inner, msgspec.Struct):
            break
        has_tag = inner.__struct_config__.tag is not None
        holder, name = inner, inner.__struct_fields__[place - has_tag]
    return holder, name


def _structs_in(data: Any) -> list[msgspec.Struct]:
    """Itself, and those within."""
    if isinstance(data, tuple):
        return [one for element in data for one in _structs_in(element)]
    if not isinstance(data, msgspec.Struct):
        return []
    fields = (getattr(data, name) for name in data.__struct_fields__)
    return [data, *(one for field in fields for one in _structs_in(field))]


def whole(value: int, what: str) -> int:
    """`value`, a whole number that can travel; or InvalidValue."""
    given: object = value
    if not isinstance(given, int) or isinstance(given, bool) or abs(given) > INTEGER_MAX:
        raise InvalidValue(
            f"{what} {value!r}: take a whole number, an int between -{INTEGER_MAX} and "
            f"{INTEGER_MAX}"
        )
    return value


def encoded(value: object, limits: Limits) -> bytes:
    """Raises InvalidValue."""
    return encode_value(value, limits.value_bytes_max)


def encoded_metadata(metadata: object, limits: Limits) -> bytes:
    return encode_value(metadata, limits.metadata_bytes_max) if metadata else b""


def check_rationale(rationale: str, limits: Limits) -> str:
    """`rationale`, or InvalidValue."""
    length = len(rationale.encode(errors="replace"))
    if length > limits.rationale_bytes_max:
        raise InvalidValue(
            f"the rationale has {length} bytes and {limits.rationale_bytes_max} are allowed: "
            "say it shorter, and keep the rest elsewhere"
        )
    return rationale


def shortened(rationale: str, limits: Limits) -> str:
    """As much of `rationale` as may travel: for texts of errors, which nobody has chosen."""
    data = rationale.encode(errors="replace")
    if len(data) <= limits.rationale_bytes_max:
        return data.decode()
    kept = data[: limits.rationale_bytes_max - len(ELLIPSIS.encode())]
    return kept.decode(errors="ignore") + ELLIPSIS


def text_of(error: BaseException) -> str:
    """What an exception says of itself. Its class is the user's, and may raise here."""
    try:
        return str(error)
    except Exception as fault:
        return f"its text cannot be had: {type(fault).__name__}"


def check_seconds(seconds: float, what: str = "timeout") -> float:
    """`seconds`, 0 or more, fit to travel; or InvalidValue."""
    if not is_duration(seconds):
        raise InvalidValue(f"{what} {seconds!r}: take a number of seconds, 0 or more")
    return seconds


def microseconds(timeout: float) -> int:
    """Seconds to the log's unit, 1 or more. Raises InvalidValue."""
    if not (math.isfinite(timeout) and 0 < timeout <= TIMEOUT_SECONDS_MAX):
        raise InvalidValue(
            f"timeout {timeout!r}: take a number of seconds over 0, up to {TIMEOUT_SECONDS_MAX:g}"
        )
    return max(1, round(timeout * 1_000_000))


TIMEOUT_SECONDS_MAX = 366 * 24 * 3600.0
"""A deadline in the log is at most this far away."""
