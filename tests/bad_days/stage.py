"""Five peers in virtual time, in fair weather, for a day that goes wrong exactly as written.

The nodes, disks, links and checkers are those of the simulator: whatever a test looks at, every
invariant is judged at every step as well.
"""

from collections.abc import Callable

from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, OpenSession
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import AgentId, ProposalId, SessionId
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.records import Proposal, Status
from mabeam_p2p.requests import (
    Answer,
    Failed,
    Found,
    ProposalQuery,
    Query,
    Read,
    ReadStatus,
    Request,
    StatusAnswer,
    Submit,
    Suggest,
)
from mabeam_p2p.testing.agents import is_session_end
from mabeam_p2p.testing.codec import RememberingCodec
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.outcomes import Outcomes
from mabeam_p2p.testing.simulator import Simulator, Trace
from mabeam_p2p.testing.weather import (
    SECOND,
    Agents,
    Faults,
    Network,
    Preferences,
    Processes,
    Storage,
    Weather,
)
from mabeam_p2p.wire.codec import CborCodec

MILLISECOND = SECOND // 1000
FAIR = Weather(
    peers=5,
    expect=5,
    network=Network(delay=MILLISECOND, jitter=50),
    storage=Storage(sync=2 * MILLISECOND, jitter=100),
    processes=Processes(),
    agents=Agents(),
    faults=Faults(),
    timing=Timing(),
    limits=Limits(),
)
"""Timing and limits are those of a real peer that was not told otherwise."""


class Waiting:
    """A request that was put to a peer. `answer` is None until it comes."""

    def __init__(self, asked_at: int) -> None:
        self.answer: Answer | None = None
        self.asked_at = asked_at
        self.answered_at = 0
        """Microseconds."""

    @property
    def seconds(self) -> float:
        """From the question to its answer."""
        return (self.answered_at - self.asked_at) / SECOND


class Stage:
    """A cluster whose every event is due when the script says so."""

    def __init__(
        self,
        seed: str,
        peers: int = 5,
        expect: int | None = None,
        clock_spread: float = 0.0,
        trace: Trace | None = None,
        limits: Limits | None = None,
        preferences: Preferences | None = None,
        timing: Timing | None = None,
    ) -> None:
        """expect: None means all. clock_spread: each peer's clock runs at a rate of 1 - spread ..
        1 + spread."""
        weather = replace(
            FAIR,
            peers=peers,
            expect=peers if expect is None else expect,
            processes=Processes(clock_spread=clock_spread),
            limits=limits or FAIR.limits,
            preferences=preferences or FAIR.preferences,
            timing=timing or FAIR.timing,
        )
        codec = RememberingCodec(CborCodec(weather.limits))
        self.outcomes = Outcomes(codec, weather.limits)
        self.simulator = Simulator(seed, weather, codec, (self.outcomes,), trace)
        self.hosts = self.simulator.hosts

    # ---- time --------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Microseconds of virtual time."""
        return self.simulator.now

    def run(self, seconds: float) -> None:
        self.simulator.run_until(self.now + int(seconds * SECOND))

    def until(self, condition: Callable[[], object], seconds: float = 20.0) -> float:
        """Run until the condition holds, to the millisecond; return how many seconds it took."""
        began = self.now
        while not condition():
            assert self.now < began + int(seconds * SECOND), f"not within {seconds} s"
            self.simulator.run_until(self.now + MILLISECOND)
        return (self.now - began) / SECOND

    # ---- processes ---------------------------------------------------------------------------

    def start(self, *hosts: Host) -> None:
        """Start these, all if none is named; each is told where all the others are."""
        for host in hosts or self.hosts:
            self.simulator.start(host)
            others = tuple(other.address for other in self.hosts if other is not host)
            self.simulator.ask(host, Suggest(others))

    def formed(self) -> Host:
        """Start everybody; return the leader that all follow."""
        self.start()
        self.until(lambda: self.leader() is not None)
        leader = self.leader()
        assert leader is not None
        return leader

    def kill(self, *hosts: Host, keeps: bool = False) -> None:
        """kill -9. What was not synced is lost, or, with `keeps`, has reached the disk all the
        same."""
        for host in hosts:
            if host.node is None:
                continue
            if keeps:
                host.disk.sync(len(host.disk.pending))
            host.disk.pending.clear()
            self.simulator.crash(host)

    def move(self, host: Host, address: str) -> None:
        """What runs there is reached at another address; nobody is at the old one any more."""
        self.simulator.move(host, address)

    # ---- questions ---------------------------------------------------------------------------

    def ask(self, host: Host, request: Request) -> Waiting:
        waiting = Waiting(self.now)

        def reply(answer: Answer) -> None:
            waiting.answer, waiting.answered_at = answer, self.now

        self.simulator.ask(host, request, reply)
        return waiting

    def answer(self, host: Host, request: Request, seconds: float = 20.0) -> Answer:
        waiting = self.ask(host, request)
        self.until(lambda: waiting.answer is not None, seconds)
        assert waiting.answer is not None
        return waiting.answer

    def found(self, host: Host, query: Query, *, linearizable: bool = False) -> Found:
        answer = self.answer(host, Read(query, linearizable))
        assert isinstance(answer, Found), answer
        return answer

    def status(self, host: Host) -> Status:
        answer = self.answer(host, ReadStatus())
        assert isinstance(answer, StatusAnswer)
        return answer.status

    # ---- facts -------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """Of the peers that run."""
        return [host.node for host in self.hosts if host.node is not None]

    def leader(self) -> Host | None:
        """Who leads by its own word and is followed by everybody that runs; None while there is
        no such peer."""
        leading = [h for h in self.hosts if h.node and h.node.replication.leadership is not None]
        followed = {node.replication.leader for node in self.nodes}
        return leading[0] if len(leading) == 1 and followed == {leading[0].peer} else None

    def lowest(self) -> Host:
        """Who stands for election last, and so leads last, while all logs are equal."""
        return max(self.hosts, key=lambda host: host.peer)

    def agree(self) -> bool:
        """Whether everybody that runs has applied one and the same log to its end."""
        nodes = self.nodes
        lasts = {node.replication.log.last_index for node in nodes}
        return lasts == {node.machine.applied_index for node in nodes} and (
            len({node.machine.digest() for node in nodes}) == 1
        )

    def proposal(self, host: Host, ident: ProposalId) -> Proposal | None:
        """As far as the peer has applied it; None: it has not, or does not run."""
        if host.node is None:
            return None
        found = host.node.machine.find(ProposalQuery(ident)).proposals
        return found[0] if found else None


class Client:
    """One agent. It asks again under the same number until it knows what has become of a command,
    as a real session does."""

    def __init__(self, stage: Stage, host: Host) -> None:
        self.host = host
        self.name = AgentId(f"agent@peer-{host.letter.lower()}")
        self.session = SessionId(host.number + 1)
        self.known: list[tuple[AnyCommand, Answer]] = []
        """What is known of its commands, in the order of the answers."""
        self._stage = stage
        self._sequence = 0
        self._life = host.life

    @property
    def is_waiting(self) -> bool:
        """Whether its process runs and does not know yet what has become of a command."""
        return self.host.life == self._life and len(self.known) < self._sequence

    def number(self) -> int:
        """Of its next command."""
        self._sequence += 1
        return self._sequence

    def open(self) -> None:
        command = OpenSession(
            self.session,
            self.number(),
            self.name,
            self.host.peer,
            self.host.disk.epoch,
            (),
            participates=True,
            eligible=True,
        )
        self.submit(command)

    def submit(self, command: AnyCommand) -> None:
        """Nothing comes of it once this agent's process has been killed."""
        if self.host.node is None or self.host.life != self._life:
            return

        def reply(answer: Answer) -> None:
            assert not is_session_end(answer), "its process runs, so its session does"
            if isinstance(answer, Failed):
                self._stage.simulator.after(10 * MILLISECOND, self.submit, command)
            else:
                self.known.append((command, answer))

        self._stage.simulator.ask(self.host, Submit(command), reply)

    def knows(self, command: type[AnyCommand]) -> list[Answer]:
        """What it was told of its commands of this kind."""
        return [answer for asked, answer in self.known if isinstance(asked, command)]
