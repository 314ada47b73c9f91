"""Ghost-state checkers: invariants I1 to I8, I10 and I11, tested after every step.

They judge what left a peer, against what is durable at that moment, and never ask a core what it
believes, but for the few figures of `stepped`. Ghost state lives outside the peers and survives
their crashes. I9, I12 and I13 judge outcomes and stand in `outcomes`; I14 stands in
`causality`.

    I1  election safety        one leader a term, voted for by a majority
    I2  vote once              one vote for each (term, peer)
    I3  durable before send    terms, votes, candidacies and acknowledgements are on disk
    I4  monotone               term, vote in its term, commit, applied, epoch
    I5  log matching           equal (index, term) determine equal logs up to there
    I6  commit provenance      own-term batches on a majority's disks; followers follow a leader
    I7  leader completeness    a new leader holds all that lower terms committed
    I8  state machine safety   what is applied is what was committed
    I10 match truth            what a leader counts is on the follower's disk, or was in that term
    I11 configuration          at birth: one cluster, promised by every voter; later one voter at a
                               time, each change committed before the next

The names are those of the Raft paper's figure 3 and of Ongaro's thesis, so that the figures can be
laid beside the code.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    SnapshotReply,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.records import Batch, HardState, LogAppend, Record, SnapshotStored
from mabeam_p2p.testing.causality import Causality
from mabeam_p2p.testing.configurations import ConfigurationFault, in_effect, judge
from mabeam_p2p.testing.disk import Disk, LogView
from mabeam_p2p.testing.violation import LiarVotes
from mabeam_p2p.testing.violation import Violation as Violation


class Ghost:
    """What one peer has let out, and its disk."""

    __slots__ = (
        "announced",
        "applied_index",
        "commit_index",
        "disk",
        "leads",
        "led_term",
        "log",
        "peer",
        "snapshot_index",
        "snapshots",
        "term",
        "unproven",
        "vote",
    )

    def __init__(self, peer: PeerId, disk: Disk) -> None:
        self.peer = peer
        self.disk = disk
        self.log = LogView()
        """As its Persists say, durable or not."""
        self.term = 0
        self.vote = PeerId("")
        self.announced = 0
        """The last commit index that it sent and that was found true."""
        self.commit_index = 0
        self.applied_index = 0
        self.snapshot_index = 0
        self.snapshots: list[SnapshotStored] = []
        """Those of the present turn: judged at its end, when its commitments are known."""
        self.led_term = 0
        """The last term in which this process has spoken as the leader."""
        self.leads = False
        """Whether it led behind its last step."""
        self.unproven: list[tuple[int, int, int]] = []
        """(last index, term, hash) of batches that neither left the peer nor reached its disk: a
        crash may take them and their term back."""


class Committed:
    """The one committed log, as the claims that left the peers have proved it."""

    __slots__ = ("by_term", "log")

    def __init__(self) -> None:
        self.log = LogView()
        self.by_term: dict[int, int] = {}
        """The last index that the leader of each term committed."""

    @property
    def index(self) -> int:
        return self.log.ends[-1] if self.log.ends else 0


class CommitListener(Protocol):
    """Hears every committed batch once, in order."""

    def committed(self, batch: Batch) -> None: ...


class Checkers:
    """All peers' ghosts and the rules over them. Raises Violation."""

    def __init__(self, listeners: Iterable[CommitListener] = ()) -> None:
        self.ghosts: dict[PeerId, Ghost] = {}
        self.committed = Committed()
        self.causality = Causality()
        self.leaders: dict[int, PeerId] = {}
        self.said: dict[PeerId, tuple[int, int]] = {}
        """Epoch and incarnation that each peer has given itself."""
        self.votes: dict[tuple[int, PeerId], PeerId] = {}
        """(term, voter) to candidate."""
        self.liars: list[PeerId] = []
        """Members that say what they like of their own logs. No voters: LiarVotes rises when one
        becomes one."""
        self._chain: dict[tuple[int, int], int] = {}
        """(last index, term) of every proven batch to the hash of the log up to it."""
        self._digests: dict[int, int] = {}
        """Of the snapshot at each index."""
        self._founding: tuple[Ghost, Batch] | None = None
        """The first batch of a cluster of one, while nothing of it is on its disk: a crash may
        take it back."""
        self._listeners = tuple(listeners)
        self._checks: dict[type[Any], Callable[[Ghost, PeerId, Any], None]] = {
            VoteRequest: self._vote_request,
            VoteReply: self._vote_reply,
            AppendEntries: self._append_entries,
            AppendReply: self._append_reply,
            Heartbeat: self._leader_claim,
            CommitAdvance: self._leader_claim,
            HeartbeatReply: self._term_claim,
            InstallSnapshot: self._snapshot_piece,
            SnapshotReply: self._snapshot_reply,
        }

    # ---- inputs ------------------------------------------------------------------------------

    def started(self, peer: PeerId, disk: Disk) -> Ghost:
        """A process begins with what its disk holds."""
        ghost = Ghost(peer, disk)
        ghost.log = disk.log.copy()
        ghost.term = disk.hard_state.term
        ghost.vote = disk.hard_state.vote
        ghost.snapshot_index = disk.snapshot.base.index if disk.snapshot else 0
        self.ghosts[peer] = ghost
        self.causality.started(peer, disk.variables, disk.marks, disk.durable_count)
        if self._founding is not None and self._founding[0].peer == peer:
            self._found_if_durable()
            self._founding = None
        for batch, value in zip(ghost.log.batches, ghost.log.hashes, strict=True):
            self._prove(ghost, batch.last_index, batch.term, value)
        return ghost

    def persisted(self, ghost: Ghost, record: Record) -> None:
        """A Persist was emitted: the write order is fixed, the record not yet durable."""
        if isinstance(record, LogAppend):
            self._log_append(ghost, record)
        elif isinstance(record, SnapshotStored):
            self._snapshot_stored(ghost, record)
        elif isinstance(record, HardState):
            if record.term < ghost.term:
                raise Violation("I4", f"{ghost.peer} goes back from term {ghost.term}: {record}")
            if record.term == ghost.term and ghost.vote and record.vote != ghost.vote:
                raise Violation("I4", f"{ghost.peer} voted for {ghost.vote} already: {record}")
            ghost.term = record.term
            ghost.vote = record.vote
        else:
            self.causality.persisted(ghost.peer, record, ghost.disk.written_count + 1)

    def synced(self, ghost: Ghost) -> None:
        """Some of what was persisted is on the disk now."""
        self.causality.synced(ghost.peer, ghost.disk.durable_count)
        if self._founding is not None:
            self._found_if_durable()
        unproven = ghost.unproven
        if unproven:
            durable = ghost.disk.log
            ghost.unproven = []
            for index, term, value in unproven:
                if durable.hash_at(index) == value:
                    self._prove(ghost, index, term, value)
                elif ghost.log.hash_at(index) == value:
                    ghost.unproven.append((index, term, value))

    def sent(self, ghost: Ghost, target: PeerId, message: Message) -> None:
        """A message leaves the peer now."""
        check = self._checks.get(type(message))
        if check is not None:
            check(ghost, target, message)

    def stepped(self, ghost: Ghost, is_leader: bool, commit_index: int, applied_index: int) -> None:
        """After an input: the figures that the core shows. I4, I6 and I8."""
        # A turn that commits can end with a resignation: it led when it committed.
        led, ghost.leads = ghost.leads or is_leader, is_leader
        if self._founding is not None:
            return
        if ghost.snapshots:
            self._judge_snapshots(ghost, commit_index)
        if commit_index != ghost.commit_index:
            if commit_index < ghost.commit_index:
                raise Violation("I4", f"{ghost.peer} commit {ghost.commit_index}->{commit_index}")
            ghost.commit_index = commit_index
            if commit_index > self.committed.index:
                if not led:
                    raise Violation("I6", f"{ghost.peer} commits {commit_index}, led by nobody")
                self._commit(ghost, ghost.term, commit_index, "its commit index")
        if applied_index != ghost.applied_index:
            if not ghost.applied_index < applied_index <= commit_index:
                raise Violation("I8", f"{ghost.peer} applied to {applied_index} of {commit_index}")
            ghost.applied_index = applied_index
            expected = self.committed.log.hash_at(applied_index)
            if expected is None or ghost.log.hash_at(applied_index) != expected:
                raise Violation("I8", f"{ghost.peer} applied another log to {applied_index}")

    def matched(self, leader: Ghost, follower: PeerId, match_index: int) -> None:
        """The leader counts `follower` as holding the log up to `match_index`, and did not before.
        I10."""
        if follower in self.liars:
            return
        ghost = self.ghosts.get(follower)
        # What was paused reads late: it may count in its term what the next one has replaced.
        if ghost is None or leader.log.hash_at(match_index) not in _durable_in(
            leader.term, ghost.disk, match_index
        ):
            raise Violation("I10", f"{leader.peer} counts {follower} to {match_index}: not on disk")

    def configurations(self) -> list[tuple[PeerId, ...]]:
        """The voters of every configuration that may be in effect."""
        ghosts = self.ghosts.values()
        logs = [log for ghost in ghosts for log in (ghost.log, ghost.disk.log)]
        return in_effect(logs, self.committed.log)

    # ---- rules of messages -------------------------------------------------------------------

    def _vote_request(self, ghost: Ghost, target: PeerId, message: VoteRequest) -> None:
        if not message.pre:
            self._vote(ghost, message.term, ghost.peer, message)

    def _vote_reply(self, ghost: Ghost, target: PeerId, message: VoteReply) -> None:
        if not message.granted:
            self._term_claim(ghost, target, message)
        elif not message.pre:
            self._vote(ghost, message.term, target, message)

    def _vote(self, ghost: Ghost, term: int, candidate: PeerId, message: Message) -> None:
        first = self.votes.setdefault((term, ghost.peer), candidate)
        if first != candidate:
            raise Violation("I2", f"{ghost.peer} voted for {first} in {term}, now: {message}")
        state = ghost.disk.hard_state
        if state.term < term or (state.term == term and state.vote != candidate):
            raise Violation("I3", f"{ghost.peer} has only {state} on disk: {message}")

    def _term_claim(
        self,
        ghost: Ghost,
        target: PeerId,
        message: VoteReply | AppendReply | HeartbeatReply | SnapshotReply,
    ) -> None:
        disk = ghost.disk
        # A log of some term is as good a memory of it: no peer starts below its log's term.
        if max(disk.hard_state.term, disk.log.last_term) < message.term:
            raise Violation("I3", f"{ghost.peer} has only {disk.hard_state} on disk: {message}")

    def _append_reply(self, ghost: Ghost, target: PeerId, message: AppendReply) -> None:
        self._term_claim(ghost, target, message)
        if not message.success:
            return
        # One write can hold a log and the one that replaces it in the next term. The answer for the
        # first, held until then, is still true of its term: the peer gave it before its next vote.
        durable = _durable_in(message.term, ghost.disk, message.match_index)
        if not durable:
            raise Violation("I3", f"{ghost.peer} has no such log on disk: {message}")
        leader = self.ghosts.get(target)
        if (
            leader is not None
            and leader.term == leader.led_term == message.term
            and leader.log.hash_at(message.match_index) not in durable
        ):
            raise Violation("I10", f"{ghost.peer} acknowledges another log: {message}")

    def _append_entries(self, ghost: Ghost, target: PeerId, message: AppendEntries) -> None:
        self._leader_claim(ghost, target, message)
        if message.batches and ghost.term == message.term:
            last = message.batches[-1]
            place = ghost.log.count_until(last.last_index) - 1
            if place < 0 or ghost.log.batches[place] != last:
                raise Violation("I5", f"{ghost.peer} sends what is not in its log: {message}")
            for at in range(place + 1 - len(message.batches), place + 1):
                log = ghost.log
                self._prove(ghost, log.ends[at], log.batches[at].term, log.hashes[at])

    def _leader_claim(
        self, ghost: Ghost, target: PeerId, message: AppendEntries | Heartbeat | CommitAdvance
    ) -> None:
        term = message.term
        self._leads(ghost, term)
        if message.commit_index > ghost.announced:
            self._commit(ghost, term, message.commit_index, message)

    def _leads(self, ghost: Ghost, term: int) -> None:
        leader = self.leaders.get(term)
        if leader is None:
            self._elected(ghost, term)
        elif leader != ghost.peer:
            raise Violation("I1", f"{leader} and {ghost.peer} lead in term {term}")
        ghost.led_term = term

    def _elected(self, ghost: Ghost, term: int) -> None:
        self.leaders[term] = ghost.peer
        state = ghost.disk.hard_state
        if state.term < term or (state.term == term and state.vote != ghost.peer):
            raise Violation("I3", f"{ghost.peer} leads in {term} with {state} on disk")
        # Who votes alone asks nobody: its own vote is told by what it leads.
        if (vote := self.votes.setdefault((term, ghost.peer), ghost.peer)) != ghost.peer:
            raise Violation("I2", f"{ghost.peer} leads in {term}, and voted for {vote}")
        voters = ghost.log.voters
        granted = [voter for voter in voters if self.votes.get((term, voter)) == ghost.peer]
        if len(granted) <= len(voters) // 2:
            raise Violation("I1", f"{ghost.peer} leads in {term} by {granted} of {voters}")
        if ghost.term != term:
            return  # It has stepped down already; its log is no longer that of the election.
        # Lower terms only: a paused peer may lawfully win an old term late.
        index = max((i for t, i in self.committed.by_term.items() if t < term), default=0)
        if ghost.log.hash_at(index) != self.committed.log.hash_at(index):
            raise Violation("I7", f"{ghost.peer} won term {term} without all up to {index}")

    # ---- snapshots ---------------------------------------------------------------------------

    def _snapshot_piece(self, ghost: Ghost, target: PeerId, message: InstallSnapshot) -> None:
        self._leads(ghost, message.term)

    def _snapshot_reply(self, ghost: Ghost, target: PeerId, message: SnapshotReply) -> None:
        self._term_claim(ghost, target, message)
        if message.installed and target not in self.liars:
            # A liar may ask for an index at which no log ends, and is told that it is behind.
            known = self.committed.log.hash_at(message.index)
            if known is None or ghost.disk.log.hash_at(message.index) != known:
                raise Violation("I3", f"{ghost.peer} has no such state on disk: {message}")

    def _snapshot_stored(self, ghost: Ghost, record: SnapshotStored) -> None:
        """A snapshot takes the place of the log up to its last entry (Raft figure 13)."""
        index = record.snapshot.base.index
        if index < ghost.snapshot_index:
            raise Violation("I4", f"{ghost.peer} goes back from snapshot {ghost.snapshot_index}")
        if index < ghost.commit_index:
            if not record.keeps_tail:
                raise Violation("I8", f"{ghost.peer} goes back from {ghost.commit_index}: {index}")
        elif record.keeps_tail is not self._is_committed_in(ghost, index):
            raise Violation("I5", f"{ghost.peer} at {index} keeps or drops the wrong tail")
        ghost.snapshot_index = index
        ghost.snapshots.append(record)
        if not record.keeps_tail:
            ghost.log = ghost.disk.history.until(index)

    def _is_committed_in(self, ghost: Ghost, index: int) -> bool:
        """Whether the peer's log agrees with the committed one there, if that is known yet."""
        own, known = ghost.log.hash_at(index), self.committed.log.hash_at(index)
        return own is not None and known in (None, own)

    def _judge_snapshots(self, ghost: Ghost, commit_index: int) -> None:
        """Of the turn: what is in a snapshot is committed, and equal everywhere (I8), and so is the
        configuration that stands beside it (I11)."""
        if commit_index > self.committed.index:
            self._commit(ghost, ghost.term, commit_index, "its commit index")
        history = self.committed.log
        for record in ghost.snapshots:
            snapshot = record.snapshot
            index = snapshot.base.index
            if history.hash_at(index) is None or ghost.log.hash_at(index) != history.hash_at(index):
                raise Violation("I8", f"{ghost.peer} has a snapshot of no committed log: {index}")
            if self._digests.setdefault(index, snapshot.digest) != snapshot.digest:
                raise Violation("I8", f"{ghost.peer} has another state at {index}")
            for base in (snapshot.base, record.base):
                expected = history.until(base.index)
                if base.index and (base.term, base.voters) != (
                    expected.last_term,
                    expected.voters,
                ):
                    raise Violation("I11", f"{ghost.peer} stores {base}, not {expected.voters}")
        ghost.snapshots.clear()

    # ---- the log -----------------------------------------------------------------------------

    def _log_append(self, ghost: Ghost, record: LogAppend) -> None:
        log = ghost.log
        if record.keep_index < log.last_index:
            if record.keep_index < ghost.commit_index:
                raise Violation("I8", f"{ghost.peer} truncates what it committed: {record}")
            if ghost.led_term == ghost.term:
                raise Violation("I5", f"{ghost.peer} leads and truncates its log: {record}")
            if log.hash_at(record.keep_index) is None:
                raise Violation("I5", f"{ghost.peer} splits a batch: {record}")
            log.keep(record.keep_index)
            ghost.announced = min(ghost.announced, record.keep_index)
        for batch in record.batches:
            if batch.index == 1 and batch.voters:
                self._formed(ghost, batch)
            if batch.index != log.last_index + 1 or batch.count < 1:
                raise Violation("I5", f"{ghost.peer} has a gap behind {log.last_index}: {batch}")
            if log.batches and (
                batch.term < log.batches[-1].term or batch.clock < log.batches[-1].clock
            ):
                raise Violation("I4", f"{ghost.peer}: term or clock go back: {batch}")
            if any(voter in self.liars for voter in batch.voters):
                raise LiarVotes(f"{ghost.peer} lets a liar vote: {batch}")
            if batch.voters and log.configurations:
                self._reconfigured(ghost, batch, log.configurations[-1])
            ghost.unproven.append((batch.last_index, batch.term, log.append(batch)))

    def _reconfigured(self, ghost: Ghost, batch: Batch, before: Batch) -> None:
        """I11: one change at a time, of one voter, by a leader that has committed in its term
        (Raft thesis §4.1, with the correction of 2015). Whoever appends it, its leader knew."""
        own_index = self.committed.by_term.get(batch.term)
        try:
            judge(batch, before, self.committed.log, own_index)
        except ConfigurationFault as fault:
            raise Violation("I11", f"{ghost.peer}: {fault}") from None

    def _prove(self, ghost: Ghost, index: int, term: int, value: int) -> None:
        """I5, for the batch that ends at `index`: it has left the peer, or is on its disk."""
        if self._chain.setdefault((index, term), value) != value:
            raise Violation("I5", f"{ghost.peer} has another log at {index}, term {term}")

    def _formed(self, ghost: Ghost, first: Batch) -> None:
        """I11 at birth: one first batch for all, which every voter has promised on its disk."""
        committed = self.committed.log
        if committed.batches:
            if committed.batches[0] != first:
                raise Violation("I11", f"{ghost.peer} begins a second cluster: {first}")
            return
        self._founding = ghost, first
        for voter in first.voters:
            if voter != ghost.peer and not self.ghosts[voter].disk.has_promised(first):
                raise Violation("I11", f"{ghost.peer} begins without a promise of {voter}")
        self._found_if_durable()

    def _found_if_durable(self) -> None:
        assert self._founding is not None, "no cluster is being founded"
        ghost, first = self._founding
        if ghost.disk.has_formed(first):  # Until then its founder may give it up after a crash.
            self._founding = None
            self._extend(first)
            self.committed.by_term[0] = first.last_index

    def _extend(self, batch: Batch) -> None:
        self.committed.log.append(batch)
        for listener in self._listeners:
            listener.committed(batch)

    def _commit(self, ghost: Ghost, term: int, index: int, claim: object) -> None:
        """I6 for a claim of `ghost` that `index` is committed."""
        log, committed = ghost.log, self.committed
        value = log.hash_at(index)
        if index <= committed.index:
            if value is None or value != committed.log.hash_at(index):
                raise Violation("I6", f"{ghost.peer} commits another log: {claim}")
            ghost.announced = index
            return
        if value is None:
            raise Violation("I6", f"{ghost.peer} commits what is not in its log: {claim}")
        if log.term_at(index) != term:
            raise Violation("I6", f"{ghost.peer} commits by counting an older term: {claim}")
        voters = log.voters
        holding = [
            voter
            for voter in voters
            if voter in self.ghosts and self.ghosts[voter].disk.log.hash_at(index) == value
        ]
        if len(holding) <= len(voters) // 2:
            raise Violation("I6", f"only {holding} of {voters} hold {index} on disk: {claim}")
        if log.hash_at(committed.index) != committed.log.hash_at(committed.index):
            raise Violation("I7", f"{ghost.peer} lacks what was committed before: {claim}")
        for batch in log.batches[len(committed.log.batches) : log.count_until(index)]:
            self._extend(batch)
        committed.by_term[term] = index
        ghost.announced = index


def _durable_in(term: int, disk: Disk, index: int) -> list[int]:
    """Hashes of the log up to `index` that the disk has; also of those that it had, if it has gone
    past `term`: what it had in a term stays true of that term (Raft §5.4.2)."""
    if term < disk.hard_state.term:
        return disk.logs_held(index)
    value = disk.log.hash_at(index)
    return [] if value is None else [value]
