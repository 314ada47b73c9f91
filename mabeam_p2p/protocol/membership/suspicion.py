"""How long a suspect has to refute (Lifeguard §IV-B): less, the more peers suspect it on their own.

One accuser may itself be the one that is ill: it waits long. Each independent confirmation shortens
the time, logarithmically, down to a least that grows with the logarithm of the cluster, for that is
how long an accusation and its refutation travel.
"""

from math import log, log10

from mabeam_p2p.ids import PeerId

CONFIRMATIONS_WANTED = 3
"""Lifeguard's K: so many confirmations bring the time down to its least."""

MOST = 6
"""Lifeguard's beta: how many times as long one accuser waits that nobody confirms."""


class Suspicion:
    """Who suspects one member, in one of its incarnations, on the evidence of their own probes."""

    __slots__ = ("accusers", "began_at")

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.accusers: dict[PeerId, None] = {}
        """In the order in which they were heard of; each counts once."""

    def confirm(self, accuser: PeerId) -> bool:
        """Whether this is news: of an accuser that was not known, and of no more than matter."""
        if accuser in self.accusers or len(self.accusers) > CONFIRMATIONS_WANTED:
            return False
        self.accusers[accuser] = None
        return True

    def timeout(self, least: float, others: int) -> float:
        """Seconds until it ends in death, from its beginning. least: seconds; others: members that
        could have confirmed."""
        confirmations = max(0, len(self.accusers) - 1)
        return timeout(least, confirmations, others)

    def is_over(self, least: float, others: int, now: float) -> bool:
        """Whether the time is up."""
        return now - self.began_at >= self.timeout(least, others)


def least_seconds(base: float, members: int) -> float:
    """The shortest time to refute in a cluster of so many. base: that of ten or fewer."""
    return base * max(1.0, log10(members))


def timeout(least: float, confirmations: int, others: int) -> float:
    """Seconds to refute. others: members besides the accuser and the accused that are alive; when
    nobody is left to confirm, nobody is waited for."""
    wanted = min(CONFIRMATIONS_WANTED, others)
    if confirmations >= wanted:
        return least
    most = least * MOST
    return most - (most - least) * log(confirmations + 1) / log(wanted + 1)
