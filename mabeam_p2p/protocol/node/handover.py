"""Every hand-over of the lead: because somebody asked for it, because this peer leaves, or because
another one is preferred. It finds the target, and tells those who wait what has become of it.

The hand-over itself is replication's (`replication/transfer.py`), the preference `preference`'s.

Rules
1. The leader alone begins one. Another peer that is asked passes the wish on to it, once: a wish
   that is lost is answered as unknown, and nobody asks again in its name.
2. The target is a voter that is alive, may lead, and is in contact. Else nothing begins, and the
   reason is told.
3. Who may not lead and was elected for the sake of its log (`election`) hands over to one that may
   as soon as that one is caught up; it serves until then.
4. A leader that leaves hands over first, if there is somebody to take over, and says goodbye when
   the successor is heard, or the hand-over has failed: its vote may be needed.
5. No peer has the lead handed over as often as it likes: a leader begins `ASKED_BURST` at the word
   of any one, and then one in `ASKED_EVERY` election timeouts.
6. Who has asked this peer is told of the successor when this peer has heard it itself, or when the
   time is over.
"""

from math import inf
from typing import assert_never

from mabeam_p2p.config import Timing
from mabeam_p2p.events import HandOverBegan
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import TransferMessage, TransferReply, TransferRequest
from mabeam_p2p.protocol.core import HeardNumbers, Outbox, numbers_before
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.node.allowance import Allowance
from mabeam_p2p.protocol.node.successors import Successors
from mabeam_p2p.protocol.preference import Preference
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.records import Standing
from mabeam_p2p.requests import Done, Failed, HandedOver, Refused, TransferLeadership

ASKED = "asked"
LEAVING = "leaving"
PREFERRED = "preferred"
CARETAKER = "caretaker"

WISHES_MAX = 256
"""Wishes of this peer's agents that are under way to a leader, or wait for a hand-over here."""

ASKED_BURST = 5
"""Hand-overs that the agents of one peer may ask of a leader at once."""
ASKED_EVERY = 10
"""Election timeouts for one more: each hand-over costs writes a part of one."""

Wish = tuple[PeerId, int]
"""Who waits for the outcome: an agent here by its token, or another peer by its number."""


class Attempt:
    """The hand-over that this peer has begun."""

    __slots__ = ("ends_at", "reason", "target", "term", "wishes")

    def __init__(self, target: PeerId, term: int, reason: str, ends_at: float) -> None:
        """ends_at: until when a successor is waited for."""
        self.target = target
        self.term = term
        self.reason = reason
        self.ends_at = ends_at
        self.wishes: list[Wish] = []


class Handover:
    """One peer's hand-overs, and its agents' wishes for one."""

    def __init__(
        self,
        timing: Timing,
        *,
        margin: int,
        membership: Membership,
        replication: Replication,
        outbox: Outbox,
        epoch: int,
    ) -> None:
        self.is_leaving = False
        self._timing = timing
        self._replication = replication
        self._successors = Successors(membership, replication)
        self._name = self._successors.name
        self._preference = Preference(margin, timing)
        self._outbox = outbox
        self._led_term = 0
        """The last term that this peer was seen to lead."""
        self._judged_term = 0
        """The last one in which it was asked whether it may."""
        self._is_caretaker = False
        """Whether this peer was elected although it may not lead."""
        self._rests_until = -inf
        """A caretaker that has tried in vain serves for a while before it tries again."""
        self._attempt: Attempt | None = None
        self._leave_wishes: list[int] = []
        self._number = numbers_before(epoch)
        self._sent: dict[int, tuple[int, PeerId, float]] = {}
        """By number of the request: who waits, the leader that was asked, and until when."""
        self._handed: list[tuple[int, HandedOver, float]] = []
        """Outcomes to be told at a turn's end (rule 6): who waits, and until when at most."""
        self._heard = HeardNumbers()
        every = ASKED_EVERY * timing.election_timeout_seconds
        self._allowance = Allowance(ASKED_BURST, every, WISHES_MAX)

    # ---- wishes ------------------------------------------------------------------------------

    def request(self, token: int, request: TransferLeadership, now: float) -> None:
        """An agent of this peer wants another leader."""
        replication = self._replication
        if replication.leadership is not None:
            self._begin_for((replication.peer, token), request.target, now)
        elif replication.leader is None or not replication.is_leader_heard(now):
            self._outbox.resolve(token, Failed("no_quorum", "nobody leads"))
        elif request.target == replication.leader:
            self._handed.append((token, HandedOver(replication.leader, replication.term), now))
        elif len(self._sent) + len(self._handed) >= WISHES_MAX:
            self._outbox.resolve(token, Failed("overloaded", "too many of these are under way"))
        else:
            self._number += 1
            seconds = self._timing.request_timeout_seconds
            ends_at = now + (request.timeout or seconds)
            self._sent[self._number] = token, replication.leader, ends_at
            message = TransferRequest(replication.log_id, self._number, request.target)
            self._outbox.send(replication.leader, message)

    def cancel(self, token: int) -> None:
        """Nobody waits any more. A hand-over that has begun goes on, and so does leaving."""
        self._leave_wishes = [wish for wish in self._leave_wishes if wish != token]
        self._sent = {n: wish for n, wish in self._sent.items() if wish[0] != token}
        self._handed = [one for one in self._handed if one[0] != token]
        if self._attempt is not None:
            mine = self._replication.peer, token
            self._attempt.wishes = [wish for wish in self._attempt.wishes if wish != mine]

    def leave(self, token: int, now: float) -> None:
        """This peer leaves as soon as `can_leave`; then `left` answers."""
        self._leave_wishes.append(token)
        if self.is_leaving:
            return
        self.is_leaving = True
        if self._replication.leadership is not None and self._attempt is None:
            target = self._successors.best(now)
            if target is not None:
                self._begin(target, LEAVING, now)

    @property
    def can_leave(self) -> bool:
        return self.is_leaving and self._attempt is None

    def left(self) -> None:
        for token in self._leave_wishes:
            self._outbox.resolve(token, Done())
        self._leave_wishes.clear()

    def receive(self, source: PeerId, message: TransferMessage, now: float) -> None:
        match message:
            case TransferRequest():
                self._on_request(source, message, now)
            case TransferReply():
                self._on_reply(source, message)
            case _:
                assert_never(message)

    def _on_request(self, source: PeerId, message: TransferRequest, now: float) -> None:
        """A wish is heard once: a late copy of it is no wish any more."""
        if not self._heard.is_new(source, message.number):
            return
        self._begin_for((source, message.number), message.target, now)

    def _on_reply(self, source: PeerId, reply: TransferReply) -> None:
        """It counts from who was asked, whoever leads by now."""
        token, asked, ends_at = self._sent.get(reply.number, (0, PeerId(""), 0.0))
        if source != asked:
            return
        del self._sent[reply.number]
        if reply.reason:
            self._outbox.resolve(token, Refused(reply.reason, reply.detail))
        else:
            self._handed.append((token, HandedOver(reply.leader, reply.term), ends_at))

    # ---- time --------------------------------------------------------------------------------

    def tick(self, mine: Standing, now: float) -> None:
        """Before a turn's end: a leader looks whether somebody is preferred."""
        for number in [n for n, (_, _, deadline) in self._sent.items() if deadline <= now]:
            token, _, _ = self._sent.pop(number)
            text = "the leader has not said what has become of it; see who leads"
            self._outbox.resolve(token, Failed("unknown", text))
        leadership = self._replication.leadership
        if leadership is None or self._attempt is not None or self.is_leaving:
            return
        if self._replication.term != self._judged_term:
            self._judged_term = self._replication.term
            self._is_caretaker = not mine.eligible
            self._rests_until = -inf
        if self._is_caretaker and not mine.eligible:
            self._hand_back(now)
            return
        target = self._preference.consider(
            mine,
            self._successors.challengers(),
            lambda peer: leadership.is_caught_up(peer, now),
            now,
        )
        if target is not None:
            self._begin(target, PREFERRED, now)

    def _hand_back(self, now: float) -> None:
        """As a caretaker, to whoever may lead and can at once."""
        leadership, target = self._replication.leadership, self._successors.best(now)
        if leadership is None or target is None or now < self._rests_until:
            return
        if leadership.is_caught_up(target, now):
            self._rests_until = now + 4 * self._timing.election_timeout_seconds
            self._begin(target, CARETAKER, now)

    def flush(self, now: float) -> None:
        """The end of a turn, when replication has ended its own, and its news have been told."""
        replication = self._replication
        handed, self._handed = self._handed, []
        for one in handed:
            token, answer, ends_at = one
            has_heard = replication.leader is not None and replication.term >= answer.term
            if has_heard or ends_at <= now:
                self._outbox.resolve(token, answer)
            else:
                self._handed.append(one)
        if replication.leadership is not None and replication.term != self._led_term:
            self._led_term = replication.term
            self._preference.took_office(now)
        attempt = self._attempt
        if attempt is None:
            return
        if replication.leadership is not None and replication.term == attempt.term:
            if replication.leadership.transfer is None:
                self._preference.failed(now)
                self._end(replication.leadership.transfer_failure, self._name(attempt.target))
        elif replication.leader == attempt.target:
            self._end("", "")
        elif replication.leader is not None:
            self._end("another_leads", f"{self._name(replication.leader)} was elected")
        elif now >= attempt.ends_at:
            self._end("another_leads", "nobody has been elected yet")

    def next_deadline(self) -> float:
        due = inf if self._attempt is None else self._attempt.ends_at
        waits = (*self._sent.values(), *self._handed)
        return min([due, *(deadline for _, _, deadline in waits)])

    # ---- beginning and end -------------------------------------------------------------------

    def _begin_for(self, wish: Wish, target: PeerId, now: float) -> None:
        """Because it is wished: begin, join what has begun, or say why not."""
        attempt = self._attempt
        if target == self._replication.peer and attempt is None:
            is_leading = self._replication.leadership is not None
            self._answer(wish, "" if is_leading else "not_leader", "")
            return
        if not target:
            target = attempt.target if attempt is not None else self._successors.best(now) or target
        if attempt is not None and attempt.target != target:
            refusal: tuple[str, str] | None = (
                "handing_over",
                f"to {self._name(attempt.target)}",
            )
        else:
            refusal = self._successors.fault(target, now)
        if refusal is None and attempt is None and not self._allowance.take(wish[0], now):
            refusal = "too_often", f"{self._name(wish[0])} has asked for many just now"
        if refusal is not None:
            self._answer(wish, *refusal)
            return
        attempt = attempt or self._begin(target, ASKED, now)
        if len(attempt.wishes) < WISHES_MAX:
            attempt.wishes.append(wish)
        else:
            self._answer(wish, "handing_over", "and too many wait for it")

    def _begin(self, target: PeerId, reason: str, now: float) -> Attempt:
        replication = self._replication
        assert replication.leadership is not None, "only a leader hands over"
        replication.leadership.hand_over(target, now)
        self._preference.tried(now)
        ends_at = now + 2 * self._timing.election_timeout_seconds
        self._attempt = Attempt(target, replication.term, reason, ends_at)
        event = HandOverBegan(target, self._name(target), replication.term, reason)
        self._outbox.notify(event)
        return self._attempt

    def _end(self, reason: str, detail: str) -> None:
        assert self._attempt is not None
        attempt, self._attempt = self._attempt, None
        for wish in attempt.wishes:
            self._answer(wish, reason, detail)

    def _answer(self, wish: Wish, reason: str, detail: str) -> None:
        replication = self._replication
        leader, term = replication.leader, replication.term
        if reason or leader is None:
            leader, term = PeerId(""), 0
        peer, number = wish
        if peer != replication.peer:
            reply = TransferReply(replication.log_id, number, reason, detail, leader, term)
            self._outbox.send(peer, reply)
        else:
            answer = Refused(reason, detail) if reason else HandedOver(leader, term)
            self._outbox.resolve(number, answer)

    def objection(self, peer: PeerId, mine: Standing, now: float) -> tuple[str, str]:
        """Why this leader does not hand over to `peer`, which could take over."""
        if self._attempt is not None:
            return "handing_over", f"to {self._name(self._attempt.target)}"
        standing = dict(self._successors.challengers()).get(peer)
        if standing is None:
            return "not_told", "it has not told this leader where it stands"
        return self._preference.objection(peer, mine, standing, now)
