"""Who stands for election, and when: the bully order inside Raft's safety.

It decides nothing about votes or terms: `replication` does. It only tells this peer when to stand,
and when to answer a lower candidate's election with OK and stand in its place
(Garcia-Molina 1982; docs/divergence.md#bully).

Rules
1. Nobody stands while a leader is heard.
2. When the leader has been silent for the election timeout, each eligible peer waits one step for
   each peer that stands above it: log first, then score bucket, tenure, and the smaller id.
3. A peer that stands above a candidate answers OK and stands at once, if it has not stood in this
   vacancy yet: preference delays an election at most once.
4. Whoever was answered OK, or did not win, waits a random time of one to two election timeouts.
5. Who may not lead stands all the same when it alone can be elected: when it has refused candidates
   that may lead, again and again, because their logs lack what its own holds. It hands over as soon
   as one of them holds it (`node/handover.py`). A look around that finds only such peers counts as
   a refusal: they may lack the very entry by which they vote, and never stand.
"""

from math import inf
from random import Random

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Standing

CARETAKER_REFUSALS = 2
"""Refused candidates in one vacancy: the first one may be followed by another that can win."""


def order_key(peer: PeerId, standing: Standing) -> tuple[int, int, int, int, str]:
    """Sort key of the bully order: the smallest key stands highest. Total, for ids are unique."""
    return (
        -standing.last_term,
        -standing.last_index,
        -standing.score_bucket,
        -standing.tenure,
        peer,
    )


def _is_ahead_of_all(mine: Standing, others: tuple[tuple[PeerId, Standing], ...]) -> bool:
    """Whether all that may lead, as far as they are known, lack what this peer's log holds."""
    ends = [(s.last_term, s.last_index) for _, s in others if s.eligible]
    return bool(ends) and max(ends) < (mine.last_term, mine.last_index)


class Election:
    """One peer's part in the bully order."""

    def __init__(self, peer: PeerId, timing: Timing, random: Random, now: float) -> None:
        self._peer = peer
        self._timing = timing
        self._random = random
        self._stood = False
        self._vacant = False
        self._refused_count = 0
        """Candidates of this vacancy that may lead and lack what this peer's log holds."""
        self._due = now + timing.election_timeout_seconds + self._jitter()

    def next_deadline(self) -> float:
        return self._due

    def leader_heard(self, now: float) -> None:
        """The leader of the current term was heard."""
        self._refused_count = 0
        self._vacant = False
        self._stood = False
        self._due = now + self._timing.election_timeout_seconds

    def vote_given(self, now: float) -> None:
        """Somebody else may win: give it time."""
        self._due = max(self._due, now + self._timing.election_timeout_seconds + self._jitter())

    def outran(self) -> None:
        """A candidate that may lead was refused, for its log lacks what this peer's holds."""
        self._refused_count += 1

    def leading(self) -> None:
        """This peer leads: it does not stand."""
        self._due = inf

    def leader_lost(self, now: float) -> None:
        """Leadership ended without a successor."""
        self._vacant = False
        self._stood = False
        self._due = now + self._timing.election_timeout_seconds + self._jitter()

    def stand_in_turn(self, now: float) -> None:
        """The leader is known to be gone: the bully order decides from now on."""
        self._vacant = False
        self._stood = False
        self._due = now

    def stand_now(self, now: float) -> None:
        """Out of turn: nobody else is likely to."""
        self._vacant = True
        self._due = now

    def is_due(
        self, mine: Standing, others: tuple[tuple[PeerId, Standing], ...], now: float
    ) -> bool:
        """Whether to stand now. `others`: the live voters but for this peer and the lost leader."""
        if now < self._due:
            return False
        if not mine.eligible and self._refused_count < CARETAKER_REFUSALS:
            self._due = now + self._timing.election_timeout_seconds
            self._refused_count += _is_ahead_of_all(mine, others)
            return False
        if not self._vacant:
            self._vacant = True
            key = order_key(self._peer, mine)
            rank = sum(1 for peer, s in others if s.eligible and order_key(peer, s) < key)
            if rank:
                self._due = now + rank * self._timing.candidacy_step_seconds
                return False
        self._stood = True
        self._refused_count = 0
        self._due = now + self._timing.election_timeout_seconds + self._jitter()
        return True

    def answers_ok(self, mine: Standing, candidate: PeerId, standing: Standing, now: float) -> bool:
        """Whether this peer takes the election over from a lower candidate (rule 3): then it has
        to stand at once."""
        if self._stood or not mine.eligible:
            return False
        if order_key(self._peer, mine) > order_key(candidate, standing):
            return False
        self._vacant = True
        self._stood = True
        self._due = now + self._timing.election_timeout_seconds + self._jitter()
        return True

    def was_answered_ok(self, now: float) -> None:
        """A higher peer takes over: give it time."""
        self._due = max(self._due, now + self._timing.election_timeout_seconds + self._jitter())

    def _jitter(self) -> float:
        return self._random.random() * self._timing.election_timeout_seconds
