"""The log as one peer holds it: batches in order of index, without a gap, behind a base.

It knows what stands where and how far it is committed, and nothing of leaders. What is behind the
base is in memory; what is durable is the business of whoever emits the Persist.

Rules
1. A batch is atomic: it is appended, compared and dropped whole. The leader that made it never
   splits it, so two logs that hold a batch with the same last index and term hold the same batch
   (Log Matching, Raft §5.3, by batches).
2. Therefore only the end of a batch, or the base, is ever a position between two peers.
3. Terms and clocks never go down along the log.
4. What lies before the base is committed, and in a snapshot (Raft §7). Of it the log knows one
   position, the base itself: no other one, and not index 0, is taken for a match.
5. A configuration is an entry in a batch of its own, and is in effect while it stands in the log,
   committed or not (Raft thesis §4.1).
"""

from bisect import bisect_left, bisect_right
from itertools import pairwise

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, LogBase

FIRST_BASE = LogBase()
"""Of a log that is held from its first entry on."""


class Log:
    """Batches, found by index in logarithmic time."""

    __slots__ = (
        "_batches",
        "_configurations",
        "_ends",
        "base",
        "byte_count",
        "commit_index",
        "first_held_index",
    )

    def __init__(self, batches: tuple[Batch, ...] = (), base: LogBase = FIRST_BASE) -> None:
        """What stands before `base` is committed."""
        self._batches: list[Batch] = []
        self._ends: list[int] = []
        self._configurations: list[tuple[int, tuple[PeerId, ...]]] = []
        """(index, voters) of each batch that names voters, and of the base."""
        self.byte_count = 0
        """Of the blobs that are held."""
        self.base = FIRST_BASE
        self.commit_index = 0
        """The last index known to be committed; it never goes back."""
        self._begin_at(base)
        self.append(batches)
        self.first_held_index = self.last_index
        """Up to here nothing has come in the place of what was held first."""

    @property
    def last_index(self) -> int:
        return self._ends[-1] if self._ends else self.base.index

    @property
    def last_term(self) -> int:
        return self._batches[-1].term if self._batches else self.base.term

    @property
    def last_clock(self) -> int:
        return self._batches[-1].clock if self._batches else self.base.clock

    @property
    def voters(self) -> tuple[PeerId, ...]:
        """The latest configuration in the log, committed or not (Raft thesis §4.1)."""
        return self._configurations[-1][1] if self._configurations else ()

    @property
    def configuration_index(self) -> int:
        """Index of the entry that `voters` stand in; 0 if there is none."""
        return self._configurations[-1][0] if self._configurations else 0

    @property
    def is_configured(self) -> bool:
        """Whether the latest configuration is known to be committed."""
        return 0 < self.configuration_index <= self.commit_index

    @property
    def previous_voters(self) -> tuple[PeerId, ...]:
        """The configuration before the latest; empty if there is none."""
        return self._configurations[-2][1] if len(self._configurations) > 1 else ()

    def __len__(self) -> int:
        return len(self._batches)

    def term_at(self, index: int) -> int | None:
        """Term of the batch that ends at `index`; None if no batch that is known ends there."""
        if index == self.base.index:
            return self.base.term
        position = bisect_left(self._ends, index)
        if position < len(self._ends) and self._ends[position] == index:
            return self._batches[position].term
        return None

    def base_at(self, index: int) -> LogBase | None:
        """What would be kept of the log up to `index`; None if no batch that is known ends
        there."""
        if index == self.base.index:
            return self.base
        position = bisect_left(self._ends, index)
        if position == len(self._ends) or self._ends[position] != index:
            return None
        batch = self._batches[position]
        latest: tuple[int, tuple[PeerId, ...]] = (0, ())
        for known in reversed(self._configurations):
            if known[0] <= index:
                latest = known
                break
        at, voters = latest
        return LogBase(index, batch.term, batch.clock, voters, at)

    def end_at_or_before(self, index: int) -> int:
        """The last index of the newest batch that ends at `index` or before, or the base; 0 if
        `index` lies before that."""
        position = bisect_right(self._ends, index)
        if position:
            return self._ends[position - 1]
        return self.base.index if index >= self.base.index else 0

    def agreement_before(self, index: int, term: int) -> int:
        """Where another log, with a batch of `term` that ends at `index`, may agree with this one,
        which has no such batch: an end of a batch before `index`, or the base.

        What is of a later term than `term` is not in the other log, and of what conflicts at
        `index` the whole term is left out, so that a term costs one refusal (Raft §5.3).
        """
        conflict = bisect_left(self._ends, index)
        if conflict < len(self._batches):
            term = min(term, self._batches[conflict].term - 1)
        position = bisect_right(self._batches, term, hi=conflict, key=_term_of)
        return self._ends[position - 1] if position else self.base.index

    def since(self, index: int, batch_count: int, byte_count: int) -> tuple[Batch, ...]:
        """Batches behind `index`, the end of a batch: at most `batch_count` of them, and as many as
        `byte_count` bytes hold, but at least one if there is any."""
        position = bisect_right(self._ends, index)
        chosen: list[Batch] = []
        room = byte_count
        for batch in self._batches[position : position + batch_count]:
            room -= len(batch.blob)
            if room < 0 and chosen:
                break
            chosen.append(batch)
        return tuple(chosen)

    def between(self, index: int, last_index: int) -> list[Batch]:
        """Batches behind `index` up to the one that ends at `last_index`; both ends of batches."""
        first = bisect_right(self._ends, index)
        behind = bisect_right(self._ends, last_index)
        return self._batches[first:behind]

    def holding(self, index: int, batch_count: int) -> tuple[Batch, ...]:
        """The batch that holds `index` and those behind it, at most `batch_count`."""
        position = bisect_left(self._ends, index)
        return tuple(self._batches[position : position + batch_count])

    def fits(self, keep_index: int, batches: tuple[Batch, ...]) -> bool:
        """Whether rules 3 and 5 let `batches` stand behind `keep_index`, a position of this log."""
        position = bisect_right(self._ends, keep_index)
        last: Batch | LogBase = self._batches[position - 1] if position else self.base
        return all(
            earlier.term <= later.term and earlier.clock <= later.clock
            for earlier, later in pairwise((last, *batches))
        ) and all(batch.count == 1 for batch in batches if batch.voters)

    def append(self, batches: tuple[Batch, ...]) -> None:
        for batch in batches:
            assert batch.index == self.last_index + 1, "a gap in the log"
            assert batch.count >= 1, "an empty batch"
            assert batch.term >= self.last_term, "terms go down along the log"
            assert batch.clock >= self.last_clock, "the clock goes back along the log"
            self._batches.append(batch)
            self._ends.append(batch.last_index)
            if batch.voters:
                self._configurations.append((batch.index, batch.voters))
            self.byte_count += len(batch.blob)

    def commit(self, index: int) -> None:
        """What stands up to `index` is committed."""
        assert index <= self.last_index, "what is not there would be committed"
        self.commit_index = max(self.commit_index, index)

    def truncate(self, keep_index: int) -> None:
        """Drop every batch behind `keep_index`, which is the end of a batch or the base."""
        assert keep_index >= self.commit_index, "a committed batch would be dropped"
        position = bisect_right(self._ends, keep_index)
        kept = self._ends[position - 1] if position else self.base.index
        assert kept == keep_index, "a batch would be split"
        for batch in self._batches[position:]:
            self.byte_count -= len(batch.blob)
        del self._batches[position:]
        del self._ends[position:]
        while self._configurations and self._configurations[-1][0] > keep_index:
            self._configurations.pop()
        self.first_held_index = min(self.first_held_index, keep_index)

    def trailing(self, index: int, entry_count: int, byte_count: int) -> int:
        """The first position before `index`, the end of a batch, behind which stand at most so many
        entries and bytes up to there."""
        position = first = bisect_right(self._ends, index)
        room = byte_count
        while first and index - self._batches[first - 1].index < entry_count:
            room -= len(self._batches[first - 1].blob)
            if room < 0:
                break
            first -= 1
        assert first <= position
        return self._ends[first - 1] if first else self.base.index

    def compact(self, index: int) -> None:
        """Drop every batch up to `index`, the end of one: it is in a snapshot (Raft §7)."""
        assert self.base.index <= index <= self.commit_index, "what is not committed would be lost"
        base = self.base_at(index)
        assert base is not None, "a batch would be split"
        position = bisect_right(self._ends, index)
        for batch in self._batches[:position]:
            self.byte_count -= len(batch.blob)
        del self._batches[:position]
        del self._ends[:position]
        self._begin_at(base)

    def replace(self, base: LogBase) -> bool:
        """A snapshot that ends at `base` was installed (Raft figure 13, steps 6 and 7): whether
        what stands behind it could stay. What this log has committed is in the snapshot."""
        assert base.index >= self.commit_index, "a snapshot that is older than what is committed"
        if self.term_at(base.index) == base.term:
            self.commit(base.index)
            self.compact(base.index)
            return True
        self._batches.clear()
        self._ends.clear()
        self._configurations.clear()
        self.byte_count = 0
        self.first_held_index = min(self.first_held_index, self.commit_index)
        self._begin_at(base)
        return False

    def _begin_at(self, base: LogBase) -> None:
        self.base = base
        self.commit_index = max(self.commit_index, base.index)
        behind = [known for known in self._configurations if known[0] > base.index]
        at = base.configuration_index or base.index
        self._configurations = [(at, base.voters), *behind] if base.voters else behind


def _term_of(batch: Batch) -> int:
    return batch.term
