"""How much may be asked: so many requests a second for long, and so many at once after a rest."""


class Allowance:
    """A bucket of tokens: full at first, filled at a steady rate."""

    def __init__(self, per_second: float, at_once: int) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._left = float(at_once)
        self._seen_at: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more is allowed. now: monotonic seconds."""
        if self._seen_at is not None:
            grown = self._left + (now - self._seen_at) * self._per_second
            self._left = min(float(self._at_once), grown)
        self._seen_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
