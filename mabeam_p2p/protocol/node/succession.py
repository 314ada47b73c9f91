"""What moves the time at which this peer stands for election, and what it does while it leads."""

from collections.abc import Callable
from math import inf

from mabeam_p2p.commands import Admit, CommandCodec
from mabeam_p2p.config import Timing
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.duties import Duties
from mabeam_p2p.protocol.election import Election
from mabeam_p2p.protocol.node.neighbours import Neighbours
from mabeam_p2p.protocol.node.upgrading import Upgrading
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.records import Agent, Standing


class Succession:
    """Carries what replication and membership have heard to the election, and keeps the duties of
    a leader."""

    def __init__(
        self,
        timing: Timing,
        *,
        neighbours: Neighbours,
        election: Election,
        replication: Replication,
        machine: Machine,
        agents: Callable[[], tuple[Agent, ...]],
        codec: CommandCodec,
        admissions: Callable[[float], tuple[Admit, ...]],
    ) -> None:
        """agents: all that live, as of the last applied entry. admissions: peers to let in."""
        self._timing = timing
        self._membership = neighbours.membership
        self._election = election
        self._replication = replication
        self._machine = machine
        self._agents = agents
        self._codec = codec
        self._admissions = admissions
        self._heard_at = -inf
        self._was_leading = False
        self._duties: Duties | None = None
        self.upgrading = Upgrading(
            timing,
            able_of=neighbours.links.able_of,
            gone=neighbours.gone,
            replication=replication,
            machine=machine,
            codec=codec,
        )

    def tick(self, mine: Standing, now: float) -> None:
        """Stand, if the election says so."""
        replication = self._replication
        if not replication.may_stand:
            return
        others = tuple(
            (peer, standing)
            for peer, standing in self._membership.standings()
            if peer in replication.voters and peer != replication.leader
        )
        self._carry_leader_heard()
        if self._election.is_due(mine, others, now):
            replication.stand(mine)

    def flush(self, now: float) -> None:
        """The end of a turn: what replication has heard moves the time at which this peer stands.

        Called when its messages are out."""
        replication, election = self._replication, self._election
        was_leading, self._was_leading = self._was_leading, replication.leadership is not None
        if replication.leadership is not None:
            if self._duties is None:
                self._duties = Duties(self._timing, now)
            election.leading()
            return
        self._duties = None
        if was_leading:
            election.leader_lost(now)
        candidacy = replication.candidacy
        if candidacy.answered_ok:
            candidacy.answered_ok = False
            election.was_answered_ok(now)
        if candidacy.outran:
            candidacy.outran = False
            election.outran()
        if candidacy.vote_given:
            candidacy.vote_given = False
            election.vote_given(now)
        self._carry_leader_heard()

    def _carry_leader_heard(self) -> None:
        """Before every look at the election's deadline: a turn may have heard the leader first."""
        replication = self._replication
        if replication.leader is None or replication.leadership is not None:
            return
        if replication.heard_at != self._heard_at:
            self._heard_at = replication.heard_at
            self._election.leader_heard(replication.heard_at)

    def do_duties(self, now: float) -> None:
        """What a leader appends by itself."""
        leadership = self._replication.leadership
        if leadership is None or self._duties is None or leadership.transfer is not None:
            return  # While it hands over it takes no commands, its own included.
        self.upgrading.flush(now)
        deadline, clock = self._machine.next_deadline(), leadership.clock(now)
        if not self._duties.is_due(deadline, clock, now):
            return
        commands = self._duties.tick_command(deadline, clock)
        commands += self._duties.departures(self._agents(), self._membership.view(), now)
        commands += self._admissions(now)
        for command in commands:
            self._replication.propose(1, self._codec.encode_commands([command]))

    def next_deadline(self, now: float) -> float:
        """When there is something to do, in monotonic seconds."""
        due = self._election.next_deadline() if self._replication.may_stand else inf
        leadership = self._replication.leadership
        if leadership is not None and leadership.transfer is not None:
            return due
        if self._duties is not None and leadership is not None:
            deadline, clock = self._machine.next_deadline(), leadership.clock(now)
            due = min(due, self._duties.next_deadline(deadline, clock, now))
            due = min(due, self.upgrading.next_deadline())
        return due
