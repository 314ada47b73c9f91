"""A row with a right checksum may still not be ours: whatever it holds, it is read or refused."""

import math
from random import Random
from typing import Any

import msgspec
import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import (
    Batch,
    HardState,
    KnownAddresses,
    LogBase,
    Snapshot,
    SnapshotStored,
)
from mabeam_p2p.storage import layout
from mabeam_p2p.storage.layout import DamagedRow, Identity

PEER = PeerId("0123456789abcdef")
BATCH = layout.batch_row(Batch(4, 2, 1, 9, b"blob", (PEER,)))
BASE = LogBase(4, 1, 9, (PEER,))
SNAPSHOT = layout.snapshot_row(SnapshotStored(0, Snapshot(BASE, 7, b"state"), BASE, False))
RECORDS = (
    Identity(layout.FORMAT, PEER, 1, 2),
    HardState(0, 3, PEER),
    KnownAddresses(("127.0.0.1:1",)),
)
OTHERS: tuple[Any, ...] = (
    None, -1, 1.5, math.nan, "text", b"", b"\xc1", b"\x93\x01", b"\x81" * 50_000, 2**62, True,
)  # fmt: skip


def sealed_batch(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with the checksum that its content has, if it can have one."""
    *numbers, voters, blob, _ = row
    return *numbers, voters, blob, layout._batch_checksum(tuple(numbers), voters, blob)


def sealed_record(name: Any, encoded: bytes) -> tuple[Any, ...]:
    return name, encoded, layout._record_checksum(name, encoded)


def read(reader: Any, row: tuple[Any, ...]) -> bool:
    """Whether the row was read; anything but a refusal by name fails the test."""
    try:
        reader(row)
    except DamagedRow:
        return False
    return True


@pytest.mark.parametrize("column", range(len(BATCH)))
@pytest.mark.parametrize("other", OTHERS, ids=lambda other: repr(other)[:20])
def test_a_batch_with_a_column_of_another_kind_is_refused(column: int, other: Any) -> None:
    row = (*BATCH[:column], other, *BATCH[column + 1 :])
    assert not read(layout.batch_from, row)
    try:
        row = sealed_batch(row)
    except (TypeError, msgspec.MsgspecError):
        return
    # What has the right types may be read; whether it fits into the log is checked elsewhere.
    fits = (column in (0, 1, 2, 3) and other == 2**62) or (column == 5 and isinstance(other, bytes))
    assert read(layout.batch_from, row) is (fits or column == 6)


@pytest.mark.parametrize("column", [0, 1])
def test_a_batch_of_nothing_is_refused(column: int) -> None:
    row = sealed_batch((*BATCH[:column], 0, *BATCH[column + 1 :]))
    with pytest.raises(DamagedRow, match="holds nothing"):
        layout.batch_from(row)


@pytest.mark.parametrize("column", range(len(SNAPSHOT)))
@pytest.mark.parametrize("other", OTHERS, ids=lambda other: repr(other)[:20])
def test_a_snapshot_with_a_column_of_another_kind_is_refused(column: int, other: Any) -> None:
    row = (*SNAPSHOT[:column], other, *SNAPSHOT[column + 1 :])
    assert not read(layout.snapshot_from, row)
    try:
        row = sealed_batch(row)
    except (TypeError, msgspec.MsgspecError):
        return
    fits = (column == 0 and other == 2**62) or (column == 3 and isinstance(other, bytes))
    assert read(layout.snapshot_from, row) is (fits or column == 4)


def test_a_snapshot_of_another_index_than_its_row_says_is_refused() -> None:
    row = sealed_batch((SNAPSHOT[0], 5, *SNAPSHOT[2:]))
    with pytest.raises(DamagedRow, match="is of another index"):
        layout.snapshot_from(row)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_under_its_own_name_alone(record: Any) -> None:
    row = layout.record_row(record)
    assert layout.record_from(row) == record
    other = sealed_record("marks" if isinstance(record, Identity) else "identity", row[1])
    with pytest.raises(DamagedRow, match=f"is that of '{row[0]}'"):
        layout.record_from(other)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_any_bytes_under_a_right_checksum_are_read_or_refused(record: Any) -> None:
    name, encoded, _ = layout.record_row(record)
    random = Random(7)
    refused = 0
    for _ in range(2_000):
        mutated = bytearray(encoded)
        for _ in range(random.randint(1, 4)):
            mutated[random.randrange(len(mutated))] = random.randrange(256)
        refused += not read(layout.record_from, sealed_record(name, bytes(mutated)))
    for other in OTHERS:
        refused += not read(layout.record_from, (name, other, 0))
        if isinstance(other, bytes):
            refused += not read(layout.record_from, sealed_record(name, other))
    assert refused > 200
