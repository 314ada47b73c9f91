"""The simulated disk: what is durable, what a crash can lose, and what a start finds.

It means the same by each record as a real storage: the contract is written at the records. Records
become durable in order; a crash keeps a prefix of what was not yet synced.
"""

from bisect import bisect_right
from collections import deque
from random import Random

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import (
    Batch,
    BootstrapState,
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

_NO_STATE = HardState(0, 0, PeerId(""))


class LogView:
    """One copy of the log, from its first entry on whatever was compacted since, with the hash
    chain over it: entry (index, term) determines every entry before it exactly when equal
    (index, term) always have equal hashes (Raft §5.3)."""

    __slots__ = ("batches", "configurations", "ends", "hashes")

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.configurations: list[Batch] = []
        """Batches that name voters."""
        self.ends: list[int] = []
        """Last index of each batch."""
        self.hashes: list[int] = []

    @property
    def last_index(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def last_term(self) -> int:
        return self.batches[-1].term if self.batches else 0

    @property
    def voters(self) -> tuple[PeerId, ...]:
        """The latest configuration, committed or not."""
        return self.configurations[-1].voters if self.configurations else ()

    def count_until(self, index: int) -> int:
        """How many batches end at `index` or before."""
        return bisect_right(self.ends, index)

    def hash_at(self, index: int) -> int | None:
        """Of the log up to `index`; None unless a batch ends there."""
        if index == 0:
            return 0
        place = self.count_until(index) - 1
        if place < 0 or self.ends[place] != index:
            return None
        return self.hashes[place]

    def term_at(self, index: int) -> int:
        """Of the batch that holds `index`; 0 if none does."""
        place = bisect_right(self.ends, index - 1)
        return self.batches[place].term if index and place < len(self.batches) else 0

    def keep(self, index: int) -> None:
        """Drop every batch that begins behind `index`."""
        count = self.count_until(index)
        if count < len(self.ends) and self.batches[count].index <= index:
            count += 1
        del self.batches[count:], self.ends[count:], self.hashes[count:]
        while self.configurations and self.configurations[-1].index > self.last_index:
            self.configurations.pop()

    def append(self, batch: Batch) -> int:
        """Returns the hash of the log that ends with `batch`."""
        parent = self.hashes[-1] if self.hashes else 0
        value = hash((parent, batch))
        self.batches.append(batch)
        if batch.voters:
            self.configurations.append(batch)
        self.ends.append(batch.index + batch.count - 1)
        self.hashes.append(value)
        return value

    def until(self, index: int) -> "LogView":
        """A copy of what stands up to `index`, the end of a batch."""
        other = self.copy()
        other.keep(index)
        return other

    def copy(self) -> "LogView":
        other = LogView()
        other.batches = list(self.batches)
        other.configurations = list(self.configurations)
        other.ends = list(self.ends)
        other.hashes = list(self.hashes)
        return other


class Disk:
    """One data folder."""

    __slots__ = (
        "_replaced",
        "addresses",
        "base",
        "bootstrap",
        "durable_count",
        "epoch",
        "hard_state",
        "history",
        "log",
        "marks",
        "pending",
        "snapshot",
        "variables",
    )

    def __init__(self) -> None:
        self.epoch = 0
        self.hard_state = _NO_STATE
        self.log = LogView()
        self.snapshot: Snapshot | None = None
        self.base = LogBase()
        """Where the log begins that a start finds; `log` remembers what stood before."""
        self.history = LogView()
        """The committed log of the cluster: what a snapshot from elsewhere stands for."""
        self.bootstrap: BootstrapState | None = None
        self.variables: dict[str, Variable] = {}
        self.addresses: tuple[str, ...] = ()
        self.marks: VariableMarks | None = None
        self._replaced: dict[int, list[int]] = {}
        """Hashes of logs that were durable here and gave way to others, by their last index."""
        self.pending: deque[Record] = deque()
        """Written, not yet durable, oldest first."""
        self.durable_count = 0
        """Records that became durable, ever."""

    def write(self, record: Record) -> None:
        self.pending.append(record)

    def sync(self, count: int) -> None:
        """The oldest `count` pending records are durable now."""
        self.durable_count += count
        for _ in range(count):
            self._apply(self.pending.popleft())

    def logs_held(self, index: int) -> list[int]:
        """Hashes of every log up to `index` that is or was durable here."""
        present = self.log.hash_at(index)
        return [*self._replaced.get(index, ()), *([] if present is None else [present])]

    def crash(self, random: Random) -> int:
        """Keep a random prefix of what was pending; returns how many records survived."""
        survivors = random.randint(0, len(self.pending))
        self.sync(survivors)
        self.pending.clear()
        return survivors

    @property
    def written_count(self) -> int:
        """Records that were written, less those that crashes took back."""
        return self.durable_count + len(self.pending)

    def has_promised(self, first: Batch) -> bool:
        """Whether the cluster that begins with `first` was promised here."""
        state = self.bootstrap
        return (state is not None and first in state.first) or first in self.log.batches[:1]

    def has_formed(self, first: Batch) -> bool:
        """Whether it is known here that all have promised it."""
        state = self.bootstrap
        return first in self.log.batches[:1] or (
            state is not None and state.formed and first in state.first
        )

    def recover(self, peer: PeerId) -> Recovered:
        """Open the folder once more."""
        self.epoch += 1
        return Recovered(
            peer=peer,
            epoch=self.epoch,
            hard_states=(self.hard_state,) if self.hard_state != _NO_STATE else (),
            batches=tuple(self.log.batches[self.log.count_until(self.base.index) :]),
            bootstrap=self.bootstrap,
            variables=tuple(self.variables.values()),
            addresses=self.addresses,
            snapshot=self.snapshot,
            base=self.base,
            marks=self.marks,
        )

    def _apply(self, record: Record) -> None:
        match record:
            case LogAppend():
                self._replace_behind(record.keep_index)
                self.log.keep(record.keep_index)
                for batch in record.batches:
                    self.log.append(batch)
            case SnapshotStored():
                self.snapshot, self.base = record.snapshot, record.base
                if not record.keeps_tail:
                    self._replace_behind(0)
                    self.log = self.history.until(record.base.index)
            case HardState():
                self.hard_state = record
            case Variable():
                self.variables[record.name] = record
            case VariableForgotten():
                self.variables.pop(record.name, None)
            case VariableMarks():
                self.marks = record
            case BootstrapState():
                self.bootstrap = record
            case KnownAddresses():
                self.addresses = record.addresses

    def _replace_behind(self, index: int) -> None:
        """What stands behind `index` gives way."""
        for place in range(self.log.count_until(index), len(self.log.ends)):
            end = self.log.ends[place]
            self._replaced.setdefault(end, []).append(self.log.hashes[place])
