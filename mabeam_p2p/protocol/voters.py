"""Who should vote: what a leader changes by itself, so that nobody has to.

It proposes; `replication` decides whether the log may take the change. Members that are no voters
get the log as learners, and nothing in the log says so: a learner counts for nothing, so that
nothing about it needs to be agreed.

Rules
1. A voter is gone when it has said goodbye; or when the membership calls it dead *and* it has
   answered none of this leader's heartbeats for the grace time. A verdict alone is a hint.
2. A voter that is gone is removed where a learner that has caught up can take its place. First the
   one goes, then the other comes: whatever fails in between, as many may fail as before.
3. Without such a learner it is removed only if the next death would cost the majority, and only as
   long as three voters stay. A voter that is there is never removed.
4. An even number of voters gets one more, an odd one two, up to `max_voters`; two only while every
   voter answers. Eligible learners first, then the smaller id. None that was barred by command.
5. One change at a time, and no more than one in `voter_change_seconds`.
6. Nothing is proposed that a majority of the voters that there would be cannot commit at once: its
   entry might stand on this peer alone, outrank every other log, and wait for peers that are lost.
   Who is there says the answer to a heartbeat that was sent after the change was first wanted:
   when one leaves for a moment, others may have died in the moment before.
"""

from collections.abc import Callable
from typing import NamedTuple

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.records import Member, MemberState

VOTERS_LEAST = 3
"""Fewer never remain when a voter is removed that nobody replaces."""


class Roll(NamedTuple):
    """What a leader knows of its voters, and of those who could be."""

    voters: tuple[PeerId, ...]
    """Sorted."""
    members: tuple[Member, ...]
    silence: Callable[[PeerId], float]
    """Seconds since a peer was in contact with this leader, or since it leads."""
    is_heard: Callable[[PeerId], bool]
    """Whether a peer has answered this leader of late: who was just elected has heard nobody."""
    is_caught_up: Callable[[PeerId], bool]
    """Whether a learner has what this leader has."""
    barred: tuple[PeerId, ...]


class VoterDuty:
    """One leader's care for its voters, for the length of its term."""

    def __init__(self, peer: PeerId, max_voters: int, timing: Timing, now: float) -> None:
        self._peer = peer
        self._max_voters = max_voters
        self._timing = timing
        self._not_before = now + timing.voter_change_seconds
        self._look_due = self._not_before
        self._candidate: tuple[PeerId, ...] = ()
        """What would be wanted, were it known who is there."""
        self._candidate_since = now

    def next_deadline(self) -> float:
        return self._look_due

    def is_due(self, now: float) -> bool:
        return now >= self._look_due

    def looked(self, now: float) -> None:
        """Whether or not anything came of it."""
        self._look_due = max(self._not_before, now + self._timing.probe_interval_seconds)

    def changed(self, now: float) -> None:
        """A change was appended."""
        self._not_before = self._look_due = now + self._timing.voter_change_seconds

    def wanted(self, roll: Roll, now: float) -> tuple[PeerId, ...]:
        """The voters that there should be next, one change away; empty: as they are, or it is not
        known yet who is there (rule 6), and the next look is soon."""
        candidate = self._best(roll)
        if candidate != self._candidate:
            self._candidate, self._candidate_since = candidate, now
        if not candidate:
            return ()
        left = [member.peer for member in roll.members if _has_left(member)]
        # Rule 6. Who has said goodbye does not count, however lately it was heard.
        near = [
            voter
            for voter in candidate
            if voter == self._peer
            or (roll.silence(voter) <= now - self._candidate_since and voter not in left)
        ]
        if len(near) < majority(len(candidate)):
            self._look_due = now + self._timing.heartbeat_seconds
            return ()
        self._candidate = ()  # Should the log not take it now, it is another question later.
        return candidate

    def _best(self, roll: Roll) -> tuple[PeerId, ...]:
        """The best voters one change away, as far as is known; empty: those that there are."""
        voters = roll.voters
        known = {member.peer: member for member in roll.members}
        gone = [v for v in voters if v != self._peer and self._is_gone(known.get(v), v, roll)]
        learners = self._learners(roll)
        if gone:
            spare = len(voters) - len(gone) - majority(len(voters))
            if learners or (spare <= 0 and len(voters) > VOTERS_LEAST):
                # Who has left comes before who has died: it will not be back by itself.
                first = min(gone, key=lambda v: (not _has_left(known.get(v)), v))
                return tuple(voter for voter in voters if voter != first)
            return ()
        wanted_count = 1 if len(voters) % 2 == 0 else 2
        if len(learners) < wanted_count or len(voters) + wanted_count > self._max_voters:
            return ()
        if wanted_count == 2 and not all(v == self._peer or roll.is_heard(v) for v in voters):
            return ()
        return tuple(sorted((*voters, learners[0])))

    def _learners(self, roll: Roll) -> list[PeerId]:
        """Those who could vote, the first choice first."""
        fit = [
            (not member.eligible, member.peer)
            for member in roll.members
            if member.peer not in roll.voters
            and member.peer not in roll.barred
            and member.state is MemberState.ALIVE
            and roll.is_caught_up(member.peer)
        ]
        return [peer for _, peer in sorted(fit)]

    def _is_gone(self, member: Member | None, voter: PeerId, roll: Roll) -> bool:
        """Rule 1. Whom this process has never met it has no verdict on: its own silence says it."""
        if _has_left(member):
            return True
        is_dead = member is None or member.state is MemberState.DEAD
        return is_dead and roll.silence(voter) >= self._timing.voter_grace_seconds


def _has_left(member: Member | None) -> bool:
    return member is not None and member.state is MemberState.LEFT
