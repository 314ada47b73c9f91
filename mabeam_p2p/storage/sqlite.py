"""The durable data folder: one SQLite database in write-ahead mode, one row per batch.

Rules:

1. One write is one transaction and one fsync (`synchronous=FULL`): all its records or none.
2. Before anything is written, everything is read (`recovery`). Damage is refused with its place,
   and the files stay as they were found. Database and log go together: one that is without the
   other it had is refused, too. What is left of a folder whose damaged log was moved away is known
   by a `mark`.
3. After a failed write no other is taken: what the disk holds of it is unknown until the folder is
   opened anew (Rebello et al. 2020, on fsync). Closing still copies what was written before into
   the database: it writes all pages anew whose sync has failed, and drops the log behind a sync.
4. A folder has one identity, made with it, and counts its opens: an epoch is durable before anybody
   hears it. A new folder is made under another name and renamed when it is whole.
5. What a snapshot or a newer record frees within the database is used again; the file does not
   shrink. How full the folder is counts without it.
"""

import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from mabeam_p2p.errors import NO_ROOM, LogCorrupt, StorageError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import (
    BootstrapState,
    DiskUsage,
    HardState,
    KnownAddresses,
    LogAppend,
    Record,
    Recovered,
    SnapshotStored,
    Variable,
    VariableForgotten,
    VariableMarks,
)
from mabeam_p2p.storage import folder, layout, mark, recovery
from mabeam_p2p.storage.layout import Identity
from mabeam_p2p.storage.recovery import Connect

DATABASE_NAME = "peer.db"
UNFINISHED_NAME = "peer.db.new"

WAL_PAGES = 1_000
"""Pages in the write-ahead log after which a commit also copies them into the database."""
WAL_BYTES_MAX = 16 * 1024 * 1024
"""What a log that one large transaction made longer shrinks to."""

COPY_BYTES_MAX = 256 * 1024 * 1024
"""Of a damaged folder, copied to read whose it is. A larger one is marked without a name."""

USAGE_BYTES = 1024 * 1024
"""What is written between two looks at how full the folder is, or a tenth of what is left."""


def connect(uri: str) -> sqlite3.Connection:
    """Used from one thread at a time, which need not be the one that opened it."""
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def last_written(path: str) -> float:
    """Seconds since 1970 when the folder's database was last written to. Raises StorageError if it
    has none."""
    database = Path(path) / DATABASE_NAME
    try:
        files = [database, *database.parent.glob(f"{DATABASE_NAME}{recovery.WAL_SUFFIX}")]
        return max(file.stat().st_mtime for file in files)
    except FileNotFoundError:
        raise StorageError(
            f"there is no peer's data in {path}: give the folder that `mabeam up` was given, or "
            f"that holds {DATABASE_NAME}",
            path=path,
        ) from None
    except OSError as error:
        raise folder.unusable(path, error) from error


class SqliteStorage:
    """Satisfies ports.Storage. `recover` makes the folder if it is missing, and holds it until
    `close`. Raises DataFolderHeld, LogCorrupt or another StorageError."""

    def __init__(self, path: str, connect: Connect = connect, bytes_max: int = 0) -> None:
        """bytes_max: the quota of the folder; 0: what the disk has."""
        self.path = os.path.abspath(path)
        self._database = Path(self.path) / DATABASE_NAME
        self._log = Path(f"{self._database}{recovery.WAL_SUFFIX}")
        self._connect = connect
        self._lock: folder.FolderLock | None = None
        self._connection: sqlite3.Connection | None = None
        self._bytes_max = bytes_max
        self._usage: DiskUsage | None = None
        self._bytes_unmeasured = 0
        self._base_index = 0
        self._last_index = 0
        self._failure = "it is not open"

    def recover(self) -> Recovered:
        self._lock = folder.hold(self.path)
        try:
            if not self._database.exists():
                self._make()
            contents = self._read()
            self._connection = self._open()
            identity = msgspec.structs.replace(
                contents.identity, epoch=contents.identity.epoch + 1, format=layout.FORMAT
            )
            self._connection.execute("BEGIN IMMEDIATE")
            if contents.identity.format < layout.FORMAT:
                for statement in layout.SCHEMA[len(layout.SCHEMA_OF_FORMAT_1) :]:
                    self._connection.execute(statement)
            self._connection.execute(layout.REPLACE_RECORD, layout.record_row(identity))
            self._connection.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise self._translated(error) from error
        except BaseException:
            self.close()
            raise
        self._failure = ""
        self._measure()
        self._base_index = contents.base.index
        self._last_index = contents.batches[-1].last_index if contents.batches else self._base_index
        return _recovered(identity, contents)

    def look(self) -> Recovered:
        """What the folder holds, with the epoch of its last start. Only reads: also where nothing
        can be written, and there must be a folder. Raises what `recover` does."""
        lock = folder.hold_to_read(self.path)
        try:
            with self._copied() as connect:
                contents = recovery.read(self._database, connect)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise StorageError(
                    f"{tempfile.gettempdir()} has no room for a copy of {self._database} to read: "
                    "free some space there, or name another folder with TMPDIR",
                    path=str(self._database),
                    is_full=True,
                ) from error
            raise self._translated(error) from error
        finally:
            lock.release()
        return _recovered(contents.identity, contents)

    def write(self, records: Sequence[Record]) -> None:
        if self._connection is None or self._failure:
            raise StorageError(f"cannot write to {self.path}: {self._failure}", path=self.path)
        base_index, last_index = self._base_index, self._last_index
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for record in records:
                if isinstance(record, LogAppend):
                    last_index = _append(self._connection, record, base_index, last_index)
                elif isinstance(record, SnapshotStored):
                    base_index = record.base.index
                    last_index = _store_snapshot(self._connection, record, last_index)
                elif isinstance(record, VariableForgotten):
                    row_name = layout.variable_row_name(record.name)
                    self._connection.execute(layout.DELETE_RECORD, (row_name,))
                else:
                    self._connection.execute(layout.REPLACE_RECORD, layout.record_row(record))
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._failure = f"an earlier write failed ({error}); start the peer again"
            if isinstance(error, sqlite3.Error):
                raise self._translated(error) from error
            raise
        self._base_index, self._last_index = base_index, last_index
        self._bytes_unmeasured += sum(map(_size, records))
        if self._usage is None or self._bytes_unmeasured >= _look_after(self._usage):
            self._measure()

    def usage(self) -> DiskUsage | None:
        return self._usage

    def close(self) -> None:
        """Idempotent."""
        if self._connection is not None:
            # Closing copies the log into the database; where that fails, the next start does it.
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
            self._failure = self._failure or "it is closed"
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _measure(self) -> None:
        """See rule 5. What cannot be measured is not reported."""
        assert self._connection is not None, "measured while it is open"
        self._bytes_unmeasured = 0
        with suppress(sqlite3.Error, OSError):
            page_count, free_count = self._connection.execute(layout.SELECT_PAGES).fetchone()
            used = (page_count - free_count) * layout.PAGE_BYTES
            disk = os.statvfs(self.path)
            room = free_count * layout.PAGE_BYTES + disk.f_bavail * disk.f_frsize
            bytes_max = used + room
            if self._bytes_max:
                bytes_max = min(bytes_max, self._bytes_max)
            self._usage = DiskUsage(used, bytes_max)

    # ---- making and opening ------------------------------------------------------------------

    def _make(self) -> None:
        """Make the database of a new folder: whole under its name, or not there at all."""
        if self._log.exists():
            raise StorageError(
                f"{self._log} is the log of a database that is gone: put {self._database} back "
                f"where it was, or move the whole folder {self.path} away to start as a new peer",
                path=str(self._log),
            )
        mark.take_away(self._database)
        unfinished = Path(self.path) / UNFINISHED_NAME
        for suffix in ("", recovery.WAL_SUFFIX, "-shm", "-journal"):
            Path(f"{unfinished}{suffix}").unlink(missing_ok=True)
        # SQLite gives its other files the mode of this one.
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, folder.FILE_MODE))
        identity = Identity(
            layout.FORMAT, PeerId(secrets.token_hex(8)), epoch=0, created=int(time.time())
        )
        with closing(self._connect(recovery.uri(unfinished, "rw"))) as connection:
            connection.execute(f"PRAGMA page_size = {layout.PAGE_BYTES}")
            # SQLite answers with the mode that it stays in, and raises nothing.
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise sqlite3.OperationalError(f"no write-ahead log, but mode {mode!r}")
            connection.execute("PRAGMA synchronous = FULL")
            for statement in layout.SCHEMA:
                connection.execute(statement)
            connection.execute(layout.REPLACE_RECORD, layout.record_row(identity))
            # Closing does the same, and says nothing where it fails: then all this would stay in
            # a log that is not renamed with its database.
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("a new database is in use")
        unfinished.rename(self._database)
        folder.sync(self.path)

    def _read(self) -> recovery.Contents:
        """As recovery.read. Keeps the mark of rule 2."""
        try:
            contents = recovery.read(self._database, self._connect)
        except LogCorrupt:
            # A disk that takes no mark has the words alone.
            with suppress(OSError):
                if self._log.exists() and self._log.stat().st_size:
                    mark.put(self._database, self._identity_seen())
            raise
        # Before closing takes the log away.
        mark.take_away(self._database)
        return contents

    def _identity_seen(self) -> Identity | None:
        """Of a damaged folder; None if that cannot be known, or not with little room."""
        with suppress(OSError):
            if self._database.stat().st_size + self._log.stat().st_size > COPY_BYTES_MAX:
                return None
            with self._copied() as connect:
                return recovery.identity_seen(self._database, connect)
        return None

    @contextmanager
    def _copied(self) -> Iterator[Connect]:
        """Connects to a copy, whatever is asked for. Whoever opens a database with a write-ahead
        log writes beside it, to read it, too; and SQLite deletes the log of an empty one."""
        with tempfile.TemporaryDirectory(prefix="mabeam-") as scratch:
            copy = Path(scratch) / DATABASE_NAME
            for suffix in ("", recovery.WAL_SUFFIX):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{self._database}{suffix}", f"{copy}{suffix}")
            yield lambda _: self._connect(recovery.uri(copy, "ro"))

    def _open(self) -> sqlite3.Connection:
        connection = self._connect(recovery.uri(self._database, "rw"))
        connection.execute("PRAGMA synchronous = FULL")
        # Else a transaction that outgrows the cache leaves its pages in the log in any order, and
        # one that a crash has torn would be taken for damage (`wal`, rule 2).
        connection.execute("PRAGMA cache_spill = OFF")
        # Where fsync leaves data in the disk's own cache (macOS), ask for more.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
        return connection

    # ---- errors ------------------------------------------------------------------------------

    def _translated(self, error: OSError | sqlite3.Error) -> StorageError:
        """What callers of a Storage get for what SQLite and the system raise."""
        if isinstance(error, OSError):
            return folder.unusable(self.path, error)
        family = getattr(error, "sqlite_errorcode", 0) & recovery.ERROR_FAMILY
        is_full = family == sqlite3.SQLITE_FULL or (
            # What it makes of a full disk where it opens or syncs a file, and of a user's quota.
            family in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and folder.is_full(self.path)
        )
        match family:
            case _ if is_full:
                advice = "free some space, then start the peer again"
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                advice = "make the folder and its files writable for this user"
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                advice = "another program has it open: close that, then start the peer again"
            case _:
                advice = "check the disk, then start the peer again"
        return StorageError(
            f"{self._database}: {error}: {advice}",
            path=str(self._database),
            is_full=is_full,
        )


def _look_after(usage: DiskUsage) -> int:
    """Bytes to write before the next look: fewer, the less is left."""
    return min(USAGE_BYTES, (usage.bytes_max - usage.used_bytes) // 10)


def _size(record: Record) -> int:
    """About what it takes, where that is much. What frees much is a reason to look, too."""
    match record:
        case LogAppend():
            return sum(len(batch.blob) for batch in record.batches)
        case SnapshotStored():
            return max(len(record.snapshot.data), USAGE_BYTES)
        case _:
            return layout.PAGE_BYTES


def _append(
    connection: sqlite3.Connection, record: LogAppend, base_index: int, last_index: int
) -> int:
    """Carry out a LogAppend; return the log's new last index."""
    assert record.log == 0, "there is one log"
    if record.keep_index != last_index:
        connection.execute(layout.DELETE_BATCHES, (record.keep_index,))
        row = connection.execute(layout.SELECT_LAST_INDEX).fetchone()
        last_index = row[0] if row else base_index
    assert last_index == record.keep_index, "what stays ends with a batch"
    for batch in record.batches:
        assert batch.index == last_index + 1, "batches are contiguous"
        connection.execute(layout.INSERT_BATCH, layout.batch_row(batch))
        last_index = batch.last_index
    return last_index


def _store_snapshot(connection: sqlite3.Connection, record: SnapshotStored, last_index: int) -> int:
    """Carry out a SnapshotStored; return the log's new last index."""
    assert record.log == 0, "there is one log"
    assert record.base.index <= record.snapshot.base.index, "the log begins behind its snapshot"
    connection.execute(layout.REPLACE_SNAPSHOT, layout.snapshot_row(record))
    if not record.keeps_tail:
        connection.execute(layout.DELETE_LOG)
        return record.base.index
    connection.execute(layout.DELETE_PREFIX, (record.base.index,))
    assert last_index >= record.snapshot.base.index, "a snapshot of what is not in the log"
    return last_index


def _recovered(identity: Identity, contents: recovery.Contents) -> Recovered:
    bootstrap: BootstrapState | None = None
    addresses: tuple[str, ...] = ()
    hard_states: list[HardState] = []
    variables: list[Variable] = []
    marks: VariableMarks | None = None
    for record in contents.stored:
        match record:
            case HardState():
                hard_states.append(record)
            case BootstrapState():
                bootstrap = record
            case KnownAddresses():
                addresses = record.addresses
            case Variable():
                variables.append(record)
            case VariableMarks():
                marks = record
            case Identity():
                pass
    return Recovered(
        peer=identity.peer,
        epoch=identity.epoch,
        hard_states=tuple(hard_states),
        batches=contents.batches,
        bootstrap=bootstrap,
        variables=tuple(variables),
        addresses=addresses,
        snapshot=contents.snapshot,
        base=contents.base,
        marks=marks,
    )
