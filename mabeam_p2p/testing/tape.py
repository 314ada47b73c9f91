"""A run written down: everything that was drawn for it, so that it can be played again, shortened,
and kept.

The seed alone is not enough for that: the next draw that somebody adds makes another run of it. A
tape holds the weather and every fault as they came out. What is left to the seed are the streams
of single frames, fsyncs and agents, which no draw for weather or faults can shift.
"""

import msgspec
from msgspec import Struct

from mabeam_p2p.testing.faults import Fault
from mabeam_p2p.testing.weather import SECOND, Weather


class Planned(Struct, frozen=True):
    """One fault and its moment, in microseconds since the run began."""

    time: int
    fault: Fault


class Tape(Struct, frozen=True):
    """One run. `violation`: what it broke when it was written, empty if nothing."""

    seed: int | str
    storm: int
    """Microseconds."""
    weather: Weather
    faults: tuple[Planned, ...]
    violation: str = ""

    @property
    def seconds(self) -> float:
        return self.storm / SECOND


def write(tape: Tape) -> bytes:
    """As JSON, to be read by people too."""
    return msgspec.json.format(msgspec.json.encode(tape), indent=1) + b"\n"


def read(data: bytes) -> Tape:
    """Raises ValueError where the data is no tape of this release."""
    try:
        return msgspec.json.decode(data, type=Tape)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a tape of this release: {error}") from error
