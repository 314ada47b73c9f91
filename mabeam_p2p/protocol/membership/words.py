"""How new a record may be that somebody else tells of.

Only the member itself raises its incarnation, or somebody who suspects it, never beyond what it has
said. So a record of a life that goes far beyond what the member itself has said of that life, here,
is nobody's: taken in, it could not be refuted if it were the greatest there is. What is nearer
can be: the member hears of it, and goes beyond.
"""

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.membership.graves import age
from mabeam_p2p.records import Member

EPOCH_SHIFT = 16
"""An epoch's incarnations begin here; comparing epochs first, they may grow beyond it."""

LEAP_MAX = 1_000_000
"""Incarnations beyond its own word: more than a member raises while another one hears nothing of it
directly, and so few that a liar would have to be refuted thousands of millions of times."""


class OwnWords:
    """The newest (epoch, incarnation) that each member has said of itself to this peer."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._last: dict[PeerId, tuple[int, int]] = {}
        """Who has said something last comes last."""

    def keep(self, *members: Member) -> None:
        """They say so of themselves."""
        for member in members:
            self._last[member.peer] = max(age(member), self._last.pop(member.peer, (0, 0)))
            if len(self._last) > self._count_max:
                del self._last[next(iter(self._last))]

    def admit(self, member: Member) -> bool:
        """Whether somebody else may have heard this of it."""
        epoch, incarnation = self._last.get(member.peer, (0, 0))
        if epoch != member.epoch:
            incarnation = member.epoch << EPOCH_SHIFT
        return member.incarnation <= incarnation + LEAP_MAX
