"""I15: what a peer believes of the members only ever becomes newer, nobody speaks for another, and
tables are bounded. After a storm all see the same.

The ghost is kept outside the nodes: what each process has believed, and how far each peer has
raised its own incarnation, in all its lives.
"""

from collections.abc import Iterable

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.testing.checkers import Violation

Key = tuple[int, int, MemberState]
"""Epoch, incarnation, state: the order of records."""

Said = dict[PeerId, tuple[int, int]]
"""Epoch and incarnation that each peer has given itself, in any of its processes."""


class Beliefs:
    """What one process has known of the members."""

    __slots__ = ("newest", "view")

    def __init__(self) -> None:
        self.view: tuple[Member, ...] = ()
        """What it knew when it was looked at last."""
        self.newest: dict[PeerId, Key] = {}
        """Of each peer, forgotten ones included."""


def check_members(
    said: Said,
    beliefs: Beliefs,
    membership: Membership,
    limits: Limits,
    *,
    somebody_lies: bool = False,
) -> None:
    """After an input to the process whose `membership` this is. Raises Violation.

    somebody_lies: what others never said is believed then; nothing here proves who speaks."""
    view = membership.view()
    if view is beliefs.view:
        return
    beliefs.view = view
    mine = membership.mine
    before = said.get(mine.peer, (0, 0))
    if (mine.epoch, mine.incarnation) < before:
        raise Violation("I15", f"{mine.peer} goes back from {before}: {mine}")
    said[mine.peer] = mine.epoch, mine.incarnation
    if len(view) > limits.members_max + 1:
        raise Violation("I15", f"{mine.peer} knows {len(view)} members")
    if membership.rumour_count > limits.rumours_max:
        raise Violation("I15", f"{mine.peer} has {membership.rumour_count} rumours to tell")
    for member in view:
        key = member.epoch, member.incarnation, member.state
        newest = beliefs.newest.get(member.peer)
        if newest is not None and key < newest:
            raise Violation("I15", f"{mine.peer} takes {member} for newer than {newest}")
        beliefs.newest[member.peer] = key
        if not somebody_lies and key[:2] > said.get(member.peer, (0, 0)):
            raise Violation("I15", f"{mine.peer} has {member}, which that one never said")


def differences(memberships: Iterable[Membership]) -> str:
    """How the views of peers that all run differ from the truth, and so from each other; empty when
    they do not."""
    running = {membership.mine.peer: membership for membership in memberships}
    for peer, membership in running.items():
        for other, truth in running.items():
            known = membership.find(other)
            if known != truth.mine:
                return f"{peer} sees {known} in place of {truth.mine}"
    return ""
