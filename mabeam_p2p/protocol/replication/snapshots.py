"""The snapshot of one peer, in every role: taken here, or received from a leader in pieces and
installed (Raft §7, figure 13; thesis §5).

Rules
1. The last entry that is included never goes back, and is never behind what is committed here: an
   older snapshot changes nothing, however late it comes, and what is committed is never dropped.
2. A received snapshot replaces nothing before all of it is here, its hash is right, and the
   machine has taken it.
3. A log that holds the snapshot's last entry, of the same term, keeps what follows; any other one
   goes as a whole (figure 13, steps 6 and 7). The configuration comes with the snapshot.
4. Snapshot and log change in one record, and what says so waits until that is durable.
5. The prefix of the log goes with the snapshot that takes its place; some entries before it stay
   for slow followers.
"""

from collections.abc import Callable

from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import InstallSnapshot, SnapshotReply
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.replication.following import Following
from mabeam_p2p.protocol.replication.term import Term
from mabeam_p2p.records import LogBase, Snapshot, SnapshotStored

TRAILING_SHARE = 4
"""Entries that stay before a snapshot take at most this part of `snapshot_bytes`."""
HELD_SHARE = 4
"""A log that waits for a transfer to end grows to so many times `snapshot_bytes` at most, or to the
size of the snapshot if that is more: a large state travels for longer."""


class _Partial:
    """What is here of a snapshot that is being sent."""

    __slots__ = ("base", "data", "digest", "size", "term")

    def __init__(self, piece: InstallSnapshot) -> None:
        self.base = piece.base
        self.digest = piece.digest
        self.size = piece.size
        self.term = piece.term
        """Of the leader that sent the last piece."""
        self.data = bytearray()

    def is_of(self, piece: InstallSnapshot) -> bool:
        return (self.base, self.digest, self.size) == (piece.base, piece.digest, piece.size)


class Snapshots:
    """See the module. `take_in`: becomes the state that a snapshot holds; False, and nothing has
    changed, if it holds none, or its hash is another."""

    def __init__(
        self,
        latest: Snapshot | None,
        log: Log,
        term: Term,
        following: Following,
        *,
        take_in: Callable[[Snapshot], bool],
        limits: Limits,
        log_id: int,
        outbox: Outbox,
    ) -> None:
        self.latest = latest
        self._log = log
        self._term = term
        self._following = following
        self._take_in = take_in
        self._limits = limits
        self._log_id = log_id
        self._outbox = outbox
        self._partial: _Partial | None = None

    @property
    def index(self) -> int:
        """Of the last entry that the snapshot of this peer includes; 0: it has none."""
        return self.latest.base.index if self.latest else 0

    @property
    def partial_bytes(self) -> int:
        """What is here of a snapshot that is being sent."""
        return len(self._partial.data) if self._partial else 0

    # ---- taken here ----------------------------------------------------------------------------

    def store(self, snapshot: Snapshot, held_from: int | None, trailing_entries: int) -> None:
        """A snapshot of what this peer has applied. held_from: the log behind this position is on
        its way to a follower that has a snapshot coming; None: there is none. The same one again
        drops what still stands before it."""
        log, base = self._log, snapshot.base
        is_newer = self.index < base.index or (self.index == base.index > log.base.index)
        assert is_newer, "a snapshot goes back"
        assert base.index <= log.commit_index, "a snapshot goes ahead"
        assert log.base_at(base.index) == base, "a snapshot of another log"
        self.latest = snapshot
        room = self._limits.snapshot_bytes // TRAILING_SHARE
        keep_index = log.trailing(base.index, trailing_entries, room)
        held_bytes = max(HELD_SHARE * self._limits.snapshot_bytes, len(snapshot.data))
        if held_from is not None and log.byte_count <= held_bytes:
            keep_index = min(keep_index, max(held_from, log.base.index))
        log.compact(keep_index)
        record = SnapshotStored(self._log_id, snapshot, log.base, keeps_tail=True)
        self._outbox.persist(record)
        if self._partial is not None and self._partial.base.index <= log.commit_index:
            self._partial = None

    # ---- received ------------------------------------------------------------------------------

    def receive(self, source: PeerId, piece: InstallSnapshot) -> bool:
        """A piece from the leader of this term. False: no leader sends such a thing."""
        if piece.base.index <= self._log.commit_index:
            # Rule 1. All that it holds is here, and is the leader's (Raft §5.4.3).
            self._answer(source, piece, installed=True)
            return True
        if not self._is_possible(piece):
            return False
        partial = self._partial
        if partial is None or not partial.is_of(piece):
            if partial is not None and (piece.term, piece.base.index) < (
                partial.term,
                partial.base.index,
            ):
                return True
            partial = self._partial = _Partial(piece)
        partial.term = piece.term
        if piece.offset == len(partial.data):
            partial.data += piece.data
        if len(partial.data) == partial.size:
            return self._install(source, piece, partial)
        self._answer(source, piece)
        return True

    def _is_possible(self, piece: InstallSnapshot) -> bool:
        return (
            bool(piece.base.voters)
            and piece.base.configuration_index <= piece.base.index
            and piece.base.term <= piece.term
            and 0 < piece.size <= self._limits.snapshot_bytes_max
            and piece.offset + len(piece.data) <= piece.size
        )

    def _install(self, source: PeerId, piece: InstallSnapshot, partial: _Partial) -> bool:
        """All of it is here (rules 2 to 4)."""
        self._partial = None
        snapshot = Snapshot(partial.base, partial.digest, bytes(partial.data))
        if not self._take_in(snapshot):
            self._answer(source, piece)
            return False
        self.latest = snapshot
        keeps_tail = self._log.replace(snapshot.base)
        record = SnapshotStored(self._log_id, snapshot, self._log.base, keeps_tail)
        self._following.installed(snapshot.base.index, self._outbox.persist(record))
        self._answer(source, piece, installed=True)
        return True

    def refuse(self, target: PeerId, piece: InstallSnapshot) -> None:
        """A piece of an older term."""
        self._answer(target, replace(piece, base=LogBase(piece.base.index)))

    def _answer(self, target: PeerId, piece: InstallSnapshot, *, installed: bool = False) -> None:
        held = len(self._partial.data) if self._partial and self._partial.is_of(piece) else 0
        index, number = piece.base.index, self._term.number
        reply = SnapshotReply(self._log_id, number, index, piece.digest, held, installed)
        after = max(self._following.log_persist if installed else 0, self._term.persist)
        self._outbox.send(target, reply, after)
