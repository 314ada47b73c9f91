"""How far one follower is, as its leader knows it, and how much may be on the way to it.

A follower is in one of three states (etcd's progress; Raft thesis §10.2.1):

    probe       one AppendEntries at a time, until one succeeds: where the logs agree is not known
    replicate   AppendEntries are pipelined, bounded in number and in bytes
    snapshot    it needs what the log no longer holds: nothing but the snapshot is sent (`sending`)

An append that stays unanswered, or a restart, leads back to probe.
"""

from collections import deque
from enum import Enum
from typing import NamedTuple

from mabeam_p2p.config import Limits
from mabeam_p2p.records import Snapshot


class FollowerState(Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Inflight(NamedTuple):
    """One AppendEntries under way."""

    previous_index: int
    last_index: int
    sent_at: float
    byte_count: int


class Transfer:
    """A snapshot on its way to one follower, piece by piece."""

    __slots__ = ("answered_at", "asks", "offset", "sent_at", "snapshot")

    def __init__(self, snapshot: Snapshot, now: float) -> None:
        self.snapshot = snapshot
        self.offset = 0
        """Bytes that the follower is known to have."""
        self.asks = True
        """Whether what is under way asks how much it has; else it is the next piece."""
        self.sent_at = now
        self.answered_at = now


class Progress:
    """What a leader keeps about one follower."""

    __slots__ = (
        "contact",
        "inflight",
        "inflight_bytes",
        "match_index",
        "round",
        "sent_index",
        "state",
        "transfer",
    )

    def __init__(self, sent_index: int, now: float) -> None:
        self.match_index = 0
        """Last index known to be durable there and equal to ours."""
        self.sent_index = sent_index
        """Last index that was sent; what it holds beyond match_index is a guess."""
        self.state = FollowerState.PROBE
        self.transfer: Transfer | None = None
        """In state snapshot alone."""
        self.inflight: deque[Inflight] = deque()
        self.inflight_bytes = 0
        self.round = 0
        self.contact = now

    @property
    def probing(self) -> bool:
        return self.state is FollowerState.PROBE

    def has_room(self, limits: Limits) -> bool:
        """Whether one more AppendEntries may be sent; a follower without room is paused."""
        match self.state:
            case FollowerState.PROBE:
                return not self.inflight
            case FollowerState.REPLICATE:
                return (
                    len(self.inflight) < limits.inflight_appends_max
                    and self.inflight_bytes < limits.inflight_bytes_max
                )
            case FollowerState.SNAPSHOT:
                return False

    def sent(self, previous_index: int, last_index: int, byte_count: int, now: float) -> None:
        self.sent_index = last_index
        self.inflight.append(Inflight(previous_index, last_index, now, byte_count))
        self.inflight_bytes += byte_count

    def acknowledged(self, match_index: int) -> None:
        """It holds our log up to there, durably."""
        self.match_index = max(self.match_index, match_index)
        self.sent_index = max(self.sent_index, self.match_index)
        while self.inflight and self.inflight[0].last_index <= self.match_index:
            self.inflight_bytes -= self.inflight.popleft().byte_count

    def replicate(self) -> None:
        """An append has succeeded."""
        self.state = FollowerState.REPLICATE
        self.transfer = None

    def probe_from(self, index: int) -> None:
        self.state = FollowerState.PROBE
        self.transfer = None
        self.sent_index = max(index, self.match_index)
        self._forget_inflight()

    def transfer_of(self, snapshot: Snapshot, now: float) -> Transfer:
        """It is sent `snapshot` from now on, and nothing else."""
        self.state = FollowerState.SNAPSHOT
        self.transfer = Transfer(snapshot, now)
        self._forget_inflight()
        return self.transfer

    def _forget_inflight(self) -> None:
        self.inflight.clear()
        self.inflight_bytes = 0
