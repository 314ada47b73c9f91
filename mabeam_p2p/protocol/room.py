"""What a leader still takes when its disk is getting full.

Rules
1. From nine tenths on it takes only what keeps the log going (`UPKEEP`): were leases renewed by
   nothing, all would end at the first entry after it, as the log's clock goes on.
2. From nineteen twentieths on it takes nothing: what is left is for a snapshot.

Entries that a leader makes for the log's own sake, its first one and changes of the voters, are not
asked about: without them there is no leader to tell.
"""

from collections.abc import Callable, Sequence

from mabeam_p2p.commands import AnyCommand, CloseSession, DepartPeer, KeepAlive, Tick
from mabeam_p2p.records import DiskUsage

UPKEEP = (CloseSession, DepartPeer, KeepAlive, Tick)
"""They are small, add nothing to the state, and set free what others wait for."""

Decode = Callable[[int, bytes], Sequence[AnyCommand]]


class Room:
    """How full one peer's disk is."""

    def __init__(self, decode: Decode | None = None) -> None:
        """decode: the commands, given their count, of a blob that can be read. None: none are
        upkeep."""
        self.usage: DiskUsage | None = None
        """As far as was told."""
        self._decode = decode

    @property
    def is_short(self) -> bool:
        """Whether a leader would refuse commands for want of it."""
        return self.usage is not None and self.usage.is_nearly_full

    def takes(self, count: int, blob: bytes) -> bool:
        """Whether there is room for these commands."""
        if self.usage is None or not self.usage.is_nearly_full:
            return True
        if self.usage.is_full or self._decode is None:
            return False
        return all(isinstance(command, UPKEEP) for command in self._decode(count, blob))
