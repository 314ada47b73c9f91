"""Who could take the lead over, as its leader sees it."""

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.election import order_key
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.records import MemberState, Standing


class Successors:
    """The other voters of one peer."""

    def __init__(self, membership: Membership, replication: Replication) -> None:
        self._membership = membership
        self._replication = replication

    def challengers(self) -> tuple[tuple[PeerId, Standing], ...]:
        """The live voters but for this peer."""
        replication = self._replication
        return tuple(
            (peer, standing)
            for peer, standing in self._membership.standings()
            if peer in replication.voters and peer != replication.peer
        )

    def best(self, now: float) -> PeerId | None:
        """Who would be elected if this leader were gone, of those that can take over."""
        leadership = self._replication.leadership
        if leadership is None:
            return None
        ready = [
            (not leadership.is_caught_up(peer, now), order_key(peer, standing), peer)
            for peer, standing in self.challengers()
            if standing.eligible and leadership.is_in_contact(peer, now)
        ]
        return min(ready)[2] if ready else None

    def fault(self, target: PeerId, now: float) -> tuple[str, str] | None:
        """Why nothing can begin (`handover`, rule 2)."""
        replication, leadership = self._replication, self._replication.leadership
        if leadership is None:
            return "not_leader", ""
        if not target:
            return "no_successor", "no other voter is alive, in contact and fit to lead"
        name = self.name(target)
        member = self._membership.find(target)
        if member is None:
            return "unknown_peer", name
        if target not in replication.voters:
            return "not_a_voter", f"{name} has no vote"
        if member.state is not MemberState.ALIVE or not leadership.is_in_contact(target, now):
            return "unreachable", f"the leader hears nothing of {name}"
        # A new leader may not have been told yet where it stands; then its record says.
        standing = dict(self.challengers()).get(target)
        if not (member.eligible if standing is None else standing.eligible):
            return "unfit", f"{name} may not lead, or is not fit to at present"
        return None

    def name(self, peer: PeerId) -> str:
        return self._membership.name_of(peer) or peer
