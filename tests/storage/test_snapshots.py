"""A snapshot and the log that goes with it, through crashes and faults between any two steps:
always the old pair or the new one, never half of each."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mabeam_p2p.errors import StorageError
from mabeam_p2p.records import LogAppend, LogBase, Record, Recovered, Snapshot, SnapshotStored
from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.storage.folders import VOTE, Folder, append, batch


def base(index: int) -> LogBase:
    return LogBase(index, 1, index, (VOTE,))


def stored(index: int, begins: int, *, keeps_tail: bool = True) -> SnapshotStored:
    data = b"state %d " % index * 2_000
    return SnapshotStored(0, Snapshot(base(index), index, data), base(begins), keeps_tail)


SCRIPT: tuple[list[Record], ...] = (
    append(1),
    append(2),
    append(3),
    [stored(2, 1)],
    append(4),
    [stored(4, 4), *append(5)],
    append(6),
    [stored(20, 20, keeps_tail=False), LogAppend(0, 20, (batch(21),))],
    append(22),
)
"""Writes of one peer: its own snapshots, and one from elsewhere."""


def pairs() -> list[tuple[Snapshot | None, LogBase, tuple[int, ...]]]:
    """What a start finds after each write, by a storage that no fault meets."""
    found: list[tuple[Snapshot | None, LogBase, tuple[int, ...]]] = [(None, LogBase(), ())]
    indices: tuple[int, ...] = ()
    for records in SCRIPT:
        snapshot, begins, _ = found[-1]
        for record in records:
            if isinstance(record, SnapshotStored):
                snapshot, begins = record.snapshot, record.base
                kept = record.keeps_tail
                indices = tuple(i for i in indices if kept and i > begins.index)
            elif isinstance(record, LogAppend):
                indices += tuple(one.index for one in record.batches)
        found.append((snapshot, begins, indices))
    return found


def seen(recovered: Recovered) -> tuple[Snapshot | None, LogBase, tuple[int, ...]]:
    indices = tuple(one.index for one in recovered.batches)
    return recovered.snapshot, recovered.base, indices


class Watched(sqlite3.Connection):
    """Calls `before` ahead of every statement."""

    @classmethod
    def before(cls) -> None: ...

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        type(self).before()
        return super().execute(sql, parameters)


def run(path: Path, connection: type[sqlite3.Connection]) -> int:
    """Play the script; return how many writes were acknowledged."""

    def connect(uri: str) -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, isolation_level=None, factory=connection)

    storage = SqliteStorage(str(path), connect)
    acknowledged = 0
    try:
        storage.recover()
        for records in SCRIPT:
            storage.write(records)
            acknowledged += 1
    except StorageError:
        pass
    storage.close()
    return acknowledged


@pytest.mark.slow
def test_a_crash_between_any_two_steps_leaves_the_old_pair_or_the_new_one(tmp_path: Path) -> None:
    """Catalogue 43 and 46."""
    live = Folder(tmp_path / "live")
    copies: list[Folder] = []

    class Copied(Watched):
        @classmethod
        def before(cls) -> None:
            if live.database.exists():
                copies.append(live.copy(f"copy{len(copies)}"))

    assert run(live.path, Copied) == len(SCRIPT)
    expected = pairs()
    assert seen(live.recover()) == expected[-1]
    last = 0
    for copy in copies:
        found = seen(copy.recover())
        assert found in expected[last : last + 2]
        last = expected.index(found)
    assert last >= len(SCRIPT) - 1
    assert len(copies) > 4 * len(SCRIPT)


@pytest.mark.slow
def test_a_fault_at_any_step_leaves_the_old_pair_or_the_new_one(tmp_path: Path) -> None:
    expected = pairs()
    for fatal in range(1, 200):

        class Failing(Watched):
            left = fatal

            @classmethod
            def before(cls) -> None:
                cls.left -= 1
                if cls.left <= 0:
                    raise sqlite3.OperationalError("disk I/O error")

        folder = Folder(tmp_path / str(fatal))
        acknowledged = run(folder.path, Failing)
        if acknowledged == len(SCRIPT) and Failing.left > 0:
            break
        assert seen(folder.recover()) == expected[acknowledged]
    else:
        pytest.fail("the script never ended")
    assert fatal > 4 * len(SCRIPT)
