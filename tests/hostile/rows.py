"""One row of a data folder, or one write-ahead log, out of any bytes: as whoever can write the disk
but not the program could leave it. Checksums are right, so that what is behind them is read."""

import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, HardState, KnownAddresses, LogBase, Snapshot, SnapshotStored
from mabeam_p2p.storage import layout, wal
from mabeam_p2p.storage.layout import DamagedRow, Identity

PEER = PeerId("0123456789abcdef")
BASE = LogBase(4, 1, 9, (PEER,))
BATCH, RECORD, SNAPSHOT, WAL = range(4)


def read_row(data: bytes) -> str:
    """What came of it. The first byte says what it is to be; raises for anything but a refusal."""
    kind, rest = (data[0] % 4, data[1:]) if data else (RECORD, b"")
    try:
        match kind:
            case 0:
                layout.batch_from(_row(rest, 4))
            case 2:
                layout.snapshot_from(_row(rest, 2))
            case 3:
                wal.find_damage(rest, 512)
            case _:
                layout.record_from(_record(rest))
    except DamagedRow:
        return "refused"
    return "read"


def _row(data: bytes, count: int) -> tuple[Any, ...]:
    """A row of so many numbers and two blobs: MessagePack of them, or just bytes."""
    try:
        *numbers, first, second = msgspec.msgpack.decode(data)
        numbers = numbers[:count] + [1] * (count - len(numbers))
        checksum = layout._batch_checksum(tuple(numbers), first, second)
        return *numbers, first, second, checksum
    except (msgspec.MsgspecError, ValueError, TypeError):
        numbers = [1] * count
        return *numbers, data, b"", layout._batch_checksum(tuple(numbers), data, b"")


def _record(data: bytes) -> tuple[Any, ...]:
    names = ("identity", "hard state 0", "bootstrap", "addresses", "variable a", "marks")
    name = names[data[0] % len(names)] if data else names[0]
    encoded = data[1:]
    return name, encoded, zlib.crc32(encoded, zlib.crc32(name.encode()))


def seeds() -> Iterator[bytes]:
    """Right ones."""
    encode = msgspec.msgpack.encode
    batch = layout.batch_row(Batch(4, 2, 1, 9, b"blob", (PEER,)))
    yield bytes((BATCH,)) + encode(batch[:-1])
    snapshot = layout.snapshot_row(SnapshotStored(0, Snapshot(BASE, 7, b"state"), BASE, False))
    yield bytes((SNAPSHOT,)) + encode(snapshot[:-1])
    for number, record in (
        (0, Identity(layout.FORMAT, PEER, 1, 2)),
        (1, HardState(0, 3, PEER)),
        (3, KnownAddresses(("127.0.0.1:1",))),
    ):
        yield bytes((RECORD, number)) + layout.record_row(record)[1]
    head = wal._HEADER.pack(wal._MAGIC_BIG, 3_007_000, 512, 0, 1, 2, 0, 0)
    yield bytes((WAL,)) + head + bytes(3 * (512 + wal.FRAME_HEADER_BYTES))
