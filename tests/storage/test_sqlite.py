import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mabeam_p2p.errors import DataFolderHeld, LogCorrupt, StorageError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, HardState, LogAppend, Record, Recovered
from mabeam_p2p.storage import folder, layout, sqlite
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


@pytest.fixture
def killed(tmp_path: Path) -> Folder:
    """Twelve writes, the last six of them in the write-ahead log alone."""
    live = Folder(tmp_path / "live")
    for first in (1, 7):
        storage = SqliteStorage(str(live.path))
        storage.recover()
        for index in range(first, first + 6):
            storage.write(append(index))
        left = live.copy("killed")
        storage.close()
    return left


# ---- the folder --------------------------------------------------------------------------------


def test_a_new_folder_and_its_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    storage = SqliteStorage(str(path))
    storage.recover()
    storage.write(append(1))
    assert {stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent)} == {0o700}
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}
    storage.close()


def test_the_default_folder_is_the_users_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert folder.default_path("c", "n") == Path("/state/mabeam/c/n")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/somebody")
    assert folder.default_path("c", "n") == Path("/somebody/.local/state/mabeam/c/n")


HOLD = """
import sys
from mabeam_p2p.storage.sqlite import SqliteStorage
SqliteStorage(sys.argv[1]).recover()
sys.stdout.write("held\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the folder `held`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "held")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_a_second_process_is_refused_and_told_who_holds_the_folder(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    storage = SqliteStorage(str(tmp_path / "held"))
    with pytest.raises(DataFolderHeld, match=f"held is in use by process {holder.pid}:"):
        storage.recover()
    holder.kill()
    holder.wait()
    assert storage.recover().epoch == 2
    storage.close()


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    storage = SqliteStorage(str(tmp_path / "peer"))
    storage.recover()
    with pytest.raises(DataFolderHeld):
        SqliteStorage(str(tmp_path / "peer")).recover()
    storage.close()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    path = tmp_path / "peer"
    path.write_text("mine")
    with pytest.raises(StorageError, match="a file is in the way") as caught:
        SqliteStorage(str(path)).recover()
    assert caught.value.path == str(path)
    assert path.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="make it writable"):
        SqliteStorage(str(tmp_path / "peer")).recover()
    tmp_path.chmod(0o700)


def test_a_folder_of_a_later_release_is_refused(killed: Folder) -> None:
    identity = killed.recover()
    later = layout.Identity(layout.FORMAT + 1, identity.peer, identity.epoch, 0)
    with sqlite3.connect(killed.database) as connection:
        connection.execute(layout.REPLACE_RECORD, layout.record_row(later))
    connection.close()
    before = killed.contents()
    with pytest.raises(StorageError, match="upgrade mabeam_p2p") as caught:
        killed.recover()
    assert not isinstance(caught.value, LogCorrupt)
    assert killed.contents() == before


def test_a_folder_whose_making_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / sqlite.UNFINISHED_NAME
    unfinished.write_bytes(b"half a database")
    Path(f"{unfinished}-wal").write_bytes(b"half a log")
    assert Folder(tmp_path).recover().epoch == 1
    assert not unfinished.exists()


# ---- crashes -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_kill_after_any_write_leaves_exactly_what_was_written(tmp_path: Path) -> None:
    live = Folder(tmp_path / "live")
    storage = SqliteStorage(str(live.path))
    storage.recover()
    written: list[Batch] = []
    for index in range(1, 41):
        storage.write(append(index, size=100 + 400 * (index % 7)))
        written.append(batch(index, size=100 + 400 * (index % 7)))
        left = live.copy("left").recover()
        assert list(left.batches) == written
        assert left.hard_states == (HardState(0, index, VOTE),)
    storage.close()


@pytest.mark.slow
def test_a_log_cut_at_any_byte_gives_the_exact_prefix_twice(killed: Folder) -> None:
    whole = killed.wal.read_bytes()
    ends = transaction_ends(whole)
    assert len(ends) == 7  # The epoch, then six appends.
    # Every byte of the last three transactions, but of page bodies only some: all 4,096 take the
    # same way. Each page's first and last bytes are among them.
    cuts = [
        cut
        for cut in range(ends[-4], len(whole) + 1)
        if (cut - 32) % FRAME_BYTES < 34 or cut % 97 == 0 or (cut - 32) % FRAME_BYTES > 4110
    ]
    assert len(cuts) > 300
    for cut in cuts:
        torn = killed.copy("torn")
        torn.wal.write_bytes(whole[:cut])
        appended = sum(end <= cut for end in ends) - 1
        storage = SqliteStorage(str(torn.path))
        recovered = storage.recover()
        last_index = 6 + appended
        assert recovered.batches == tuple(batch(index) for index in range(1, last_index + 1))
        # What is appended behind the tear is there at the next start, and nothing else.
        storage.write(append(last_index + 1))
        again = torn.copy("again").recover()
        storage.close()
        assert again.batches == tuple(batch(index) for index in range(1, last_index + 2))
        assert again.epoch == recovered.epoch + 1


def transaction_ends(wal: bytes) -> list[int]:
    """Offsets behind the last frame of each transaction."""
    offsets = range(32, len(wal), FRAME_BYTES)
    return [offset + FRAME_BYTES for offset in offsets if wal[offset + 4 : offset + 8] != bytes(4)]
