"""A follower's side of the log: what it takes from the leader of its term, and what it may say and
commit of it (Raft §5.3).

Rules
1. A follower commits no further than it has verified against the leader of this term.
2. An acknowledgement names the last index that is verified, and waits until it is durable.
3. Nothing that is committed is ever replaced.
"""

from typing import NamedTuple

from msgspec.structs import replace

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import AppendEntries, AppendReply
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.replication.term import Term
from mabeam_p2p.records import Batch, LogAppend, LogBase


class Said(NamedTuple):
    """How far the log is committed, by the word of the leader of `term`, last heard `at`."""

    at: float
    term: int
    commit_index: int


class Following:
    """What a peer that follows keeps for the length of a term."""

    def __init__(self, log: Log, term: Term, *, log_id: int, outbox: Outbox) -> None:
        self._log = log
        self._term = term
        self._log_id = log_id
        self._outbox = outbox
        self._verified_index = 0
        self.log_persist = 0
        """The Persist that made the log durable, as it is."""
        self._pending_reply: tuple[PeerId, AppendReply] | None = None

    def begin_term(self) -> None:
        """A term has one leader: what was verified and is to be answered was the last one's."""
        self._verified_index = 0
        self._pending_reply = None

    def append(self, keep_index: int, batches: tuple[Batch, ...]) -> None:
        """Replace what stands behind `keep_index`."""
        if keep_index < self._log.last_index:
            self._log.truncate(keep_index)
        self._log.append(batches)
        self.log_persist = self._outbox.persist(LogAppend(self._log_id, keep_index, batches))

    def installed(self, index: int, persist: int) -> None:
        """A snapshot of the leader's log up to `index` has taken its place."""
        self._verified_index = max(self._verified_index, index)
        self.log_persist = persist

    def receive(self, source: PeerId, message: AppendEntries) -> bool:
        """AppendEntries of the leader of this term. False: no leader sends such a thing."""
        log = self._log
        if message.previous_index < log.base.index:
            message = _behind(log.base, message)
        if log.term_at(message.previous_index) != message.previous_term:
            hint = log.agreement_before(message.previous_index, message.previous_term)
            # What is committed is in every leader's log (Raft §5.4.3).
            self.refuse(source, max(hint, log.commit_index), message.previous_index)
            return True
        verified_index = message.previous_index
        for position, batch in enumerate(message.batches):
            if log.term_at(batch.last_index) != batch.term:
                behind = message.batches[position:]
                if not self._can_stand(verified_index, behind):
                    return False
                self.append(verified_index, behind)
                verified_index = behind[-1].last_index
                break
            verified_index = batch.last_index
        self._verified_index = max(self._verified_index, verified_index)
        self.commit(message.commit_index)
        # Verified grows within a term, so the last answer of a turn says everything.
        reply = self._reply(True, self._verified_index, message.previous_index)
        self._pending_reply = source, reply
        return True

    def _can_stand(self, keep_index: int, batches: tuple[Batch, ...]) -> bool:
        """Whether a leader of this term can have these batches behind `keep_index`."""
        return (
            keep_index >= self._log.commit_index
            and batches[-1].term <= self._term.number
            and self._log.fits(keep_index, batches)
        )

    def refuse(self, target: PeerId, match_index: int, previous_index: int) -> None:
        """match_index: the last index where the logs may still agree."""
        reply = self._reply(False, match_index, previous_index)
        self._outbox.send(target, reply, self._term.persist)

    def _reply(self, success: bool, match_index: int, previous_index: int) -> AppendReply:
        return AppendReply(self._log_id, self._term.number, success, match_index, previous_index)

    def commit(self, commit_index: int) -> None:
        """Follow the leader's commit index, as far as this log is known to be the leader's."""
        self._log.commit(self._log.end_at_or_before(min(commit_index, self._verified_index)))

    def flush(self) -> None:
        """The end of a turn: what was received is answered, once it is durable."""
        if self._pending_reply is not None:
            target, reply = self._pending_reply
            self._outbox.send(target, reply, max(self.log_persist, self._term.persist))
            self._pending_reply = None


def _behind(base: LogBase, message: AppendEntries) -> AppendEntries:
    """The part of a late message that lies behind the base. What lies before is committed here, so
    that the leader has it too (Raft §5.4.3): the base is the position that both know."""
    later = tuple(batch for batch in message.batches if batch.index > base.index)
    if later and later[0].index != base.index + 1:
        later = ()
    return replace(message, previous_index=base.index, previous_term=base.term, batches=later)
