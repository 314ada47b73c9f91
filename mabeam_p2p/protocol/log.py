"""The log as one peer holds it: batches in order of index, without a gap.

It knows what stands where and how far it is committed, and nothing of leaders. The whole log is
in memory; what is durable is the business of whoever emits the Persist.

Rules
1. A batch is atomic: it is appended, compared and dropped whole. The leader that made it never
   splits it, so two logs that hold a batch with the same last index and term hold the same batch
   (Log Matching, Raft §5.3, by batches).
2. Therefore only the end of a batch (or 0) is ever a position between two peers.
3. Terms and clocks never go down along the log.
4. A configuration is an entry in a batch of its own, and is in effect while it stands in the log,
   committed or not (Raft thesis §4.1).
"""

from bisect import bisect_left, bisect_right
from itertools import pairwise

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch


class Log:
    """Batches, found by index in logarithmic time."""

    __slots__ = ("_batches", "_configurations", "_ends", "byte_count", "commit_index")

    def __init__(self, batches: tuple[Batch, ...] = ()) -> None:
        self._batches: list[Batch] = []
        self._ends: list[int] = []
        self._configurations: list[tuple[int, tuple[PeerId, ...]]] = []
        self.byte_count = 0
        self.commit_index = 0
        """The last index known to be committed; it never goes back."""
        self.append(batches)

    @property
    def last_index(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def last_term(self) -> int:
        return self._batches[-1].term if self._batches else 0

    @property
    def last_clock(self) -> int:
        return self._batches[-1].clock if self._batches else 0

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
        """Term of the batch that ends at `index`; 0 at index 0; None if no batch ends there."""
        if index == 0:
            return 0
        position = bisect_left(self._ends, index)
        if position < len(self._ends) and self._ends[position] == index:
            return self._batches[position].term
        return None

    def end_at_or_before(self, index: int) -> int:
        """The last index of the newest batch that ends at `index` or before; 0 if there is none."""
        position = bisect_right(self._ends, index)
        return self._ends[position - 1] if position else 0

    def agreement_before(self, index: int, term: int) -> int:
        """Where another log, with a batch of `term` that ends at `index`, may agree with this one,
        which has no such batch: an end of a batch before `index`, or 0.

        What is of a later term than `term` is not in the other log, and of what conflicts at
        `index` the whole term is left out, so that a term costs one refusal (Raft §5.3).
        """
        conflict = bisect_left(self._ends, index)
        if conflict < len(self._batches):
            term = min(term, self._batches[conflict].term - 1)
        position = bisect_right(self._batches, term, hi=conflict, key=_term_of)
        return self._ends[position - 1] if position else 0

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
        """Whether rules 3 and 4 let `batches` stand behind `keep_index`, an end of a batch or 0."""
        position = bisect_right(self._ends, keep_index)
        behind = (self._batches[position - 1], *batches) if position else batches
        return all(
            earlier.term <= later.term and earlier.clock <= later.clock
            for earlier, later in pairwise(behind)
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
        """Drop every batch behind `keep_index`, which is the end of a batch or 0."""
        assert keep_index >= self.commit_index, "a committed batch would be dropped"
        position = bisect_right(self._ends, keep_index)
        assert (self._ends[position - 1] if position else 0) == keep_index, "a batch would be split"
        for batch in self._batches[position:]:
            self.byte_count -= len(batch.blob)
        del self._batches[position:]
        del self._ends[position:]
        while self._configurations and self._configurations[-1][0] > keep_index:
            self._configurations.pop()


def _term_of(batch: Batch) -> int:
    return batch.term
