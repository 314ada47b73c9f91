"""Hierarchy: commands of a section, gathered by its coordinator.

In a large cluster every peer's report to the leader is a message there, and, worse, a batch of its
own in the log, which goes to every other peer. So the peers divide into sections of about the root
of their number, and a section's coordinator passes on in one message what its members report.

Rules
1. Sections are a function of the members that are alive, as each peer sees them. Views may differ:
   a coordinator passes on for whoever asks, so that it matters to nobody.
2. A report is passed on once. If anything goes wrong its sender sends it again, to the leader
   itself (`pending`), and sessions see to it that it takes effect once: the loss of a coordinator
   costs time, and no report.
3. A report is heard once, and a refusal is passed on to whom it concerns: what is certain stays so.
4. The first report is passed on at once; what follows within the window travels together.
"""

from collections.abc import Callable, Sequence
from math import inf, isqrt

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    ForwardRefused,
    Relay,
    Relayed,
    RelayRefused,
)
from mabeam_p2p.protocol.core import HeardNumbers, Outbox, numbers_before
from mabeam_p2p.records import Member, MemberState

REMEMBERED = 256
"""Messages to leaders whose refusal can still be passed on."""


def sections(members: Sequence[Member], leader: PeerId) -> tuple[tuple[Member, ...], ...]:
    """The members that are alive, but for the leader, in about as many sections as each has
    members. members: sorted by peer."""
    alive = [m for m in members if m.state is MemberState.ALIVE and m.peer != leader]
    count = isqrt(len(alive))
    return tuple(
        tuple(alive[number * len(alive) // count : (number + 1) * len(alive) // count])
        for number in range(count)
    )


def coordinator(section: Sequence[Member]) -> PeerId:
    """Who gathers for it: one that may lead before one that may not, by score, then by id."""
    best = min(section, key=lambda member: (not member.eligible, -member.score, member.peer))
    return best.peer


Origin = tuple[PeerId, int]
"""Of a report: who has sent it, under which number."""


class Waiting:
    """One report that is to be passed on."""

    __slots__ = ("blob", "count", "origin")

    def __init__(self, source: PeerId, number: int, count: int, blob: bytes) -> None:
        self.origin: Origin = source, number
        self.count = count
        self.blob = blob


class Relays:
    """One peer's part: to whom it reports, and what it passes on.

    propose: appends commands if this peer leads. refuse_own: hears what becomes of this peer's own
    reports, which it gathers with those of the others.
    """

    def __init__(
        self,
        peer: PeerId,
        *,
        propose: Callable[[int, bytes], bool],
        refuse_own: Callable[[PeerId, ForwardRefused], None],
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        log_id: int = 0,
        epoch: int = 0,
    ) -> None:
        self._peer = peer
        self._propose = propose
        self._refuse_own = refuse_own
        self._timing = timing
        self._limits = limits
        self._outbox = outbox
        self._log_id = log_id
        self._members: tuple[Member, ...] = ()
        self._route: tuple[PeerId, PeerId | None] | None = None
        """The coordinator of this peer under that leader; None: to be looked up."""
        self._heard = HeardNumbers()
        self._waiting: list[Waiting] = []
        self.waiting_bytes = 0
        """Of commands that wait to be passed on."""
        self._not_before = -inf
        self._number = numbers_before(epoch)
        self._sent: dict[int, tuple[PeerId, tuple[Origin, ...]]] = {}
        """By number of the message: to which leader it went, and whose reports it held."""

    # ---- to whom this peer reports -----------------------------------------------------------

    def members(self, view: tuple[Member, ...]) -> None:
        """The members as this peer sees them, itself included, sorted by peer."""
        self._members = view
        self._route = None

    def route(self, leader: PeerId) -> PeerId | None:
        """Who passes this peer's reports on, perhaps itself; None: nobody, the cluster is small."""
        if self._route is None or self._route[0] != leader:
            self._route = leader, self._look_up(leader)
        return self._route[1]

    def _look_up(self, leader: PeerId) -> PeerId | None:
        alive_count = sum(member.state is MemberState.ALIVE for member in self._members)
        if alive_count < self._limits.relay_from_peers or self._peer == leader:
            return None
        for section in sections(self._members, leader):
            if any(member.peer == self._peer for member in section):
                return coordinator(section)
        return None

    # ---- what it passes on -------------------------------------------------------------------

    def receive(self, source: PeerId, message: Relay) -> None:
        """A report of another peer."""
        if not self._heard.is_new(source, message.number):
            return
        self._gather(Waiting(source, message.number, message.count, message.blob))

    def gather(self, number: int, count: int, blob: bytes) -> None:
        """A report of this peer."""
        self._gather(Waiting(self._peer, number, count, blob))

    def receive_refused(self, source: PeerId, message: RelayRefused) -> None:
        """The leader did not take what was passed on: each sender is told."""
        leader, origins = self._sent.get(message.number, ("", ()))
        if leader != source:
            return
        del self._sent[message.number]
        for origin in origins:
            self._refuse(origin, message.reason)

    def flush(self, leader: PeerId | None, now: float) -> None:
        """Pass on what the window allows, to `leader`; None: nobody leads, as far as is known."""
        if leader is None:
            for report in self._take():
                self._refuse(report.origin, "not_leader")
        if now < self._not_before or not self._waiting:
            return
        self._not_before = now + self._timing.relay_window_seconds
        if leader is not None:
            self._pass_on(leader)

    def next_deadline(self) -> float:
        return self._not_before if self._waiting else inf

    def _gather(self, report: Waiting) -> None:
        size = len(report.blob)
        if self.waiting_bytes + size > self._limits.relay_bytes_max:
            self._refuse(report.origin, "overloaded")
            return
        self._waiting.append(report)
        self.waiting_bytes += size

    def _take(self) -> list[Waiting]:
        reports, self._waiting, self.waiting_bytes = self._waiting, [], 0
        return reports

    def _pass_on(self, leader: PeerId) -> None:
        """In as few messages as may be read."""
        together: list[Waiting] = []
        count = size = 0
        for report in self._take():
            fits = (
                count + report.count <= self._limits.batch_commands_max
                and size + len(report.blob) <= self._limits.batch_bytes_max
            )
            if together and not fits:
                self._send(together, leader)
                together, count, size = [], 0, 0
            together.append(report)
            count += report.count
            size += len(report.blob)
        if together:
            self._send(together, leader)

    def _send(self, reports: list[Waiting], leader: PeerId) -> None:
        count = sum(report.count for report in reports)
        blob = b"".join(report.blob for report in reports)
        if leader == self._peer:
            # Elected meanwhile.
            if not self._propose(count, blob):
                for report in reports:
                    self._refuse(report.origin, "overloaded")
            return
        self._number += 1
        self._sent[self._number] = leader, tuple(report.origin for report in reports)
        self._sent.pop(self._number - REMEMBERED, None)
        self._outbox.send(leader, Relayed(self._log_id, self._number, count, blob))

    def _refuse(self, origin: Origin, reason: str) -> None:
        source, number = origin
        refusal = ForwardRefused(self._log_id, number, reason)
        if source == self._peer:
            self._refuse_own(self._peer, refusal)
        else:
            self._outbox.send(source, refusal)
