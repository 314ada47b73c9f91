"""One run of one seed, in two phases: safety under whatever the weather brings, then, in fair
weather and with every peer up, progress within a bound.

The second phase is what makes a deadlock a failure: a cluster that does nothing breaks no invariant
(the idea of TigerBeetle's simulator).
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from mabeam_p2p.config import MACHINE_VERSION
from mabeam_p2p.protocol.membership.suspicion import MOST
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.requests import JournalQuery, Suggest
from mabeam_p2p.testing import timeline, wing_gong
from mabeam_p2p.testing.agents import Workload
from mabeam_p2p.testing.bidders import traders
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.codec import RememberingCodec
from mabeam_p2p.testing.configurations import is_core
from mabeam_p2p.testing.faults import Fault, draw_fault
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.hostile import HostileMember
from mabeam_p2p.testing.linearizability import Read, anomalies
from mabeam_p2p.testing.members import differences
from mabeam_p2p.testing.outcomes import Outcomes
from mabeam_p2p.testing.recipes import model_of
from mabeam_p2p.testing.seat_agents import SeatAgent
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.stranger import ADDRESS as STRANGER
from mabeam_p2p.testing.stranger import Stranger
from mabeam_p2p.testing.tape import Planned, Tape
from mabeam_p2p.testing.task_agents import TaskAgent
from mabeam_p2p.testing.variable_agents import VariableAgent, values_of
from mabeam_p2p.testing.violation import LiarVotes
from mabeam_p2p.testing.weather import SECOND, Weather, calm, draw
from mabeam_p2p.testing.whims import PreferenceJudge, Whims
from mabeam_p2p.wire.codec import CborCodec

DIGESTS_EVERY = SECOND // 2
CALM_SECONDS_MAX = 120
STORM_SECONDS = 20.0
LIES_EVERY = SECOND // 20
"""The longest pause of a hostile member."""


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
    faults: int = 0
    """That came in the storm, of any kind."""
    cuts: int = 0
    """How often a process ended with its power."""
    losing_cuts: int = 0
    """How often something was not on its disk yet, and was lost."""
    timeline: str = ""
    """Of a key whose calls no order explains, drawn; of anything else there is none."""
    liar_votes: bool = False
    """A member that lies was made a voter: the run has ended there, and was judged up to there."""


class Trial:
    """A simulator with its agents, its faults and its two phases."""

    def __init__(
        self,
        seed: int | str,
        weather: Weather | None = None,
        trace: Callable[[str], None] | None = None,
        plan: tuple[Planned, ...] | None = None,
    ) -> None:
        """plan: the faults of the run, by time; None: they are drawn, and put down in `planned`."""
        self.crashes = 0
        self.timeline = ""
        self.planned: list[Planned] = []
        """Every fault that came, so far."""
        self._calm = False
        self._held_back: dict[int, None] = {}
        """Hosts that are not to start yet, by number."""
        self._plan = None if plan is None else deque(plan)
        drawn = weather or draw(Simulator.stream_of(seed, "weather"))
        codec = RememberingCodec(CborCodec(drawn.limits))
        self.outcomes = Outcomes(codec, drawn.limits)
        self.simulator = Simulator(seed, drawn, codec, (self.outcomes,), trace)
        self.simulator.releases.restart = self._start
        self.workload = Workload(self.simulator, self.outcomes)
        if drawn.agents.tasks:
            workers = [TaskAgent(self.workload, host) for host in self.simulator.hosts]
            self.workload.others.extend(workers)
        if drawn.agents.seats:
            sitters = [SeatAgent(self.workload, host) for host in self.simulator.hosts]
            self.workload.others.extend(sitters)
        if drawn.agents.traders:
            self.workload.others.extend(traders(self.workload))
        writers = [VariableAgent(self.workload, host) for host in self.simulator.hosts]
        self.workload.others.extend(writers)
        self._faults = self.simulator.stream("fault")
        self._starts = self.simulator.stream("start")
        self._hints = self.simulator.stream("discovery")
        self.hostile: HostileMember | None = None
        """Says what it likes, in the name of a peer that is no voter."""
        self.liar: Host | None = None
        """In whose name: the same one in all of a run."""
        self.liar_votes = False
        """Whether others have made it a voter, which has ended the run."""
        self.stranger = Stranger(self.simulator) if drawn.stranger else None
        if drawn.hostile:
            # It can write under anybody's name.
            self.simulator.checkers.causality.is_judging = False
            peers = [host.peer for host in self.simulator.hosts]
            self.hostile = HostileMember(codec, self.simulator.stream("hostile"), peers)
        self.preference = PreferenceJudge(drawn)
        self.preference.hear(self.simulator)
        self._whims = Whims(self.simulator)

    def run(self, seconds: float) -> None:
        """Both phases; `seconds` is the length of the first. Raises Violation."""
        try:
            self.storm(int(seconds * SECOND))
        except LiarVotes:
            self.liar_votes = True
        if self.hostile is None:
            self.settle()
            self.conclude()
        else:
            self._conclude_unsettled()

    # ---- phases ------------------------------------------------------------------------------

    def storm(self, duration: int) -> None:
        """Safety: anything that the weather holds may happen."""
        simulator = self.simulator
        for host in simulator.hosts:
            simulator.after(self._starts.randint(0, 2 * SECOND), self._start, host)
        self._fault_later()
        self._lie()
        self._whims.begin()
        simulator.after(DIGESTS_EVERY, self._compare_digests)
        simulator.run_until(simulator.now + duration)

    def settle(self) -> None:
        """Liveness: heal everything, start everybody, and wait until all is done and equal."""
        simulator = self.simulator
        self._calm = True
        for host in simulator.hosts:
            simulator.releases.upgrade(host)
        simulator.heal(calm(simulator.weather))
        self._whims.end()
        self._serve_by_a_core()
        for host in simulator.hosts:
            self._start(host)
            self._hint(host, host.life)
        # A time of normal service before the agents end what they have begun.
        simulator.run_until(simulator.now + 2 * SECOND)
        self.workload.writing = False
        # A name is free when its holder is dead to all: whom one alone knows, nobody else suspects.
        patience = CALM_SECONDS_MAX + int(MOST * simulator.weather.timing.dead_seconds)
        bound = simulator.now + patience * SECOND
        while True:
            lacking = self._lacks()
            if not lacking:
                break
            if simulator.now >= bound:
                raise Violation("liveness", f"after {patience} s of calm: {lacking}")
            simulator.run_until(simulator.now + SECOND // 4)

    def _serve_by_a_core(self) -> None:
        """Some majority of the voters, and nobody else, must be enough for progress."""
        simulator = self.simulator
        effective = simulator.upsets.configurations()
        everybody = list(simulator.hosts)
        self._starts.shuffle(everybody)
        core: list[Host] = []
        while everybody and not is_core([host.peer for host in core], effective):
            core.append(everybody.pop())
        for host in tuple(core):
            others = [other.peer for other in core if other is not host]
            if is_core(others, effective):
                core.remove(host)
        if not is_core([host.peer for host in core], effective):
            return
        if not any(host.disk.log.batches for host in core):
            return  # They have promised the cluster, and cannot know that it was formed.
        self._held_back = {host.number: None for host in simulator.hosts if host not in core}
        for number in self._held_back:
            simulator.crash(simulator.hosts[number])
        for host in core:
            self._start(host)
            self._hint(host, host.life)
        before = simulator.checkers.committed.index
        bound = simulator.now + CALM_SECONDS_MAX * SECOND
        while simulator.checkers.committed.index == before:
            if simulator.now >= bound:
                letters = "".join(host.letter for host in core)
                raise Violation("liveness", f"{letters}, a majority, have committed nothing")
            simulator.run_until(simulator.now + SECOND // 4)
        self._held_back = {}

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
        if self.stranger is not None:
            self.stranger.judge()
        simulator.checkers.causality.settled(host.peer for host in simulator.hosts)
        for anomaly in anomalies(self.workload.history):
            raise Violation("history", f"{anomaly.kind} in {anomaly.key}: {anomaly.detail}")
        for agent in self.workload.agents:
            agent.recipes.run_ended()
        calls = self.outcomes.lines.hints.give(self.workload.calls.history)
        for found in wing_gong.anomalies(calls, model_of):
            self.timeline = timeline.draw(call for call in calls if call.key == found.key)
            raise Violation("history", f"{found.verdict.value}: {found.key}, {found.detail}")

    def _conclude_unsettled(self) -> None:
        """One that lies may keep the others from progress for good, and from nothing else."""
        self._compare_digests()
        now, machine = self.simulator.now, self.outcomes.machine
        for key in range(self.simulator.weather.agents.keys):
            journals = machine.find(JournalQuery(f"key-{key}")).journals
            items = journals[0].items if journals else ()
            last = Read("the committed log", f"key-{key}", items, now, now, linearizable=True)
            self.workload.history.append(last)
        for anomaly in anomalies(self.workload.history):
            raise Violation("history", f"{anomaly.kind} in {anomaly.key}: {anomaly.detail}")

    # ---- what happens ------------------------------------------------------------------------

    def _start(self, host: Host) -> None:
        if host.node is not None or host.is_damaged or host.number in self._held_back:
            return
        simulator = self.simulator
        simulator.start(host)
        self.workload.host_started(host)
        # Discovery only hints, perhaps late, perhaps in vain, and more than once.
        unit = int(simulator.weather.timing.election_timeout_seconds * SECOND)
        for _ in range(3):
            simulator.after(self._hints.randint(0, 3 * unit), self._hint, host, host.life)

    def _hint(self, host: Host, life: int) -> None:
        if host.life != life or host.node is None:
            return
        random, discovery = self._hints, self.simulator.weather.discovery
        addresses = [other.address for other in self.simulator.hosts if other is not host]
        if not self._calm:
            if random.random() < discovery.lost:
                return
            if random.random() < 0.5:
                addresses = addresses[: random.randint(0, len(addresses))]
            if random.random() < discovery.forged:
                addresses += [host.address, f"10.0.9.{random.randint(1, 3)}:7000"]
                random.shuffle(addresses)
        if self.stranger is not None:
            self.stranger.hear_of(*addresses)
            addresses.append(STRANGER)
        self.simulator.ask(host, Suggest(tuple(addresses)))

    def _fault_later(self) -> None:
        simulator = self.simulator
        if self._plan is not None:
            if self._plan:
                simulator.at(max(simulator.now, self._plan[0].time), self._fault)
        elif simulator.weather.faults.kinds:
            gap = int(self._faults.expovariate(1 / simulator.weather.faults.every))
            simulator.after(gap, self._fault)

    def _fault(self) -> None:
        if self._calm:
            return
        simulator = self.simulator
        fault = self._draw_fault() if self._plan is None else self._plan.popleft().fault
        self.planned.append(Planned(simulator.now, fault))
        running = sum(host.node is not None for host in simulator.hosts)
        simulator.apply(fault, self._start)
        self.crashes += running - sum(host.node is not None for host in simulator.hosts)
        self._fault_later()

    def _draw_fault(self) -> Fault:
        faults, hosts = self.simulator.weather.faults, self.simulator.hosts
        kind = faults.kinds[self._faults.randrange(len(faults.kinds))]
        leaders = [
            host.number
            for host in hosts
            if host.node is not None and host.node.replication.leadership is not None
        ]
        leader = leaders[0] if leaders else None
        return draw_fault(self._faults, kind, faults.down, len(hosts), leader)

    def _lie(self) -> None:
        """One message of the hostile member to anybody, and soon another one."""
        simulator, hostile = self.simulator, self.hostile
        if hostile is None or self._calm:
            return
        simulator.after(self._hints.randint(1, LIES_EVERY), self._lie)
        liar = self._find_liar()
        if liar is None:
            return
        target = self._hints.choice(simulator.hosts)
        if liar.peer not in simulator.checkers.liars:
            simulator.checkers.liars.append(liar.peer)
        if liar.node is None or target.node is None or target is liar:
            return
        frame = hostile.frame(liar.node, target.node)
        if frame is not None:
            simulator.links.send(liar.number, target.number, target.address, frame)

    def _find_liar(self) -> Host | None:
        """Who lies: one that runs, and has a vote in no configuration that may be in effect. It
        stays the liar, as whatever peer it begins anew; None while that has a vote."""
        effective = self.simulator.checkers.configurations()
        voters = {voter: None for configuration in effective for voter in configuration}
        if self.liar is None and voters:
            others = (h for h in self.simulator.hosts if h.node and h.peer not in voters)
            self.liar = next(others, None)
        return None if self.liar is None or self.liar.peer in voters else self.liar

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
        here = {node.peer: None for node in nodes}
        # A voter whose folder was lost is waited for until it is replaced, if it ever is.
        if all(voter in here for voter in nodes[0].replication.voters):
            behind = [node.peer for node in nodes if node.machine.version < MACHINE_VERSION]
            if behind:
                return f"{behind} apply an earlier machine version"
        leaders = {node.peer: None for node in nodes if node.replication.leadership is not None}
        if len(leaders) != 1:
            return f"{len(leaders)} leaders"
        leader = next(iter(leaders))
        for node, host in zip(nodes, self.simulator.hosts, strict=True):
            if node.replication.leader != leader:
                return f"{host.letter} follows {node.replication.leader}"
            if node.peer == leader and (unlawful := self.preference.lacks(host)):
                return unlawful
        if not self.workload.is_idle():
            waiting = [a.host.letter for a in self.workload.agents if a.pending]
            return f"agents wait at {waiting}"
        ends = [(node.replication.commit_index, node.machine.applied_index) for node in nodes]
        last = nodes[0].replication.log.last_index
        if any(end != (last, last) for end in ends):
            return f"commit and applied indices {ends} of {last}"
        unlike = differences(node.membership for node in nodes)
        # A life that a member never had cannot be taken back (docs/guarantees.md).
        if unlike and self.hostile is None:
            return unlike
        variables = [values_of(node) for node in nodes]
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
    return judge(Trial(seed, weather, trace=trace), int(seconds * SECOND))


def replay(tape: Tape, trace: Callable[[str], None] | None = None) -> Report:
    """The run of a tape once more."""
    return judge(Trial(tape.seed, tape.weather, trace, tape.faults), tape.storm)


def record(seed: int | str, seconds: float, weather: Weather | None = None) -> Tape:
    """Run it, and write it down with what it came to."""
    trial = Trial(seed, weather)
    drawn, storm = trial.simulator.weather, int(seconds * SECOND)
    violation = judge(trial, storm).violation
    return Tape(seed, storm, drawn, tuple(trial.planned), violation or "")


def judge(trial: Trial, storm: int) -> Report:
    """Run a trial that has not begun; whatever goes wrong in it is its violation."""
    violation: str | None = None
    try:
        trial.run(storm / SECOND)
    except Violation as error:
        violation = str(error)
    except Exception as error:
        # A core must not raise, whatever it is fed: its own assertions count as violations.
        violation = f"{type(error).__name__}: {error} ({_place(error)})"
    simulator = trial.simulator
    return Report(
        seed=simulator.seed,
        violation=violation,
        steps=simulator.steps,
        seconds=simulator.now / SECOND,
        peers=len(simulator.hosts),
        leaders=len(simulator.checkers.leaders),
        committed=simulator.checkers.committed.index,
        acknowledged=trial.workload.acknowledged,
        crashes=trial.crashes,
        trace_hash=simulator.trace_hash(),
        faults=len(trial.planned),
        cuts=simulator.cuts,
        losing_cuts=simulator.losing_cuts,
        timeline=trial.timeline,
        liar_votes=trial.liar_votes,
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
