"""Guards: what stands before a file or a table and refuses whoever holds a lock no more.

A process that was paused, or cut off, does not know that its lock has gone to another. So the
resource itself remembers the greatest token that it has seen, and refuses smaller ones (fencing:
Burrows 2006, "The Chubby lock service", §2.4).

1. The token is kept, durably, before anything is changed under it.
2. Compared, kept and written under one lock, or in one transaction: what comes late is refused
   even if it was under way before.
3. Tokens order those who hold a lock alone. Of readers, or of those who share a semaphore, the
   later one shuts the earlier one out.
"""

import errno
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol

from mabeam_p2p.errors import NO_ROOM, InvalidValue, MabeamTimeout, StaleToken, StorageError
from mabeam_p2p.ids import INTEGER_MAX, check_key

TOKEN_SUFFIX = ".token"
LOCK_SUFFIX = ".lock"
NEW_SUFFIX = ".new"
"""What stands beside a guarded file: its token, what writers lock, and what is being written."""

WAIT_SECONDS = 30.0
"""How long another writer of the same file is waited for."""

POLL_SECONDS = 0.01

FILE_MODE = 0o666
"""Less the process's umask."""

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")


class SqlCursor(Protocol):
    """What is used of a cursor of PEP 249."""

    @property
    def rowcount(self) -> int: ...
    def execute(self, operation: str, parameters: tuple[object, ...], /) -> object: ...
    def fetchone(self) -> object: ...
    def close(self) -> object: ...


class SqlConnection(Protocol):
    """What is used of a connection of PEP 249."""

    def cursor(self) -> SqlCursor: ...


class FileGuard:
    """A file that only the newest holder writes. All writers must use the guard. It keeps the token
    in FILE.token, and works across processes of one host."""

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = WAIT_SECONDS) -> None:
        # Two names of one file are one file.
        self.path = os.path.realpath(path)
        self._timeout = timeout

    def check(self, token: int) -> None:
        """Refuse every smaller token from now on. Raises StaleToken if a greater one was seen,
        InvalidValue, StorageError, and MabeamTimeout if another writer takes too long."""
        with self.writing(token):
            pass

    def write(self, data: bytes | str, token: int) -> None:
        """Replace the file by `data`, whole or not at all, also over a power cut. Raises as
        `check`."""
        content = data.encode() if isinstance(data, str) else data
        with self.writing(token):
            _replace(self.path, content)

    @contextmanager
    def writing(self, token: int) -> Iterator[str]:
        """Within, nobody else who uses the guard writes; gives the file's path. Keep it short: who
        comes next waits for the end, even if this process is paused. Raises as `check`."""
        _check_token(token)
        with self._locked():
            highest = self._highest()
            if token < highest:
                raise _stale(f"file {self.path!r}", token, highest)
            if token > highest:
                _replace(self.path + TOKEN_SUFFIX, b"%d\n" % token)
            yield self.path

    def highest(self) -> int:
        """The greatest token that was seen; 0 before the first."""
        with self._locked():
            return self._highest()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.path + LOCK_SUFFIX
        with _storage_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            give_up = time.monotonic() + self._timeout
            while not _try_lock(path, descriptor):
                if time.monotonic() >= give_up:
                    raise MabeamTimeout(
                        f"another writer of {self.path!r} has not finished within "
                        f"{self._timeout:g} s: see which process holds {path!r}"
                    )
                time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _highest(self) -> int:
        path = self.path + TOKEN_SUFFIX
        try:
            with _storage_errors(path), open(path, "rb") as file:
                text = file.read(32)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return 0
            raise
        if not re.fullmatch(rb"[0-9]{1,16}\n", text):
            raise StorageError(
                f"{path!r} holds no token: it was changed by something else; make sure that no "
                "holder is at work, then remove it",
                path=path,
            )
        return int(text)


class SqlGuard:
    """Rows that only the newest holder changes. `check` belongs into the transaction that does."""

    def __init__(
        self,
        connection: SqlConnection,
        table: str,
        resource: str = "",
        *,
        placeholder: str = "%s",
        is_in_transaction: Callable[[], bool] = lambda: True,
    ) -> None:
        if _TABLE.fullmatch(table) is None:
            raise InvalidValue(f"table {table!r}: take letters, digits and '_', as `mabeam_tokens`")
        if placeholder not in ("%s", "?"):
            raise InvalidValue(f"placeholder {placeholder!r}: take '%s' or '?', as the driver does")
        self.table = table
        self.resource = check_key(resource or table, "resource")
        self._connection = connection
        self._placeholder = placeholder
        self._is_in_transaction = is_in_transaction

    def create(self) -> None:
        """Make the table if it is missing. In a transaction of your own, once."""
        self._run(
            f"CREATE TABLE IF NOT EXISTS {self.table} "
            "(resource VARCHAR(256) PRIMARY KEY, token BIGINT NOT NULL)"
        )

    def check(self, token: int) -> None:
        """Refuse every smaller token from now on, if the caller's transaction commits. Raises
        StaleToken if a greater one was seen: then roll back; InvalidValue outside a transaction."""
        _check_token(token)
        if not self._is_in_transaction():
            raise InvalidValue(
                f"resource {self.resource!r}: outside a transaction a token guards nothing: BEGIN "
                "one before `check`, and COMMIT it with what you change"
            )
        changed = self._run(
            f"UPDATE {self.table} SET token = ? WHERE resource = ? AND token <= ?",
            token,
            self.resource,
            token,
        )
        if not changed:
            changed = self._run(
                f"INSERT INTO {self.table} (resource, token) SELECT ?, ? "
                f"WHERE NOT EXISTS (SELECT 1 FROM {self.table} WHERE resource = ?)",
                self.resource,
                token,
                self.resource,
            )
        if not changed:
            raise _stale(f"resource {self.resource!r}", token, self.highest())

    def highest(self) -> int:
        """The greatest token that was seen; 0 before the first."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(
                self._dialect(f"SELECT token FROM {self.table} WHERE resource = ?"),
                (self.resource,),
            )
            row = cursor.fetchone()
        return int(row[0]) if isinstance(row, tuple | list) else 0

    def _run(self, operation: str, *parameters: object) -> bool:
        """Whether a row was changed."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(self._dialect(operation), parameters)
            return cursor.rowcount > 0

    def _dialect(self, operation: str) -> str:
        return operation.replace("?", self._placeholder)


class Guard:
    """Refuses holders that are not the newest: `Guard.file(path).write(data, lease.token)`."""

    @staticmethod
    def file(path: str | os.PathLike[str], *, timeout: float = WAIT_SECONDS) -> FileGuard:
        """Of a file. timeout: seconds that another writer of this host is waited for."""
        return FileGuard(path, timeout=timeout)

    @staticmethod
    def sqlite(connection: sqlite3.Connection, table: str, resource: str = "") -> SqlGuard:
        """Of what `connection` changes in the transaction that calls `check`. Tokens are kept in
        `table`, one row for each resource; call `create` once."""
        return SqlGuard(
            connection,
            table,
            resource,
            placeholder="?",
            is_in_transaction=lambda: connection.in_transaction or _begins_by_itself(connection),
        )

    @staticmethod
    def sql(
        connection: SqlConnection, table: str, resource: str = "", *, placeholder: str = "%s"
    ) -> SqlGuard:
        """As `sqlite`, over any driver of PEP 249 whose connection is not in autocommit mode.
        placeholder: '%s' or '?', as the driver's paramstyle says."""
        return SqlGuard(connection, table, resource, placeholder=placeholder)


def _begins_by_itself(connection: sqlite3.Connection) -> bool:
    """Whether a change begins a transaction, as it does in the mode that is Python's default."""
    is_older_mode = getattr(connection, "autocommit", -1) == -1
    return is_older_mode and connection.isolation_level is not None


def _check_token(token: int) -> None:
    if type(token) is not int or not 1 <= token <= INTEGER_MAX:
        raise InvalidValue(f"token {token!r}: take that of a lease, as `lease.token`")


def _stale(what: str, token: int, highest: int) -> StaleToken:
    return StaleToken(
        f"{what} refuses token {token}: token {highest} was seen, so that somebody else has held "
        "the lock since; nothing was changed: take the lock again",
        token=token,
        highest=highest,
    )


def _replace(path: str, content: bytes) -> None:
    """Write `path` anew, whole or not at all, and durably. Under the guard's lock."""
    new = path + NEW_SUFFIX
    with _storage_errors(path):
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        with open(descriptor, "wb") as file:
            if os.path.exists(path):
                os.fchmod(descriptor, os.stat(path).st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(new, path)
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _try_lock(path: str, descriptor: int) -> bool:
    with _storage_errors(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
    return True


@contextmanager
def _storage_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path!r} cannot be used: {error.strerror}; mend that, or guard another file",
            path=path,
            is_full=error.errno in NO_ROOM,
        ) from error
