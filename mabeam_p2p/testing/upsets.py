"""Carries faults out: what each does to links, processes and disks, and when it ends.

It decides nothing: `faults` draws them, `trial` says when. A disk that fails ends its process, as
the shell does; that nothing is acknowledged afterwards follows, for nobody is there to do it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import MemberState
from mabeam_p2p.requests import Leave, Request
from mabeam_p2p.testing.configurations import can_lose, without_leavers
from mabeam_p2p.testing.faults import (
    Clog,
    Crash,
    Cut,
    Depart,
    DiskFull,
    Fault,
    Flap,
    Jump,
    Pause,
    Reset,
    Slow,
    SyncFails,
    Upgrade,
    Wipe,
)
from mabeam_p2p.testing.host import Host

if TYPE_CHECKING:
    from mabeam_p2p.testing.simulator import Simulator

FAREWELL = 100_000
"""How long a peer that leaves goes on, so that its goodbye gets out."""

Restart = Callable[[Host], None]


class Upsets:
    """The faults of one simulator."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._restart: Restart = simulator.start
        self._healings = 0
        self.lost: list[PeerId] = []
        """Identities whose folder is lost, or damaged."""
        self._departures: dict[int, int] = {}
        """In which of its lives each peer has said goodbye last."""

    def apply(self, fault: Fault, restart: Restart) -> None:
        simulator = self._simulator
        self._restart = restart
        match fault:
            case Crash():
                for number, down in zip(fault.peers, fault.down, strict=True):
                    self._end(simulator.hosts[number], down)
            case Pause():
                self.pause(simulator.hosts[fault.peer], fault.duration)
            case Slow():
                host = simulator.hosts[fault.peer]
                host.slow_until, host.slow_cost = simulator.now + fault.duration, fault.cost
            case Jump():
                host = simulator.hosts[fault.peer]
                host.clock_offset += fault.forward * 1e-6
                if host.node is not None:
                    simulator.schedule_tick(host)
            case Cut():
                simulator.links.cut(fault.links)
                simulator.after(fault.duration, simulator.links.mend, fault.links)
            case Flap():
                self._flap(fault, fault.times, self._healings)
            case Clog():
                simulator.links.clog(fault.links)
                simulator.after(fault.duration, simulator.links.unclog, fault.links)
            case Reset():
                simulator.links.reset(fault.links, fault.late)
            case SyncFails():
                simulator.hosts[fault.peer].fails_for = fault.down
            case DiskFull():
                simulator.hosts[fault.peer].full_for = fault.down
            case Wipe():
                self._lose(fault)
            case Depart():
                self._depart(simulator.hosts[fault.peer], fault.down)
            case Upgrade():
                host = simulator.hosts[fault.peer]
                simulator.releases.upgrade(host)
                simulator.after(fault.down, self._restart, host)
            case _:
                assert_never(fault)

    def heal(self) -> None:
        """No fault that was begun goes on."""
        self._healings += 1
        simulator = self._simulator
        for host in simulator.hosts:
            host.fails_for = host.full_for = host.slow_until = 0
            self._remove(host)
            if host.paused_until > simulator.now:
                host.paused_until = simulator.now
                self._resume(host, host.life)

    # ---- pauses ------------------------------------------------------------------------------

    def pause(self, host: Host, duration: int) -> None:
        """Nothing runs for so long; what arrives waits."""
        simulator = self._simulator
        if host.node is not None and host.paused_until <= simulator.now:
            host.paused_until = simulator.now + duration
            simulator.at(host.paused_until, self._resume, host, host.life)

    def _resume(self, host: Host, life: int) -> None:
        simulator = self._simulator
        if host.life != life or host.node is None or host.paused_until > simulator.now:
            return
        # Everything is due at once, and nothing says what the process looks at first.
        frames, requests = host.backlog, host.late_requests
        host.backlog, host.late_requests = [], []
        requests_first = simulator.process.random() < 0.5
        if requests_first:
            self._put_all(host, requests)
        if simulator.process.random() < 0.5:
            simulator.tick(host)
        for frame in frames:
            simulator.receive(host, frame)
        if not requests_first:
            self._put_all(host, requests)
        simulator.schedule_tick(host)
        late_deeds, host.late_deeds = host.late_deeds, []
        for deed, arguments in late_deeds:
            simulator.after(0, deed, *arguments)
        count = len(frames) + len(requests)
        if count and simulator.now < host.slow_until:
            self.pause(host, min(host.slow_cost * count, host.slow_until - simulator.now))

    def _put_all(self, host: Host, requests: list[tuple[int, Request]]) -> None:
        for token, request in requests:
            self._simulator.put(host, token, request)

    # ---- disks -------------------------------------------------------------------------------

    def sync_failed(self, host: Host) -> None:
        """The storage says so, and the process ends: what it wrote may be there in part."""
        down, host.fails_for = host.fails_for, 0
        self._end(host, down)

    def has_room(self, host: Host) -> bool:
        """False: the write is refused, and the process ends as soon as its turn is over."""
        simulator = self._simulator
        if host.full_for > 0:
            down, host.full_for = host.full_for, -1
            simulator.after(0, self._end_full, host, host.life, down)
        return False

    def _end_full(self, host: Host, life: int, down: int) -> None:
        host.full_for = 0
        if host.life == life:
            self._end(host, down)

    # ---- folders -----------------------------------------------------------------------------

    def _lose(self, fault: Wipe) -> None:
        """Nothing happens where a majority of the voters would be lost with their disks: no
        protocol survives that."""
        simulator = self._simulator
        host = simulator.hosts[fault.peer]
        if not self.may_lose(host):
            return
        simulator.crash(host)
        self.lost.append(host.peer)
        if fault.flipped:
            host.is_damaged = True
            simulator.after(fault.down // 2, self._remove, host)
        else:
            self._wipe(host)
        simulator.after(fault.down, self._restart, host)

    def may_lose(self, host: Host) -> bool:
        """Whether a majority of the voters is left, whichever configuration is in effect, and too
        few peers without a cluster to form a second one, should they see nobody else: `expect` is
        for those that start together (docs/guarantees.md)."""
        newcomers = 1
        for other in self._simulator.hosts:
            bootstrap = other.disk.bootstrap
            knows = bootstrap is not None and bootstrap.formed and not other.is_damaged
            newcomers += other is not host and not knows
        return (
            not host.is_damaged
            and newcomers < self._simulator.weather.expect
            and can_lose(host.peer, self.lost, self.configurations())
        )

    def configurations(self) -> list[tuple[PeerId, ...]]:
        """The voters of every configuration that may be in effect, or may be at any moment."""
        simulator = self._simulator
        leavers = [
            member.peer
            for host in simulator.hosts
            if host.node is not None
            for member in host.node.membership.view()
            if member.state is MemberState.LEFT
        ]
        for number, life in self._departures.items():
            host = simulator.hosts[number]
            if host.node is None or host.life == life:
                leavers.append(host.peer)
        return without_leavers(simulator.checkers.configurations(), leavers)

    def _remove(self, host: Host) -> None:
        """Somebody has read that the folder is damaged, and removes it."""
        if host.is_damaged:
            self._wipe(host)

    def _wipe(self, host: Host) -> None:
        host.is_damaged = False
        self._simulator.wipe(host)

    # ---- processes and links -----------------------------------------------------------------

    def _end(self, host: Host, down: int) -> None:
        self._simulator.crash(host)
        self._simulator.after(down, self._restart, host)

    def _depart(self, host: Host, down: int) -> None:
        if host.node is not None:
            self._departures[host.number] = host.life
            self._simulator.ask(host, Leave())
            self._simulator.after(FAREWELL, self._gone, host, host.life, down)

    def _gone(self, host: Host, life: int, down: int) -> None:
        if host.life == life:
            self._end(host, down)

    def _flap(self, fault: Flap, times: int, healings: int) -> None:
        if not times or healings != self._healings:
            return
        self._simulator.links.cut(fault.links)
        self._simulator.after(fault.duration, self._simulator.links.mend, fault.links)
        self._simulator.after(2 * fault.duration, self._flap, fault, times - 1, healings)
