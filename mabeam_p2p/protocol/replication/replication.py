"""One peer's part in the replicated log: its term, its vote, its log, and what it may believe of
them. Raft (Ongaro and Ousterhout 2014, figure 2) with pre-vote (thesis §9.6), leader stickiness
and check-quorum (§6), and batches as the unit of replication.

Rules
1. Term and vote are one record, durable before any message that depends on them.
2. A vote is given once in a term, only to a log at least as up-to-date, and never while a leader
   is heard. A pre-vote follows the same test and changes nothing.
3. A follower commits no further than it has verified against the leader of this term.
4. An acknowledgement names the last index that is verified, and waits until it is durable.
5. A message of an older term is answered with ours or dropped; of a newer one, it makes us follow.
   Only a voter can say a newer one, and not one that elections cannot have reached.

It never decides when to stand: `election` does, and `node` carries the word.
"""

from enum import StrEnum
from typing import assert_never

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadIndexReply,
    ReplicationMessage,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.quorum import is_quorum
from mabeam_p2p.protocol.replication.leadership import Leadership
from mabeam_p2p.records import Batch, HardState, LogAppend, Standing

NOBODY = PeerId("")

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
    ) -> None:
        self.peer = peer
        self.log = Log(batches)
        self.log_id = log_id
        self.term = max(hard_state.term if hard_state else 0, self.log.last_term)
        self.vote = hard_state.vote if hard_state and hard_state.term == self.term else NOBODY
        self.voters = self.log.voters
        self.leader: PeerId | None = None
        self.leadership: Leadership | None = None
        self.commit_index = 0
        self.heard_at = now - timing.election_timeout_seconds
        """When the leader was last heard."""
        self.answered_ok = False
        """A higher peer has answered our election with OK; the owner takes note and clears it."""
        self.vote_given = False
        """A vote was given to another; the owner takes note and clears it."""
        self.dropped_count = 0
        """Messages that nobody who keeps the protocol sends."""
        self.granted_reads: list[tuple[int, int]] = []
        """(number, index) of reads that a leader granted, or, with index 0, refused."""
        self._candidacy: Role | None = None
        self._votes: list[PeerId] = []
        self._learners: tuple[PeerId, ...] = ()
        self._term_persist = 0
        self._log_persist = 0
        self._verified_index = 0
        self._pending_reply: tuple[PeerId, AppendReply] | None = None
        self._timing = timing
        self._limits = limits
        self._outbox = outbox

    # ---- facts -------------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        if self.leadership is not None:
            return Role.LEADER
        if self._candidacy is not None:
            return self._candidacy
        if not self.voters:
            return Role.NONE
        return Role.FOLLOWER if self.peer in self.voters else Role.LEARNER

    @property
    def learners(self) -> tuple[PeerId, ...]:
        return self._learners

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

    def next_deadline(self) -> float:
        """For what is done in `tick`. Elections have a deadline of their own."""
        if self.leadership is not None:
            return self.leadership.next_deadline()
        return float("inf")

    # ---- verbs -------------------------------------------------------------------------------

    def bootstrap(self, first: Batch) -> None:
        """Begin the log of a new cluster; every voter begins with the same batch, so that it is
        committed as soon as the cluster exists."""
        assert self.log.last_index == 0, "a peer with a log never bootstraps"
        self.log.append((first,))
        self._log_persist = self._outbox.persist(LogAppend(self.log_id, 0, (first,)))
        self.voters = self.log.voters
        self._set_term(max(self.term, first.term))
        self._commit(first.last_index)

    def set_learners(self, learners: tuple[PeerId, ...], now: float) -> None:
        """Members that are no voters: they are sent the log, and never count."""
        self._learners = learners
        if self.leadership is not None:
            self.leadership.set_learners(learners, now)

    def restarted(self, peer: PeerId) -> None:
        if self.leadership is not None:
            self.leadership.restarted(peer)

    def resign(self) -> None:
        """This peer leaves: it leads no more, and stands no more in this term."""
        self._candidacy = None
        if self.leadership is not None:
            self._stop_leading()

    def leader_left(self, peer: PeerId) -> bool:
        """Whether it was the leader that has left, by its own word."""
        if peer != self.leader:
            return False
        self.leader = None
        return True

    def propose(self, count: int, blob: bytes) -> bool:
        """Take commands for the next batch; False if this peer does not lead, or is full."""
        return self.leadership is not None and self.leadership.append(count, blob)

    def read(self, number: int) -> bool:
        """Ask for an index that makes a read linearizable; False if there is nobody to ask.

        The answer comes in `granted_reads`, or never."""
        if self.leadership is not None:
            self.leadership.ask_read(self.peer, number)
            return True
        if self.leader is None:
            return False
        self._outbox.send(self.leader, ReadIndex(self.log_id, number))
        return True

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
            leadership.append_waiting(self.commit_index, now)
            if leadership.has_progressed:
                committable = leadership.committable(self.commit_index)
                if committable > self.commit_index:
                    self._commit(committable)
                    leadership.announce(committable)
            leadership.beat_if_due(self.commit_index, now)
            leadership.confirm_reads(self.commit_index)
            self.granted_reads.extend(leadership.confirmed_reads)
            leadership.confirmed_reads.clear()
        elif self._pending_reply is not None:
            target, reply = self._pending_reply
            self._outbox.send(target, reply, max(self._log_persist, self._term_persist))
        self._pending_reply = None

    # ---- standing for election ---------------------------------------------------------------

    def stand(self, standing: Standing) -> None:
        """Ask for pre-votes: would a majority elect this peer? (Raft thesis §9.6)."""
        if self.peer not in self.voters or self.leadership is not None:
            return
        self._candidacy = Role.PRE_CANDIDATE
        self.leader = None
        self._votes = [self.peer]
        if is_quorum(self._votes, self.voters):
            self._campaign(standing)
            return
        request = VoteRequest(self.log_id, self.term + 1, standing, pre=True, transfer=False)
        for voter in self.voters:
            if voter != self.peer:
                self._outbox.send(voter, request, self._term_persist)

    def _campaign(self, standing: Standing) -> None:
        """Raft §5.2: a new term, a vote for oneself, both durable before anybody is asked."""
        self._candidacy = Role.CANDIDATE
        self._set_term(self.term + 1, self.peer)
        self._votes = [self.peer]
        request = VoteRequest(self.log_id, self.term, standing, pre=False, transfer=False)
        for voter in self.voters:
            if voter != self.peer:
                self._outbox.send(voter, request, self._term_persist)

    @property
    def is_elected(self) -> bool:
        """Whether a majority has voted for this peer in its term, and it does not lead yet."""
        return self._candidacy is Role.CANDIDATE and is_quorum(self._votes, self.voters)

    def lead(self, noop: tuple[int, bytes], now: float) -> None:
        """Take office. `noop`: the first entry to append (Raft §8)."""
        assert self.is_elected, "only who is elected leads"
        self._candidacy = None
        self.leader = self.peer
        self.leadership = Leadership(
            self.peer,
            self.term,
            self.log,
            self.voters,
            log_id=self.log_id,
            term_persist=self._term_persist,
            timing=self._timing,
            limits=self._limits,
            outbox=self._outbox,
            now=now,
        )
        self.leadership.set_learners(self._learners, now)
        self.leadership.append(*noop)

    def _stop_leading(self) -> None:
        assert self.leadership is not None
        self.leadership.refuse_reads()
        self.granted_reads.extend(self.leadership.confirmed_reads)
        self.leadership = None
        self.leader = None

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
        if not self._is_plausible(source, message):
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
            case CommitAdvance():
                if message.term == self.term and source == self.leader:
                    self._commit_verified(message.commit_index)
            case VoteRequest():
                self._on_vote_request(source, message, takes_over, now)
            case VoteReply():
                self._on_vote_reply(source, message, standing)
            case ReadIndex():
                self._on_read_index(source, message)
            case ReadIndexReply():
                if source == self.leader:
                    self.granted_reads.append((message.number, message.index))
            case _:
                assert_never(message)

    def _is_plausible(self, source: PeerId, message: ReplicationMessage) -> bool:
        """Rule 5. A newcomer, who knows no voters, takes the cluster's term as it is."""
        if isinstance(message, ReadIndex | ReadIndexReply) or message.term <= self.term:
            return True
        in_reach = message.term <= self.term + TERM_LEAP_MAX
        return not self.voters or (source in self.voters and in_reach)

    def _on_vote_request(
        self, source: PeerId, request: VoteRequest, takes_over: bool, now: float
    ) -> None:
        if self.voters and source not in self.voters:
            return
        if self.is_leader_heard(now):
            # Leader stickiness (Raft §6). The reply lets a candidate of an old term catch up.
            if request.pre:
                self._reply_vote(source, self.term, granted=False, pre=True)
            return
        up_to_date = (request.standing.last_term, request.standing.last_index) >= (
            self.log.last_term,
            self.log.last_index,
        )
        if request.pre:
            granted = up_to_date and request.term > self.term and not takes_over
            term = request.term if granted else self.term
            self._reply_vote(source, term, granted=granted, pre=True, higher=takes_over)
            return
        if request.term < self.term:
            self._reply_vote(source, self.term, granted=False, pre=False)
            return
        granted = up_to_date and (request.term > self.term or self.vote in (NOBODY, source))
        if request.term > self.term:
            self._step_down(request.term, vote=source if granted else NOBODY)
        elif granted and self.vote == NOBODY:
            self._set_term(self.term, source)
        if granted:
            self.vote_given = True
        self._reply_vote(source, self.term, granted=granted, pre=False)

    def _reply_vote(
        self, target: PeerId, term: int, *, granted: bool, pre: bool, higher: bool = False
    ) -> None:
        reply = VoteReply(self.log_id, term, granted, pre, higher)
        self._outbox.send(target, reply, self._term_persist)

    def _on_vote_reply(self, source: PeerId, reply: VoteReply, standing: Standing) -> None:
        if reply.pre and self._candidacy is Role.PRE_CANDIDATE:
            if reply.granted and reply.term == self.term + 1:
                self._count_vote(source)
                if is_quorum(self._votes, self.voters):
                    self._campaign(standing)
                return
            self.answered_ok = self.answered_ok or reply.higher
        if not reply.granted and reply.term > self.term:
            self._step_down(reply.term)
        elif (
            not reply.pre
            and reply.granted
            and reply.term == self.term
            and self._candidacy is Role.CANDIDATE
        ):
            self._count_vote(source)

    def _count_vote(self, voter: PeerId) -> None:
        if voter not in self._votes:
            self._votes.append(voter)

    def _follows(self, source: PeerId, term: int, now: float) -> bool:
        """Whether `source` leads `term` and this peer now follows it."""
        if term < self.term or (term == self.term and self.leadership is not None):
            return False
        if self.voters and source not in self.voters:
            return False
        if term > self.term:
            self._step_down(term)
        self.leader = source
        self._candidacy = None
        self.heard_at = now
        return True

    def _on_append_entries(self, source: PeerId, message: AppendEntries, now: float) -> None:
        if not self._follows(source, message.term, now):
            if message.term < self.term:
                self._reply_append(source, False, 0, message.previous_index)
            return
        if self.log.term_at(message.previous_index) != message.previous_term:
            hint = self.log.agreement_before(message.previous_index, message.previous_term)
            # What is committed is in every leader's log (Raft §5.4.3).
            hint = max(hint, self.commit_index)
            self._reply_append(source, False, hint, message.previous_index)
            return
        verified_index = message.previous_index
        for position, batch in enumerate(message.batches):
            if self.log.term_at(batch.last_index) != batch.term:
                behind = message.batches[position:]
                if not self._can_stand(verified_index, behind):
                    self.dropped_count += 1
                    return
                self._append_from(verified_index, behind)
                verified_index = behind[-1].last_index
                break
            verified_index = batch.last_index
        self._verified_index = max(self._verified_index, verified_index)
        self._commit_verified(message.commit_index)
        # Verified grows within a term, so the last answer of a turn says everything.
        reply = AppendReply(
            self.log_id, self.term, True, self._verified_index, message.previous_index
        )
        self._pending_reply = source, reply

    def _can_stand(self, keep_index: int, batches: tuple[Batch, ...]) -> bool:
        """Whether a leader of this term can have these batches behind `keep_index`."""
        return (
            keep_index >= self.commit_index
            and batches[-1].term <= self.term
            and self.log.fits(keep_index, batches)
        )

    def _append_from(self, keep_index: int, batches: tuple[Batch, ...]) -> None:
        """Replace what stands behind `keep_index`. Nothing committed is ever replaced."""
        if keep_index < self.log.last_index:
            self.log.truncate(keep_index, self.commit_index)
        self.log.append(batches)
        self._log_persist = self._outbox.persist(LogAppend(self.log_id, keep_index, batches))
        self.voters = self.log.voters

    def _reply_append(
        self, target: PeerId, success: bool, match_index: int, previous_index: int
    ) -> None:
        reply = AppendReply(self.log_id, self.term, success, match_index, previous_index)
        self._outbox.send(target, reply, self._term_persist)

    def _on_append_reply(self, source: PeerId, reply: AppendReply, now: float) -> None:
        if reply.term > self.term:
            self._step_down(reply.term)
        elif self.leadership is not None and reply.term == self.term:
            self.leadership.receive_append_reply(source, reply, self.commit_index, now)

    def _on_heartbeat(self, source: PeerId, message: Heartbeat, now: float) -> None:
        if self._follows(source, message.term, now):
            self._commit_verified(message.commit_index)
        elif message.term >= self.term:
            return
        reply = HeartbeatReply(self.log_id, self.term, message.round)
        self._outbox.send(source, reply, self._term_persist)

    def _on_heartbeat_reply(self, source: PeerId, reply: HeartbeatReply, now: float) -> None:
        if reply.term > self.term:
            self._step_down(reply.term)
        elif self.leadership is not None and reply.term == self.term:
            self.leadership.receive_heartbeat_reply(source, reply, self.commit_index, now)

    def _on_read_index(self, source: PeerId, message: ReadIndex) -> None:
        if self.leadership is not None:
            self.leadership.ask_read(source, message.number)
        else:
            self._outbox.send(source, ReadIndexReply(self.log_id, message.number, 0))

    # ---- transitions -------------------------------------------------------------------------

    def _step_down(self, term: int, vote: PeerId = NOBODY) -> None:
        """Follow a newer term (Raft §5.1)."""
        assert term > self.term, "a step down within a term would free the vote"
        if self.leadership is not None:
            self._stop_leading()
        self._candidacy = None
        self.leader = None
        self._set_term(term, vote)

    def _set_term(self, term: int, vote: PeerId = NOBODY) -> None:
        assert term >= self.term, "the term goes back"
        assert term > self.term or self.vote in (NOBODY, vote), "a second vote in one term"
        if term > self.term:
            # A term has one leader: what was verified and is to be answered was the last one's.
            self._verified_index = 0
            self._pending_reply = None
        self.term = term
        self.vote = vote
        self._term_persist = self._outbox.persist(HardState(self.log_id, term, vote))

    def _commit_verified(self, commit_index: int) -> None:
        """Follow the leader's commit index, as far as this log is known to be the leader's."""
        self._commit(self.log.end_at_or_before(min(commit_index, self._verified_index)))

    def _commit(self, index: int) -> None:
        self.commit_index = max(self.commit_index, index)
