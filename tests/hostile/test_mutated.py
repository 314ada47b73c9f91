"""Mutated frames, a hundred thousand a minute and more: read or refused, and nothing else."""

import time
from collections import Counter

import pytest

from mabeam_p2p.wire import cbor, local
from tests.hostile import archive, rows
from tests.hostile.entrances import BULK, CODEC, JOINING, READERS, outcome
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
FILES = {**archive.read(), **archive.found()}
COUNTS = {
    "frame": 300_000, "command": 20_000, "bulk": 10_000, "joining": 20_000, "local": 20_000,
    "value": 20_000,
}  # fmt: skip
RATE_LEAST = 100_000 / 60


@pytest.mark.slow
@pytest.mark.parametrize("way_in", READERS)
def test_mutated_bytes_are_read_or_refused(way_in: str) -> None:
    reasons: Counter[str] = Counter()
    began = time.process_time()
    for data in mutated(SPECIMENS[way_in], COUNTS[way_in], seed=20_261):
        try:
            reasons[outcome(way_in, data)] += 1
        except BaseException as error:
            raise AssertionError(data.hex()) from error
    seconds = time.process_time() - began
    # Each way of being wrong is met, and so is being right: else the mutations were too wild.
    assert all(reasons[reason] > 50 for reason in ("", "cbor"))
    assert way_in == "value" or reasons["type"] > 50
    # Of processor time, which nobody else's work is in: far more than that is done alone.
    assert COUNTS[way_in] / seconds > RATE_LEAST, f"{COUNTS[way_in] / seconds:.0f} a second"


def test_every_bit_of_a_frame_may_be_the_wrong_one() -> None:
    for frame in FRAMES:
        for position in range(min(len(frame), 200)):
            bit = 1 << (position % 8)
            flipped = frame[:position] + bytes((frame[position] ^ bit,)) + frame[position + 1 :]
            outcome("frame", flipped)


@pytest.mark.slow
def test_mutated_rows_of_the_disk_are_read_or_refused() -> None:
    outcomes: Counter[str] = Counter()
    specimens = [
        *rows.seeds(),
        *(data for name, data in FILES.items() if name.startswith("storage/")),
    ]
    for data in mutated(specimens, 30_000, seed=20_262):
        try:
            outcomes[rows.read_row(data)] += 1
        except BaseException as error:
            raise AssertionError(data.hex()) from error
    assert outcomes["read"] > 100
    assert outcomes["refused"] > 1_000


def test_every_seed_of_a_row_is_right() -> None:
    assert {rows.read_row(data) for data in rows.seeds()} == {"read"}
