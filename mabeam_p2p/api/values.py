"""What users give, made fit to travel. Raises before anything is sent."""

import math

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.wire.cbor import encode_value
from mabeam_p2p.wire.rules import is_duration

ELLIPSIS = "…"


def encoded(value: object, limits: Limits) -> bytes:
    """Raises InvalidValue."""
    return encode_value(value, limits.value_bytes_max)


def encoded_metadata(metadata: object, limits: Limits) -> bytes:
    return encode_value(metadata, limits.metadata_bytes_max) if metadata else b""


def check_rationale(rationale: str, limits: Limits) -> str:
    """`rationale`, or InvalidValue."""
    length = len(rationale.encode())
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
