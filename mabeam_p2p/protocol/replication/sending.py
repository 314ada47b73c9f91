"""A leader's side of snapshots: to a follower that needs what the log no longer holds, the newest
snapshot is sent in pieces (Raft §7).

Rules
1. One transfer to a follower at a time, and one piece of it under way, so that appends to the
   others and heartbeats to all go on.
2. It begins with the question how much of this snapshot the follower has, whoever sent it; so it
   goes on where it was after a loss, a new connection or a new leader.
3. The answer to a piece moves the transfer forward only. What stays unanswered is followed by the
   question, not by the piece: to a peer that is gone almost nothing is sent, and a copy of an
   answer causes no copy of a piece.
4. A transfer goes on with the snapshot with which it began, though a newer one be taken.
"""

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import InstallSnapshot, SnapshotReply
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.replication.progress import Progress, Transfer
from mabeam_p2p.records import Snapshot


class Sending:
    """The transfers of one term."""

    def __init__(
        self,
        term: int,
        *,
        log_id: int,
        term_persist: int,
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
    ) -> None:
        self._term = term
        self._log_id = log_id
        self._term_persist = term_persist
        self._timing = timing
        self._limits = limits
        self._outbox = outbox

    def begin(self, peer: PeerId, progress: Progress, snapshot: Snapshot, now: float) -> None:
        self._send(peer, progress.transfer_of(snapshot, now), now)

    def receive(self, peer: PeerId, progress: Progress, reply: SnapshotReply, now: float) -> bool:
        """Whether the follower has installed the snapshot."""
        transfer = progress.transfer
        if transfer is None or (reply.index, reply.digest) != (
            transfer.snapshot.base.index,
            transfer.snapshot.digest,
        ):
            return False
        if reply.installed:
            progress.acknowledged(transfer.snapshot.base.index)
            progress.probe_from(transfer.snapshot.base.index)
            return True
        is_news = transfer.asks or reply.offset > transfer.offset
        if is_news and reply.offset <= len(transfer.snapshot.data):
            transfer.offset = reply.offset
            transfer.asks = False
            transfer.answered_at = now
            self._send(peer, transfer, now)
        return False

    def ask_again(self, peer: PeerId, progress: Progress, now: float) -> None:
        """If what is under way has stayed unanswered."""
        transfer = progress.transfer
        if transfer and now - transfer.sent_at >= self._timing.append_timeout_seconds:
            transfer.asks = True
            self._send(peer, transfer, now)

    def _send(self, peer: PeerId, transfer: Transfer, now: float) -> None:
        snapshot, offset = transfer.snapshot, transfer.offset
        transfer.sent_at = now
        end = offset if transfer.asks else offset + self._limits.snapshot_chunk_bytes
        piece = InstallSnapshot(
            self._log_id,
            self._term,
            snapshot.base,
            snapshot.digest,
            len(snapshot.data),
            offset,
            snapshot.data[offset:end],
        )
        self._outbox.send(peer, piece, self._term_persist)
