"""Files that hold secrets: written so that nobody else can read them, and refused when anybody can.

1. A file is made with mode 0600 under another name, made durable, and then takes its name.
2. A file that others can read or write, that belongs to somebody else, or that is no plain file, is
   refused: whoever could change it is whom this peer would be.
3. Nothing that is said of a file repeats what is in it.
"""

import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from mabeam_p2p.errors import NO_ROOM, KeyFileError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
BYTES_MAX = 65_536

T = TypeVar("T")


def read(path: Path, kind: type[T]) -> T | None:
    """What the file holds; None if there is none. Raises KeyFileError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        _check(path, os.fstat(descriptor))
        data = os.read(descriptor, BYTES_MAX)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.close(descriptor)
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # The chain is cut: what the error says may show a part of the file.
        raise KeyFileError(
            f"{path} is damaged: put it back from a copy, or move it away, and join again as a "
            "new peer, with an empty data folder",
            path=str(path),
        ) from None


def write(path: Path, content: object) -> None:
    """Replace the file, durably. Its folder must exist. Raises KeyFileError."""
    try:
        temporary = _prepare(path, content)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        _sync(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error


def create(path: Path, content: object) -> bool:
    """Write the file if there is none; whether that was so. Of several at once one succeeds. Raises
    KeyFileError."""
    try:
        temporary = _prepare(path, content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        _sync(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error
    return True


def remove(path: Path) -> None:
    """Idempotent. Raises KeyFileError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder of mode 0700 if it is missing; refuse one that others can write to. Raises
    KeyFileError."""
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if not path.is_dir():
            path.mkdir(mode=FOLDER_MODE, exist_ok=True)
            _sync(path.parent)
        facts = path.lstat()
    except OSError as error:
        raise _unusable(path, error) from error
    if not stat.S_ISDIR(facts.st_mode):
        raise KeyFileError(f"{path} is no folder: move it away", path=str(path))
    check_folder(path, facts)


def check_folder(path: Path, facts: os.stat_result) -> None:
    """Raises KeyFileError if somebody else could put files into the folder."""
    if facts.st_uid not in (os.getuid(), 0):
        raise KeyFileError(
            f"{path} belongs to user {facts.st_uid}, who could change this peer's keys: take a "
            "folder of your own",
            path=str(path),
        )
    if facts.st_mode & 0o022:
        mode = stat.S_IMODE(facts.st_mode)
        raise KeyFileError(
            f"{path} has mode {mode:04o}: others could change this peer's keys. "
            f"`chmod 700 {path}` mends it",
            path=str(path),
        )


def _prepare(path: Path, content: object) -> Path:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(msgspec.json.encode(content))  # All of it: os.write may take a part.
        os.fsync(descriptor)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    return temporary


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise KeyFileError(f"{path} is no plain file: move it away", path=str(path))
    if facts.st_uid != os.getuid():
        raise KeyFileError(
            f"{path} belongs to user {facts.st_uid}, who knows what is in it: move it away, and "
            "join again as a new peer, with an empty data folder",
            path=str(path),
        )
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise KeyFileError(
            f"{path} has mode {mode:04o}: others can read this peer's secrets; `chmod 600 {path}`. "
            "If somebody has, replace them as soon as the peer runs: `mabeam keys rotate` its key, "
            "and with --secret the join secret",
            path=str(path),
        )


def _unusable(path: Path, error: OSError) -> KeyFileError:
    reason = error.strerror or str(error)
    is_full = error.errno in NO_ROOM
    advice = "free some space" if is_full else "check who may write there, and the disk"
    return KeyFileError(
        f"{path} cannot be used ({reason}): {advice}", path=str(path), is_full=is_full
    )
