import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mabeam_p2p.errors import DataFolderHeld, LogCorrupt, StorageError
from mabeam_p2p.records import Batch, HardState
from mabeam_p2p.storage import folder, layout, sqlite
from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.storage.folders import FRAME_BYTES, VOTE, Folder, append, batch, transaction_ends

IS_EVERY_BYTE = bool(os.environ.get("EVERY_BYTE"))

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


def test_a_closed_folder_is_free_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    lock = folder.hold(str(tmp_path / "peer"))
    ends, told = os.pipe()
    child = os.fork()
    if not child:  # It has the descriptor of the lock, as a worker of a data loader has.
        os.close(told)
        os.read(ends, 1)
        os._exit(0)
    try:
        with pytest.raises(DataFolderHeld):
            folder.hold(str(tmp_path / "peer"))
        lock.release()
        folder.hold(str(tmp_path / "peer")).release()
    finally:
        os.close(told)
        os.close(ends)
        os.waitpid(child, 0)


def test_the_folder_of_a_killed_process_is_free_though_its_forked_child_lives_on(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "peer")
    ends, told = os.pipe()
    heard, says = os.pipe()
    holder = os.fork()
    if not holder:
        try:
            lock = folder.hold(path)
            os.close(told)
            if not os.fork():
                os.write(says, b"here" if lock.path == path else b"lost")
            os.read(ends, 1)
        finally:
            os._exit(0)
    os.close(says)
    try:
        assert os.read(heard, 4) == b"here"
        with pytest.raises(DataFolderHeld, match=f"in use by process {holder}:"):
            folder.hold(path)
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        folder.hold(path).release()
    finally:
        os.close(told)
        assert os.read(heard, 1) == b"", "the child was there until it was told to end"
        os.close(heard)
        os.close(ends)


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


@pytest.mark.fault("U8")
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
@pytest.mark.timeout(7_200 if IS_EVERY_BYTE else 300)
def test_a_log_cut_at_any_byte_gives_the_exact_prefix_twice(killed: Folder) -> None:
    whole = killed.wal.read_bytes()
    ends = transaction_ends(whole)
    assert len(ends) == 7  # The epoch, then six appends.
    # Of the last three transactions every byte of a frame's head, and some of its page: the others
    # take the same way. Who doubts that sets EVERY_BYTE (docs/testing.md).
    cuts = [
        cut
        for cut in range(0 if IS_EVERY_BYTE else ends[-4], len(whole) + 1)
        if IS_EVERY_BYTE or (cut - 32) % FRAME_BYTES < 28 or cut % 409 == 0
    ]
    assert len(cuts) > (len(whole) if IS_EVERY_BYTE else 200)
    for cut in cuts:
        torn = killed.copy("torn")
        torn.wal.write_bytes(whole[:cut])
        appended = max(0, sum(end <= cut for end in ends) - 1)
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


# ---- failing disks -----------------------------------------------------------------------------


class Disk:
    """Fails the `fatal`-th statement of its connections, counted from 1, and all after it."""

    def __init__(self, fatal: int | None = None) -> None:
        self.count = 0
        self.fatal = fatal

    def connect(self, uri: str) -> sqlite3.Connection:
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                disk.count += 1
                if disk.fatal is not None and disk.count >= disk.fatal:
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, parameters)

        return sqlite3.connect(uri, uri=True, isolation_level=None, factory=Connection)


def use(folder: Folder, disk: Disk, write_count: int) -> int:
    """Open, write, stop at the first error; return how many writes were acknowledged."""
    storage = SqliteStorage(str(folder.path), disk.connect)
    acknowledged = 0
    try:
        storage.recover()
        for index in range(1, write_count + 1):
            storage.write(append(index))
            acknowledged += 1
    except StorageError:
        # Fail stop: nothing is written again, even if the disk would take it.
        disk.fatal = None
        with pytest.raises(StorageError):
            storage.write(append(acknowledged + 1))
    storage.close()
    return acknowledged


@pytest.mark.slow
def test_a_disk_that_fails_at_any_statement_costs_nothing_acknowledged(tmp_path: Path) -> None:
    counting = Disk()
    assert use(Folder(tmp_path / "counted"), counting, 12) == 12
    assert counting.count > 60
    for fatal in range(1, counting.count + 1):
        folder = Folder(tmp_path / str(fatal))
        acknowledged = use(folder, Disk(fatal), 12)
        recovered = folder.recover()
        assert len(recovered.batches) == acknowledged < 12
        assert [state.term for state in recovered.hard_states] == [acknowledged][:acknowledged]


FILL = """
import resource, signal, sys
from mabeam_p2p.errors import StorageError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, LogAppend
from mabeam_p2p.storage.sqlite import SqliteStorage
storage = SqliteStorage(sys.argv[1])
storage.recover()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for index in range(1, 1000):
    try:
        storage.write([LogAppend(0, index - 1, (Batch(index, 1, 1, index, bytes(900)),))])
    except StorageError as error:
        sys.stdout.write(f"{index - 1} {error}")
        break
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [50_000, 123_456, 300_001])
def test_a_full_disk_stops_writing_and_keeps_what_was_acknowledged(
    tmp_path: Path, size: int
) -> None:
    path = tmp_path / "peer"
    command = [sys.executable, "-c", FILL, str(path), str(size)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    acknowledged, _, message = output.partition(" ")
    assert str(path) in message
    assert len(Folder(path).recover().batches) == int(acknowledged) > 5
