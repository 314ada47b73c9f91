"""Where the care for the voters meets the log and the membership: changes that the leader makes by
itself, and changes by command."""

from mabeam_p2p.commands import CommandCodec, Configure
from mabeam_p2p.config import Config
from mabeam_p2p.ids import CLUSTER_SESSION, PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.node.changes import VoterChanges
from mabeam_p2p.protocol.replication import Objection, Replication
from mabeam_p2p.protocol.voters import Roll, VoterDuty
from mabeam_p2p.records import MemberState


class Voting:
    """Who votes in the log, as one peer sees and changes it."""

    def __init__(
        self,
        config: Config,
        *,
        membership: Membership,
        replication: Replication,
        machine: Machine,
        codec: CommandCodec,
        outbox: Outbox,
        epoch: int,
    ) -> None:
        self._config = config
        self._membership = membership
        self._replication = replication
        self._machine = machine
        self._codec = codec
        self._duty: VoterDuty | None = None
        self._duty_term = 0
        self._voters: tuple[PeerId, ...] = ()
        """For whom the learners were set."""
        self.changes = VoterChanges(
            replication.peer,
            replication,
            members=membership.view,
            barred=self._barred,
            configure=self._configure,
            timing=config.timing,
            limits=config.limits,
            outbox=outbox,
            epoch=epoch,
        )

    def set_learners(self, now: float) -> None:
        """Members that do not vote get the log. Called when the membership has changed."""
        replication = self._replication
        learners = tuple(
            member.peer
            for member in self._membership.view()
            if member.state <= MemberState.SUSPECT and member.peer not in replication.voters
        )
        replication.set_learners(learners, now)

    def flush(self, leader: PeerId | None, now: float) -> None:
        """Before the end of replication's turn: wishes, and what the leader does by itself."""
        replication = self._replication
        if replication.voters != self._voters:
            self._voters = replication.voters
            self.set_learners(now)
        self.changes.flush(leader, now)
        leadership = replication.leadership
        if leadership is None:
            self._duty = None
            return
        if self._duty is None or self._duty_term != replication.term:
            self._duty_term = replication.term
            timing = self._config.timing
            self._duty = VoterDuty(replication.peer, self._config.max_voters, timing, now)
        if not self._duty.is_due(now):
            return
        self._duty.looked(now)
        barred = self._barred()
        if barred is None or not leadership.has_quorum(now):
            return
        roll = Roll(
            replication.voters,
            self._membership.view(),
            lambda peer: leadership.silence(peer, now),
            lambda peer: leadership.is_heard(peer, now),
            lambda peer: leadership.has_caught_up(peer, now),
            barred,
        )
        wanted = self._duty.wanted(roll, now)
        if wanted and self._configure(wanted, barred) is Objection.NONE:
            self._duty.changed(now)

    def next_deadline(self) -> float:
        due = self.changes.next_deadline()
        return due if self._duty is None else min(due, self._duty.next_deadline())

    def _barred(self) -> tuple[PeerId, ...] | None:
        """Who is kept out by command, if all that the log says of it has been applied."""
        configuration = self._machine.configuration
        is_latest = configuration.index == self._replication.log.configuration_index
        return configuration.barred if is_latest else None

    def _configure(self, voters: tuple[PeerId, ...], barred: tuple[PeerId, ...]) -> Objection:
        cluster_id = self._machine.configuration.cluster_id
        command = Configure(CLUSTER_SESSION, 0, cluster_id, voters, barred)
        blob = self._codec.encode_commands([command])
        index = self._replication.log.configuration_index
        return self._replication.configure(voters, blob, index)
