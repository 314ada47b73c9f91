"""How often each peer may ask for something that costs all others: some times at once, and from
then on once in an interval (a token bucket; by the time at which it would be full)."""

from mabeam_p2p.ids import PeerId


class Allowance:
    """Of every peer that asks, bounded: of too many, who has asked longest ago begins anew."""

    def __init__(self, burst: int, interval_seconds: float, peers_max: int) -> None:
        self._burst = burst
        self._interval = interval_seconds
        self._peers_max = peers_max
        self._full_at: dict[PeerId, float] = {}
        """Who has asked longest ago comes first."""

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, peer: PeerId, now: float) -> bool:
        """Whether `peer` may, once more. A refusal costs it nothing."""
        full_at = max(self._full_at.get(peer, now), now)
        if full_at - now > (self._burst - 1) * self._interval:
            return False
        self._full_at.pop(peer, None)
        self._full_at[peer] = full_at + self._interval
        if len(self._full_at) > self._peers_max:
            del self._full_at[next(iter(self._full_at))]
        return True
