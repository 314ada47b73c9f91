"""Drills: runs of a cluster with a purpose of their own, that end with a figure.

How long after a partition everybody can write again; how often leadership moves while nothing is
wrong, or while one peer flaps; whether peers that start together form one cluster. Nodes, disks,
links and checkers are those of the simulator, and every invariant is judged at every step.
"""

from collections.abc import Callable
from functools import partial
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, AppendJournal, OpenSession
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.requests import Answer, Committed, Failed, Submit, Suggest
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.codec import RememberingCodec
from mabeam_p2p.testing.faults import (
    CLOG,
    CRASH,
    HALVES,
    ISOLATE,
    ONE_WAY,
    PAUSE,
    SHAPES,
    Cut,
    Fault,
    Flap,
    between,
    draw_fault,
)
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.outcomes import Outcomes
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.weather import SECOND, Network, Storage, Weather, fair
from mabeam_p2p.wire.codec import CborCodec

AGAIN = 20_000
"""Pause of a writer that was told to come again."""
BOUND_SECONDS = 60
BOOT_KINDS = (CRASH, PAUSE, CLOG, HALVES, ISOLATE, ONE_WAY)


class Writer:
    """A client of one peer that appends all the time, one item after the other."""

    def __init__(self, drill: "Drill", host: Host, think: int) -> None:
        self.host = host
        self.done_at = 0
        """When its last write was acknowledged, by virtual time."""
        self._drill = drill
        self._think = think
        self._session = SessionId(0)
        self._sequence = 0

    def begin(self) -> None:
        """Its process has started, or its session has ended."""
        self._session = SessionId(self._drill.random.getrandbits(50) + 1)
        self._sequence = 0
        if self.host.node is None:
            return
        opening = OpenSession(
            self._session,
            self._number(),
            agent=AgentId(f"writer@peer-{self.host.letter.lower()}"),
            peer=self.host.peer,
            epoch=self.host.disk.epoch,
            groups=(),
            participates=True,
            eligible=True,
        )
        self._submit(self.host.life, opening)

    def _number(self) -> int:
        self._sequence += 1
        return self._sequence

    def _submit(self, life: int, command: AnyCommand) -> None:
        if self.host.life != life or self.host.node is None:
            return
        simulator = self._drill.simulator

        def answered(answer: Answer) -> None:
            if isinstance(answer, Failed):
                simulator.after(AGAIN, self._submit, life, command)
            elif isinstance(answer, Committed):
                self.done_at = simulator.now
                simulator.after(self._think, self._submit, life, self._append())
            else:
                simulator.after(AGAIN, self.begin)

        simulator.ask(self.host, Submit(command, 1.0), answered)

    def _append(self) -> AppendJournal:
        return AppendJournal(self._session, self._number(), f"of {self.host.letter}", b"\x01")


class Drill:
    """A cluster of peers that all start at once, and know each other's addresses."""

    def __init__(self, seed: int | str, weather: Weather, think: int = 20_000) -> None:
        """think: microseconds between two writes of one peer; 0: nobody writes."""
        codec = RememberingCodec(CborCodec(weather.limits))
        self.simulator = Simulator(seed, weather, codec, (Outcomes(codec, weather.limits),))
        self.random: Random = self.simulator.stream("drill")
        self.hosts = self.simulator.hosts
        self.writers = [Writer(self, host, think) for host in self.hosts] if think else []

    def start(self, host: Host) -> None:
        if host.node is not None:
            return
        self.simulator.start(host)
        self.hint(host)
        if self.writers:
            self.writers[host.number].begin()

    def hint(self, host: Host) -> None:
        """What discovery would say."""
        if host.node is not None:
            others = tuple(other.address for other in self.hosts if other is not host)
            self.simulator.ask(host, Suggest(others))

    def run(self, seconds: float) -> None:
        self.simulator.run_until(self.simulator.now + int(seconds * SECOND))

    def until(self, condition: Callable[[], bool], what: str) -> float:
        """Run until it holds; returns after how many seconds, to the hundredth."""
        began = self.simulator.now
        while not condition():
            if self.simulator.now - began >= BOUND_SECONDS * SECOND:
                raise Violation("liveness", f"not within {BOUND_SECONDS} s: {what}")
            self.run(0.01)
        return (self.simulator.now - began) / SECOND

    def formed(self) -> None:
        """Start everybody, and wait for a leader that all follow."""
        for host in self.hosts:
            self.start(host)
        self.until(self.has_leader, "a leader that all follow")

    def has_leader(self) -> bool:
        """One that everybody follows."""
        nodes = [host.node for host in self.hosts if host.node is not None]
        leading = [node.peer for node in nodes if node.replication.leadership is not None]
        return len(leading) == 1 and all(node.replication.leader == leading[0] for node in nodes)

    def leader(self) -> int | None:
        """The number of a host that leads."""
        for host in self.hosts:
            if host.node is not None and host.node.replication.leadership is not None:
                return host.number
        return None

    @property
    def terms_led(self) -> int:
        """Terms that had a leader, so far."""
        return len(self.simulator.checkers.leaders)


# ---- partitions that heal --------------------------------------------------------------------


class Heal(Struct, frozen=True):
    """One partition. Seconds from its end to an acknowledged write."""

    shape: str
    first: float
    """Of any peer."""
    all: float
    """Of every peer, its writer's session found again or begun anew."""


def heals(seed: int | str, peers: int = 5) -> list[Heal]:
    """Every shape of partition once, in a cluster with the timing of peers that were not told
    otherwise."""
    drill = Drill(f"heals {seed}", fair(peers), think=SECOND // 20)
    drill.formed()
    drill.run(3)
    found = []
    for shape in SHAPES:
        duration = drill.random.randint(SECOND // 2, 8 * SECOND)
        fault = draw_fault(drill.random, shape, SECOND, peers, drill.leader())
        drill.simulator.apply(_lasting(fault, duration), drill.start)
        drill.run(duration / SECOND)
        drill.simulator.heal(drill.simulator.weather)
        healed = drill.simulator.now
        first = drill.until(partial(_have_written, drill, healed, 1), f"a write behind {shape}")
        rest = drill.until(partial(_have_written, drill, healed, peers), f"all behind {shape}")
        found.append(Heal(shape, first, first + rest))
        drill.run(drill.random.uniform(0.5, 4))
    return found


def _lasting(fault: Fault, duration: int) -> Fault:
    if isinstance(fault, Flap):
        return replace(fault, duration=max(1, duration // (2 * fault.times)))
    assert isinstance(fault, Cut), "a partition cuts"
    return replace(fault, duration=duration)


def _have_written(drill: Drill, since: int, count: int) -> bool:
    """Whether the writers of so many peers were acknowledged something since then."""
    return sum(writer.done_at > since for writer in drill.writers) >= count


# ---- leaders that stay -----------------------------------------------------------------------


def healthy(seed: int | str, hours: float, peers: int = 5) -> int:
    """How often leadership moved while nothing was wrong: delays and disks are those of a quiet
    network, with tails."""
    weather = replace(
        fair(peers),
        network=Network(delay=500, jitter=500, slow_chance=0.001, slow=50_000),
        storage=Storage(sync=1_000, jitter=2_000, slow_chance=0.001, slow=50_000),
    )
    drill = Drill(f"healthy {seed}", weather, think=SECOND)
    drill.formed()
    drill.run(5)
    before = drill.terms_led
    drill.run(hours * 3_600)
    return drill.terms_led - before


class Flapped(Struct, frozen=True):
    """One peer's links, cut and healed again and again."""

    heals: int
    changes: int
    most: int
    """Changes of leader between two heals."""


def flapping(seed: int | str, hours: float, peers: int = 5) -> Flapped:
    """One peer, whoever it is, loses all links for a while, and has them for a while."""
    drill = Drill(f"flapping {seed}", fair(peers), think=SECOND)
    drill.formed()
    drill.run(5)
    began, end = drill.terms_led, drill.simulator.now + int(hours * 3_600 * SECOND)
    victim = drill.random.randrange(peers)
    others = tuple(number for number in range(peers) if number != victim)
    count = most = 0
    while drill.simulator.now < end:
        before = drill.terms_led
        down = drill.random.randint(SECOND // 10, 6 * SECOND)
        drill.simulator.apply(Cut(between((victim,), others), down), drill.start)
        drill.run(down / SECOND + drill.random.uniform(0.1, 6))
        count += 1
        most = max(most, drill.terms_led - before)
    return Flapped(count, drill.terms_led - began, most)


# ---- peers that start together ---------------------------------------------------------------


class Boot(Struct, frozen=True):
    """Peers that started within two seconds, under loss and partitions."""

    peers: int
    seconds: float
    """From the end of what was wrong to a leader that all follow."""


def boot(seed: int | str) -> Boot:
    """Raises Violation where they form two clusters (I11), or none."""
    random = Simulator.stream_of(f"boot {seed}", "weather")
    peers = random.randint(3, 7)
    weather = replace(
        fair(peers),
        expect=peers if random.random() < 0.7 else random.randint(peers // 2 + 1, peers),
        network=Network(
            delay=random.choice((500, 5_000, 50_000)),
            jitter=random.choice((100, 20_000)),
            loss=random.choice((0.0, 0.1, 0.3)),
            duplicate=random.choice((0.0, 0.3)),
            late=10 * SECOND,
        ),
    )
    drill = Drill(f"boot {seed}", weather, think=0)
    simulator = drill.simulator
    for host in drill.hosts:
        simulator.after(random.randint(0, 2 * SECOND), drill.start, host)
    for _ in range(random.randint(0, 6)):
        fault = draw_fault(random, random.choice(BOOT_KINDS), SECOND, peers, None)
        simulator.after(random.randint(0, 5 * SECOND), simulator.apply, fault, drill.start)
    drill.run(random.uniform(3, 8))
    simulator.heal(replace(weather, network=fair(peers).network))
    for host in drill.hosts:
        drill.start(host)
        drill.hint(host)
    seconds = drill.until(drill.has_leader, "one cluster of all")
    drill.run(1)
    ids = {host.node.links.cluster_id for host in drill.hosts if host.node is not None}
    if len(ids) != 1:
        raise Violation("I11", f"peers of {len(ids)} clusters")
    return Boot(peers, seconds)
