"""Changes of the voters by command: asked at any peer, made by the leader, answered when they are
committed.

Rules
1. The asker asks again until it is answered or its time is over; the leader does each thing once,
   because it looks at what is: who wishes for what is so already is answered once that is
   committed.
2. A wish can name the configuration that it is made on. On another one it is refused, unless it is
   fulfilled there.
3. A change that would leave voters without a majority that answers is refused. Who has said goodbye
   does not answer, however lately it did.
4. Who is taken out by command stays out until a command promotes it.
5. A wish that names no configuration is asked on one all the same, so that a late copy of it cannot
   undo what was changed since. Where that has moved on, the asker asks anew on the latest.
6. What was refused is certainly not done: no copy of it is done later by the same leader, and of
   another one's word alone the asker does not take it for certain.
7. More wishes than `WISHES_MAX` at once are not asked at all, and that is said.
"""

from collections.abc import Callable
from math import inf

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import ChangeVoter, VoterAnswer
from mabeam_p2p.protocol.core import Outbox, numbers_before
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Objection, Replication
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.requests import Answer, ChangeVoters, Committed, Failed, Refused

DONE = "done"
VOTERS_CHANGED = "voters_changed"

WISHES_MAX = 256
"""Wishes of this peer's agents that have no answer yet: a change takes a second."""
REFUSALS_MAX = 256
"""Refusals of one term that are remembered for copies of what was refused."""

DETAILS = {
    VOTERS_CHANGED: "this was meant for another configuration than the latest",
    "no_member": "no such peer is here",
    "not_caught_up": "it does not have the log yet",
    "last_voter": "nobody would vote",
    "too_many_voters": "the limit voters_max is reached",
    "no_majority": "too few of those that would vote answer: the log would stand still",
}


class Asked:
    """A wish of this peer's agents."""

    __slots__ = ("asked_of", "deadline", "index", "is_sent", "is_spread", "request", "token")

    def __init__(self, token: int, request: ChangeVoters, deadline: float) -> None:
        self.token = token
        self.request = request
        self.deadline = deadline
        self.index = request.index
        """Of the configuration that it is asked on; 0: not asked yet, or there is none here."""
        self.is_sent = False
        self.asked_of: tuple[PeerId, int] | None = None
        """The leader that was asked last, and its term."""
        self.is_spread = False
        """Whether another one was asked before: what that does with it, the last cannot know."""


class VoterChanges:
    """Both sides: of the peer that asks, and of the leader that does."""

    def __init__(
        self,
        peer: PeerId,
        replication: Replication,
        *,
        members: Callable[[], tuple[Member, ...]],
        barred: Callable[[], tuple[PeerId, ...] | None],
        configure: Callable[[tuple[PeerId, ...], tuple[PeerId, ...]], Objection],
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        epoch: int,
    ) -> None:
        """barred: as of the latest configuration, or None while that is not applied. configure:
        appends the voters and the barred, or says why not."""
        self._peer = peer
        self._replication = replication
        self._members = members
        self._barred = barred
        self._configure = configure
        self._timing = timing
        self._limits = limits
        self._outbox = outbox
        self._number = numbers_before(epoch)
        self._asked: dict[int, Asked] = {}
        self._resend_due = inf
        self._waiting: dict[tuple[PeerId, int], None] = {}
        """(asker, number) of wishes that hold in the latest configuration, which is not committed
        yet."""
        self._refused: dict[tuple[PeerId, int], tuple[str, int]] = {}
        """(reason, index) that (asker, number) was told."""
        self._waits_for = 0
        """The leader's term that `_waiting` and `_refused` belong to."""
        self._leaderless_since: float | None = None

    # ---- asking --------------------------------------------------------------------------------

    def request(self, token: int, request: ChangeVoters, deadline: float, now: float) -> None:
        if len(self._asked) >= WISHES_MAX:
            detail = "too many changes of the voters are under way"
            self._outbox.resolve(token, Failed("overloaded", detail))
            return
        self._number += 1
        self._asked[self._number] = Asked(token, request, deadline)
        self._resend_due = now

    def cancel(self, token: int) -> None:
        for number in [n for n, asked in self._asked.items() if asked.token == token]:
            del self._asked[number]

    def tick(self, now: float) -> None:
        since = self._leaderless_since
        is_leaderless = since is not None and now - since >= self._timing.no_quorum_seconds
        for number, asked in list(self._asked.items()):
            if now < asked.deadline and not is_leaderless:
                continue
            del self._asked[number]
            if asked.is_sent:
                detail = "the leader has not answered: the voters may have changed, or may yet"
                self._outbox.resolve(asked.token, Failed("unknown", detail))
            else:
                detail = "nobody leads: the voters stay as they are"
                self._outbox.resolve(asked.token, Failed("no_quorum", detail))

    def flush(self, leader: PeerId | None, now: float) -> None:
        """Ask what is due; answer what has been committed."""
        if leader is not None:
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._leaderless_since = now
        if self._asked and leader is not None and now >= self._resend_due:
            self._resend_due = now + self._timing.forward_timeout_seconds
            for number, asked in list(self._asked.items()):
                request, asked.is_sent = asked.request, True
                before, asked.asked_of = asked.asked_of, (leader, self._replication.term)
                asked.is_spread |= before not in (None, asked.asked_of)
                if not request.index and (not asked.index or leader == self._peer):
                    asked.index = self._replication.log.configuration_index
                wish = ChangeVoter(
                    self._replication.log_id, number, request.peer, request.votes, asked.index
                )
                if leader == self._peer:
                    self.receive(self._peer, wish, now)
                else:
                    self._outbox.send(leader, wish)
        self._answer_committed()

    def next_deadline(self) -> float:
        if not self._asked:
            return inf
        due = min(asked.deadline for asked in self._asked.values())
        if self._leaderless_since is None:
            return min(due, self._resend_due)
        return min(due, self._leaderless_since + self._timing.no_quorum_seconds)

    def receive_answer(self, source: PeerId, answer: VoterAnswer) -> None:
        if source == self._replication.leader:
            self._answered(answer)

    def _answered(self, answer: VoterAnswer) -> None:
        asked = self._asked.get(answer.number)
        if asked is None:
            return
        if answer.reason == VOTERS_CHANGED and not asked.request.index:
            asked.index = answer.index
            self._resend_due = -inf
            return
        del self._asked[answer.number]
        outcome: Answer = Committed(answer.index, self._replication.term)
        if answer.reason != DONE:
            detail = DETAILS.get(answer.reason, "the leader refuses it")
            outcome = Refused(answer.reason, detail)
            if asked.is_spread:
                detail = f"{detail}; but it was asked of a leader before this one, and may be done"
                outcome = Failed("unknown", detail)
        self._outbox.resolve(asked.token, outcome)

    # ---- the leader ----------------------------------------------------------------------------

    def receive(self, source: PeerId, wish: ChangeVoter, now: float) -> None:
        """A peer wants `wish.peer` to vote, or not to. What cannot be said yet is not answered: the
        asker asks again."""
        replication, barred = self._replication, self._barred()
        if replication.leadership is None or barred is None:
            return
        if replication.term != self._waits_for:
            self._waits_for = replication.term
            self._waiting.clear()
            self._refused.clear()
        refusal = self._refused.get((source, wish.number))
        if refusal is not None:
            self._answer(source, wish.number, *refusal)
            return
        if (wish.peer in replication.voters) is not wish.votes:
            reason = self._change(wish, barred, now)
            if reason:
                self._refuse(source, wish.number, reason)
                return
            if reason is None:
                return
        if len(self._waiting) < self._limits.members_max:
            self._waiting[source, wish.number] = None
        self._answer_committed()

    def _refuse(self, asker: PeerId, number: int, reason: str) -> None:
        """For good: no copy of the wish is done later. The configuration alone is no such matter,
        as it never goes back, and the asker may ask anew on the latest."""
        index = self._replication.log.configuration_index
        if reason != VOTERS_CHANGED:
            self._refused[asker, number] = reason, index
            if len(self._refused) > REFUSALS_MAX:
                del self._refused[next(iter(self._refused))]
        self._answer(asker, number, reason, index)

    def _change(self, wish: ChangeVoter, barred: tuple[PeerId, ...], now: float) -> str | None:
        """Append it: empty. Else why it is refused for good, or None: it can be asked again."""
        replication, leadership = self._replication, self._replication.leadership
        assert leadership is not None, "asked of a leader"
        voters, peer = replication.voters, wish.peer
        if wish.index and wish.index != replication.log.configuration_index:
            return VOTERS_CHANGED
        others = tuple(voter for voter in voters if voter != peer)
        if wish.votes:
            if not any(m.peer == peer and m.state <= MemberState.SUSPECT for m in self._members()):
                return "no_member"
            if len(voters) >= self._limits.voters_max:
                return "too_many_voters"
            if not leadership.has_caught_up(peer, now):
                return "not_caught_up"
            wanted = tuple(sorted((*others, peer)))
            out = tuple(one for one in barred if one != peer)
        else:
            if not others:
                return "last_voter"
            wanted, out = others, (*(one for one in barred if one != peer), peer)
        timeout = self._timing.election_timeout_seconds
        left = [m.peer for m in self._members() if m.state is MemberState.LEFT]
        near = [v for v in wanted if v not in left and leadership.silence(v, now) < timeout]
        if len(near) < majority(len(wanted)):
            return "no_majority"
        heard = [v for v in near if v == self._peer or leadership.is_heard(v, now)]
        if len(heard) < majority(len(wanted)):
            return None  # It was just elected: it hears them soon, or knows that it does not.
        objection = self._configure(wanted, out)
        return "" if objection is Objection.NONE else None

    def _answer_committed(self) -> None:
        replication = self._replication
        if not self._waiting:
            return
        leadership = replication.leadership
        if leadership is None or self._waits_for != replication.term:
            self._waiting.clear()
        elif replication.log.is_configured and not leadership.is_configuring:
            for asker, number in self._waiting:
                self._answer(asker, number, DONE, replication.log.configuration_index)
            self._waiting.clear()

    def _answer(self, asker: PeerId, number: int, reason: str, index: int) -> None:
        answer = VoterAnswer(self._replication.log_id, number, reason, index)
        if asker == self._peer:
            self._answered(answer)
        else:
            self._outbox.send(asker, answer)
