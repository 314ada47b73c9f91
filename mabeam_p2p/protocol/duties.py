"""What the leader owes to the log besides its agents' commands: ticks of the log's clock when a
deadline is due, and the departure of agents whose peer is gone.

Every leader judges anew from its own view; a second entry for the same thing has no effect.
"""

from mabeam_p2p.commands import AnyCommand, DepartPeer, Tick
from mabeam_p2p.config import Timing
from mabeam_p2p.ids import CLUSTER_SESSION, PeerId
from mabeam_p2p.records import Agent, Member, MemberState

TICK_AGAIN = 1_000_000
"""Microseconds of the log's clock after which an unmet deadline is ticked for again."""


class Duties:
    """One leader's duties, for the length of its term."""

    def __init__(self, timing: Timing, now: float) -> None:
        self._timing = timing
        self._began_at = now
        self._gone_since: dict[tuple[PeerId, int], float] = {}
        self._look_due = now
        self._ticked_for = -1
        self._ticked_at = 0

    def is_due(self, deadline: int | None, clock: int, now: float) -> bool:
        """Whether there may be something to do; cheap enough for every turn."""
        return now >= self._look_due or (deadline is not None and clock >= self._tick_due(deadline))

    def tick_command(self, deadline: int | None, clock: int) -> tuple[AnyCommand, ...]:
        """A Tick for the deadline, if `clock` has reached it. Both by the log's clock."""
        if deadline is None or clock < self._tick_due(deadline):
            return ()
        self._ticked_for, self._ticked_at = deadline, clock
        return (Tick(CLUSTER_SESSION, 0),)

    def _tick_due(self, deadline: int) -> int:
        """Once for each deadline, and again after a while: a leader may have been full."""
        return deadline if deadline != self._ticked_for else self._ticked_at + TICK_AGAIN

    def departures(
        self, agents: tuple[Agent, ...], members: tuple[Member, ...], now: float
    ) -> tuple[AnyCommand, ...]:
        """The peers of `agents` that are gone: at once if they left, else after a grace time."""
        if now < self._look_due:
            return ()
        self._look_due = now + self._timing.probe_interval_seconds
        known = {member.peer: member for member in members}
        hosts = dict.fromkeys((agent.peer, agent.epoch) for agent in agents)
        gone: dict[tuple[PeerId, int], float] = {}
        commands: list[AnyCommand] = []
        for peer, epoch in sorted(hosts):
            reason = self._reason(known.get(peer), epoch, now)
            if not reason:
                continue
            since = self._gone_since.get((peer, epoch), now)
            gone[peer, epoch] = since
            if now - since >= self._grace(reason):
                commands.append(DepartPeer(CLUSTER_SESSION, 0, peer, epoch, reason))
                gone[peer, epoch] = now
        self._gone_since = gone
        return tuple(commands)

    def _reason(self, member: Member | None, epoch: int, now: float) -> str:
        if member is None:
            met_by_now = now - self._began_at >= self._timing.dead_seconds
            return "never seen" if met_by_now else ""
        if member.epoch > epoch:
            return "restarted"
        if member.state is MemberState.LEFT:
            return "left"
        return "dead" if member.state is MemberState.DEAD else ""

    def _grace(self, reason: str) -> float:
        """Who has left will not come back; those whose peer has restarted are about to."""
        match reason:
            case "left":
                return 0.0
            case "restarted":
                return self._timing.restart_grace_seconds
            case _:
                return self._timing.departure_grace_seconds

    def next_deadline(self, deadline: int | None, clock: int, now: float) -> float:
        """When there is something to do, in monotonic seconds."""
        due = self._look_due
        if deadline is not None:
            due = min(due, now + max(0, self._tick_due(deadline) - clock) / 1_000_000)
        return due
