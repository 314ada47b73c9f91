"""A state of all voters: their cores, their disks, what is under way, and what was ever claimed."""

from collections.abc import Hashable
from typing import NamedTuple

from mabeam_p2p.messages import Message
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.records import Batch, HardState, LogAppend


class Disk(NamedTuple):
    state: HardState
    batches: tuple[Batch, ...]

    def written(self, record: object) -> "Disk":
        match record:
            case HardState():
                return self._replace(state=record)
            case LogAppend(keep_index=keep_index, batches=batches):
                kept = tuple(b for b in self.batches if b.index <= keep_index)
                return self._replace(batches=kept + batches)
            case _:
                raise AssertionError(f"not a record of the log: {record}")

    def holds(self, last_index: int, term: int) -> bool:
        return last_index == 0 or any(
            batch.last_index == last_index and batch.term == term for batch in self.batches
        )


class Actor(NamedTuple):
    """One voter. The core is never changed, but copied."""

    core: Replication
    disk: Disk
    frozen: int
    """Stands for all that the core holds."""
    is_fresh: bool
    """Whether it has done nothing yet."""


Parcel = tuple[int, int, Message]
"""Source and target by their places, and what is under way."""


class Ghost(NamedTuple):
    """What was ever claimed."""

    leaders: tuple[tuple[int, int], ...] = ()
    """(term, place), sorted."""
    votes: tuple[tuple[int, int, int], ...] = ()
    """(place, term, for whom), sorted."""
    committed: tuple[Batch, ...] = ()


class Moment(NamedTuple):
    """A state of all of them."""

    actors: tuple[Actor, ...]
    parcels: frozenset[Parcel]
    ghost: Ghost
    stands: int
    proposals: int
    beats: int
    crashes: int
    copies: int

    def key(self) -> Hashable:
        actors = tuple((actor.frozen, actor.is_fresh) for actor in self.actors)
        return hash((actors, self.parcels, self.ghost, self[3:]))
