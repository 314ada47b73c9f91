"""A disk that fails, or loses its power, at any call that a data folder makes.

SQLite's own calls are met where SQLite hands them to the system: its VFS (sqlite.org/vfs.html), by
way of `ctypes`, in the very library that the product uses, so that no compiler and no other build
of SQLite is needed. Python's calls (`mabeam_p2p.storage.folder`) are met in the module `os`. Each
of them maps to one system call.
"""

import _sqlite3
import ctypes
import ctypes.util
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import pytest

VFS_NAME = "faulty"

_FILE = c_void_p
# Names stay addresses: SQLite keeps them, and looks behind their ends.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, _FILE, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, _FILE)
_TRANSFER = CFUNCTYPE(c_int, _FILE, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, _FILE, c_int64)
_SYNC = CFUNCTYPE(c_int, _FILE, c_int)
_SHM_MAP = CFUNCTYPE(c_int, _FILE, c_int, c_int, c_int, c_void_p)


class _Vfs(Structure):
    """The head of `sqlite3_vfs`; what is behind `xDelete` is copied as it is."""

    _fields_ = (
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("application", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("rest", c_void_p * 14),
    )


class _Methods(Structure):
    """`sqlite3_io_methods`."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("others", c_void_p * 7),
        ("shm_map", c_void_p),
        ("rest", c_void_p * 5),
    )


class Fault(Exception):
    """A call that fails. `error`: what SQLite is told; `number`: what Python is told."""

    def __init__(self, error: int, number: int) -> None:
        super().__init__(os.strerror(number))
        self.error = error
        self.number = number


EIO = {
    "open": sqlite3.SQLITE_CANTOPEN,
    "delete": sqlite3.SQLITE_IOERR_DELETE,
    "read": sqlite3.SQLITE_IOERR_READ,
    "write": sqlite3.SQLITE_IOERR_WRITE,
    "truncate": sqlite3.SQLITE_IOERR_TRUNCATE,
    "sync": sqlite3.SQLITE_IOERR_FSYNC,
    "map": sqlite3.SQLITE_IOERR_SHMMAP,
}
"""What SQLite's own VFS makes of EIO."""

Decide = Callable[[int, str], Fault | None]
"""From the number of a call, counted from 1, and its kind: whether it fails."""


class Disk:
    """Every storage call of this process comes by here. What was synced is what a loss of power
    leaves: `durable`, by path."""

    def __init__(self, decide: Decide | None = None) -> None:
        self.calls: list[str] = []
        """Kinds of the calls so far."""
        self.durable: dict[str, bytes] = {}
        self.pending: list[tuple[str, int, bytes]] = []
        """Writes that are not synced yet: path, offset, data; in order."""
        self._decide = decide or (lambda number, kind: None)
        self._is_deciding = False

    def call(self, kind: str) -> Fault | None:
        """What `decide` does with a disk itself is not looked at."""
        if self._is_deciding:
            return None
        self._is_deciding = True
        try:
            self.calls.append(kind)
            return self._decide(len(self.calls), kind)
        finally:
            self._is_deciding = False

    def synced(self, path: str) -> None:
        self.durable[path] = Path(path).read_bytes()
        self.pending = [write for write in self.pending if write[0] != path]

    def not_synced(self, path: str) -> None:
        """A sync has failed."""

    def renamed(self, source: str, target: str) -> None:
        """Counted as durable: the caller syncs the folder before it says so to anybody."""
        if source in self.durable:
            self.durable[target] = self.durable.pop(source)


class Forgetful(Disk):
    """What a sync that failed did not store is not tried again by a later one, though it can be
    read until the power goes: so do the caches of systems (Rebello et al. 2020)."""

    def synced(self, path: str) -> None:
        size = Path(path).stat().st_size
        data = bytearray(self.durable.get(path, b"")[:size].ljust(size, b"\0"))
        for name, offset, written in self.pending:
            if name == path:
                end = min(size, offset + len(written))
                data[offset:end] = written[: end - offset]
        self.durable[path] = bytes(data)
        self.not_synced(path)

    def not_synced(self, path: str) -> None:
        self.pending = [write for write in self.pending if write[0] != path]


_disk = Disk()
"""The one of the present test."""
_kept_alive: list[Any] = []
_paths: dict[int, str] = {}
"""Of open files, by their address."""
_tables: dict[int, Any] = {}
_original: dict[int, dict[str, Any]] = {}
"""SQLite's functions, by the address of the table that stands in their place."""


def _library() -> ctypes.CDLL:
    """The SQLite that the module `sqlite3` uses: its module links to it, or holds it."""
    for name in (_sqlite3.__file__, ctypes.util.find_library("sqlite3")):
        library = ctypes.CDLL(name) if name else None
        if library is not None and hasattr(library, "sqlite3_vfs_find"):
            version = library.sqlite3_libversion
            version.restype = c_char_p
            if version().decode() == sqlite3.sqlite_version:
                return library
    pytest.skip("this Python's SQLite cannot be reached from outside")


def register() -> None:
    """Make the VFS known to SQLite, once."""
    if _kept_alive:
        return
    library = _library()
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    found = library.sqlite3_vfs_find(None)
    vfs = _Vfs()
    ctypes.memmove(ctypes.byref(vfs), found, ctypes.sizeof(_Vfs))
    vfs.name = VFS_NAME.encode()
    open_file, delete = _OPEN(found.contents.open), _DELETE(found.contents.delete)
    place = ctypes.addressof(found.contents)

    def opened(_: int, name: int | None, file: int, flags: int, out_flags: int) -> int:
        table = ctypes.cast(file, POINTER(c_void_p))
        if fault := _disk.call("open"):
            table[0] = None
            return fault.error
        result: int = open_file(place, name, file, flags, out_flags)
        address = table[0]
        if result == sqlite3.SQLITE_OK and address:
            _paths[file] = ctypes.string_at(name).decode() if name else ""
            table[0] = ctypes.addressof(_table(address))
        return result

    def deleted(_: int, name: int, syncs_folder: int) -> int:
        if fault := _disk.call("delete"):
            return fault.error
        result: int = delete(place, name, syncs_folder)
        return result

    callbacks = _OPEN(opened), _DELETE(deleted)
    vfs.open, vfs.delete = (ctypes.cast(callback, c_void_p).value for callback in callbacks)
    _kept_alive.extend((library, vfs, callbacks))
    assert library.sqlite3_vfs_register(ctypes.byref(vfs), 0) == sqlite3.SQLITE_OK


def _table(address: int) -> _Methods:
    """The table of SQLite at `address`, with our functions before its own."""
    if address in _tables:
        known: _Methods = _tables[address]
        return known
    methods = _Methods()
    ctypes.memmove(ctypes.byref(methods), address, ctypes.sizeof(_Methods))
    close, read, write = _CLOSE(methods.close), _TRANSFER(methods.read), _TRANSFER(methods.write)
    truncate, sync = _TRUNCATE(methods.truncate), _SYNC(methods.sync)
    # Files that nobody shares have no memory to share.
    shm_map = _SHM_MAP(methods.shm_map or methods.close)

    def on_close(file: int) -> int:
        _paths.pop(file, None)
        result: int = close(file)
        return result

    def on_read(file: int, data: int, size: int, offset: int) -> int:
        fault = _disk.call("read")
        return fault.error if fault else read(file, data, size, offset)

    def on_write(file: int, data: int, size: int, offset: int) -> int:
        if fault := _disk.call("write"):
            return fault.error
        _disk.pending.append((_paths[file], offset, ctypes.string_at(data, size)))
        result: int = write(file, data, size, offset)
        return result

    def on_truncate(file: int, size: int) -> int:
        fault = _disk.call("truncate")
        return fault.error if fault else truncate(file, size)

    def on_sync(file: int, flags: int) -> int:
        if fault := _disk.call("sync"):
            _disk.not_synced(_paths[file])
            return fault.error
        result: int = sync(file, flags)
        if result == sqlite3.SQLITE_OK:
            _disk.synced(_paths[file])
        return result

    def on_map(file: int, region: int, size: int, extends: int, out: int) -> int:
        fault = _disk.call("map")
        return fault.error if fault else shm_map(file, region, size, extends, out)

    callbacks = {
        "close": _CLOSE(on_close),
        "read": _TRANSFER(on_read),
        "write": _TRANSFER(on_write),
        "truncate": _TRUNCATE(on_truncate),
        "sync": _SYNC(on_sync),
        "shm_map": _SHM_MAP(on_map),
    }
    for name, callback in callbacks.items():
        if getattr(methods, name):
            setattr(methods, name, ctypes.cast(callback, c_void_p).value)
    _tables[address] = methods
    _kept_alive.append((methods, callbacks, close, read, write, truncate, sync, shm_map))
    return methods


def connect(uri: str) -> sqlite3.Connection:
    """As the product connects, over the disk of the present test."""
    return sqlite3.connect(
        f"{uri}&vfs={VFS_NAME}", uri=True, isolation_level=None, check_same_thread=False
    )


FOLDER_CALLS = ("open", "fsync", "mkdir", "rename", "unlink", "ftruncate", "pwrite")
"""What `mabeam_p2p.storage` does with its folder by itself, by their names in `os`."""


@contextmanager
def disk_of_test(disk: Disk) -> Iterator[Disk]:
    """All storage calls come by `disk`."""
    register()
    before = _disk
    use(disk)
    with pytest.MonkeyPatch.context() as patch:
        for name in FOLDER_CALLS:
            patch.setattr(os, name, _met(name, getattr(os, name)))
        try:
            yield disk
        finally:
            use(before)


def use(disk: Disk) -> None:
    """SQLite's calls come by `disk` from now on."""
    global _disk
    _disk = disk


def _met(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if fault := _disk.call(name):
            raise OSError(fault.number, os.strerror(fault.number), *map(str, arguments[:1]))
        result = function(*arguments, **named)
        if name == "rename":
            _disk.renamed(str(arguments[0]), str(arguments[1]))
        return result

    return call


def io_error(kind: str) -> Fault:
    return Fault(EIO.get(kind, sqlite3.SQLITE_IOERR), errno.EIO)


def disk_full(kind: str) -> Fault:
    return Fault(sqlite3.SQLITE_FULL, errno.ENOSPC)
