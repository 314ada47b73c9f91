"""A leader's hand-over that is under way (Raft thesis §3.10).

Rules
1. From its beginning the leader takes no commands, so that its log has an end that the target can
   reach. Who is not taken from is told that this peer does not lead, and asks again.
2. The target is told to stand only when it holds the whole log durably, and again with each round
   of heartbeats: messages may be lost.
3. A hand-over that has no successor after an election timeout has failed: the leader serves on.
4. No leader is deposed by it: the target wins a term by votes, or nothing has changed.
"""

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import TimeoutNow
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.replication.progress import Progress

BEHIND = "behind"
"""The target did not come to hold the whole log in time."""
UNANSWERED = "unanswered"
"""The target was told to stand, and nobody was elected in time."""


class Transfer:
    """One hand-over of the leader of one term."""

    __slots__ = ("_told_in_round", "ends_at", "target")

    def __init__(self, target: PeerId, timing: Timing, now: float) -> None:
        self.target = target
        self.ends_at = now + timing.election_timeout_seconds
        self._told_in_round = -1

    def advance(
        self,
        log: Log,
        progress: Progress,
        *,
        log_id: int,
        term: int,
        term_persist: int,
        round_number: int,
        outbox: Outbox,
    ) -> None:
        """Tell the target to stand, if it is as far as that (rule 2). round_number: of the last
        heartbeats."""
        is_told = self._told_in_round == round_number
        if is_told or progress.match_index != log.last_index:
            return
        self._told_in_round = round_number
        outbox.send(self.target, TimeoutNow(log_id, term, log.last_index), term_persist)

    @property
    def failure(self) -> str:
        """Why it failed, once `ends_at` has come."""
        return BEHIND if self._told_in_round < 0 else UNANSWERED
