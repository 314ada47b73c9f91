"""What bears on one peer's state, gathered from the cores that know: for people, who ask why.

It tells what is, and decides nothing. Called by `desk` alone.
"""

from collections.abc import Callable

from mabeam_p2p.ids import PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.election import order_key
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.node.fitness import Fitness
from mabeam_p2p.protocol.node.handover import Handover
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.protocol.variables import Variables
from mabeam_p2p.records import Evidence, Follower, MemberState, Obstacle, Standing


class Witness:
    """Knows the cores; remembers nothing."""

    def __init__(
        self,
        *,
        links: Links,
        membership: Membership,
        replication: Replication,
        machine: Machine,
        variables: Variables,
        handover: Handover,
        fitness: Fitness,
        unready: Callable[[float], tuple[Obstacle, ...]],
    ) -> None:
        self._links = links
        self._membership = membership
        self._replication = replication
        self._machine = machine
        self._variables = variables
        self._handover = handover
        self._fitness = fitness
        self._unready = unready

    def evidence(self, peer: PeerId, now: float) -> Evidence:
        """Of `peer`, which may be this one, or one that is no member."""
        membership, replication = self._membership, self._replication
        is_self = peer == replication.peer
        lead = None if is_self else self._variables.clock_lead(peer)
        disk = replication.room.usage if is_self else None
        return Evidence(
            peer,
            replication.peer,
            membership.find(peer),
            gone_seconds=membership.gone_seconds(peer, now),
            refutation_count=membership.refutation_count(peer),
            hearing=membership.hearing(peer, now),
            doubt=membership.doubt(peer, now),
            link=self._links.acquaintance(peer, now),
            part=self._part(peer),
            is_barred=peer in self._machine.configuration.barred,
            follower=self._follower(peer, now),
            standing=self._standings().get(peer),
            place=self._place(peer),
            obstacles=tuple(self._obstacles(peer, now)),
            clock_ahead_seconds=None if lead is None else lead / 1_000_000,
            leader=replication.leader if replication.is_leader_heard(now) else None,
            term=replication.term,
            commit_index=replication.commit_index,
            health=membership.health.score,
            disk_used_bytes=disk.used_bytes if disk is not None else 0,
            disk_bytes_max=disk.bytes_max if disk is not None else 0,
            unready=self._unready(now) if is_self else (),
        )

    def _part(self, peer: PeerId) -> str:
        if peer in self._replication.voters:
            return "voter"
        is_learner = peer in self._replication.learners
        # A learner does not name itself one: it is what follows without a vote.
        own = peer == self._replication.peer and bool(self._replication.voters)
        return "learner" if is_learner or own else ""

    def _follower(self, peer: PeerId, now: float) -> Follower | None:
        leadership = self._replication.leadership
        progress = leadership.progress.get(peer) if leadership is not None else None
        if leadership is None or progress is None:
            return None
        return Follower(
            progress.state.value,
            progress.match_index,
            progress.sent_index,
            len(progress.inflight),
            now - progress.contact,
            leadership.is_caught_up(peer, now),
        )

    def _standings(self) -> dict[PeerId, Standing]:
        standings = dict(self._membership.standings())
        if self._fitness.latest is not None:
            standings[self._replication.peer] = self._fitness.latest
        return standings

    def _place(self, peer: PeerId) -> int:
        """In the order in which peers would stand if nobody led, from 1 on."""
        voters = self._replication.voters
        order = sorted(
            order_key(one, standing)
            for one, standing in self._standings().items()
            if one in voters and standing.eligible
        )
        ids = [key[-1] for key in order]
        return ids.index(peer) + 1 if peer in ids else 0

    # ---- why it does not lead ----------------------------------------------------------------

    def _obstacles(self, peer: PeerId, now: float) -> list[Obstacle]:
        replication = self._replication
        leader = replication.leader if replication.is_leader_heard(now) else None
        if peer == leader:
            return []
        found = self._own_obstacles(peer)
        if leader is None:
            return found + self._obstacles_to_election()
        if leader != replication.peer:
            text = f"{self._name(leader)} leads in term {replication.term}; nobody stands meanwhile"
            found.append(Obstacle("leader_in_office", text))
        elif not found:
            found += self._obstacles_to_preference(peer, now)
        return found

    def _own_obstacles(self, peer: PeerId) -> list[Obstacle]:
        """What lies with the peer itself."""
        found: list[Obstacle] = []
        member, standing = self._membership.find(peer), self._standings().get(peer)
        if member is None:
            found.append(Obstacle("no_member", "this peer knows no such member"))
        elif member.state is not MemberState.ALIVE:
            found.append(Obstacle(member.state.name.lower()))
        if peer not in self._replication.voters:
            is_barred = peer in self._machine.configuration.barred
            text = "a command took it out of the voters" if is_barred else ""
            found.append(Obstacle("no_vote", text))
        if member is not None and not (standing or member).eligible:
            mine = self._fitness.unfit if peer == self._replication.peer else ""
            found.append(Obstacle("unfit", mine or "its settings or its program say so"))
        return found

    def _obstacles_to_election(self) -> list[Obstacle]:
        voters = self._replication.voters
        if not voters:
            return [Obstacle("no_cluster", "no cluster has formed here yet")]
        here = [voter for voter in voters if self._membership.is_here(voter)]
        if len(here) < majority(len(voters)):
            text = (
                f"{len(here)} of {len(voters)} voters are here, {majority(len(voters))} are needed"
            )
            return [Obstacle("no_quorum", text)]
        if not any(self._place(voter) for voter in here):
            return [Obstacle("nobody_eligible", "no voter that is here may lead")]
        return [Obstacle("election", "nobody leads; the first in the order stands within seconds")]

    def _obstacles_to_preference(self, peer: PeerId, now: float) -> list[Obstacle]:
        """While this peer leads: why it does not hand over to that one."""
        leadership, mine = self._replication.leadership, self._fitness.latest
        assert leadership is not None, "who is heard as the leader, here, leads"
        text = f"{self._name(self._replication.peer)} leads in term {self._replication.term}"
        found = [Obstacle("leader_in_office", text)]
        if not leadership.is_caught_up(peer, now):
            found.append(Obstacle("not_caught_up", "its log, or its answers, are behind"))
        if mine is not None:
            reason, detail = self._handover.objection(peer, mine, now)
            if reason:
                found.append(Obstacle(reason, detail))
        return found

    def _name(self, peer: PeerId) -> str:
        return self._membership.name_of(peer) or peer
