"""Votes: those that a candidate gathers, and those that a peer gives (Raft §5.2, §5.4.1, §6; thesis
§9.6).

Rules
1. A vote is given once in a term, only to a log at least as up-to-date, and never while a leader
   is heard, unless that leader has the candidate stand. A pre-vote follows the same test and
   changes nothing.
2. A candidate's own vote is durable before anybody is asked.
3. Who asks for a vote need not be a voter here, if its log is ahead of this one; who is asked need
   not know that it votes (Raft thesis §4.2.3).
"""

from collections.abc import Callable
from enum import Enum

from mabeam_p2p.ids import NOBODY, PeerId
from mabeam_p2p.messages import VoteReply, VoteRequest
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.quorum import is_quorum
from mabeam_p2p.protocol.replication.configuration import is_ahead, may_stand
from mabeam_p2p.protocol.replication.term import Term
from mabeam_p2p.records import Standing


class Phase(Enum):
    NONE = "none"
    PRE_VOTE = "pre_vote"
    VOTE = "vote"


class Candidacy:
    """How far this peer's own candidacy is, and its answers to those of others."""

    def __init__(
        self,
        peer: PeerId,
        log: Log,
        term: Term,
        *,
        log_id: int,
        set_term: Callable[[int, PeerId], None],
        outbox: Outbox,
    ) -> None:
        """set_term: goes on to a term, or gives its vote; ends all that belongs to an older one."""
        self.phase = Phase.NONE
        self.answered_ok = False
        """A higher peer has answered our election with OK; the owner takes note and clears it."""
        self.vote_given = False
        """A vote was given to another; the owner takes note and clears it."""
        self.outran = False
        """A candidate that may lead lacks what we hold; the owner takes note and clears it."""
        self._votes: list[PeerId] = []
        self._peer = peer
        self._log = log
        self._term = term
        self._log_id = log_id
        self._set_term = set_term
        self._outbox = outbox

    # ---- a candidate ---------------------------------------------------------------------------

    @property
    def is_elected(self) -> bool:
        """Whether a majority has voted for this peer in its term, and it does not lead yet."""
        return self.phase is Phase.VOTE and is_quorum(self._votes, self._log.voters)

    def end(self) -> None:
        self.phase = Phase.NONE

    def stand(self, standing: Standing) -> None:
        """Ask for pre-votes: would a majority elect this peer? (Raft thesis §9.6)."""
        self.phase = Phase.PRE_VOTE
        self._votes = [self._peer]
        if is_quorum(self._votes, self._log.voters):
            self.campaign(standing)
        else:
            self._ask(self._term.number + 1, standing, pre=True)

    def campaign(self, standing: Standing, *, transfer: bool = False) -> None:
        """Raft §5.2: a new term and a vote for oneself (rule 2). transfer: the leader wants it."""
        self._set_term(self._term.number + 1, self._peer)
        self.phase = Phase.VOTE
        self._votes = [self._peer]
        self._ask(self._term.number, standing, pre=False, transfer=transfer)

    def _ask(self, term: int, standing: Standing, *, pre: bool, transfer: bool = False) -> None:
        request = VoteRequest(self._log_id, term, standing, pre, transfer)
        for voter in self._log.voters:
            if voter != self._peer:
                self._outbox.send(voter, request, self._term.persist)

    def receive_reply(self, source: PeerId, reply: VoteReply, standing: Standing) -> None:
        """An answer of our term or an older one; a newer term has been followed before."""
        if reply.pre and self.phase is Phase.PRE_VOTE:
            if reply.granted and reply.term == self._term.number + 1:
                self._count(source)
                if is_quorum(self._votes, self._log.voters):
                    self.campaign(standing)
                return
            self.answered_ok = self.answered_ok or reply.higher
        if (
            not reply.pre
            and reply.granted
            and reply.term == self._term.number
            and self.phase is Phase.VOTE
        ):
            self._count(source)

    def _count(self, voter: PeerId) -> None:
        if voter not in self._votes:
            self._votes.append(voter)

    # ---- a voter -------------------------------------------------------------------------------

    def receive(
        self, source: PeerId, request: VoteRequest, *, is_leader_heard: bool, takes_over: bool
    ) -> None:
        """is_leader_heard: not by a candidate that the leader has made stand. takes_over: whether
        this peer answers OK to a pre-vote and stands itself."""
        standing, log = request.standing, self._log
        is_known = not log.voters or may_stand(source, log)
        if not is_known and not is_ahead(standing.last_term, standing.last_index, log):
            return
        if is_leader_heard:
            # Leader stickiness (Raft §6). The reply lets a candidate of an old term catch up.
            if request.pre:
                self._reply(source, self._term.number, granted=False, pre=True)
            return
        up_to_date = (request.standing.last_term, request.standing.last_index) >= (
            self._log.last_term,
            self._log.last_index,
        )
        if not up_to_date and request.standing.eligible:
            self.outran = True
        number = self._term.number
        if request.pre:
            granted = up_to_date and request.term > number and not takes_over
            term = request.term if granted else number
            self._reply(source, term, granted=granted, pre=True, higher=takes_over)
            return
        if request.term < number:
            self._reply(source, number, granted=False, pre=False)
            return
        granted = up_to_date and (request.term > number or self._term.vote in (NOBODY, source))
        if request.term > number:
            self._set_term(request.term, source if granted else NOBODY)
        elif granted and self._term.vote == NOBODY:
            self._set_term(number, source)
        if granted:
            self.vote_given = True
        self._reply(source, self._term.number, granted=granted, pre=False)

    def _reply(
        self, target: PeerId, term: int, *, granted: bool, pre: bool, higher: bool = False
    ) -> None:
        reply = VoteReply(self._log_id, term, granted, pre, higher)
        self._outbox.send(target, reply, self._term.persist)
