"""Members that were dead or had left for so long that the table has forgotten them.

What is kept of each is enough to know an old record when it comes back, and where a peer was that
may come back itself. Bounded: the oldest graves go first.
"""

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Member, MemberState


def age(member: Member) -> tuple[int, int]:
    """Of two records of a peer the one with the greater age is newer; equal ones are ordered by
    state."""
    return member.epoch, member.incarnation


class Graves:
    """The last record of each forgotten member."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._last: dict[PeerId, Member] = {}

    def __len__(self) -> int:
        return len(self._last)

    def bury(self, member: Member) -> None:
        """member: dead, or left."""
        known = self._last.pop(member.peer, None)
        if known is not None and (age(known), known.state) > (age(member), member.state):
            member = known
        self._last[member.peer] = member
        if len(self._last) > self._count_max:
            del self._last[next(iter(self._last))]

    def find(self, member: Member) -> Member | None:
        """The grave out of which a record of a member that is here may not come: one as new as
        that, or newer."""
        last = self._last.get(member.peer)
        return last if last is not None and age(member) <= age(last) else None

    def last(self, peer: PeerId) -> Member | None:
        return self._last.get(peer)

    def open(self, peer: PeerId) -> None:
        """It is back."""
        self._last.pop(peer, None)

    def addresses(self) -> list[str]:
        """Where those were that did not say goodbye, the last ones first."""
        return [m.address for m in reversed(self._last.values()) if m.state is MemberState.DEAD]
