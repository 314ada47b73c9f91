"""How fit this peer is to lead, as its program says: what it tells the others of itself."""

from msgspec.structs import replace

from mabeam_p2p.config import Config
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.records import Standing
from mabeam_p2p.requests import SetFitness

SCORE_BUCKET = 10
"""Points of the score that make no difference to the order in which peers stand."""


class Fitness:
    """The score, and whether this peer may stand."""

    def __init__(self, config: Config, membership: Membership) -> None:
        self.score = config.score
        self.unfit = ""
        """Why it is not to lead at present; empty: it may."""
        self._is_eligible = config.eligible
        self._membership = membership

    def set(self, request: SetFitness) -> None:
        self.score = request.score
        self.unfit = request.unfit
        self._membership.mine = replace(self._membership.mine, score=request.score)

    def standing(
        self, last_term: int, last_index: int, *, tenure: int, is_leaving: bool
    ) -> Standing:
        """Where this peer stands in the bully order. tenure: whole minutes."""
        is_eligible = self._is_eligible and not self.unfit and not is_leaving
        bucket = self.score // SCORE_BUCKET
        return Standing(last_term, last_index, bucket, tenure, is_eligible, self.score)
