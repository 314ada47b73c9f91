"""The simulated network: directed links between hosts that lose, delay, double and hold frames.

A frame arrives at whoever listens at its address by then, perhaps a later process of the peer it
was meant for, or another peer.
"""

from collections.abc import Callable
from random import Random
from typing import Protocol

from mabeam_p2p.messages import Frame
from mabeam_p2p.testing.faults import Link
from mabeam_p2p.testing.weather import Network


class Later(Protocol):
    """Calls back at a time of the simulation."""

    now: int

    def at(self, time: int, action: Callable[..., None], *arguments: object) -> None: ...


class Links:
    """Every directed link between `count` hosts. `deliver(address, frame)` is called on arrival."""

    def __init__(
        self,
        count: int,
        network: Network,
        random: Random,
        later: Later,
        deliver: Callable[[str, Frame], None],
    ) -> None:
        self.network = network
        self._count = count
        self._random = random
        self._later = later
        self._deliver = deliver
        self._cuts = [[0] * count for _ in range(count)]
        self._clogs: list[list[list[tuple[str, Frame]] | None]] = [
            [None] * count for _ in range(count)
        ]
        self._resets = [[0] * count for _ in range(count)]
        self._late = [[0] * count for _ in range(count)]
        """How late what a connection held when it broke comes all the same; 0: it is lost."""
        self._held = [[0] * count for _ in range(count)]
        """Frames on their way, where a link holds only so many."""
        self._last_arrival = [[0] * count for _ in range(count)]

    def send(self, source: int, destination: int, address: str, frame: Frame) -> None:
        """Put a frame on its way, unless it is lost at once."""
        if self._cuts[source][destination]:
            return
        clogged = self._clogs[source][destination]
        if clogged is not None:
            clogged.append((address, frame))
            return
        network = self.network
        if network.queue and self._held[source][destination] >= network.queue:
            return
        if network.loss or network.duplicate:
            chance = self._random.random()
            if chance < network.loss:
                return
            if chance < network.loss + network.duplicate:
                late = network.delay + self._random.randint(0, network.late)
                self._arrive_at(self._later.now + late, source, destination, address, frame)
        self._fly(source, destination, address, frame)

    # ---- faults ------------------------------------------------------------------------------

    def cut(self, links: tuple[Link, ...]) -> None:
        """What is on these links, or is sent there before `mend`, is lost."""
        for source, destination in links:
            self._cuts[source][destination] += 1

    def mend(self, links: tuple[Link, ...]) -> None:
        for source, destination in links:
            self._cuts[source][destination] = max(0, self._cuts[source][destination] - 1)

    def clog(self, links: tuple[Link, ...]) -> None:
        """Hold back what is sent, until `unclog`."""
        for source, destination in links:
            if self._clogs[source][destination] is None:
                self._clogs[source][destination] = []

    def unclog(self, links: tuple[Link, ...]) -> None:
        for source, destination in links:
            held = self._clogs[source][destination]
            self._clogs[source][destination] = None
            for address, frame in held or ():
                self._fly(source, destination, address, frame)

    def reset(self, links: tuple[Link, ...], late: int = 0) -> None:
        """What is on these links now is lost, or comes `late` later than it would have."""
        for source, destination in links:
            self._resets[source][destination] += 1
            self._late[source][destination] = late

    def heal(self) -> None:
        """End all faults."""
        self._cuts = [[0] * self._count for _ in range(self._count)]
        self.unclog(tuple((a, b) for a in range(self._count) for b in range(self._count)))

    # ---- flight ------------------------------------------------------------------------------

    def _fly(self, source: int, destination: int, address: str, frame: Frame) -> None:
        network = self.network
        random = self._random
        delay = network.delay + int(random.expovariate(1.0) * network.jitter)
        if network.slow_chance and random.random() < network.slow_chance:
            delay += random.randint(0, network.slow)
        arrival = self._later.now + delay
        if network.ordered:
            arrival = max(arrival, self._last_arrival[source][destination])
            self._last_arrival[source][destination] = arrival
        self._arrive_at(arrival, source, destination, address, frame)

    def _arrive_at(
        self, time: int, source: int, destination: int, address: str, frame: Frame
    ) -> None:
        resets = self._resets[source][destination]
        self._held[source][destination] += 1
        self._later.at(time, self._arrive, source, destination, resets, address, frame)

    def _arrive(
        self, source: int, destination: int, resets: int, address: str, frame: Frame
    ) -> None:
        self._held[source][destination] -= 1
        if self._cuts[source][destination]:
            return
        if self._resets[source][destination] == resets:
            self._deliver(address, frame)
        elif self._late[source][destination]:
            time = self._later.now + self._late[source][destination]
            self._later.at(time, self._arrive_late, source, destination, address, frame)

    def _arrive_late(self, source: int, destination: int, address: str, frame: Frame) -> None:
        if not self._cuts[source][destination]:
            self._deliver(address, frame)
