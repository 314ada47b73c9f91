"""A data folder without a disk: the same promises until the object is gone."""

import secrets
from collections.abc import Sequence
from typing import assert_never

from mabeam_p2p.errors import StorageError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import (
    Batch,
    BootstrapState,
    DiskUsage,
    HardState,
    KnownAddresses,
    LogAppend,
    LogBase,
    Record,
    Recovered,
    Snapshot,
    SnapshotStored,
    Variable,
    VariableForgotten,
    VariableMarks,
)


class MemoryStorage:
    """Satisfies ports.Storage. After `close`, `recover` opens it again, as the next epoch."""

    def __init__(self) -> None:
        self.path = ":memory:"
        self._peer = PeerId(secrets.token_hex(8))
        self._epoch = 0
        self._is_open = False
        self._hard_states: dict[int, HardState] = {}
        self._batches: list[Batch] = []
        self._snapshot: Snapshot | None = None
        self._base = LogBase()
        self._bootstrap: BootstrapState | None = None
        self._variables: dict[str, Variable] = {}
        self._addresses: tuple[str, ...] = ()
        self._marks: VariableMarks | None = None

    def recover(self) -> Recovered:
        self._epoch += 1
        self._is_open = True
        return Recovered(
            self._peer,
            self._epoch,
            tuple(self._hard_states[log] for log in sorted(self._hard_states)),
            tuple(self._batches),
            self._bootstrap,
            tuple(self._variables[name] for name in sorted(self._variables)),
            self._addresses,
            self._snapshot,
            self._base,
            self._marks,
        )

    def write(self, records: Sequence[Record]) -> None:
        if not self._is_open:
            raise StorageError("the storage in memory is not open", path=self.path)
        for record in records:
            match record:
                case HardState():
                    self._hard_states[record.log] = record
                case LogAppend():
                    self._append(record)
                case SnapshotStored():
                    self._store_snapshot(record)
                case BootstrapState():
                    self._bootstrap = record
                case KnownAddresses():
                    self._addresses = record.addresses
                case Variable():
                    self._variables[record.name] = record
                case VariableForgotten():
                    self._variables.pop(record.name, None)
                case VariableMarks():
                    self._marks = record
                case _:
                    assert_never(record)

    def usage(self) -> DiskUsage | None:
        return None

    def close(self) -> None:
        self._is_open = False

    def _append(self, record: LogAppend) -> None:
        while self._batches and self._batches[-1].index > record.keep_index:
            self._batches.pop()
        assert self._last_index == record.keep_index, "what stays ends with a batch"
        for batch in record.batches:
            assert batch.index == self._last_index + 1, "batches are contiguous"
            self._batches.append(batch)

    def _store_snapshot(self, record: SnapshotStored) -> None:
        base = record.base
        assert base.index <= record.snapshot.base.index, "the log begins behind its snapshot"
        kept = [batch for batch in self._batches if record.keeps_tail and batch.index > base.index]
        if record.keeps_tail:
            last_index = kept[-1].last_index if kept else base.index
            assert last_index >= record.snapshot.base.index, "a snapshot of what is not in the log"
        self._batches, self._snapshot, self._base = kept, record.snapshot, base

    @property
    def _last_index(self) -> int:
        return self._batches[-1].last_index if self._batches else self._base.index
