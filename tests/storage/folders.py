"""Data folders seen from outside: how tests write, copy, spoil and open them."""

import shutil
from pathlib import Path

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, HardState, LogAppend, Record, Recovered
from mabeam_p2p.storage import layout, sqlite
from mabeam_p2p.storage.sqlite import SqliteStorage

FRAME_BYTES = 24 + layout.PAGE_BYTES
VOTE = PeerId("0123456789abcdef")


def batch(index: int, size: int = 100) -> Batch:
    return Batch(index, 1, 1, index, index.to_bytes(2, "big") * (size // 2))


def append(index: int, size: int = 100) -> list[Record]:
    """The next write of a log whose batches hold one entry each."""
    return [LogAppend(0, index - 1, (batch(index, size),)), HardState(0, index, VOTE)]


class Folder:
    """A data folder seen from outside, and opened once at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def database(self) -> Path:
        return self.path / sqlite.DATABASE_NAME

    @property
    def wal(self) -> Path:
        return self.path / f"{sqlite.DATABASE_NAME}-wal"

    def contents(self) -> dict[str, bytes]:
        """What can be lost. An empty log, the lock and SQLite's shared memory hold nothing."""
        files = (path for path in (self.database, self.wal) if path.exists())
        return {path.name: path.read_bytes() for path in files if path.stat().st_size}

    def copy(self, name: str) -> "Folder":
        copied = Folder(self.path.parent / name)
        shutil.rmtree(copied.path, ignore_errors=True)
        copied.path.mkdir()
        for file, data in self.contents().items():
            (copied.path / file).write_bytes(data)
        return copied

    def recover(self) -> Recovered:
        storage = SqliteStorage(str(self.path))
        try:
            return storage.recover()
        finally:
            storage.close()


def transaction_ends(wal: bytes) -> list[int]:
    """Offsets behind the last frame of each transaction."""
    offsets = range(32, len(wal), FRAME_BYTES)
    return [offset + FRAME_BYTES for offset in offsets if wal[offset + 4 : offset + 8] != bytes(4)]
