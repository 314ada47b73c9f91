"""The leader's care for the machine version: the log goes on by a later one as soon as all can.

Rules
1. It is raised only while every voter and every learner answers, and is known to apply it, by what
   each has said of its present process: a voter that is away is waited for until it is back or
   replaced, for it may come back as it was, or as something else. Whoever takes part no more is
   waited for as long as the members know it, if it could not go on when it was last met: a peer
   that is stopped to be upgraded leaves, too, and may have to go back.
2. It is raised in the log, so that every peer changes at one index.
3. From the version on in which the log says by which limits it is applied, all have the same.
"""

from collections.abc import Callable, Iterable
from math import inf

from mabeam_p2p.commands import CommandCodec, RaiseVersion
from mabeam_p2p.config import Timing
from mabeam_p2p.ids import CLUSTER_SESSION, PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.protocol.versions import common_machine
from mabeam_p2p.records import Able

AGAIN_SECONDS = 1.0
"""A proposal that has not taken effect is made again after this."""


class Upgrading:
    """Looks while this peer leads, and could apply a later version than that of the log."""

    def __init__(
        self,
        timing: Timing,
        *,
        able_of: Callable[[PeerId], Able | None],
        gone: Callable[[], Iterable[tuple[PeerId, Able | None]]],
        replication: Replication,
        machine: Machine,
        codec: CommandCodec,
    ) -> None:
        """able_of: what a peer's release can do; None: it was not met in its present process.
        gone: who is dead or has left, and what its release could do."""
        self._timing = timing
        self._able_of = able_of
        self._gone = gone
        self._replication = replication
        self._machine = machine
        self._codec = codec
        self._look_due = -inf
        self._proposed: tuple[int, int] = (0, 0)
        """(term, version)."""
        self._proposed_at = -inf

    def held_back_by(self, now: float) -> tuple[PeerId, ...]:
        """While this peer leads: for whose sake the log stays at an earlier version."""
        return tuple(peer for peer, _ in self._behind(now))

    def held_back_by_limits(self, now: float) -> tuple[PeerId, ...]:
        """Those of them that are known to apply the later one, by other limits than this peer."""
        version = self._mine().machine
        return tuple(
            peer for peer, able in self._behind(now) if able is not None and able.machine >= version
        )

    def flush(self, now: float) -> None:
        """Propose what all can. Called in every turn of a leader that takes commands."""
        if not self._is_wanted() or now < self._look_due:
            return
        self._look_due = now + self._timing.probe_interval_seconds
        version, rules = common_machine(self._mine(), (able for _, able in self._others(now)))
        proposal = (self._replication.term, version)
        is_waiting = proposal == self._proposed and now - self._proposed_at < AGAIN_SECONDS
        if version <= self._machine.version or is_waiting:
            return
        command = RaiseVersion(CLUSTER_SESSION, 0, version, rules)
        if self._replication.propose(1, self._codec.encode_commands([command])):
            self._proposed, self._proposed_at = proposal, now

    def next_deadline(self) -> float:
        return self._look_due if self._is_wanted() else inf

    def _is_wanted(self) -> bool:
        leadership, machine = self._replication.leadership, self._machine
        if leadership is None or machine.version >= machine.version_max:
            return False
        # What earlier leaders have raised is known once an entry of its own term is applied.
        return machine.applied_index >= leadership.first_index

    def _behind(self, now: float) -> tuple[tuple[PeerId, Able | None], ...]:
        """With whom this peer cannot go on by what it can itself, and what is known of them."""
        if not self._is_wanted():
            return ()
        mine = self._mine()
        return tuple(
            (peer, able)
            for peer, able in self._others(now)
            if common_machine(mine, (able,))[0] < mine.machine
        )

    def _mine(self) -> Able:
        mine = self._able_of(self._replication.peer)
        assert mine is not None, "a peer knows itself"
        return mine

    def _others(self, now: float) -> tuple[tuple[PeerId, Able | None], ...]:
        """Who has to be able to go on, and what of it is known; None: not enough."""
        replication, leadership = self._replication, self._replication.leadership
        assert leadership is not None, "asked of a leader"
        everybody = (*replication.voters, *replication.learners)
        here = tuple(
            (peer, self._able_of(peer) if leadership.is_heard(peer, now) else None)
            for peer in everybody
            if peer != replication.peer
        )
        return (*here, *(one for one in self._gone() if one[0] not in everybody))
