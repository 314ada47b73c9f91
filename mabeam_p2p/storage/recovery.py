"""Reading a data folder without touching it: all that it holds, or where it is damaged.

Four checks, each for what the one before cannot see:

1. the head of the database and its write-ahead log (`wal`), before SQLite looks at either: what
   SQLite takes for the end of a log may be damage; and that a log that was damaged is not gone
   (`mark`);
2. SQLite's own check of its pages, and that the tables are those that were made;
3. the checksum of every row (`layout`);
4. that snapshot and batches make one log: no gap, terms and clocks that never fall, and a batch
   that ends where the snapshot does.

What damage leaves as it was, as in free space, is none.
"""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from msgspec import Struct

from mabeam_p2p.errors import LogCorrupt, StorageError
from mabeam_p2p.records import Batch, LogBase, Snapshot
from mabeam_p2p.storage import layout, mark, wal
from mabeam_p2p.storage.layout import DamagedRow, Identity, Stored

WAL_SUFFIX = "-wal"

_MAGIC = b"SQLite format 3\x00"
_PAGE_BYTES_OFFSET, _VERSIONS_OFFSET = 16, 18
_WAL_VERSIONS = b"\x02\x02"
_DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_ERROR,
)
ERROR_FAMILY = 0xFF
_FIND_BYTES = 64

Connect = Callable[[str], sqlite3.Connection]
"""Opens a database by its URI."""


class Contents(Struct, frozen=True):
    identity: Identity
    stored: tuple[Stored, ...]
    batches: tuple[Batch, ...]
    snapshot: Snapshot | None
    base: LogBase


def read(database: Path, connect: Connect) -> Contents:
    """All of it. Raises LogCorrupt, StorageError for a later format, OSError, sqlite3.Error."""
    _check_head(database)
    has_log = _check_wal(database)
    with closing(connect(uri(database, "ro"))) as connection:
        try:
            _check_pages(connection, database)
            schema = tuple(sql for (sql,) in connection.execute(layout.SELECT_SCHEMA))
            if schema not in (layout.SCHEMA, layout.SCHEMA_OF_FORMAT_1):
                _refuse(database, 0, "its tables are not those that were made")
            identity = _identity(connection, database)
            if not has_log and mark.speaks_of(database, identity):
                _refuse(database, 0, "its write-ahead log is gone, and what stood there alone")
            snapshot, base = None, LogBase()
            if identity.format > 1:
                snapshot, base = _snapshot(connection)
            stored = tuple(map(layout.record_from, connection.execute(layout.SELECT_RECORDS)))
            batches = tuple(map(layout.batch_from, connection.execute(layout.SELECT_BATCHES)))
        except DamagedRow as error:
            _refuse(database, _find(database, error.content), str(error))
        except UnicodeDecodeError as error:
            # SQLite quotes what it cannot read, and that may be no text at all.
            _refuse(database, 0, error.object.decode(errors="replace"))
        except sqlite3.Error as error:
            if _is_damage(error):
                _refuse(database, 0, str(error))
            raise
    _check_log(database, batches, snapshot, base)
    return Contents(identity, stored, batches, snapshot, base)


def identity_seen(database: Path, connect: Connect) -> Identity | None:
    """What a database that may be damaged says of itself, with its log as far as that is whole;
    None if it cannot be read."""
    try:
        with closing(connect(uri(database, "ro"))) as connection:
            return _identity(connection, database)
    except (OSError, sqlite3.Error, ValueError, DamagedRow, StorageError):
        return None


def uri(database: Path, mode: str) -> str:
    """mode: `ro` or `rw`; neither makes a database that is missing."""
    return f"file:{quote(str(database))}?mode={mode}"


# ---- the four checks -------------------------------------------------------------------------


def _check_head(database: Path) -> None:
    with database.open("rb") as file:
        head = file.read(100)
    if not head.startswith(_MAGIC) or len(head) < 100:
        _refuse(database, 0, "it is not a database")
    if head[_PAGE_BYTES_OFFSET:_VERSIONS_OFFSET] != layout.PAGE_BYTES.to_bytes(2, "big"):
        _refuse(database, _PAGE_BYTES_OFFSET, "it has another page size")
    # With another version SQLite would pass over the write-ahead log and all that is in it.
    if head[_VERSIONS_OFFSET : _VERSIONS_OFFSET + 2] != _WAL_VERSIONS:
        _refuse(database, _VERSIONS_OFFSET, "it has no write-ahead log")


def _check_wal(database: Path) -> bool:
    """Whether there is anything in it."""
    path = Path(f"{database}{WAL_SUFFIX}")
    data = path.read_bytes() if path.exists() else b""
    offset = wal.find_damage(data, layout.PAGE_BYTES)
    if offset is not None:
        _refuse(path, offset, "committed transactions stand behind a damaged one")
    return bool(data)


def _check_pages(connection: sqlite3.Connection, database: Path) -> None:
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        page = re.search(r"page (\d+)", finding, re.IGNORECASE)
        offset = (int(page[1]) - 1) * layout.PAGE_BYTES if page else 0
        _refuse(database, offset, finding.replace("\n", " "))


def _identity(connection: sqlite3.Connection, database: Path) -> Identity:
    row = connection.execute(layout.SELECT_IDENTITY).fetchone()
    if row is None:
        _refuse(database, 0, "it does not say whose it is")
    identity = layout.record_from(row)
    assert isinstance(identity, Identity), "the row of this name holds nothing else"
    if identity.format > layout.FORMAT:
        raise StorageError(
            f"{database} has format {identity.format}, and this release knows {layout.FORMAT}: "
            "upgrade mabeam_p2p, or take another data folder",
            path=str(database),
        )
    return identity


def _snapshot(connection: sqlite3.Connection) -> tuple[Snapshot | None, LogBase]:
    row = connection.execute(layout.SELECT_SNAPSHOT).fetchone()
    return (None, LogBase()) if row is None else layout.snapshot_from(row)


def _check_log(
    database: Path, batches: tuple[Batch, ...], snapshot: Snapshot | None, base: LogBase
) -> None:
    next_index, term, clock = base.index + 1, base.term, base.clock
    ends = {base.index: base.term}
    for batch in batches:
        if batch.index != next_index:
            what = f"the log goes on at index {batch.index} where {next_index} is next"
        elif batch.term < term or batch.clock < clock:
            what = f"term or clock falls at index {batch.index}"
        else:
            next_index, term, clock = batch.last_index + 1, batch.term, batch.clock
            ends[batch.last_index] = batch.term
            continue
        _refuse(database, _find(database, batch.blob), what)
    if snapshot is not None and ends.get(snapshot.base.index) != snapshot.base.term:
        what = f"the log does not hold the end of the snapshot, index {snapshot.base.index}"
        _refuse(database, _find(database, snapshot.data), what)


# ---- refusing --------------------------------------------------------------------------------


def _refuse(path: Path, offset: int, what: str) -> NoReturn:
    raise LogCorrupt(
        f"{path} is damaged at byte {offset}: {what}. It was left as it is: move the whole folder "
        f"{path.parent} away to start as a new peer; one of its files without the others, or an "
        "older copy, would forget what this peer has promised",
        path=str(path),
        offset=offset,
    )


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the content is wrong, and not the disk or the rights."""
    # Errors that the module makes itself, as for text that is not UTF-8, have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & ERROR_FAMILY in _DAMAGE


def _find(database: Path, content: bytes) -> int:
    """Offset of a row's content in the database; 0 if it is not there in one piece."""
    return max(0, database.read_bytes().find(content[:_FIND_BYTES])) if content else 0
