"""A cluster of whole peers in fair weather and virtual time: what a test asks of it, and nothing by
chance."""

from mabeam_p2p.commands import AnyCommand, AppendJournal, OpenSession
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.requests import Answer, Submit, Suggest
from mabeam_p2p.testing.codec import RememberingCodec
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.outcomes import Outcomes
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.weather import (
    SECOND,
    Agents,
    Faults,
    Network,
    Processes,
    Storage,
    Weather,
)
from mabeam_p2p.wire.codec import CborCodec

TIMEOUT = 30.0


class Cluster:
    """Every link takes half a millisecond, every fsync two tenths of one. A leads. expect: how many
    of them form it. earlier: numbers of those that run the earlier release."""

    def __init__(
        self,
        count: int = 3,
        limits: Limits | None = None,
        *,
        expect: int = 0,
        earlier: tuple[int, ...] = (),
        timing: Timing | None = None,
    ) -> None:
        weather = Weather(
            peers=count,
            expect=expect or count,
            network=Network(delay=500, jitter=0, ordered=True),
            storage=Storage(sync=200, jitter=0),
            processes=Processes(turn_inputs=1000, turn=100),
            agents=Agents(),
            faults=Faults(),
            timing=timing or Timing(),
            limits=limits or Limits(),
            earlier=earlier,
        )
        codec = RememberingCodec(CborCodec(weather.limits))
        self.outcomes = Outcomes(codec, weather.limits)
        self.simulator = Simulator("cluster", weather, codec, (self.outcomes,))
        self.hosts = self.simulator.hosts
        self._sequences: dict[str, int] = {}
        for host in self.hosts:
            self.start(host)
        self.run(2.0)
        for host in self.hosts:
            self.open_session(host)
        self.run(0.5)

    def node(self, host: Host) -> Node:
        assert host.node is not None, f"{host.letter} is down"
        return host.node

    def start(self, host: Host) -> None:
        self.simulator.start(host)
        others = [other.address for other in self.hosts if other is not host]
        self.simulator.ask(host, Suggest(tuple(others)))

    def run(self, seconds: float) -> None:
        self.simulator.run_until(self.simulator.now + int(seconds * SECOND))

    def open_session(self, host: Host) -> None:
        session, agent = SessionId(host.number + 1), AgentId(f"agent@{host.letter.lower()}")
        epoch = host.disk.epoch
        self._sequences[host.letter] = 1
        self._submit(host, OpenSession(session, 1, agent, host.peer, epoch, (), True, True))

    def append(self, host: Host, item: bytes, journal: str = "j") -> list[tuple[Answer, float]]:
        """Ask to append; the list holds the answer and how long it took, once it is there."""
        self._sequences[host.letter] += 1
        session, sequence = SessionId(host.number + 1), self._sequences[host.letter]
        return self._submit(host, AppendJournal(session, sequence, journal, item))

    def _submit(self, host: Host, command: AnyCommand) -> list[tuple[Answer, float]]:
        asked_at = self.simulator.now
        answers: list[tuple[Answer, float]] = []

        def answered(answer: Answer) -> None:
            answers.append((answer, (self.simulator.now - asked_at) / SECOND))

        self.simulator.ask(host, Submit(command, TIMEOUT), answered)
        return answers
