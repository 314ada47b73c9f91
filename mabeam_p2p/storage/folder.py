"""Data folders: where they are, that they are ours, and that one process alone uses each.

Rules:

1. By default `<user's state folder>/mabeam/<cluster>/<peer name>`; nothing else is in it than what
   `sqlite` writes, what `security` keeps (keys, the join secret, codes, the port), and `lock`.
2. A folder made here has mode 0700, a file 0600. An existing folder keeps the mode its owner gave,
   but it must be this user's, no symbolic link, and closed to the writing of others: who can put
   files there decides who this peer is.
3. The lock, not the process id in it, is the truth: it ends with the process, however that ends,
   also if children that it has forked live on (`forks`).
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

from mabeam_p2p import forks, places
from mabeam_p2p.errors import NO_ROOM, ConfigError, DataFolderHeld, StorageError

LOCK_NAME = "lock"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
ROOM_BYTES = 65_536
"""More than SQLite makes of its files when it opens a database."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def default_path(cluster: str, name: str) -> Path:
    """The data folder of the peer `name`. Does not look whether it exists. Raises ConfigError if
    the user has no home."""
    folder = places.state_folder()
    if folder is None:
        raise ConfigError(
            "this user has no home, and so no place for a peer's log: set HOME or XDG_STATE_HOME, "
            "or name a folder (--data-dir)",
            key="data_dir",
        )
    return folder / cluster / name


class FolderLock:
    """A data folder held by this process until `release`. Made with `hold`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        forks.watch(self)

    def release(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            # Whatever else has it open has not locked it.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close it, and leave it locked for whoever else has it open."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def hold(path: str) -> FolderLock:
    """Make the folder if it is missing, and lock it. Raises DataFolderHeld, StorageError."""
    try:
        _make_folders(Path(path))
        _check_own(path)
        lock_path = os.path.join(path, LOCK_NAME)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(lock_path, flags, FILE_MODE)
    except OSError as error:
        raise unusable(path, error) from error
    lock = _locked(path, descriptor, fcntl.LOCK_EX)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        lock.release()
        raise unusable(path, error) from error
    return lock


def hold_to_read(path: str) -> FolderLock:
    """Keep a peer from starting in the folder while it is read; nothing in it changes. Raises
    DataFolderHeld, StorageError."""
    try:
        _check_own(path)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(os.path.join(path, LOCK_NAME), flags)
    except FileNotFoundError:
        # A copy of a folder: who starts there now is not kept from it, but who has, has a lock.
        return FolderLock(path, -1)
    except OSError as error:
        raise unusable(path, error) from error
    return _locked(path, descriptor, fcntl.LOCK_SH)


def _locked(path: str, descriptor: int, kind: int) -> FolderLock:
    """The lock, of the open file `descriptor`, which is closed if it cannot be had."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).strip()
        os.close(descriptor)
        who = f"process {holder.decode()}" if holder.isdigit() else "another process"
        raise DataFolderHeld(
            f"the data folder {path} is in use by {who}: stop it, or give this peer another "
            "name or data folder",
            path=path,
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise unusable(path, error) from error
    return FolderLock(path, descriptor)


def unusable(path: str, error: OSError) -> StorageError:
    """The error that says what is wrong with `path` and what to do."""
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = "make it writable for this user, or take another data folder"
        case errno.ENOTDIR | errno.EEXIST | errno.ELOOP:
            advice = "a file is in the way: move it, or take another data folder"
        case number if number in NO_ROOM or number == errno.EFBIG:
            advice = "free some space, then start the peer again"
        case _:
            advice = "check the disk, then start the peer again"
    reason = error.strerror or str(error)
    return StorageError(
        f"the data folder {path} cannot be used ({reason}): {advice}",
        path=path,
        is_full=error.errno in NO_ROOM,
    )


def is_full(path: str) -> bool:
    """Whether there is no room for a small file in the folder. Looks by writing one."""
    name = os.path.join(path, f"room.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(name, flags, FILE_MODE)
        try:
            os.unlink(name)
            left = ROOM_BYTES
            while left:
                left -= os.write(descriptor, bytes(left))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno in NO_ROOM
    return False


def sync(path: str) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_own(path: str) -> None:
    """Raises StorageError for a folder that others could have a hand in, OSError."""
    facts = os.lstat(path)
    mode = stat.S_IMODE(facts.st_mode)
    if stat.S_ISLNK(facts.st_mode):
        fault, advice = "is a symbolic link", "give the folder that it leads to"
    elif facts.st_uid != os.getuid():
        fault = f"belongs to user {facts.st_uid}, and this process runs as {os.getuid()}"
        advice = "run the peer as that user, or take a folder of this one"
    elif mode & OTHERS_WRITE:
        fault, advice = f"has mode {mode:04o}, so that others can write to it", f"chmod 700 {path}"
    else:
        return
    raise StorageError(f"the data folder {path} {fault}: {advice}", path=path)


def _make_folders(path: Path) -> None:
    """Make `path` and what is missing above it, all private, each name durable."""
    if path.is_dir():
        return
    if path.parent != path:
        _make_folders(path.parent)
    path.mkdir(FOLDER_MODE, exist_ok=True)
    sync(str(path.parent))
