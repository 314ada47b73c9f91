"""What a leader knows for the length of its term: how far each follower is, who was heard when,
which reads wait. Made at election, thrown away at step-down.

Rules
1. AppendEntries leave before the leader's own disk has the batch (Raft thesis §10.2.1), but never
   before its term is durable.
2. Only a batch of its own term, held durably by a majority of the voters, moves the commit index
   (Raft §5.4.2, figure 8). The leader counts itself when its own disk has the batch.
3. How much may be on the way to a follower, its state in `progress` says. To one that needs what
   the log no longer holds goes a snapshot (`sending`).
4. Contact counts from the moment at which the answered heartbeat was sent, so that leadership ends
   no later than a successor's election timeout begins (Raft §6).
5. A read is confirmed by a round of heartbeats that began after it was asked, and only after an
   entry of this term was committed (Raft thesis §6.4).
6. While it hands over it takes no commands, and changes no voters (`transfer`).
7. Voters are those of the latest configuration in the log, also for what stands before it. A leader
   that is none of them does not count itself (Raft thesis §4.2.2).
"""

from collections import deque
from math import inf

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Heartbeat,
    HeartbeatReply,
    SnapshotReply,
)
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.quorum import held_by_majority, held_by_majority_since
from mabeam_p2p.protocol.replication.configuration import Objection, objection_to
from mabeam_p2p.protocol.replication.progress import Progress
from mabeam_p2p.protocol.replication.reads import Reads
from mabeam_p2p.protocol.replication.sending import Sending
from mabeam_p2p.protocol.replication.snapshots import Snapshots
from mabeam_p2p.protocol.replication.transfer import Transfer
from mabeam_p2p.records import Batch, LogAppend


class Leadership:
    """The leader's side of one term of one log."""

    def __init__(
        self,
        peer: PeerId,
        term: int,
        log: Log,
        snapshots: Snapshots,
        *,
        log_id: int,
        term_persist: int,
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        now: float,
    ) -> None:
        self.first_index = log.last_index + 1
        """Index of this term's first entry: the no-op."""
        self.progress: dict[PeerId, Progress] = {}
        self.durable_index = 0
        """Last index of this term that its own disk has; older ones count for nothing (rule 2)."""
        self.has_progressed = True
        """Whether a position that counts has moved since `committable` was last asked."""
        self.uncommitted_bytes = 0
        self.transfer: Transfer | None = None
        """The hand-over that is under way."""
        self.transfer_failure = ""
        """Why the last one failed; empty while none has."""
        self._peer = peer
        self._term = term
        self._log = log
        self._snapshots = snapshots
        self._log_id = log_id
        self._term_persist = term_persist
        self._timing = timing
        self._limits = limits
        self._outbox = outbox
        self._sending = Sending(
            term,
            log_id=log_id,
            term_persist=term_persist,
            timing=timing,
            limits=limits,
            outbox=outbox,
        )
        self._elected_at = now
        self._clock_base = log.last_clock
        self._waiting: list[tuple[int, bytes, tuple[PeerId, ...]]] = []
        self.is_configuring = False
        """Whether a configuration waits for the end of the turn."""
        self._waiting_bytes = 0
        self._persists: deque[tuple[int, int, int]] = deque()
        """(number, last index, bytes) of each Persist of batches that is not durable yet."""
        self._unstored_bytes = 0
        self._heartbeat_due = now
        self._round = 0
        self._round_times: dict[int, float] = {}
        self.reads = Reads(peer, log_id=log_id, term_persist=term_persist, outbox=outbox)
        for voter in log.voters:
            self._follow(voter, now)

    # ---- followers ---------------------------------------------------------------------------

    def set_learners(self, learners: tuple[PeerId, ...], now: float) -> None:
        """Replicate to these members too; they never count."""
        for learner in learners:
            self._follow(learner, now)
        for peer in [p for p in self.progress if p not in self._log.voters and p not in learners]:
            del self.progress[peer]

    def _follow(self, peer: PeerId, now: float) -> None:
        if peer != self._peer and peer not in self.progress:
            self.progress[peer] = Progress(self._log.last_index, now)

    def restarted(self, peer: PeerId) -> None:
        """A follower runs anew: what was under way to it is gone. Where it is, it will say."""
        progress = self.progress.get(peer)
        if progress is not None:
            progress.probe_from(self._log.last_index)

    # ---- appending ---------------------------------------------------------------------------

    def clock(self, now: float) -> int:
        """The log's clock: goes on from where the log ends, at the pace of this peer's own."""
        elapsed = int((now - self._elected_at) * 1_000_000)
        return max(self._clock_base + elapsed, self._log.last_clock)

    @property
    def held_bytes(self) -> int:
        """Of commands that are not committed yet, or wait for this peer's own disk."""
        return max(self.uncommitted_bytes, self._unstored_bytes) + self._waiting_bytes

    def append(self, count: int, blob: bytes) -> bool:
        """Take commands for the next batch. False, and nothing is taken, when too much is
        uncommitted, or waits for this peer's own disk, and while it hands over."""
        if self.transfer is not None:
            return False
        if self.held_bytes + len(blob) > self._limits.uncommitted_bytes_max:
            return False
        self._waiting.append((count, blob, ()))
        self._waiting_bytes += len(blob)
        return True

    def configure(self, voters: tuple[PeerId, ...], blob: bytes, expected_index: int) -> Objection:
        """Take a configuration for a batch of its own; `blob`: the command that says the same."""
        if self.transfer is not None:
            return Objection.PENDING
        objection = objection_to(
            voters,
            expected_index=expected_index,
            log=self._log,
            first_index=self.first_index,
            is_waiting=self.is_configuring,
            voters_max=self._limits.voters_max,
        )
        if objection is Objection.NONE:
            self.is_configuring = True
            self._waiting.append((1, blob, voters))
            self._waiting_bytes += len(blob)
        return objection

    def append_waiting(self, now: float) -> None:
        """Make batches of what has been taken; send them, then persist them."""
        if not self._waiting:
            return
        batches = self._batches(now)
        keep_index = self._log.last_index
        taken_bytes, self._waiting_bytes = self._waiting_bytes, 0
        self.uncommitted_bytes += taken_bytes
        self._unstored_bytes += taken_bytes
        self._waiting.clear()
        appended = tuple(batches)
        self._log.append(appended)
        if self.is_configuring:
            self.is_configuring = False
            self.has_progressed = True
            for voter in self._log.voters:
                self._follow(voter, now)
        for peer, progress in self.progress.items():
            self._replicate(peer, progress, now)
        number = self._outbox.persist(LogAppend(self._log_id, keep_index, appended))
        self._persists.append((number, self._log.last_index, taken_bytes))

    def _batches(self, now: float) -> list[Batch]:
        """What has been taken, in batches within limits; a configuration in one of its own."""
        batches: list[Batch] = []
        index = self._log.last_index + 1
        clock = self.clock(now)
        runs: list[bytes] = []
        count = byte_count = 0
        is_closed = False
        voters: tuple[PeerId, ...] = ()
        for run_count, blob, run_voters in self._waiting:
            if runs and (
                is_closed
                or run_voters
                or byte_count + len(blob) > self._limits.batch_bytes_max
                or count + run_count > self._limits.batch_commands_max
            ):
                batches.append(Batch(index, count, self._term, clock, b"".join(runs), voters))
                index += count
                runs, count, byte_count = [], 0, 0
            voters, is_closed = run_voters, bool(run_voters)
            runs.append(blob)
            count += run_count
            byte_count += len(blob)
        batches.append(Batch(index, count, self._term, clock, b"".join(runs), voters))
        return batches

    def stored(self, number: int) -> None:
        """Persist `number` is durable, and so is every one before."""
        while self._persists and self._persists[0][0] <= number:
            _, last_index, byte_count = self._persists.popleft()
            self.durable_index = max(self.durable_index, last_index)
            self._unstored_bytes -= byte_count
            self.has_progressed = True

    def _replicate(self, peer: PeerId, progress: Progress, now: float) -> None:
        """Send what is due to one follower, as far as the window allows. To one that probes, also
        if it is nothing: it may not know yet that its log is ours."""
        limits = self._limits
        while progress.has_room(limits) and (
            progress.probing or progress.sent_index < self._log.last_index
        ):
            previous = progress.sent_index
            previous_term = self._log.term_at(previous)
            if previous_term is None:
                snapshot = self._snapshots.latest
                assert snapshot is not None, "the leader's own log lost a position"
                self._sending.begin(peer, progress, snapshot, now)
                return
            batches = self._log.since(previous, limits.append_batches_max, limits.append_bytes_max)
            message = AppendEntries(
                self._log_id, self._term, previous, previous_term, self._log.commit_index, batches
            )
            self._outbox.send(peer, message, self._term_persist)
            last_index = batches[-1].last_index if batches else previous
            progress.sent(previous, last_index, sum(len(b.blob) for b in batches), now)

    # ---- answers -----------------------------------------------------------------------------

    def receive_append_reply(self, source: PeerId, reply: AppendReply, now: float) -> None:
        progress = self.progress.get(source)
        if progress is None or reply.match_index > self._log.last_index:
            return
        if reply.success:
            if not self._is_position(reply.match_index):
                return
            self.has_progressed = True
            progress.acknowledged(reply.match_index)
            progress.catch_up.matched(
                progress.match_index,
                self._log.last_index,
                self._timing.election_timeout_seconds,
                now,
            )
            # Of a follower that waits for a snapshot, only news that it needs none is of use.
            if progress.transfer is None or progress.match_index >= self._log.base.index:
                progress.replicate()
        elif reply.previous_index > progress.match_index and any(
            sent.previous_index == reply.previous_index for sent in progress.inflight
        ):
            progress.probe_from(self._log.end_at_or_before(reply.match_index))
        self._replicate(source, progress, now)

    def receive_snapshot_reply(self, source: PeerId, reply: SnapshotReply, now: float) -> None:
        progress = self.progress.get(source)
        if progress is not None and self._sending.receive(source, progress, reply, now):
            self.has_progressed = True
            self._replicate(source, progress, now)

    def _is_position(self, index: int) -> bool:
        """Whether a batch ends at `index`, as far as can be known: before the base there were."""
        return index < self._log.base.index or self._log.term_at(index) is not None

    def receive_heartbeat_reply(self, source: PeerId, reply: HeartbeatReply, now: float) -> None:
        progress = self.progress.get(source)
        if progress is None or reply.round > self._round:
            return
        progress.round = max(progress.round, reply.round)
        progress.contact = max(progress.contact, self._round_times.get(reply.round, 0.0))
        self._resend_unanswered(source, progress, now)
        self._replicate(source, progress, now)

    def _resend_unanswered(self, peer: PeerId, progress: Progress, now: float) -> None:
        self._sending.ask_again(peer, progress, now)
        oldest = progress.inflight[0] if progress.inflight else None
        patience = self._timing.append_timeout_seconds
        if self.transfer is not None and self.transfer.target == peer:
            patience = self._timing.heartbeat_seconds  # Commands wait for this one.
        if oldest and now - oldest.sent_at >= patience:
            progress.probe_from(oldest.previous_index)

    def transfers_from(self, now: float) -> int | None:
        """The least index of the snapshots that are on the way to followers that answer; None: of
        none. What stands behind it will be wanted next."""
        patience = 2 * self._timing.append_timeout_seconds
        return min(
            (
                progress.transfer.snapshot.base.index
                for progress in self.progress.values()
                if progress.transfer and now - progress.transfer.answered_at <= patience
            ),
            default=None,
        )

    # ---- commitment --------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit what rule 2 allows, and tell every follower at once."""
        if not self.has_progressed:
            return
        self.has_progressed = False
        positions = [
            self.durable_index if voter == self._peer else self.progress[voter].match_index
            for voter in self._log.voters
        ]
        held = self._log.end_at_or_before(held_by_majority(positions))
        if held <= self._log.commit_index or self._log.term_at(held) != self._term:
            return
        for batch in self._log.between(self._log.commit_index, held):
            if batch.term == self._term:
                self.uncommitted_bytes -= len(batch.blob)
        self._log.commit(held)
        message = CommitAdvance(self._log_id, self._term, held)
        for peer in self.progress:
            self._outbox.send(peer, message, self._term_persist)

    # ---- what a change of the voters rests on ------------------------------------------------

    def silence(self, peer: PeerId, now: float) -> float:
        """Seconds since the sending of the last heartbeat that `peer` has answered, or since it is
        followed; 0 for this peer."""
        if peer == self._peer:
            return 0.0
        progress = self.progress.get(peer)
        return inf if progress is None else now - progress.contact

    def has_caught_up(self, peer: PeerId, now: float) -> bool:
        """Whether the cluster would not wait for `peer` if it voted (Raft thesis §4.2.1)."""
        progress = self.progress.get(peer)
        timeout = self._timing.election_timeout_seconds
        return (
            progress is not None
            and now - progress.contact < timeout
            and progress.catch_up.is_caught_up(timeout, progress.match_index, now)
        )

    # ---- handing over ------------------------------------------------------------------------

    def hand_over(self, target: PeerId, now: float) -> None:
        """Have a voter take the lead (Raft thesis §3.10). One at a time."""
        assert self.transfer is None, "two hand-overs at a time"
        progress = self.progress[target]
        self.transfer = Transfer(target, self._timing, now)
        self.transfer_failure = ""
        self._resend_unanswered(target, progress, now)
        self._replicate(target, progress, now)

    def advance_transfer(self, now: float) -> None:
        """Go on with it, or end it. Called when everything that was taken has been appended."""
        transfer = self.transfer
        if transfer is None:
            return
        progress = self.progress.get(transfer.target)
        if progress is None or now >= transfer.ends_at:
            self.transfer, self.transfer_failure = None, transfer.failure
            return
        transfer.advance(
            self._log,
            progress,
            log_id=self._log_id,
            term=self._term,
            term_persist=self._term_persist,
            round_number=self._round,
            outbox=self._outbox,
        )

    def is_caught_up(self, peer: PeerId, now: float) -> bool:
        """Whether the peer holds all that is committed, as it has said itself just now: within two
        heartbeats, so that its link is as good as that."""
        progress = self.progress.get(peer)
        if progress is None or progress.probing:
            return False
        is_near = now - progress.contact <= 2 * self._timing.heartbeat_seconds
        return is_near and progress.match_index >= self._log.commit_index

    def is_heard(self, peer: PeerId, now: float) -> bool:
        """Whether the peer itself has answered this leader within the election timeout: who was
        just elected has heard nobody yet."""
        progress = self.progress.get(peer)
        return progress is not None and progress.round > 0 and self.is_in_contact(peer, now)

    def is_in_contact(self, peer: PeerId, now: float) -> bool:
        """Whether the peer has answered within the election timeout."""
        progress = self.progress.get(peer)
        timeout = self._timing.election_timeout_seconds
        return progress is not None and now - progress.contact < timeout

    # ---- time --------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        due = min(self._heartbeat_due, self._contact_ends())
        return due if self.transfer is None else min(due, self.transfer.ends_at)

    def has_quorum(self, now: float) -> bool:
        """Whether a majority, this peer included, was in contact within the election timeout."""
        return now < self._contact_ends()

    def answered_at(self, now: float) -> float:
        """When a majority, this peer included, was last in contact."""
        return min(now, self._contact())

    def _contact_ends(self) -> float:
        """Until when, if nothing more is heard, this peer leads (rule 4)."""
        return self._contact() + self._timing.election_timeout_seconds

    def _contact(self) -> float:
        """When a majority was last in contact; infinite where this peer is one."""
        contacts = [
            inf if voter == self._peer else self.progress[voter].contact
            for voter in self._log.voters
        ]
        return held_by_majority_since(contacts)

    def beat_if_due(self, now: float) -> None:
        """A round of heartbeats, if it is time or a read waits for one."""
        if now < self._heartbeat_due and not self.reads.want_round:
            return
        self._heartbeat_due = now + self._timing.heartbeat_seconds
        self._round += 1
        self.reads.begin_round(self._round)
        self._round_times[self._round] = now
        self._forget_rounds(now)
        message = Heartbeat(self._log_id, self._term, self._log.commit_index, self._round)
        for peer, progress in self.progress.items():
            self._outbox.send(peer, message, self._term_persist)
            self._resend_unanswered(peer, progress, now)
            self._replicate(peer, progress, now)

    def _forget_rounds(self, now: float) -> None:
        """An answer to a round of an election timeout ago is no contact any more (rule 4)."""
        oldest = next(iter(self._round_times))
        while now - self._round_times[oldest] > self._timing.election_timeout_seconds:
            del self._round_times[oldest]
            oldest += 1

    def confirm_reads(self) -> None:
        """Rule 5."""
        commit_index = self._log.commit_index
        if not self.reads.are_waiting or commit_index < self.first_index:
            return
        rounds = [
            self._round if voter == self._peer else self.progress[voter].round
            for voter in self._log.voters
        ]
        self.reads.confirm(held_by_majority(rounds), commit_index)
