"""Changes of the voters, one server at a time (Raft thesis chapter 4): which of them a leader may
append, who may lead in the eyes of a peer whose configuration is old, and when a learner has caught
up.

Rules
1. A configuration is in effect from its append on, and no more once it is truncated (§4.1).
2. A leader changes it only once an entry of its own term is committed: before that, an entry of an
   earlier leader may still take effect that shares no majority with the new one (Ongaro, raft-dev,
   2015).
3. At most one configuration is uncommitted, and the next one differs by one voter (§4.1).
4. A change names the configuration that it is made on, by its index: two that were meant for the
   same one do not both take effect.
5. A peer that no longer votes by its latest configuration may still be needed until that is
   committed, and stands until then (§4.2.2). It does not count itself.
6. A peer that is no voter here may be one in a configuration that has not come here (§4.2.3). It is
   heard if its log is ahead of this one, and no leader is heard.
"""

from enum import StrEnum
from itertools import pairwise

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.log import Log


class Objection(StrEnum):
    """Why a change of the voters is not appended. NONE: it is."""

    NONE = ""
    NOT_LEADER = "not_leader"
    NOT_READY = "not_ready"
    """Nothing of this leader's own term is committed yet (rule 2)."""
    PENDING = "pending"
    """The configuration before is not committed yet (rule 3), or the leader hands over."""
    CONFLICT = "conflict"
    """It was made on another configuration than the latest (rule 4)."""
    INVALID = "invalid"
    """Nobody would vote, too many would, or it is more, or less, than one change (rule 3)."""


def objection_to(
    voters: tuple[PeerId, ...],
    *,
    expected_index: int,
    log: Log,
    first_index: int,
    is_waiting: bool,
    voters_max: int,
) -> Objection:
    """What stands against a leader's appending the configuration `voters`, sorted.

    first_index: of the leader's term. is_waiting: a configuration was taken in this turn."""
    if log.commit_index < first_index:
        return Objection.NOT_READY
    if is_waiting or not log.is_configured:
        return Objection.PENDING
    if expected_index != log.configuration_index:
        return Objection.CONFLICT
    changed = [voter for voter in voters if voter not in log.voters]
    changed += [voter for voter in log.voters if voter not in voters]
    is_sorted = all(one < other for one, other in pairwise(voters))
    if len(changed) != 1 or not is_sorted or not 1 <= len(voters) <= voters_max:
        return Objection.INVALID
    return Objection.NONE


def may_stand(peer: PeerId, log: Log) -> bool:
    """Whether `peer` takes part in elections as a candidate (rule 5)."""
    if peer in log.voters:
        return True
    return not log.is_configured and peer in log.previous_voters


def is_second_leader(claimant: PeerId, leader: PeerId | None, log: Log) -> bool:
    """Whether `claimant` wants to lead the term that `leader` leads. Raft §5.2 knows none: one of
    them lies, or has lost its disk. The first is kept, unless it has no vote: who was believed for
    want of the configuration does not hide who has one."""
    return leader is not None and claimant != leader and may_stand(leader, log)


def is_ahead(last_term: int, last_index: int, log: Log) -> bool:
    """Whether a log that ends there may hold a configuration that this one does not (rule 6). Equal
    ends are equal logs."""
    return (last_term, last_index) > (log.last_term, log.last_index)


class CatchUp:
    """Replication to one learner in rounds: each begins with what the leader has, and ends when the
    learner has that. Who needs less than an election timeout for a round is near enough that the
    cluster would not wait for it (Raft thesis §4.2.1)."""

    __slots__ = ("_began_at", "_goal_index", "is_near")

    def __init__(self, goal_index: int, now: float) -> None:
        self.is_near = False
        """Whether the last round that ended took less than an election timeout."""
        self._goal_index = goal_index
        self._began_at = now

    def matched(self, match_index: int, last_index: int, round_seconds: float, now: float) -> None:
        """The learner is known to hold the log up to `match_index` of `last_index`."""
        if match_index >= self._goal_index:
            # Who has everything has run the next round too, in no time; an idle leader would not
            # hear of it again.
            self.is_near = now - self._began_at < round_seconds or match_index >= last_index
            self._goal_index = last_index
            self._began_at = now

    def is_caught_up(self, round_seconds: float, match_index: int, now: float) -> bool:
        """Whether it is near, and the round that runs has not taken too long already."""
        is_late = match_index < self._goal_index and now - self._began_at >= round_seconds
        return self.is_near and not is_late
