"""Mutated frames, a hundred thousand a minute and more: read or refused, at little cost."""

import heapq
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.wire import cbor, local
from tests.hostile import archive, entrances, rows
from tests.hostile.entrances import (
    BULK,
    CODEC,
    JOINING,
    READERS,
    ROOM_BYTES,
    SECONDS_FREE,
    additions,
    is_cheap,
    memory_allowed,
    memory_taken,
    outcome,
)
from tests.hostile.local_samples import CLIENT_MESSAGES
from tests.hostile.mutation import mutated
from tests.wire.samples import BULK as BULK_SAMPLES
from tests.wire.samples import COMMANDS, MESSAGES, frame_of
from tests.wire.samples import JOINING as JOINING_SAMPLES

FRAMES = [CODEC.encode_frame(frame_of(message)) for message in MESSAGES]
SPECIMENS = {
    "frame": [*FRAMES, CODEC.encode_frame(frame_of(*MESSAGES))],
    "command": [CODEC.encode_commands([command]) for command in COMMANDS],
    "bulk": [BULK.encode(header) for header in BULK_SAMPLES],
    "joining": [JOINING.encode(word) for word in JOINING_SAMPLES],
    "local": [local.encode(message)[local.LENGTH_BYTES :] for message in CLIENT_MESSAGES],
    "value": [
        cbor.encode_value(value, 2**16)
        for value in (
            None,
            True,
            -1,
            1.5,
            "text",
            b"bytes",
            [1, [2, "three"]],
            {"a": {"b": [None, 0.5]}},
        )
    ],
}
COUNTS = {
    "frame": 300_000, "command": 20_000, "bulk": 10_000, "joining": 20_000, "local": 20_000,
    "value": 20_000,
}  # fmt: skip
RATE_LEAST = 100_000 / 60
WEIGHED = 500


def outcomes(way_in: str, inputs: Iterable[bytes]) -> Counter[str]:
    """How often each was met. Whatever else an input raises, or what it takes too much, is an
    AssertionError.

    Processor time is judged of each: by how long this takes, and, where that is more than is free
    on any machine, as that of a file of the corpus. To measure memory takes many times as long as
    to read: it is judged of the WEIGHED that took longest, and of as many that are longest.
    """
    met: Counter[str] = Counter()
    slowest: list[tuple[float, bytes]] = []
    longest: list[tuple[float, bytes]] = []
    for data in inputs:
        began = time.thread_time()
        try:
            met[outcome(way_in, data)] += 1
        except BaseException as error:
            raise AssertionError(data.hex()) from error
        seconds = time.thread_time() - began
        assert seconds < SECONDS_FREE or is_cheap(way_in, data), f"takes long: {data.hex()}"
        for greatest, measure in ((slowest, seconds), (longest, len(data))):
            if len(greatest) < WEIGHED:
                heapq.heappush(greatest, (measure, data))
            elif measure > greatest[0][0]:
                heapq.heapreplace(greatest, (measure, data))
    for _, data in slowest + longest:
        is_small = memory_taken(way_in, data) <= memory_allowed(way_in, data)
        assert is_small, f"takes memory: {data.hex()}"
    return met


@pytest.mark.slow
@pytest.mark.parametrize("way_in", READERS)
def test_mutated_bytes_are_read_or_refused_and_cost_little(way_in: str) -> None:
    began = time.process_time()
    reasons = outcomes(way_in, mutated(SPECIMENS[way_in], COUNTS[way_in], seed=20_261))
    seconds = time.process_time() - began
    # Each way of being wrong is met, and so is being right: else the mutations were too wild.
    assert all(reasons[reason] > 50 for reason in ("", "cbor"))
    assert way_in == "value" or reasons["type"] > 50
    # Of processor time, which nobody else's work is in: far more than that is done alone.
    assert COUNTS[way_in] / seconds > RATE_LEAST, f"{COUNTS[way_in] / seconds:.0f} a second"


@pytest.mark.parametrize("cost", ["time", "memory"])
def test_one_input_that_costs_too_much_is_noticed(
    monkeypatch: pytest.MonkeyPatch, cost: str
) -> None:
    dear = b"longer than any other"

    def read(data: bytes) -> Any:
        if data == dear:
            if cost == "time":
                for _ in range(3):
                    additions()
            else:
                bytes(2 * ROOM_BYTES)
        raise RemoteProtocolError("cbor", "of the test")

    monkeypatch.setitem(READERS, "value", read)
    assert outcomes("value", [b"cheap"] * 2 * WEIGHED) == {"cbor": 2 * WEIGHED}
    monkeypatch.setattr(entrances, "TRIES_MAX", entrances.TRIES_MIN)
    # A new process knows nothing of this reader.
    monkeypatch.setattr(entrances, "is_cheap_elsewhere", lambda way_in, data: False)
    with pytest.raises(AssertionError, match=f"takes .*: {dear.hex()}"):
        outcomes("value", [dear, *[b"cheap"] * 2 * WEIGHED])


@pytest.mark.slow
def test_every_bit_of_a_frame_may_be_the_wrong_one() -> None:
    for frame in FRAMES:
        for place in range(8 * len(frame)):
            flipped = int.from_bytes(frame, "big") ^ 1 << place
            outcome("frame", flipped.to_bytes(len(frame), "big"))


@pytest.mark.slow
def test_mutated_rows_of_the_disk_are_read_or_refused() -> None:
    outcomes: Counter[str] = Counter()
    specimens = [*rows.seeds(), *archive.files_of("storage").values()]
    for data in mutated(specimens, 30_000, seed=20_262):
        try:
            outcomes[rows.read_row(data)] += 1
        except BaseException as error:
            raise AssertionError(data.hex()) from error
    assert outcomes["read"] > 100
    assert outcomes["refused"] > 1_000


def test_every_seed_of_a_row_is_right() -> None:
    assert {rows.read_row(data) for data in rows.seeds()} == {"read"}
