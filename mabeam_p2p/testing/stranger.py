"""A peer of another cluster in the same network: hints name it to the others, and them to it.

It runs a Node of its own, on a disk without faults, and forms a cluster alone. Two clusters never
merge: nobody may take it for a member, nor it anybody.
"""

from math import ceil, inf

from mabeam_p2p.config import Config
from mabeam_p2p.effects import Connect, Effects, Persist, Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Frame, Message
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.requests import Suggest
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.disk import Disk
from mabeam_p2p.testing.simulator import WALL_START, Simulator

CLUSTER = "another"
PEER = PeerId("f" * 16)
ADDRESS = "10.0.8.1:7000"


class Stranger:
    """One such peer, from its start on."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._links: dict[PeerId, str] = {}
        self._outgoing: dict[PeerId, list[Message]] = {}
        self._tick_at = inf
        weather = simulator.weather
        config = Config(
            name="stranger",
            cluster=CLUSTER,
            listen=ADDRESS,
            mdns=False,
            expect=1,
            timing=weather.timing,
            limits=weather.limits,
        )
        self.node = Node(
            config,
            Disk().recover(PEER),
            ADDRESS,
            simulator.codec,
            simulator.stream("stranger"),
            WALL_START,
            self._now(),
        )
        simulator.endpoints[ADDRESS] = self._receive
        self._turn(self.node.start(self._now()))

    def hear_of(self, *addresses: str) -> None:
        """What discovery says to it."""
        self._turn(self.node.request(0, Suggest(addresses), self._now()))

    def judge(self) -> None:
        """Raises Violation if anybody has taken it for a member, or it anybody."""
        for host in self._simulator.hosts:
            if host.node is not None and host.node.membership.find(PEER) is not None:
                raise Violation("clusters", f"{host.peer} has a member of another cluster")
        known = [member.peer for member in self.node.membership.view()]
        if known != [PEER]:
            raise Violation("clusters", f"the stranger has members of another cluster: {known}")

    def _now(self) -> float:
        return self._simulator.now * 1e-6

    def _receive(self, frame: Frame) -> None:
        self._turn(self.node.receive(frame, self._now()))

    def _turn(self, effects: Effects) -> None:
        """Its disk writes at once, so that what waits for it need not."""
        self._execute(effects)
        self._execute(self.node.flush(self._now()))
        outgoing, self._outgoing = self._outgoing, {}
        for target, messages in outgoing.items():
            address = self._links.get(target)
            if address is not None:
                frame = self.node.frame(target, tuple(messages))
                delay = self._simulator.weather.network.delay
                self._simulator.after(delay, self._simulator.deliver, address, frame)
        due = ceil(self.node.next_deadline() * 1e6) if self.node.next_deadline() < inf else inf
        if due < self._tick_at:
            self._tick_at = max(int(due), self._simulator.now + 1)
            self._simulator.at(self._tick_at, self._tick)

    def _tick(self) -> None:
        self._tick_at = inf
        self._turn(self.node.tick(self._now()))

    def _execute(self, effects: Effects) -> None:
        stored = 0
        for effect in effects:
            if isinstance(effect, Send):
                self._outgoing.setdefault(effect.target, []).append(effect.message)
            elif isinstance(effect, Connect) and effect.address is not None:
                self._links[effect.target] = effect.address
            elif isinstance(effect, Connect):
                self._links.pop(effect.target, None)
            elif isinstance(effect, Persist):
                stored = effect.number
        if stored:
            self._execute(self.node.stored(stored, self._now()))
