"""How full a data folder is, as it says itself; and that what is freed is used again."""

from pathlib import Path

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, DiskUsage, LogAppend, LogBase, Snapshot, SnapshotStored
from mabeam_p2p.storage import sqlite
from mabeam_p2p.storage.memory import MemoryStorage
from mabeam_p2p.storage.sqlite import SqliteStorage

QUOTA = 4 * 1024 * 1024
ENTRY_BYTES = 100_000


def entry(index: int) -> LogAppend:
    return LogAppend(0, index - 1, (Batch(index, 1, 1, index, bytes(ENTRY_BYTES)),))


def snapshot(index: int) -> SnapshotStored:
    base = LogBase(index, 1, index, (PeerId("a" * 16),))
    return SnapshotStored(0, Snapshot(base, 1, b"state"), base, keeps_tail=True)


def usage_of(storage: SqliteStorage) -> DiskUsage:
    usage = storage.usage()
    assert usage is not None
    return usage


def opened(path: Path, bytes_max: int = QUOTA) -> SqliteStorage:
    storage = SqliteStorage(str(path), bytes_max=bytes_max)
    storage.recover()
    return storage


def test_nine_tenths_of_the_quota_are_nearly_full() -> None:
    assert DiskUsage(90, 100).is_nearly_full
    assert not DiskUsage(89, 100).is_nearly_full


def test_nineteen_twentieths_of_the_quota_are_full() -> None:
    assert DiskUsage(95, 100).is_full
    assert not DiskUsage(94, 100).is_full


def test_the_quota_is_what_may_be_in_the_folder(tmp_path: Path) -> None:
    storage = opened(tmp_path / "peer")
    assert usage_of(storage).bytes_max == QUOTA
    assert 0 < usage_of(storage).used_bytes < 100_000
    storage.close()


def test_without_a_quota_it_is_what_the_disk_has_room_for(tmp_path: Path) -> None:
    storage = opened(tmp_path / "peer", bytes_max=0)
    usage = usage_of(storage)
    assert usage.bytes_max > usage.used_bytes > 0
    storage.close()


def test_a_folder_that_fills_says_so_in_time_and_a_snapshot_frees_it(tmp_path: Path) -> None:
    storage = opened(tmp_path / "peer")
    index = 0
    while not usage_of(storage).is_nearly_full:
        index += 1
        storage.write([entry(index)])
        assert index * ENTRY_BYTES < QUOTA, "it was said too late"
    assert index * ENTRY_BYTES > QUOTA * 8 // 10
    storage.write([snapshot(index)])
    assert usage_of(storage).used_bytes < 100_000
    assert not usage_of(storage).is_nearly_full
    storage.close()


def test_what_is_freed_is_used_again_so_that_no_file_grows_without_bound(tmp_path: Path) -> None:
    storage = opened(tmp_path / "peer", bytes_max=0)
    sizes = []
    for index in range(1, 121):
        storage.write([entry(index)])
        if index % 20 == 0:
            storage.write([snapshot(index)])
            sizes.append((tmp_path / "peer" / sqlite.DATABASE_NAME).stat().st_size)
    storage.close()
    wal = tmp_path / "peer" / f"{sqlite.DATABASE_NAME}-wal"
    assert sizes[-1] <= sizes[1] + 2 * ENTRY_BYTES
    assert not wal.exists() or wal.stat().st_size <= sqlite.WAL_BYTES_MAX


def test_nothing_limits_what_is_in_memory() -> None:
    storage = MemoryStorage()
    storage.recover()
    assert storage.usage() is None
