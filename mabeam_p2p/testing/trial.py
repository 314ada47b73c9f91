"""One run of one seed, in two phases: safety under whatever the weather brings, then, in fair
weather and with every peer up, progress within a bound.

The second phase is what makes a deadlock a failure: a cluster that does nothing breaks no invariant
(the idea of TigerBeetle's simulator).
"""

from collections.abc import Callable

from msgspec import Struct

from mabeam_p2p.protocol.node import Node
from mabeam_p2p.requests import Suggest
from mabeam_p2p.testing import wing_gong
from mabeam_p2p.testing.agents import Workload
from mabeam_p2p.testing.bidders import traders
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.codec import RememberingCodec
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.linearizability import anomalies
from mabeam_p2p.testing.outcomes import Outcomes
from mabeam_p2p.testing.recipes import model_of
from mabeam_p2p.testing.seat_agents import SeatAgent
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.task_agents import TaskAgent
from mabeam_p2p.testing.weather import SECOND, Weather, calm, draw, draw_fault
from mabeam_p2p.testing.whims import PreferenceJudge, Whims
from mabeam_p2p.wire.codec import CborCodec

DIGESTS_EVERY = SECOND // 2
CALM_SECONDS_MAX = 120
STORM_SECONDS = 20.0


class Report(Struct, frozen=True):
    """What one run came to."""

    seed: int | str
    violation: str | None
    """None: every rule held."""
    steps: int
    seconds: float
    """Of virtual time."""
    peers: int
    leaders: int
    """Terms that had a leader."""
    committed: int
    """Last committed index."""
    acknowledged: int
    """Appends that were acknowledged to agents."""
    crashes: int
    trace_hash: str


class Trial:
    """A simulator with its agents, its faults and its two phases."""

    def __init__(
        self,
        seed: int | str,
        weather: Weather | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.crashes = 0
        self._calm = False
        drawn = weather or draw(Simulator.stream_of(seed, "weather"))
        codec = RememberingCodec(CborCodec(drawn.limits))
        self.outcomes = Outcomes(codec, drawn.limits)
        self.simulator = Simulator(seed, drawn, codec, (self.outcomes,), trace)
        self.workload = Workload(self.simulator, self.outcomes)
        if drawn.agents.tasks:
            workers = [TaskAgent(self.workload, host) for host in self.simulator.hosts]
            self.workload.others.extend(workers)
        if drawn.agents.seats:
            sitters = [SeatAgent(self.workload, host) for host in self.simulator.hosts]
            self.workload.others.extend(sitters)
        if drawn.agents.traders:
            self.workload.others.extend(traders(self.workload))
        self._faults = self.simulator.stream("fault")
        self.preference = PreferenceJudge(drawn)
        self.preference.hear(self.simulator)
        self._whims = Whims(self.simulator)

    def run(self, seconds: float) -> None:
        """Both phases; `seconds` is the length of the first. Raises Violation."""
        self.storm(int(seconds * SECOND))
        self.settle()
        self.conclude()

    # ---- phases ------------------------------------------------------------------------------

    def storm(self, duration: int) -> None:
        """Safety: anything that the weather holds may happen."""
        simulator = self.simulator
        for host in simulator.hosts:
            simulator.after(self._faults.randint(0, 2 * SECOND), self._start, host)
        if simulator.weather.faults.kinds:
            self._fault_later()
        self._whims.begin()
        simulator.after(DIGESTS_EVERY, self._compare_digests)
        simulator.run_until(simulator.now + duration)

    def settle(self) -> None:
        """Liveness: heal everything, start everybody, and wait until all is done and equal."""
        simulator = self.simulator
        self._calm = True
        simulator.heal(calm(simulator.weather))
        for host in simulator.hosts:
            if host.node is None:
                self._start(host)
        self._whims.end()
        # A time of normal service before the agents end what they have begun.
        simulator.run_until(simulator.now + 2 * SECOND)
        self.workload.writing = False
        bound = simulator.now + CALM_SECONDS_MAX * SECOND
        while True:
            lacking = self._lacks()
            if not lacking:
                break
            if simulator.now >= bound:
                raise Violation("liveness", f"after {CALM_SECONDS_MAX} s of calm: {lacking}")
            simulator.run_until(simulator.now + SECOND // 4)

    def conclude(self) -> None:
        """Read everything once more, and judge the history."""
        simulator = self.simulator
        self.workload.read_all(simulator.hosts[0])
        bound = simulator.now + CALM_SECONDS_MAX * SECOND
        simulator.run_until(simulator.now + SECOND // 4)
        while not self.workload.is_idle():
            if simulator.now >= bound:
                raise Violation("liveness", "the last reads are not answered")
            simulator.run_until(simulator.now + SECOND // 4)
        self._compare_digests()
        for anomaly in anomalies(self.workload.history):
            raise Violation("history", f"{anomaly.kind} in {anomaly.key}: {anomaly.detail}")
        for agent in self.workload.agents:
            agent.recipes.run_ended()
        for found in wing_gong.anomalies(self.workload.calls.history, model_of):
            raise Violation("history", f"{found.verdict.value}: {found.key}, {found.detail}")

    # ---- what happens ------------------------------------------------------------------------

    def _start(self, host: Host) -> None:
        if host.node is not None:
            return
        simulator = self.simulator
        simulator.start(host)
        self.workload.host_started(host)
        # Discovery only hints, perhaps late, perhaps in vain, and more than once.
        unit = int(simulator.weather.timing.election_timeout_seconds * SECOND)
        for _ in range(3):
            simulator.after(self._faults.randint(0, 3 * unit), self._hint, host, host.life)

    def _hint(self, host: Host, life: int) -> None:
        if host.life != life or host.node is None:
            return
        addresses = [other.address for other in self.simulator.hosts if other is not host]
        if not self._calm and self._faults.random() < 0.5:
            addresses = addresses[: self._faults.randint(0, len(addresses))]
        self.simulator.ask(host, Suggest(tuple(addresses)))

    def _fault_later(self) -> None:
        gap = int(self._faults.expovariate(1 / self.simulator.weather.faults.every))
        self.simulator.after(gap, self._fault)

    def _fault(self) -> None:
        if self._calm:
            return
        fault = draw_fault(self._faults, self.simulator.weather.faults, len(self.simulator.hosts))
        running = sum(host.node is not None for host in self.simulator.hosts)
        self.simulator.apply(fault, self._start)
        self.crashes += running - sum(host.node is not None for host in self.simulator.hosts)
        self._fault_later()

    # ---- judgements --------------------------------------------------------------------------

    def _compare_digests(self) -> None:
        for host in self.simulator.hosts:
            if host.node is not None:
                self.outcomes.digest_equals(host.peer, host.node.machine)
        if not self._calm:
            self.simulator.after(DIGESTS_EVERY, self._compare_digests)

    def _lacks(self) -> str:
        """What is still missing of a settled cluster; empty when nothing is."""
        nodes: list[Node] = []
        for host in self.simulator.hosts:
            if host.node is None:
                return f"{host.letter} does not run"
            nodes.append(host.node)
        leaders = {node.peer: None for node in nodes if node.replication.leadership is not None}
        if len(leaders) != 1:
            return f"{len(leaders)} leaders"
        leader = next(iter(leaders))
        for node, host in zip(nodes, self.simulator.hosts, strict=True):
            if node.replication.leader != leader:
                return f"{host.letter} follows {node.replication.leader}"
        if not self.workload.is_idle():
            waiting = [a.host.letter for a in self.workload.agents if a.pending]
            return f"agents wait at {waiting}"
        ends = [(node.replication.commit_index, node.machine.applied_index) for node in nodes]
        last = nodes[0].replication.log.last_index
        if any(end != (last, last) for end in ends):
            return f"commit and applied indices {ends} of {last}"
        variables = [node.variables.read("") for node in nodes]
        if any(other != variables[0] for other in variables[1:]):
            return f"variables differ: {variables}"
        return ""


def run(
    seed: int | str,
    seconds: float = STORM_SECONDS,
    weather: Weather | None = None,
    trace: Callable[[str], None] | None = None,
) -> Report:
    """One whole run; whatever goes wrong in it is its violation."""
    trial = Trial(seed, weather, trace=trace)
    violation: str | None = None
    try:
        trial.run(seconds)
    except Violation as error:
        violation = str(error)
    except Exception as error:
        # A core must not raise, whatever it is fed: its own assertions count as violations.
        violation = f"{type(error).__name__}: {error} ({_place(error)})"
    simulator = trial.simulator
    return Report(
        seed=seed,
        violation=violation,
        steps=simulator.steps,
        seconds=simulator.now / SECOND,
        peers=len(simulator.hosts),
        leaders=len(simulator.checkers.leaders),
        committed=simulator.checkers.committed.index,
        acknowledged=trial.workload.acknowledged,
        crashes=trial.crashes,
        trace_hash=simulator.trace_hash(),
    )


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    code = trace.tb_frame.f_code
    return f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}"


def replay_command(seed: int | str, seconds: float = STORM_SECONDS) -> str:
    """What a person types to see this run again."""
    return f"tools/simulate --seed {seed} --seconds {seconds:g}"
