"""A cluster of two releases: some hosts run the earlier one until they are upgraded.

The earlier release says nothing of itself, speaks the first version of frames and applies logs of
the first machine version; what it does not know it does not hear. The later one is this release,
with a version of frames more than it has, that differs in nothing but its number.

I20: no peer is sent frames that its release does not speak, and no log begins by a version, or is
raised to one, that a voter cannot apply.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mabeam_p2p.commands import Configure, RaiseVersion
from mabeam_p2p.config import PROTOCOL_VERSION, Config
from mabeam_p2p.events import Event, Refused
from mabeam_p2p.ids import NOBODY, PeerId
from mabeam_p2p.machine.versions import is_known
from mabeam_p2p.messages import AppendEntries, Forward, Frame, Hello, Message, Relay, Relayed
from mabeam_p2p.protocol.versions import able_of, speaks
from mabeam_p2p.records import Able, Batch
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.violation import Violation

if TYPE_CHECKING:
    from mabeam_p2p.testing.simulator import Simulator

EARLIER = Able()
NOTICED = 500_000
"""Microseconds until somebody has read why a peer has ended, and installs the later release."""


class Releases:
    """Which release each host runs."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self.is_mixed = bool(simulator.weather.earlier)
        self.raised: list[int] = []
        """Indices at which the machine version was raised."""
        self.refused_count = 0
        """Peers of the earlier release that were too late: the log had gone on without them."""
        self._refusals: dict[tuple[int, int], set[PeerId]] = {}
        """Who has refused a host of the earlier release in one of its lives."""
        self._ending: dict[int, int] = {}
        """Lives that are about to end, by the host's number."""
        self.restart: Callable[[Host], None] = simulator.start
        """Called when a host that was upgraded is to start."""

    def begin(self) -> None:
        """The hosts are there."""
        for number in self._simulator.weather.earlier:
            self._simulator.hosts[number].is_earlier = True

    def able(self, host: Host, config: Config) -> Able:
        """What the release of a host can do."""
        if host.is_earlier:
            return EARLIER
        able = able_of(config)
        return replace(able, protocol_max=PROTOCOL_VERSION + 1) if self.is_mixed else able

    def upgrade(self, host: Host) -> None:
        """The host's process ends; what starts there next is of the later release."""
        if host.is_earlier:
            self._simulator.crash(host)
            host.is_earlier = False

    # ---- what travels --------------------------------------------------------------------------

    def heard(self, host: Host, frame: Frame) -> Frame | None:
        """The frame as the host's release reads it; None: not at all."""
        if not self.is_mixed:
            return frame
        is_greeting = any(isinstance(message, Hello) for message in frame.messages)
        if host.is_earlier and not speaks(EARLIER, frame.version):
            if frame.target not in (host.peer, NOBODY):
                return None  # A liar says that another peer lives here.
            raise Violation("I20", f"{host.peer} is sent frames of protocol {frame.version}")
        if is_greeting and frame.version != EARLIER.protocol_min:
            raise Violation("I20", f"{frame.source} greets in protocol {frame.version}")
        if not host.is_earlier:
            return frame
        if any(self._is_unknown(message) for message in frame.messages):
            return None
        return replace(frame, messages=tuple(map(_as_read, frame.messages)))

    def _is_unknown(self, message: Message) -> bool:
        """Whether it holds a command that the earlier release cannot read."""
        blobs: tuple[Batch | Forward | Relay | Relayed, ...] = ()
        match message:
            case AppendEntries(batches=batches):
                blobs = batches
            case Forward() | Relay() | Relayed():
                blobs = (message,)
            case _:
                pass
        decode = self._simulator.codec.decode_commands
        commands = [command for one in blobs for command in decode(one.count, one.blob)]
        return not all(
            is_known(command, EARLIER.machine) and not isinstance(command, RaiseVersion)
            for command in commands
        )

    def _raises(self, batch: Batch) -> bool:
        commands = self._simulator.codec.decode_commands(batch.count, batch.blob)
        return any(isinstance(command, RaiseVersion) for command in commands)

    # ---- what happens --------------------------------------------------------------------------

    def committed(self, batch: Batch) -> None:
        """Called for every committed batch, in order."""
        if not self.is_mixed or not (self._raises(batch) or self._begins_later(batch)):
            return
        if batch.index > 1:
            self.raised.append(batch.index)
        log = self._simulator.checkers.committed.log
        voters = [one.voters for one in log.configurations if one.index <= batch.index][-1]
        for host in self._simulator.hosts:
            if host.is_earlier and host.peer in voters:
                raise Violation("I20", f"the log is raised at {batch.index} without {host.peer}")

    def _begins_later(self, batch: Batch) -> bool:
        """Whether it is the first of a log that begins by a version that the earlier release has
        not: a peer of that release would be taken for one that comes too late."""
        commands = self._simulator.codec.decode_commands(batch.count, batch.blob)
        return batch.index == 1 and any(
            isinstance(command, Configure) and command.version > EARLIER.machine
            for command in commands
        )

    def told(self, host: Host, event: Event) -> None:
        """A peer that is too old says so, and ends; somebody installs the later release there."""
        if self.is_mixed and isinstance(event, Refused) and event.fatal:
            if event.reason not in ("machine", "version") or not host.is_earlier:
                return
            # Of others, two have to say so: see api/joining.py.
            by = self._refusals.setdefault((host.number, host.life), set())
            by.add(event.peer)
            is_believed = host.peer in by or len(by) > 1
            if not is_believed or self._ending.get(host.number) == host.life:
                return
            self._ending[host.number] = host.life
            self.refused_count += 1
            self._simulator.after(NOTICED, self._replaced, host, host.life)

    def _replaced(self, host: Host, life: int) -> None:
        if host.life == life and host.is_earlier:
            self.upgrade(host)
            self.restart(host)


def _as_read(message: Message) -> Message:
    """Fields behind those that are known are passed over."""
    return replace(message, able=EARLIER) if isinstance(message, Hello) else message
