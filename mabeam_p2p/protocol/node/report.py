"""What a node tells of itself: its status, and an event for each change of it."""

from mabeam_p2p.config import Config
from mabeam_p2p.events import LeaderChanged, QuorumChanged, Ready, RoleChanged
from mabeam_p2p.ids import PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.bootstrap import Bootstrap
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.node.fitness import Fitness
from mabeam_p2p.protocol.node.freshness import Freshness
from mabeam_p2p.protocol.node.upgrading import Upgrading
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Replication, Role
from mabeam_p2p.protocol.variables import Variables
from mabeam_p2p.records import MemberState, Obstacle, Status


class Report:
    """Compares what is with what was told."""

    def __init__(
        self,
        config: Config,
        links: Links,
        membership: Membership,
        bootstrap: Bootstrap,
        replication: Replication,
        machine: Machine,
        freshness: Freshness,
        variables: Variables,
        mail: Mail,
        fitness: Fitness,
        upgrading: Upgrading,
        outbox: Outbox,
    ) -> None:
        self._config = config
        self._links = links
        self._membership = membership
        self._bootstrap = bootstrap
        self.replication = replication
        self.machine = machine
        self._freshness = freshness
        self._variables = variables
        self._mail = mail
        self._fitness = fitness
        self._upgrading = upgrading
        self._outbox = outbox
        self._leader: PeerId | None = None
        self._role = Role.NONE
        self._quorum = False
        self._ready = False
        self._state: tuple[int, PeerId | None, Role] = (0, None, Role.NONE)

    def unready(self, now: float) -> tuple[Obstacle, ...]:
        """What is missing until `Ready` is told; nothing: it was."""
        if self._ready:
            return ()
        found: list[Obstacle] = []
        if not self.replication.voters:
            found.append(Obstacle("no_cluster", "this peer is in no cluster yet"))
        elif not self.replication.has_quorum(now):
            found.append(Obstacle("no_leader", "it hears no leader that has a quorum"))
        elif not self.machine.applied_index:
            end = self.replication.log.last_index
            text = f"its log ends at {end}, and its leader has confirmed nothing of it yet"
            found.append(Obstacle("nothing_applied", text))
        elif not self._freshness.has_caught_up:
            said = self.replication.said
            end = max(self.replication.commit_index, said.commit_index if said else 0)
            text = f"it has applied {self.machine.applied_index} of {end} committed entries"
            if self.machine.applied_index >= end:
                text += ", and none of its leader's term"
            found.append(Obstacle("not_caught_up", text))
        if waits := self._variables.waits_for(now):
            found.append(Obstacle("variables", waits))
        return tuple(found)

    def tell(self, ticked: bool, now: float) -> None:
        """Events for what has changed since the last turn. `ticked`: whether time has passed in it,
        which alone can end a quorum."""
        replication, outbox = self.replication, self._outbox
        state = replication.term, replication.leader, replication.role
        if state == self._state and not ticked and self._ready:
            return
        self._state = state
        quorum, leader, role = replication.has_quorum(now), self._heard_leader(now), self._shown()
        if role is not self._role:
            self._role = role
            outbox.notify(RoleChanged(role.value, replication.term))
        if leader != self._leader:
            self._leader = leader
            reason = "elected" if leader else "not heard"
            outbox.notify(LeaderChanged(leader, self._name_of(leader), replication.term, reason))
        if quorum is not self._quorum:
            self._quorum = quorum
            outbox.notify(QuorumChanged(quorum))
        if not self._ready and quorum and self._freshness.has_caught_up and self._variables.ready:
            self._ready = True
            outbox.notify(Ready())

    def status(self, now: float) -> Status:
        replication, membership = self.replication, self._membership
        leader, usage = self._heard_leader(now), replication.room.usage
        here = [m for m in membership.view() if m.state <= MemberState.SUSPECT]
        return Status(
            replication.peer,
            self._config.name,
            self._config.cluster,
            self._bootstrap.cluster_id,
            self._shown().value,
            leader,
            self._name_of(leader),
            replication.term,
            replication.commit_index,
            self.machine.applied_index,
            replication.log.last_index,
            replication.has_quorum(now),
            replication.voters,
            replication.learners,
            membership.mine.epoch,
            membership.mine.address,
            self._config.expect,
            len(here),
            (
                ("dropped", self._links.dropped_count + replication.dropped_count),
                ("log_bytes", replication.log.byte_count),
                ("mail_refused", self._mail.refused_count),
            ),
            self._ready,
            replication.snapshots.index,
            replication.log.last_index - replication.log.base.index,
            usage.used_bytes if usage else 0,
            usage.bytes_max if usage else 0,
            replication.room.is_short,
            configuration_index=replication.log.configuration_index,
            barred=self.machine.configuration.barred,
            ancestors=self.machine.configuration.ancestors,
            machine_version=self.machine.version,
            machine_version_max=self.machine.version_max,
            held_back_by=self._upgrading.held_back_by(now),
            held_back_by_limits=self._upgrading.held_back_by_limits(now),
            score=self._fitness.score,
            unfit=self._fitness.unfit,
            nobody_eligible=self._is_nobody_eligible(now),
        )

    def _is_nobody_eligible(self, now: float) -> bool:
        if self.replication.has_quorum(now):
            return False
        voters, told = self.replication.voters, dict(self._membership.standings())
        alive = [
            told[m.peer].eligible if m.peer in told else m.eligible
            for m in self._membership.view()
            if m.peer in voters and m.state is MemberState.ALIVE
        ]
        return len(alive) >= majority(len(voters)) and not any(alive)

    def _heard_leader(self, now: float) -> PeerId | None:
        return self.replication.leader if self.replication.is_leader_heard(now) else None

    def _shown(self) -> Role:
        """A pre-candidate is shown as a candidate: the difference is not the reader's."""
        role = self.replication.role
        return Role.CANDIDATE if role is Role.PRE_CANDIDATE else role

    def _name_of(self, peer: PeerId | None) -> str:
        member = self._membership.find(peer) if peer else None
        return member.name if member else ""
