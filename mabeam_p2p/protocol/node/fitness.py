"""How fit this peer is to lead, as its program says: what it tells the others of itself."""

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
        self.latest: Standing | None = None
        """Where this peer last stood."""
        self._is_eligible = config.eligible
        self._membership = membership

    def set(self, request: SetFitness) -> None:
        self.score = request.score
        self.unfit = self.unfit if request.unfit is None else request.unfit
        is_eligible = self._is_eligible and not self.unfit
        self._membership.describe(eligible=is_eligible, score=request.score)

    def standing(
        self,
        last_term: int,
        last_index: int,
        *,
        tenure: int,
        is_leaving: bool,
        is_disk_full: bool,
    ) -> Standing:
        """Where this peer stands in the bully order. tenure: whole minutes. Whose disk is full is
        as unfit as can be, and may lead if all others are no better: reads go on."""
        is_eligible = self._is_eligible and not self.unfit and not is_leaving
        score = 0 if is_disk_full else self.score
        bucket = score // SCORE_BUCKET
        self.latest = Standing(last_term, last_index, bucket, tenure, is_eligible, score)
        return self.latest
