"""A cluster in virtual time: the Node of a real peer, with simulated lanes, disks and links.

One seed, one run: a heap of (microsecond, number, action), and a stream of randomness for each
concern, so that a draw more in one does not shift the others. Every input to a node is one step,
and every step is checked. What happens is recorded in a hash; two runs of one seed are equal
exactly when their hashes are.

It carries faults out and decides none: `weather` draws them, `trial` conducts a run.
"""

import heapq
from collections.abc import Callable
from math import ceil, inf
from random import Random
from typing import Any, assert_never

from mabeam_p2p.effects import Connect, Effects, Notify, Persist, Resolve, Send
from mabeam_p2p.events import Event
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Frame, Message
from mabeam_p2p.ports import Codec
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.requests import Request
from mabeam_p2p.testing.checkers import Checkers, CommitListener, Violation
from mabeam_p2p.testing.codec import through
from mabeam_p2p.testing.disk import Disk
from mabeam_p2p.testing.faults import Fault
from mabeam_p2p.testing.host import Host, Reply
from mabeam_p2p.testing.inspection import check_figures, check_quorum
from mabeam_p2p.testing.links import Links
from mabeam_p2p.testing.releases import Releases
from mabeam_p2p.testing.trace_hash import TraceHash
from mabeam_p2p.testing.traffic import Traffic, check_memory
from mabeam_p2p.testing.upsets import Upsets
from mabeam_p2p.testing.weather import Weather

WALL_START = 1_700_000_000.0
STEPS_AT_ONE_TIME_MAX = 10_000
IDLE_TICKS_MAX = 50
IDLE_TICK_GAP = 10
"""Ticks in a row that find nothing to do, each so soon after the last: a deadline in the past."""

Trace = Callable[[str], None]


class Simulator:
    """Hosts, links between them, and the heap. Raises Violation out of `run_until` and `step`."""

    def __init__(
        self,
        seed: int | str,
        weather: Weather,
        codec: Codec,
        listeners: tuple[CommitListener, ...] = (),
        trace: Trace | None = None,
    ) -> None:
        self.seed = seed
        self.weather = weather
        self.codec = codec
        self.releases = Releases(self)
        self.checkers = Checkers((*listeners, self.releases))
        self.traffic = Traffic(weather.peers, weather.timing, weather.limits)
        self.now = 0
        self.cuts = 0
        """How often a process has ended with its power."""
        self.losing_cuts = 0
        """How often something was not on its disk yet, and was lost."""
        self.most_held = 0
        """Bytes that waited in one peer's queues, at most."""
        self.on_send: Callable[[Host, PeerId, Message], None] | None = None
        self.on_event: Callable[[Host, Event], None] | None = None
        self._trace = trace
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._counter = 0
        self._token = 0
        self._disk_random = self.stream("disk")
        self.process = self.stream("process")
        self._happened = TraceHash()
        count = weather.peers
        self.links = Links(count, weather.network, self.stream("net"), self, self.deliver)
        spread = weather.processes.clock_spread
        # A has the lowest id, so that it coordinates and, all else equal, leads.
        ids = sorted(f"{self.process.getrandbits(64):016x}" for _ in range(count))
        rates = [1 + self.process.uniform(-spread, spread) for _ in range(count)]
        self.hosts = [
            Host(number, PeerId(ids[number]), f"10.0.0.{number + 1}:7000", rates[number])
            for number in range(count)
        ]
        for host in self.hosts:
            host.disk.history = self.checkers.committed.log
        self._listening: dict[str, Host] = {}
        self.endpoints: dict[str, Callable[[Frame], None]] = {}
        """Who else listens, and at which address: no peers of this cluster."""
        self._by_peer = {host.peer: host for host in self.hosts}
        self.upsets = Upsets(self)
        self.releases.begin()

    # ---- time --------------------------------------------------------------------------------

    def stream(self, concern: str) -> Random:
        """Randomness for one concern, which no other's draws can shift."""
        return self.stream_of(self.seed, concern)

    @staticmethod
    def stream_of(seed: int | str, concern: str) -> Random:
        return Random(f"{seed}/{concern}")

    def at(self, time: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` at `time`, behind everything that was put there before."""
        self._counter += 1
        heapq.heappush(self._heap, (time, self._counter, action, arguments))

    def after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        self._counter += 1
        heapq.heappush(self._heap, (self.now + delay, self._counter, action, arguments))

    def run_until(self, time: int) -> None:
        """Let everything happen that is due by `time`."""
        heap = self._heap
        at_once = 0
        while heap and heap[0][0] <= time:
            moment, _, action, arguments = heapq.heappop(heap)
            if moment != self.now:
                at_once = 0
                self.now = moment
            at_once += 1
            if at_once > STEPS_AT_ONE_TIME_MAX:
                raise Violation("I16", f"time stands still at {moment}")
            action(*arguments)
        self.now = time

    @property
    def steps(self) -> int:
        return self._happened.steps

    def trace_hash(self) -> str:
        """Of everything that has happened, and of the log that it came to."""
        return self._happened.digest(self.checkers.committed.log)

    # ---- processes ---------------------------------------------------------------------------

    def start(self, host: Host, suggestions: tuple[str, ...] = ()) -> None:
        """Begin a process on what the disk holds."""
        assert host.node is None, "runs already"
        if host.life and self.weather.processes.moves:
            host.address = f"10.0.0.{host.number + 1}:{7000 + host.life}"
        host.begin(self.now)
        host.clock_offset = self.process.uniform(0, 1e5) - self.now * 1e-6 * host.clock_rate
        wrong = self.weather.processes.wall_spread
        wall = WALL_START + self.now * 1e-6 + self.process.uniform(-wrong, wrong)
        host.ghost = self.checkers.started(host.peer, host.disk)
        now = host.local(self.now)
        config = host.config(self.weather, suggestions)
        host.node = Node(
            config,
            host.disk.recover(host.peer),
            host.address,
            self.codec,
            self.stream(f"node/{host.number}/{host.life}"),
            wall,
            now,
            self.releases.able(host, config),
        )
        self._listening[host.address] = host
        if self._trace:
            self._say(host, f"starts, epoch {host.disk.epoch}")
        self._input(host, 0, host.node.start(now))

    def move(self, host: Host, address: str) -> None:
        """A peer that runs is reached at another address from now on."""
        assert host.node is not None, "nobody there"
        self._listening[address] = self._listening.pop(host.address)
        host.address = address
        self._input(host, 0, host.node.moved(address, host.local(self.now)))

    def crash(self, host: Host) -> None:
        """The process ends between two inputs; the disk keeps what it can."""
        if host.node is None:
            return
        host.node = None
        host.backlog.clear()
        host.late_requests.clear()
        host.paused_until = 0
        host.life += 1
        if self._listening.get(host.address) is host:
            del self._listening[host.address]
        pending = len(host.disk.pending)
        survivors = host.disk.crash(self._disk_random)
        self.cuts += 1
        self.losing_cuts += survivors < pending
        if self._trace:
            self._say(host, f"crashes; {survivors} unsynced records survive")

    def wipe(self, host: Host) -> None:
        """The folder of a peer that does not run is lost, and its identity with it."""
        assert host.node is None, "a folder in use"
        # The old one's ghost keeps its disk as it was: what it acknowledged was true.
        host.peer = PeerId(f"{self.process.getrandbits(64):016x}")
        host.identities += 1
        host.disk = Disk()
        host.disk.history = self.checkers.committed.log
        self._by_peer[host.peer] = host
        if self._trace:
            self._trace(f"{self.now / 1e6:11.6f} {host.letter} is {host.peer} now")

    def ask(self, host: Host, request: Request, reply: Reply | None = None) -> int:
        """Put a request to a running peer; `reply` is called at most once. Returns its token."""
        assert host.node is not None, "nobody there"
        token = 0
        if reply is not None:
            self._token += 1
            token = self._token
            host.waiting[token] = reply
        if self._trace:
            self._say(host, f"is asked {token}: {request}")
        host.idle_ticks = 0
        if self.now < host.paused_until:
            host.late_requests.append((token, request))
        else:
            self.put(host, token, request)
        return token

    def put(self, host: Host, token: int, request: Request) -> None:
        """Let the node have a request now."""
        assert host.node is not None, "a request to nobody"
        self._input(host, 1, host.node.request(token, request, host.local(self.now)))

    # ---- faults ------------------------------------------------------------------------------

    def apply(self, fault: Fault, restart: Callable[[Host], None]) -> None:
        """Carry a fault out; `restart` is called when a peer that has ended is to start again."""
        if self._trace:
            self._trace(f"{self.now / 1e6:11.6f}   {fault}")
        self.upsets.apply(fault, restart)

    def heal(self, weather: Weather) -> None:
        """End every fault of links and processes that runs; go on in other weather."""
        self.weather = weather
        self.links.network = weather.network
        self.links.heal()
        self.upsets.heal()

    # ---- turns -------------------------------------------------------------------------------

    def _input(self, host: Host, kind: int, effects: Effects) -> None:
        """The effects of one input; the turn ends at once, or waits for more inputs."""
        self._happened.step(self.now, host.number, kind, len(effects))
        if effects:
            self._execute(host, effects)
        host.inputs += 1
        processes = self.weather.processes
        if host.inputs >= processes.turn_inputs:
            self._end_turn(host)
        elif host.inputs == 1:
            self.after(processes.turn, self._end_late, host, host.life)

    def _end_late(self, host: Host, life: int) -> None:
        if host.life != life or not host.inputs:
            return
        if self.now < host.paused_until:
            host.late_deeds.append((self._end_late, (host, life)))
        else:
            self._end_turn(host)

    def _end_turn(self, host: Host) -> None:
        node = host.node
        assert node is not None, "a turn without a process"
        host.inputs = 0
        self._execute(host, node.flush(host.local(self.now)))
        if host.outgoing:
            self._ship(host)
        check_figures(self.checkers, host, node)
        self.schedule_tick(host)

    def schedule_tick(self, host: Host) -> None:
        """Look again when its node wants the next tick."""
        node = host.node
        assert node is not None, "time without a process"
        deadline = node.next_deadline()
        if deadline == inf:
            return
        deadline = max(deadline, host.clock_offset)  # What is due since ever is due now.
        seconds = (deadline - host.clock_offset) / host.clock_rate
        due = max(ceil(seconds * 1_000_000), self.now + 1) if seconds > 0 else self.now + 1
        if due < host.tick_at:
            host.tick_at = float(due)
            self.at(due, self._tick_due, host, host.life, due)

    def _tick_due(self, host: Host, life: int, due: int) -> None:
        if host.life != life or host.tick_at != due:
            return
        host.tick_at = inf
        if self.now < host.paused_until:
            return
        node = host.node
        assert node is not None, "a tick without a process"
        if node.next_deadline() <= host.local(self.now):
            self.tick(host)
            if self.now < host.slow_until:
                self.upsets.pause(host, host.slow_cost)
        else:
            self.schedule_tick(host)

    def tick(self, host: Host) -> None:
        node = host.node
        assert node is not None, "a tick without a process"
        if self._trace:
            self._say(host, "ticks")
        effects = node.tick(host.local(self.now))
        self.most_held = max(self.most_held, check_memory(node, self.weather.limits))
        if node.replication.leadership is not None:
            check_quorum(host, node, self.now, self.weather.timing.election_timeout_seconds)
        soon = self.now - host.ticked_at <= IDLE_TICK_GAP + self.weather.processes.turn
        host.ticked_at = self.now
        host.idle_ticks = 0 if effects or not soon else host.idle_ticks + (not host.inputs)
        if host.idle_ticks > IDLE_TICKS_MAX:
            raise Violation("I16", f"{host.peer} spins: {node.next_deadline()} is past")
        self._input(host, 2, effects)

    # ---- the lane ----------------------------------------------------------------------------

    def _execute(self, host: Host, effects: Effects) -> None:
        """In order, but what waits for a Persist holds no other back, and answers come last: what
        they rest on is judged by all that was written."""
        durable = host.durable
        answers: list[Resolve] = []
        for effect in effects:
            if isinstance(effect, Persist):
                self._write(host, effect)
            elif isinstance(effect, Connect):
                self._connect(host, effect)
            elif effect.after > durable:
                host.held.append(effect)
            elif isinstance(effect, Send):
                self._queue(host, effect)
            elif isinstance(effect, Resolve):
                answers.append(effect)
            else:
                self._perform(host, effect)
        for answer in answers:
            self._perform(host, answer)

    def _perform(self, host: Host, effect: Notify | Resolve) -> None:
        match effect:
            case Resolve():
                if self._trace:
                    self._say(host, f"answers {effect.token}: {effect.answer}")
                reply = host.waiting.pop(effect.token, None)
                if host.node is not None:  # What it rests on.
                    check_figures(self.checkers, host, host.node)
                if reply is None:
                    raise Violation("answers", f"{host.peer} answers {effect} twice or to nobody")
                reply(effect.answer)
            case Notify():
                if self._trace:
                    self._say(host, f"tells {effect.event}")
                self.releases.told(host, effect.event)
                if self.on_event is not None:
                    self.on_event(host, effect.event)
            case _:
                assert_never(effect)

    def _queue(self, host: Host, effect: Send) -> None:
        waiting = host.outgoing.get(effect.target)
        if waiting is None:
            host.outgoing[effect.target] = [effect.message]
        else:
            waiting.append(effect.message)

    def _connect(self, host: Host, effect: Connect) -> None:
        if self._trace:
            self._say(host, f"connects {self._name(effect.target)} at {effect.address}")
        if effect.address is None:
            host.links.pop(effect.target, None)
        else:
            host.links[effect.target] = effect.address

    def _write(self, host: Host, effect: Persist) -> None:
        if effect.number != host.written + 1:
            raise Violation("I3", f"{host.peer} numbers {effect} behind {host.written}")
        host.written = effect.number
        if self._trace:
            self._say(host, f"writes {effect.number}: {effect.record}")
        self.checkers.persisted(host.ghost, effect.record)
        if host.full_for and not self.upsets.has_room(host):
            return
        host.disk.write(effect.record)
        if not host.syncing:
            self._sync(host)

    def _sync(self, host: Host) -> None:
        """One fsync for everything that is written by now."""
        host.syncing = True
        storage = self.weather.storage
        random = self._disk_random
        delay = storage.sync + int(random.random() * storage.jitter)
        if storage.slow_chance and random.random() < storage.slow_chance:
            delay += random.randint(0, storage.slow)
        # What is written later in this very turn still joins: it was one call to the storage.
        self.after(0, self._begin_sync, host, host.life, delay)

    def _begin_sync(self, host: Host, life: int, delay: int) -> None:
        if host.life == life:
            self.after(delay, self._synced, host, life, host.written)

    def _synced(self, host: Host, life: int, number: int) -> None:
        if host.life != life:
            return
        if self.now < host.paused_until:
            host.late_deeds.append((self._synced, (host, life, number)))
            return
        if host.fails_for:
            self.upsets.sync_failed(host)
            return
        node = host.node
        assert node is not None, "a disk answers nobody"
        host.disk.sync(number - host.durable)
        self.checkers.synced(host.ghost)
        host.durable = number
        if self._trace:
            self._say(host, f"has {number} on disk")
        host.syncing = False
        if host.written > number:
            self._sync(host)
        if host.held:
            held = host.held
            host.held = []
            # Nothing can be held anew here: effects are performed, and no core is called.
            self._execute(host, tuple(held))
        self._input(host, 3, node.stored(number, host.local(self.now)))

    # ---- links -------------------------------------------------------------------------------

    def _ship(self, host: Host) -> None:
        """One frame to each peer that has messages waiting: the moment at which they leave."""
        node = host.node
        assert node is not None, "a frame without a process"
        outgoing, host.outgoing = host.outgoing, {}
        sent, talks = self.checkers.sent, self.traffic.sent
        limit = self.weather.limits.frame_messages_max
        for target, messages in outgoing.items():
            for message in messages:
                sent(host.ghost, target, message)
                talks(host.peer, message, self.now)
                if self.on_send is not None:
                    self.on_send(host, target, message)
            address = host.links.get(target)
            listener = self._listening.get(address) if address is not None else None
            if address is None:
                continue
            for first in range(0, len(messages), limit):
                frame = node.frame(target, tuple(messages[first : first + limit]))
                if self._trace:
                    self._say_frame(host, target, frame)
                if self.weather.codec:
                    frame = through(self.codec, host.peer, frame, self.weather.limits)
                if listener is not None:
                    self.links.send(host.number, listener.number, address, frame)
                elif address in self.endpoints:
                    self.after(self.weather.network.delay, self.deliver, address, frame)

    def deliver(self, address: str, frame: Frame) -> None:
        """A frame arrives at whoever listens there by now."""
        host = self._listening.get(address)
        if host is None:
            if address in self.endpoints:
                self.endpoints[address](frame)
            return
        if (read := self.releases.heard(host, frame)) is None:
            return
        if self.now < host.paused_until:
            host.backlog.append(read)
        else:
            self.receive(host, read)
            if self.now < host.slow_until:
                self.upsets.pause(host, host.slow_cost)

    def receive(self, host: Host, frame: Frame) -> None:
        node = host.node
        assert node is not None, "a frame for nobody"
        if self._trace:
            self._say(host, f"receives {self._name(frame.source)} #{frame.sequence}")
        host.idle_ticks = 0
        host.heard[frame.source] = self.now
        self._input(host, 4, node.receive(frame, host.local(self.now)))

    # ---- words -------------------------------------------------------------------------------

    def _name(self, peer: PeerId) -> str:
        return self._by_peer[peer].letter if peer in self._by_peer else peer

    def _say(self, host: Host, text: str) -> None:
        assert self._trace is not None, "nobody listens"
        for peer, other in self._by_peer.items():
            text = text.replace(peer, other.letter)
        self._trace(f"{self.now / 1e6:11.6f} {host.letter} {text}")

    def _say_frame(self, host: Host, target: PeerId, frame: Frame) -> None:
        for message in frame.messages:
            self._say(host, f"sends {self._name(target)} #{frame.sequence} {message}")
