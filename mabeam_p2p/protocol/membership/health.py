"""How much a peer trusts its own clock and ears (Lifeguard §IV-A, local health multiplier)."""

SCORE_MAX = 8
"""Lifeguard's S: a peer that is as ill as can be waits nine times as long as a healthy one."""


class Health:
    """A saturating counter: 0 is healthy. What went well lowers it, what a healthy peer would not
    have seen raises it."""

    __slots__ = ("score",)

    def __init__(self) -> None:
        self.score = 0

    @property
    def multiplier(self) -> int:
        """By what to multiply how long an answer is waited for."""
        return self.score + 1

    def better(self) -> None:
        """A probe was answered."""
        self.score = max(0, self.score - 1)

    def worse(self) -> None:
        """A tick was late, a nack did not come, or others thought this peer dead."""
        self.score = min(SCORE_MAX, self.score + 1)
