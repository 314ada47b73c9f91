"""A fault, and a loss of power, at every storage call of a scripted run of 200 writes.

The run is cut into shifts, each from opening the folder to closing it. Nothing of a process
outlives its shift but the folder, so a fault in one shift is tried on a copy of the folder as the
shift found it. An error of the disk is met once, and the disk works again behind it: whoever writes
on then is found out.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from mabeam_p2p.errors import StorageError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, HardState, LogAppend, Record, Recovered, Sibling, Variable
from mabeam_p2p.storage import sqlite
from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.storage.faulty_disk import (
    Disk,
    Fault,
    Forgetful,
    connect,
    disk_full,
    disk_of_test,
    io_error,
)

WRITES, SHIFT = 200, 40
VOTER = PeerId("0123456789abcdef")


class Held(NamedTuple):
    """What a folder holds of what a peer has said."""

    batches: tuple[Batch, ...] = ()
    hard_states: tuple[HardState, ...] = ()
    variables: tuple[Variable, ...] = ()

    def after(self, records: list[Record]) -> "Held":
        held = self
        for record in records:
            match record:
                case LogAppend(keep_index=keep_index, batches=batches):
                    kept = tuple(b for b in held.batches if b.index <= keep_index)
                    held = held._replace(batches=kept + batches)
                case HardState():
                    held = held._replace(hard_states=(record,))
                case Variable():
                    others = [one for one in held.variables if one.name != record.name]
                    ordered = sorted([*others, record], key=lambda one: one.name)
                    held = held._replace(variables=tuple(ordered))
                case _:
                    raise AssertionError(record)
        return held


def of(recovered: Recovered) -> Held:
    return Held(recovered.batches, recovered.hard_states, recovered.variables)


def script() -> tuple[list[list[Record]], list[Held]]:
    """The writes, and what is held before the first and after each of them."""
    random = Random(5)
    writes: list[list[Record]] = []
    held = [Held()]
    term = 1
    while len(writes) < WRITES:
        log = held[-1].batches
        records: list[Record] = []
        if log and random.random() < 0.15:
            # A new leader's log takes the place of the last batches.
            term += 1
            log = log[: len(log) - random.randint(0, min(3, len(log)))]
            records.append(HardState(0, term, VOTER))
        keep_index = log[-1].last_index if log else 0
        batches: list[Batch] = []
        for _ in range(random.randint(1, 3)):
            index = batches[-1].last_index + 1 if batches else keep_index + 1
            count, blob = random.randint(1, 4), random.randbytes(random.choice((9, 300, 3_000)))
            batches.append(Batch(index, count, term, len(writes), blob))
        if random.random() < 0.7 or not held[-1].batches:
            records.append(LogAppend(0, keep_index, tuple(batches)))
        if random.random() < 0.3 or not records:
            sibling = Sibling(VOTER, len(writes) + 1, 5, b"\xf5")
            vector = ((VOTER, len(writes) + 1),)
            records.append(Variable(random.choice("abc"), "lww", vector, (sibling,)))
        writes.append(records)
        held.append(held[-1].after(records))
    return writes, held


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A place where syncing costs nothing, if there is one."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(dir=shared))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that commits copy the log into the database now and then."""
    monkeypatch.setattr(sqlite, "WAL_PAGES", 30)


def work(path: Path, writes: list[list[Record]]) -> int:
    """One shift, until the first error; returns how many writes were acknowledged."""
    storage = SqliteStorage(str(path), connect)
    acknowledged = 0
    try:
        storage.recover()
        for records in writes:
            storage.write(records)
            acknowledged += 1
    except StorageError:
        # Fail stop: nothing is acknowledged any more, though the disk works again.
        with pytest.raises(StorageError):
            storage.write(writes[acknowledged])
        with pytest.raises(StorageError):
            storage.write([HardState(0, 99, VOTER)])
    storage.close()
    return acknowledged


def recovered(path: Path) -> Held:
    storage = SqliteStorage(str(path))
    try:
        return of(storage.recover())
    finally:
        storage.close()


def shifts() -> Iterator[tuple[int, list[list[Record]]]]:
    writes, _ = script()
    for first in range(0, WRITES, SHIFT):
        yield first, writes[first : first + SHIFT]


def fail_at(fatal: int, fault: Callable[[str], Fault], *, stays: bool) -> Disk:
    def decide(number: int, kind: str) -> Fault | None:
        return fault(kind) if number == fatal or (stays and number > fatal) else None

    return Disk(decide)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "kinds", "stays"),
    [(io_error, (), False), (disk_full, ("open", "write", "pwrite", "mkdir"), True)],
    ids=["eio", "enospc"],
)
def test_nothing_is_acknowledged_after_a_fault_at_any_call_and_the_prefix_is_there(
    memory_path: Path, fault: Callable[[str], Fault], kinds: tuple[str, ...], stays: bool
) -> None:
    _, held = script()
    path, trial = memory_path / "peer", memory_path / "trial"
    tried = stopped = 0
    for first, writes in shifts():
        before = memory_path / f"before {first}"
        if path.exists():
            shutil.copytree(path, before)
        with disk_of_test(Disk()) as counting:
            assert work(path, writes) == SHIFT
        for number, kind in enumerate(counting.calls, 1):
            if kinds and kind not in kinds:
                continue
            shutil.rmtree(trial, ignore_errors=True)
            if before.exists():
                shutil.copytree(before, trial)
            with disk_of_test(fail_at(number, fault, stays=stays)):
                acknowledged = first + work(trial, writes)
            tried += 1
            stopped += acknowledged < first + SHIFT
            # The write that failed may be there, whole, or not at all.
            possible = held[acknowledged : acknowledged + 2]
            where = f"call {number} ({kind}) from write {first} on"
            if not tried % 10:  # Somebody only looks, first.
                assert recovered(trial) in possible, where
            assert restarted(trial, where) in possible, where
    assert tried > 1_000
    assert stopped > 0.8 * tried


def restarted(path: Path, where: str) -> Held:
    """What a clean restart finds. It takes writes again, and they stay."""
    more: list[Record] = [Variable("z", "lww", (), ())]
    storage = SqliteStorage(str(path))
    found = of(storage.recover())
    storage.write(more)
    storage.close()
    assert recovered(path) == found.after(more), where
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_loss_of_power_at_any_call_costs_what_was_acknowledged(memory_path: Path) -> None:
    """Of what was not synced nothing is left, or the first writes, the last of them torn."""
    _, held = script()
    path, image = memory_path / "peer", memory_path / "image"
    random = Random(9)
    acknowledged = 0
    cuts = 0
    wrong: list[str] = []
    """Nothing can be raised through SQLite."""

    def cut(number: int, kind: str) -> None:
        nonlocal cuts
        for kept in (0, random.randint(0, len(disk.pending))):
            shutil.rmtree(image, ignore_errors=True)
            image.mkdir()
            for name, data in disk.durable.items():
                (image / Path(name).name).write_bytes(data)
            for place, (name, offset, data) in enumerate(disk.pending[:kept], 1):
                # The head of a log lies in one sector, and that is written whole.
                is_torn = place == kept and offset > 0
                torn = data[: random.randint(0, len(data))] if is_torn else data
                write_at(image / Path(name).name, offset, torn)
            cuts += 1
            try:
                found = recovered(image)
            except StorageError as error:
                wrong.append(f"call {number} ({kind}): {error}")
            else:
                if found not in held[acknowledged : acknowledged + 2]:
                    wrong.append(f"call {number} ({kind}): not what was acknowledged")

    disk = Disk(cut)
    with disk_of_test(disk):
        for _, shift in shifts():
            storage = SqliteStorage(str(path), connect)
            storage.recover()
            for records in shift:
                storage.write(records)
                acknowledged += 1
            storage.close()
    assert not wrong
    assert recovered(path) == held[WRITES]
    assert cuts > 2_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_closing_after_a_sync_that_failed_costs_nothing_acknowledged(memory_path: Path) -> None:
    """The log is copied into the database and dropped, though what the sync was for is on no disk:
    by then all of that is written anew, or was never acknowledged."""
    _, held = script()
    _, writes = next(shifts())
    path, image = memory_path / "peer", memory_path / "image"
    for fatal in range(1, 1_000):
        met = 0

        def decide(number: int, kind: str, fatal: int = fatal) -> Fault | None:
            nonlocal met
            met += kind == "sync"
            return io_error(kind) if kind == "sync" and met == fatal else None

        shutil.rmtree(path, ignore_errors=True)
        disk = Forgetful(decide)
        with disk_of_test(disk):
            acknowledged = work(path, writes)
        left = {Path(name).name: data for name, data in disk.durable.items()}
        if sqlite.DATABASE_NAME not in left:
            continue
        names = [set(left), {file.name for file in path.iterdir()}]
        for present in names:  # A file that was deleted may be there again.
            shutil.rmtree(image, ignore_errors=True)
            image.mkdir()
            for name in present & set(left):
                (image / name).write_bytes(left[name])
            assert recovered(image) in held[acknowledged : acknowledged + 2], f"sync {fatal}"
        if met < fatal:
            break
    assert acknowledged == SHIFT
    assert fatal > SHIFT


def write_at(path: Path, offset: int, data: bytes) -> None:
    path.touch()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
