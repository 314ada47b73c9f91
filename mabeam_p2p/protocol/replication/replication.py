"""One peer's part in the replicated log: which role it has, and what of each message is for whom.
Raft (Ongaro and Ousterhout 2014, figure 2) with pre-vote (thesis §9.6), leader stickiness
and check-quorum (§6), and batches as the unit of replication.

Its term and vote are in `term`, votes given and gathered in `candidacy`, the two sides of the log
in `following` and `leadership`, what takes the log's place in `snapshots`, each with its rules.
Here stands the one that binds them:

A message of an older term is answered with ours or dropped; of a newer one, it makes us follow.
Only a voter can say a newer one, and not one that elections cannot have reached.

It never decides when to stand: `election` does, and `node` carries the word.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import assert_never

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import NOBODY, PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    ReadIndex,
    ReadIndexReply,
    ReplicationMessage,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import FIRST_BASE, Log
from mabeam_p2p.protocol.replication.candidacy import Candidacy, Phase
from mabeam_p2p.protocol.replication.configuration import Objection, is_second_leader, may_stand
from mabeam_p2p.protocol.replication.following import Following, Said
from mabeam_p2p.protocol.replication.leadership import Leadership
from mabeam_p2p.protocol.replication.outsiders import hears_outsider
from mabeam_p2p.protocol.replication.snapshots import Snapshots
from mabeam_p2p.protocol.replication.term import Term
from mabeam_p2p.protocol.room import Room
from mabeam_p2p.records import Batch, HardState, LogBase, Snapshot, Standing

TERM_LEAP_MAX = 1_000_000
"""Elections that a peer can have missed. Behind the last term on the wire there is none."""


class Role(StrEnum):
    NONE = "none"
    """No log yet: not in a cluster."""
    LEARNER = "learner"
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Replication:
    """The log of one cluster, on one peer."""

    def __init__(
        self,
        peer: PeerId,
        *,
        hard_state: HardState | None,
        batches: tuple[Batch, ...],
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        now: float,
        log_id: int = 0,
        base: LogBase = FIRST_BASE,
        snapshot: Snapshot | None = None,
        take_in: Callable[[Snapshot], bool] = lambda snapshot: True,
        room: Room | None = None,
    ) -> None:
        """base: where `batches` begin. snapshot: the one that this peer has. take_in: see
        Snapshots."""
        self.peer = peer
        self.log = Log(batches, base)
        if snapshot is not None:
            self.log.commit(snapshot.base.index)
        self.log_id = log_id
        self.leader: PeerId | None = None
        self.leadership: Leadership | None = None
        self.heard_at = now - timing.election_timeout_seconds
        """When the leader was last heard."""
        self.said: Said | None = None
        self.room = Room() if room is None else room
        self._contact_since = now
        """When it was heard again after a silence."""
        self.dropped_count = 0
        """Messages that nobody who keeps the protocol sends."""
        self.granted_reads: list[tuple[int, int]] = []
        """(number, index) that a leader granted, or, with index 0, refused."""
        self.learners: tuple[PeerId, ...] = ()
        self._led_since = now
        self._term_leader: PeerId | None = None  # Also once it is silent.
        self._term = Term(hard_state, self.log.last_term, log_id, outbox)
        self._following = Following(self.log, self._term, log_id=log_id, outbox=outbox)
        self.snapshots = Snapshots(
            snapshot,
            self.log,
            self._term,
            self._following,
            take_in=take_in,
            limits=limits,
            log_id=log_id,
            outbox=outbox,
        )
        self.candidacy = Candidacy(
            peer, self.log, self._term, log_id=log_id, set_term=self._set_term, outbox=outbox
        )
        self._timing = timing
        self._limits = limits
        self._outbox = outbox

    # ---- facts -------------------------------------------------------------------------------

    @property
    def term(self) -> int:
        return self._term.number

    @property
    def vote(self) -> PeerId:
        """Whom this peer has voted for in this term; empty if nobody."""
        return self._term.vote

    @property
    def voters(self) -> tuple[PeerId, ...]:
        """Those of the latest configuration in the log, committed or not (Raft thesis §4.1)."""
        return self.log.voters

    @property
    def commit_index(self) -> int:
        return self.log.commit_index

    @property
    def role(self) -> Role:
        if self.leadership is not None:
            return Role.LEADER
        match self.candidacy.phase:
            case Phase.PRE_VOTE:
                return Role.PRE_CANDIDATE
            case Phase.VOTE:
                return Role.CANDIDATE
            case Phase.NONE:
                pass
        if not self.voters:
            return Role.NONE
        return Role.FOLLOWER if self.peer in self.voters else Role.LEARNER

    def is_leader_heard(self, now: float) -> bool:
        """Whether a leader, possibly this peer, is in office as far as this peer can tell."""
        if self.leadership is not None:
            return True
        silence = now - self.heard_at
        return self.leader is not None and silence < self._timing.election_timeout_seconds

    def has_quorum(self, now: float) -> bool:
        if self.leadership is not None:
            return self.leadership.has_quorum(now)
        return self.is_leader_heard(now)

    @property
    def may_stand(self) -> bool:
        return may_stand(self.peer, self.log)

    def next_deadline(self) -> float:
        """For what is done in `tick`. Elections have a deadline of their own."""
        return float("inf") if self.leadership is None else self.leadership.next_deadline()

    # ---- verbs -------------------------------------------------------------------------------

    def bootstrap(self, first: Batch) -> None:
        """Begin the log of a new cluster; every voter begins with the same batch, so that it is
        committed as soon as the cluster exists."""
        assert self.log.last_index == 0, "a peer with a log never bootstraps"
        self._following.append(0, (first,))
        self._set_term(max(self.term, first.term), NOBODY)
        self.log.commit(first.last_index)

    def set_learners(self, learners: tuple[PeerId, ...], now: float) -> None:
        """Members that are no voters: they are sent the log, and never count."""
        self.learners = learners
        if self.leadership is not None:
            self.leadership.set_learners(learners, now)

    def restarted(self, peer: PeerId) -> None:
        if self.leadership is not None:
            self.leadership.restarted(peer)

    def resign(self) -> None:
        """This peer leaves: it leads no more, and stands no more in this term."""
        self.candidacy.end()
        if self.leadership is not None:
            self._stop_leading()

    def leader_left(self, peer: PeerId) -> bool:
        """Whether it was the leader that has left, by its own word."""
        if peer != self.leader:
            return False
        self.leader = None
        return True

    def propose(self, count: int, blob: bytes) -> bool:
        """Take commands for the next batch; False if this peer does not lead, or is full; then
        `refusal` says which."""
        if self.leadership is None or not self.room.takes(count, blob):
            return False
        return self.leadership.append(count, blob)

    @property
    def refusal(self) -> str:
        """Why `propose` has just said no."""
        if self.leadership is None or self.is_handing_over:
            return "not_leader"  # Whoever asks is to ask the successor.
        return "disk_full" if self.room.is_short else "overloaded"

    def configure(self, voters: tuple[PeerId, ...], blob: bytes, expected_index: int) -> Objection:
        """Change the voters to `voters`, sorted, or say why not; `blob`: the command for it."""
        if self.leadership is None:
            return Objection.NOT_LEADER
        return self.leadership.configure(voters, blob, expected_index)

    @property
    def is_handing_over(self) -> bool:
        """Whether this peer leads, and has somebody else take over."""
        return self.leadership is not None and self.leadership.transfer is not None

    def read(self, number: int) -> bool:
        """Ask for an index that makes a read linearizable; False if there is nobody to ask.

        The answer comes in `granted_reads`, or never."""
        if self.leadership is not None:
            self.leadership.reads.ask(self.peer, number)
            return True
        if self.leader is None:
            return False
        self._outbox.send(self.leader, ReadIndex(self.log_id, number))
        return True

    def store_snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Keep the state that this peer has applied in place of the log that led to it; for want of
        room, of all that led to it."""
        if self.room.is_short:
            self.snapshots.store(snapshot, None, 0)
            return
        held_from = self.leadership.transfers_from(now) if self.leadership is not None else None
        self.snapshots.store(snapshot, held_from, self._limits.log_trailing_entries)

    def stored(self, number: int) -> None:
        """Persist `number`, and every one before it, is durable."""
        if self.leadership is not None:
            self.leadership.stored(number)

    def tick(self, now: float) -> None:
        if self.leadership is not None and not self.leadership.has_quorum(now):
            self._stop_leading()

    def flush(self, now: float) -> None:
        """The end of a turn: what was proposed becomes a batch, what was received is answered."""
        leadership = self.leadership
        if leadership is not None:
            leadership.append_waiting(now)
            leadership.commit()
            leadership.beat_if_due(now)
            leadership.advance_transfer(now)
            leadership.confirm_reads()
            self.granted_reads.extend(leadership.reads.confirmed)
            leadership.reads.confirmed.clear()
            if self.peer not in self.voters and self.log.is_configured:
                self._stop_leading()
        else:
            self._following.flush()

    # ---- standing for election ---------------------------------------------------------------

    def stand(self, standing: Standing) -> None:
        """Ask for pre-votes, if this peer may stand and does not lead."""
        if self.may_stand and self.leadership is None:
            self.leader = None
            self.candidacy.stand(standing)

    @property
    def is_elected(self) -> bool:
        """Whether a majority has voted for this peer in its term, and it does not lead yet."""
        return self.candidacy.is_elected

    def lead(self, noop: tuple[int, bytes], now: float) -> None:
        """Take office. `noop`: the first entry to append (Raft §8)."""
        assert self.is_elected, "only who is elected leads"
        self.candidacy.end()
        self.leader = self._term_leader = self.peer
        self._led_since = now
        self.leadership = Leadership(
            self.peer,
            self.term,
            self.log,
            self.snapshots,
            log_id=self.log_id,
            term_persist=self._term.persist,
            timing=self._timing,
            limits=self._limits,
            outbox=self._outbox,
            now=now,
        )
        self.leadership.set_learners(self.learners, now)
        self.leadership.append(*noop)

    def _stop_leading(self) -> None:
        assert self.leadership is not None
        self.leadership.reads.refuse()
        self.granted_reads.extend(self.leadership.reads.confirmed)
        self.leadership = self.leader = None

    # ---- reactions ---------------------------------------------------------------------------

    def receive(
        self,
        source: PeerId,
        message: ReplicationMessage,
        standing: Standing,
        takes_over: bool,
        now: float,
    ) -> None:
        """`standing`: this peer's own. `takes_over`: whether, to a pre-vote, it answers OK and
        stands itself."""
        if not self._is_plausible(source, message, now):
            self.dropped_count += 1
            return
        match message:
            case AppendEntries():
                self._on_append_entries(source, message, now)
            case AppendReply():
                self._on_append_reply(source, message, now)
            case Heartbeat():
                self._on_heartbeat(source, message, now)
            case HeartbeatReply():
                self._on_heartbeat_reply(source, message, now)
            case InstallSnapshot():
                self._on_install_snapshot(source, message, now)
            case SnapshotReply():
                self._on_snapshot_reply(source, message, now)
            case CommitAdvance():
                if message.term == self.term and source == self.leader:
                    self._following.commit(message.commit_index)
            case VoteRequest():
                heard = self.is_leader_heard(now) and not self._is_successor(source, message)
                self.candidacy.receive(
                    source, message, is_leader_heard=heard, takes_over=takes_over
                )
            case VoteReply():
                self.candidacy.receive_reply(source, message, standing)
                if not message.granted and message.term > self.term:
                    self._step_down(message.term)
            case TimeoutNow():
                self._on_timeout_now(source, message, standing, now)
            case ReadIndex():
                self._on_read_index(source, message)
            case ReadIndexReply():
                if source == self.leader:
                    self.granted_reads.append((message.number, message.index))
            case _:
                assert_never(message)

    def _is_plausible(self, source: PeerId, message: ReplicationMessage, now: float) -> bool:
        """A newcomer, who knows no voters, takes the cluster's term as it is."""
        if isinstance(message, ReadIndex | ReadIndexReply) or message.term <= self.term:
            return True
        is_heard = may_stand(source, self.log) or self._hears_outsider(message, now)
        return not self.voters or (is_heard and message.term <= self.term + TERM_LEAP_MAX)

    def _hears_outsider(self, message: ReplicationMessage, now: float) -> bool:
        led = (now - self._led_since) / self._timing.election_timeout_seconds
        heard = self.is_leader_heard(now)
        return hears_outsider(message, self.log, is_leader_heard=heard, led_timeouts=led)

    def _follows(
        self, source: PeerId, message: AppendEntries | Heartbeat | InstallSnapshot, now: float
    ) -> bool:
        """Whether `source` leads the message's term and this peer now follows it."""
        term = message.term
        if term < self.term or (term == self.term and self.leadership is not None):
            return False
        if term == self.term and is_second_leader(source, self._term_leader, self.log):
            self.dropped_count += 1
            return False
        is_known = not self.voters or may_stand(source, self.log) or source == self._term_leader
        if not is_known and not self._hears_outsider(message, now):
            return False
        if term > self.term:
            self._step_down(term)
        if now - self.heard_at > self._timing.election_timeout_seconds / 2:
            self._contact_since = now
        self.leader = self._term_leader = source
        self.candidacy.end()
        self.heard_at = now
        if not isinstance(message, InstallSnapshot):
            last = self.said.commit_index if self.said and self.said.term == term else 0
            self.said = Said(now, term, max(message.commit_index, last))
        return True

    def _on_append_entries(self, source: PeerId, message: AppendEntries, now: float) -> None:
        if self._follows(source, message, now):
            if not self._following.receive(source, message):
                self.dropped_count += 1
        elif message.term < self.term:
            self._following.refuse(source, 0, message.previous_index)

    def _on_append_reply(self, source: PeerId, reply: AppendReply, now: float) -> None:
        if reply.term > self.term:
            self._step_down(reply.term)
        elif self.leadership is not None and reply.term == self.term:
            self.leadership.receive_append_reply(source, reply, now)

    def _on_install_snapshot(self, source: PeerId, message: InstallSnapshot, now: float) -> None:
        if self._follows(source, message, now):
            if not self.snapshots.receive(source, message):
                self.dropped_count += 1
        elif message.term < self.term:
            self.snapshots.refuse(source, message)

    def _on_snapshot_reply(self, source: PeerId, reply: SnapshotReply, now: float) -> None:
        if reply.term > self.term:
            self._step_down(reply.term)
        elif self.leadership is not None and reply.term == self.term:
            self.leadership.receive_snapshot_reply(source, reply, now)

    def _on_heartbeat(self, source: PeerId, message: Heartbeat, now: float) -> None:
        if self._follows(source, message, now):
            self._following.commit(message.commit_index)
        elif message.term >= self.term:
            return
        reply = HeartbeatReply(self.log_id, self.term, message.round)
        self._outbox.send(source, reply, self._term.persist)

    def _on_heartbeat_reply(self, source: PeerId, reply: HeartbeatReply, now: float) -> None:
        if reply.term > self.term:
            self._step_down(reply.term)
        elif self.leadership is not None and reply.term == self.term:
            self.leadership.receive_heartbeat_reply(source, reply, now)

    def _on_timeout_now(
        self, source: PeerId, message: TimeoutNow, standing: Standing, now: float
    ) -> None:
        """Stand at once (Raft thesis §3.10): only for the leader that this peer follows, while its
        log ends where that leader's does. Not behind a silence: everything that comes then may be
        old, and if it is not, it is said again."""
        is_obeyed = (
            message.term == self.term
            and source == self.leader
            and self.leadership is None
            and self.peer in self.voters
            and standing.eligible
            and message.last_index == self.log.last_index
            and now - self._contact_since >= self._timing.heartbeat_seconds / 2
        )
        if is_obeyed:
            self.candidacy.campaign(standing, transfer=True)

    def _is_successor(self, source: PeerId, request: VoteRequest) -> bool:
        """Whether the leader has this candidate stand: in the next term, and without a pre-vote. A
        leader knows itself to whom it hands over."""
        if not request.transfer or request.pre or request.term != self.term + 1:
            return False
        if self.leadership is None:
            return True
        transfer = self.leadership.transfer
        return transfer is not None and transfer.target == source

    def _on_read_index(self, source: PeerId, message: ReadIndex) -> None:
        if self.leadership is not None:
            self.leadership.reads.ask(source, message.number)
        else:
            self._outbox.send(source, ReadIndexReply(self.log_id, message.number, 0))

    # ---- transitions -------------------------------------------------------------------------

    def _step_down(self, number: int) -> None:
        """Follow a newer term (Raft §5.1)."""
        assert number > self.term, "a step down within a term would free the vote"
        self._set_term(number, NOBODY)

    def _set_term(self, number: int, vote: PeerId) -> None:
        """Go on to a term, or give its vote. What belongs to an older term ends."""
        if number > self.term:
            if self.leadership is not None:
                self._stop_leading()
            self.leader = self._term_leader = None
            self.candidacy.end()
            self._following.begin_term()
        self._term.set(number, vote)
