"""The records of the other members: the newest of each that this peer knows.

Records of a peer are ordered by (epoch, incarnation, state), and a table only ever takes a newer
one: whatever order they come in, all tables come to the same.
"""

from itertools import islice

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.membership.graves import Graves, age
from mabeam_p2p.records import Member, MemberState


def is_newer(member: Member, known: Member) -> bool:
    """SWIM §4.2: alive gives way to suspect of the same incarnation, and both to a greater one."""
    return (age(member), member.state) > (age(known), known.state)


class Turn:
    """How far somebody has come in going through a table."""

    __slots__ = ("start",)

    def __init__(self) -> None:
        self.start = 0


class Table:
    """Bounded: who has left makes room, then who is dead."""

    def __init__(self, limits: Limits) -> None:
        self.members: dict[PeerId, Member] = {}
        self.gone: dict[PeerId, float] = {}
        """Since when a member has been dead or away, in the order in which they went."""
        self.graves = Graves(limits.forgotten_max)
        self._limits = limits

    def put(self, member: Member, now: float) -> None:
        """member: of a peer that is in the table, or for which there is room."""
        self.members[member.peer] = member
        self.gone.pop(member.peer, None)
        if member.state >= MemberState.DEAD:
            self.gone[member.peer] = now
        else:
            self.graves.open(member.peer)

    def here_count(self) -> int:
        return len(self.members) - len(self.gone)

    def is_here(self, peer: PeerId) -> bool:
        return peer in self.members and peer not in self.gone

    def has_room(self) -> bool:
        return len(self.members) < self._limits.members_max

    # ---- forgetting --------------------------------------------------------------------------

    def forget(self, peer: PeerId) -> None:
        member = self.members.pop(peer)
        self.gone.pop(peer, None)
        if member.state >= MemberState.DEAD:
            self.graves.bury(member)

    def outlived(self, retention: float, now: float) -> list[PeerId]:
        """Who has been gone for long enough."""
        return [peer for peer, since in self.gone.items() if now - since >= retention]

    def least_missed(self) -> PeerId | None:
        """Who would be forgotten first, if room is needed."""
        for peer in self.gone:
            if self.members[peer].state is MemberState.LEFT:
                return peer
        return next(iter(self.gone), None)

    # ---- exchanging --------------------------------------------------------------------------

    def window(self, count: int, turn: Turn) -> tuple[Member, ...]:
        """The next so many records of this turn, round and round."""
        size = len(self.members)
        if size <= count:
            return tuple(self.members.values())
        if turn.start >= size:
            turn.start = 0
        window = tuple(islice(self.members.values(), turn.start, turn.start + count))
        turn.start += count
        return window
