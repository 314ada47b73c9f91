"""Who is near: where `links` and `membership` meet. What one learns is carried to the other.

Called by `node` alone. It decides nothing but who of a formed cluster is believed.
"""

from random import Random

from mabeam_p2p.config import Config
from mabeam_p2p.events import MemberChanged
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Frame, Hello
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.protocol.membership import Membership, own_record
from mabeam_p2p.records import Able, KnownAddresses, Member, MemberState, Recovered

NO_CLUSTER = ClusterId("")


class Neighbours:
    """Links, members, and the formed cluster that each peer was last heard to be of."""

    def __init__(
        self,
        config: Config,
        recovered: Recovered,
        address: str,
        *,
        random: Random,
        outbox: Outbox,
        now: float,
    ) -> None:
        self._outbox = outbox
        self._limits = config.limits
        self._peer = recovered.peer
        self.clusters: dict[PeerId, ClusterId] = {}
        self._ables: dict[PeerId, Able] = {}
        self.forgotten: list[PeerId] = []
        """Members that are none any more; the owner takes and clears them."""
        self._restarted: list[PeerId] = []
        self.remembered = recovered.addresses
        self.links = Links(
            recovered.peer,
            recovered.epoch,
            config.cluster,
            address,
            timing=config.timing,
            limits=config.limits,
            outbox=outbox,
            random=random,
        )
        outbox.dial = self.links.dial
        self.membership = Membership(
            own_record(config, recovered.peer, address, recovered.epoch),
            timing=config.timing,
            limits=config.limits,
            random=random,
            outbox=outbox,
            now=now,
            drop=self.links.drop,
            trusts=self._is_of_our_cluster,
        )

    def greeted(self, frame: Frame, hello: Hello, now: float) -> Member | None:
        """The peer that introduces itself, if it comes anew, or back from what seemed its death."""
        them, membership = hello.member, self.membership
        peer = membership.holder_of(them.name, them.peer, them.address)
        holder, is_sure = None, True
        if peer is not None:
            own = peer == self._peer
            cluster_id = self.links.cluster_id if own else self.clusters.get(peer, NO_CLUSTER)
            holder = peer, cluster_id
            is_sure = membership.contest(peer, now)
        if not self.links.receive_hello(
            frame, hello, membership.mine, holder, now, holder_is_sure=is_sure
        ):
            return None
        self.clusters[them.peer] = hello.cluster_id
        self._ables[them.peer] = hello.able
        is_back = membership.met(them, now)
        if membership.is_buried(them):
            # The word by which it takes that back can be lost, and nobody else may know of it.
            self.links.doubted(them, now)
        return them if is_back else None

    def moved(self, address: str, now: float) -> None:
        """This peer is reached at another address from now on."""
        self.membership.describe(address=address)
        self.links.moved(address, now)

    def formed(self, cluster_id: ClusterId) -> None:
        """This peer belongs to a formed cluster from now on: who is of another is no member."""
        self.links.cluster_id = cluster_id
        for peer, other in self.clusters.items():
            if other and other != cluster_id:
                self.membership.forget(peer)
        self.membership.joined()

    def is_reachable(self, peer: PeerId) -> bool:
        """Whether something can be said to it: to this peer itself always."""
        is_linked = peer == self._peer or self.links.is_linked(peer)
        return is_linked and self.membership.is_here(peer)

    def gone(self) -> tuple[tuple[PeerId, Able | None], ...]:
        """Who is dead or has left, as long as the table knows it, and what its release could do;
        None: it was never met."""
        return tuple(
            (member.peer, self._ables.get(member.peer))
            for member in self.membership.view()
            if member.state >= MemberState.DEAD
        )

    def alive_and_met(self) -> list[PeerId]:
        """This peer and those alive that have introduced themselves: of these it is known whether
        they belong to a cluster."""
        return [
            member.peer
            for member in self.membership.view()
            if member.state is MemberState.ALIVE
            and (member.peer == self._peer or member.peer in self.clusters)
        ]

    def carry(self, now: float) -> tuple[Member, ...]:
        """At the end of a turn: the members that have changed, of which the links know now."""
        membership, links = self.membership, self.links
        if membership.hints:
            for address in membership.hints[: self._limits.candidates_max]:
                links.suggest(address, now)
            membership.hints.clear()
        if not membership.changes and not membership.forgotten:
            return ()
        for peer in membership.forgotten:
            links.lose(peer)
            self.clusters.pop(peer, None)
            self._ables.pop(peer, None)
        self.forgotten += membership.forgotten
        membership.forgotten.clear()
        links.crowd = membership.here_count()
        changes = tuple(membership.changes)
        membership.changes.clear()
        for member in changes:
            self._outbox.notify(MemberChanged(member))
        # A greeting counts at once. What was believed of the peer before it in this turn, of where
        # its former process was, must not lead the link back there.
        for member in {member.peer: member for member in changes}.values():
            if member.peer == self._peer:
                continue
            if member.state is MemberState.ALIVE:
                if links.know(member, now):
                    self._restarted.append(member.peer)
            elif member.state is MemberState.SUSPECT:
                links.silent(member, now)
            elif member.state is MemberState.LEFT:
                links.forget(member.peer)
        self._remember()
        return changes

    def take_restarted(self) -> tuple[PeerId, ...]:
        """Peers that run anew, of which others told first: their greeting is no news any more."""
        taken = tuple(self._restarted)
        self._restarted.clear()
        return taken

    def _remember(self) -> None:
        """Keep the addresses of members for the next start."""
        addresses = self.membership.addresses(self._limits.candidates_max)
        if addresses != self.remembered:
            self.remembered = addresses
            self._outbox.persist(KnownAddresses(addresses))

    def _is_of_our_cluster(self, peer: PeerId) -> bool:
        cluster_id = self.links.cluster_id
        return bool(cluster_id) and self.clusters.get(peer) == cluster_id
