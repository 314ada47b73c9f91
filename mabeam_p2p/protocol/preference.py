"""Whether a leader has somebody who is preferred take over: the stability preference.

The leader alone decides it, about itself, on the scores that it hears. Nobody is deposed by a
better one (docs/divergence.md#bully), and no election waits for it: it knows no election.

Rules
1. A challenger is preferred while its score is above the leader's by the margin or more. The first
   such moment begins its dwell time, and only a lead of less than half the margin ends it.
2. Leadership goes to a challenger that is preferred and has dwelt long enough, if it is ready:
   caught up, and well connected. Of several, to the best score, then the longest tenure, then the
   smaller id.
3. A leader that may not lead any more, or is not fit to, loses to any challenger that may and is.
4. At most one hand-over in an interval, over all leaders: whoever takes office waits for one first,
   however it came to it, and so does whoever has tried, however that ended. While attempts fail,
   each waits twice as long as the one before, up to a bound.
"""

from collections.abc import Callable
from math import inf

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Standing

FAILURES_COUNTED_MAX = 4
"""Doublings of the interval: sixteen of them are as good as for ever, and still end."""


class Preference:
    """One peer's, for as long as it leads."""

    def __init__(self, margin: int, timing: Timing) -> None:
        """margin: in points of the score, 1 or more."""
        self._margin = margin
        self._timing = timing
        self._quiet_until = inf
        self._failure_count = 0
        self._since: dict[PeerId, float] = {}
        """Since when each challenger dwells."""

    def took_office(self, now: float) -> None:
        """This peer leads from now on."""
        self._since.clear()
        self._failure_count = 0
        self._quiet_until = now + self._timing.preference_interval_seconds

    def failed(self, now: float) -> None:
        """A hand-over was tried in vain."""
        self._failure_count = min(self._failure_count + 1, FAILURES_COUNTED_MAX)
        interval = self._timing.preference_interval_seconds
        self._quiet_until = now + interval * 2**self._failure_count

    def tried(self, now: float) -> None:
        """A hand-over begins, whatever for."""
        self._quiet_until = max(self._quiet_until, now + self._timing.preference_interval_seconds)

    def consider(
        self,
        mine: Standing,
        others: tuple[tuple[PeerId, Standing], ...],
        is_ready: Callable[[PeerId], bool],
        now: float,
    ) -> PeerId | None:
        """Who is to lead in this peer's place, if anybody. others: the live voters but for it."""
        leads = {peer: self._lead(mine, standing) for peer, standing in others}
        for peer in list(self._since):
            if 2 * leads.get(peer, 0) < self._margin:
                del self._since[peer]
        for peer, lead in leads.items():
            if lead >= self._margin:
                self._since.setdefault(peer, now)
        if now < self._quiet_until:
            return None
        dwell = self._timing.preference_dwell_seconds
        preferred = [
            (-standing.score, -standing.tenure, peer)
            for peer, standing in others
            if leads[peer] >= self._margin and now - self._since[peer] >= dwell and is_ready(peer)
        ]
        return min(preferred)[2] if preferred else None

    def objection(
        self, peer: PeerId, mine: Standing, standing: Standing, now: float
    ) -> tuple[str, str]:
        """Why `peer` is not preferred to this leader: a stable word, and the figures; empty words:
        it is, as soon as it has caught up."""
        lead, dwelt = self._lead(mine, standing), now - self._since.get(peer, now)
        if lead < self._margin and peer not in self._since:
            text = f"score {standing.score} against {mine.score}; {self._margin} more are needed"
            return "score_too_low", text
        left = max(self._timing.preference_dwell_seconds - dwelt, self._quiet_until - now)
        if left > 0:
            return "waits", f"it is preferred in {left:.0f} s, if its score stays"
        return "", ""

    def _lead(self, mine: Standing, challenger: Standing) -> int:
        """In points of the score."""
        if not challenger.eligible:
            return 0
        return challenger.score - mine.score if mine.eligible else self._margin
