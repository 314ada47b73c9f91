"""What stands in a data folder's database: tables, rows, checksums.

Wanted from a row: that a person can read it with `sqlite3`, and that damage to any bit of it shows.
"""

import zlib
from typing import Any, TypeVar, assert_never

import msgspec
from msgspec import Struct

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import (
    Batch,
    BootstrapState,
    HardState,
    KnownAddresses,
    LogBase,
    Snapshot,
    SnapshotStored,
    Variable,
    VariableMarks,
)

FORMAT = 2
"""Of the tables and of what stands in them. A folder of a later format is refused; one of format 1,
which has no table of snapshots, gets it when it is opened."""

PAGE_BYTES = 4_096

SCHEMA = (
    "CREATE TABLE batches (first_index INTEGER PRIMARY KEY, count INTEGER NOT NULL, "
    "term INTEGER NOT NULL, clock INTEGER NOT NULL, voters BLOB NOT NULL, blob BLOB NOT NULL, "
    "checksum INTEGER NOT NULL)",
    "CREATE TABLE records (name TEXT PRIMARY KEY, record BLOB NOT NULL, "
    "checksum INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE snapshots (log INTEGER PRIMARY KEY, last_index INTEGER NOT NULL, "
    "head BLOB NOT NULL, data BLOB NOT NULL, checksum INTEGER NOT NULL)",
)
"""The batches of log 0, every other record under the name that `name_of` gives it, and the one
snapshot of each log. In order of their names."""

SCHEMA_OF_FORMAT_1 = SCHEMA[:2]

INSERT_BATCH = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)"
DELETE_BATCHES = "DELETE FROM batches WHERE first_index > ?"
SELECT_BATCHES = "SELECT * FROM batches ORDER BY first_index"
DELETE_PREFIX = "DELETE FROM batches WHERE first_index <= ?"
DELETE_LOG = "DELETE FROM batches"
REPLACE_SNAPSHOT = "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)"
SELECT_SNAPSHOT = "SELECT * FROM snapshots WHERE log = 0"
REPLACE_RECORD = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"
DELETE_RECORD = "DELETE FROM records WHERE name = ?"
SELECT_LAST_INDEX = "SELECT first_index + count - 1 FROM batches ORDER BY first_index DESC LIMIT 1"
SELECT_RECORDS = "SELECT * FROM records ORDER BY name"
SELECT_PAGES = "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count"
SELECT_IDENTITY = "SELECT * FROM records WHERE name = 'identity'"
SELECT_SCHEMA = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"

Decoded = TypeVar("Decoded")

SnapshotRow = tuple[int, int, bytes, bytes, int]
BatchRow = tuple[int, int, int, int, bytes, bytes, int]
RecordRow = tuple[str, bytes, int]


class Identity(Struct, frozen=True, array_like=True, tag=0):
    """Whose folder this is. Its tag is no Record's."""

    format: int
    peer: PeerId
    epoch: int
    created: int
    """Unix seconds, for people."""


Stored = Identity | HardState | BootstrapState | KnownAddresses | Variable | VariableMarks
"""What a row of the table `records` holds."""


class SnapshotHead(Struct, frozen=True, array_like=True):
    """All of a snapshot but its data, and where the log begins that goes with it."""

    included: LogBase
    digest: int
    base: LogBase


_head = msgspec.msgpack.Decoder(SnapshotHead)
_stored: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Stored)
_voters = msgspec.msgpack.Decoder(tuple[PeerId, ...])
_encode = msgspec.msgpack.encode


class DamagedRow(Exception):
    """A row that is not what was written. `content`: a part of it to find its place by."""

    def __init__(self, what: str, content: bytes) -> None:
        super().__init__(what)
        self.content = content


def name_of(record: Stored) -> str:
    """The one row that a record replaces."""
    match record:
        case Identity():
            return "identity"
        case HardState():
            return f"hard state {record.log}"
        case BootstrapState():
            return "bootstrap"
        case KnownAddresses():
            return "addresses"
        case Variable():
            return variable_row_name(record.name)
        case VariableMarks():
            return "marks"
        case _:
            assert_never(record)


def variable_row_name(name: str) -> str:
    """The row of this variable."""
    return f"variable {name}"


def record_row(record: Stored) -> RecordRow:
    name, encoded = name_of(record), _encode(record)
    return name, encoded, _record_checksum(name, encoded)


def record_from(row: tuple[Any, ...]) -> Stored:
    """Raises DamagedRow."""
    name, encoded, checksum = row
    if not (isinstance(name, str) and isinstance(encoded, bytes)):
        raise DamagedRow("a record has columns of other types", b"")
    if _record_checksum(name, encoded) != checksum:
        raise DamagedRow(f"the record {name!r} has a wrong checksum", encoded)
    record: Stored = _decoded(_stored, encoded, f"the record {name!r}")
    if name_of(record) != name:
        raise DamagedRow(f"the record {name!r} is that of {name_of(record)!r}", encoded)
    return record


def batch_row(batch: Batch) -> BatchRow:
    voters = _encode(batch.voters)
    numbers = (batch.index, batch.count, batch.term, batch.clock)
    return *numbers, voters, batch.blob, _batch_checksum(numbers, voters, batch.blob)


def batch_from(row: tuple[Any, ...]) -> Batch:
    """Raises DamagedRow."""
    index, count, term, clock, voters, blob, checksum = row
    numbers = (index, count, term, clock)
    if not (isinstance(voters, bytes) and isinstance(blob, bytes) and _are_counts(numbers)):
        raise DamagedRow(f"the batch at index {index} has columns of other types", b"")
    if _batch_checksum(numbers, voters, blob) != checksum:
        raise DamagedRow(f"the batch at index {index} has a wrong checksum", blob or voters)
    if not (index and count):
        raise DamagedRow(f"the batch at index {index} holds nothing", blob or voters)
    known = _decoded(_voters, voters, f"the batch at index {index}")
    return Batch(index, count, term, clock, blob, known)


def snapshot_row(record: SnapshotStored) -> SnapshotRow:
    snapshot = record.snapshot
    head = _encode(SnapshotHead(snapshot.base, snapshot.digest, record.base))
    numbers = (record.log, snapshot.base.index)
    checksum = _batch_checksum(numbers, head, snapshot.data)
    return *numbers, head, snapshot.data, checksum


def snapshot_from(row: tuple[Any, ...]) -> tuple[Snapshot, LogBase]:
    """The snapshot and the base of its log. Raises DamagedRow."""
    log, last_index, head, data, checksum = row
    numbers = (log, last_index)
    if not (isinstance(head, bytes) and isinstance(data, bytes) and _are_counts(numbers)):
        raise DamagedRow("the snapshot has columns of other types", b"")
    if _batch_checksum(numbers, head, data) != checksum:
        raise DamagedRow(f"the snapshot at index {last_index} has a wrong checksum", data or head)
    known = _decoded(_head, head, f"the snapshot at index {last_index}")
    if known.included.index != last_index or known.base.index > last_index:
        raise DamagedRow(f"the snapshot at index {last_index} is of another index", head)
    return Snapshot(known.included, known.digest, data), known.base


def _are_counts(numbers: tuple[Any, ...]) -> bool:
    """SQLite keeps anything in any column."""
    return all(type(number) is int and number >= 0 for number in numbers)


def _decoded(decoder: msgspec.msgpack.Decoder[Decoded], encoded: bytes, what: str) -> Decoded:
    """Raises DamagedRow: a checksum says that this was written, not that it was we who did."""
    try:
        return decoder.decode(encoded)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DamagedRow(f"{what} is not of this shape ({error})", encoded) from None


def _batch_checksum(numbers: tuple[int, ...], voters: bytes, blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(voters, zlib.crc32(_encode(numbers))))


def _record_checksum(name: str, encoded: bytes) -> int:
    return zlib.crc32(encoded, zlib.crc32(name.encode(errors="surrogatepass")))
