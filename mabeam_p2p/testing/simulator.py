"""A cluster in virtual time: the Node of a real peer, with simulated lanes, disks and links.

One seed, one run: a heap of (microsecond, number, action), and a stream of randomness for each
concern, so that a draw more in one does not shift the others. Every input to a node is one step,
and every step is checked. What happens is recorded in a hash; two runs of one seed are equal
exactly when their hashes are.

It carries faults out and decides none: `weather` draws them, `trial` conducts a run.
"""

import heapq
from collections.abc import Callable
from hashlib import sha256
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
from mabeam_p2p.testing.host import Host, Reply
from mabeam_p2p.testing.inspection import check_figures, check_quorum
from mabeam_p2p.testing.links import Links
from mabeam_p2p.testing.weather import Clog, Crash, Cut, Fault, Pause, Reset, Weather

WALL_START = 1_700_000_000.0
TAPE_LENGTH = 4_096
STEPS_AT_ONE_TIME_MAX = 10_000
IDLE_TICKS_MAX = 50
IDLE_TICK_GAP = 10
"""Ticks in a row that find nothing to do, each so soon after the last: a deadline that lies in the
past for good."""

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
        self.checkers = Checkers(listeners)
        self.now = 0
        self.steps = 0
        self.on_send: Callable[[Host, PeerId, Message], None] | None = None
        self.on_event: Callable[[Host, Event], None] | None = None
        self._trace = trace
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._counter = 0
        self._token = 0
        self._disk_random = self.stream("disk")
        self._process = self.stream("process")
        self._tape: list[int] = []
        self._hash = sha256()
        count = weather.peers
        self.links = Links(count, weather.network, self.stream("net"), self, self._deliver)
        spread = weather.processes.clock_spread
        # A has the lowest id, so that it coordinates and, all else equal, leads.
        ids = sorted(f"{self._process.getrandbits(64):016x}" for _ in range(count))
        rates = [1 + self._process.uniform(-spread, spread) for _ in range(count)]
        self.hosts = [
            Host(number, PeerId(ids[number]), f"10.0.0.{number + 1}:7000", rates[number])
            for number in range(count)
        ]
        self._listening: dict[str, Host] = {}
        self._by_peer = {host.peer: host for host in self.hosts}

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
        self.at(self.now + delay, action, *arguments)

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

    def trace_hash(self) -> str:
        """Of everything that has happened."""
        self._fold()
        return self._hash.hexdigest()[:16]

    def _record(self, host: Host, kind: int, size: int) -> None:
        self.steps += 1
        self._tape += (self.now, host.number, kind, size)
        if len(self._tape) >= TAPE_LENGTH:
            self._fold()

    def _fold(self) -> None:
        self._hash.update(repr(self._tape).encode())
        self._tape.clear()

    # ---- processes ---------------------------------------------------------------------------

    def start(self, host: Host, suggestions: tuple[str, ...] = ()) -> None:
        """Begin a process on what the disk holds."""
        assert host.node is None, "runs already"
        if host.life and self.weather.processes.moves:
            host.address = f"10.0.0.{host.number + 1}:{7000 + host.life}"
        host.begin(self.now)
        host.clock_offset = self._process.uniform(0, 1e5) - self.now * 1e-6 * host.clock_rate
        wall = WALL_START + self.now * 1e-6 + self._process.uniform(-1, 1)
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
        )
        self._listening[host.address] = host
        if self._trace:
            self._say(host, f"starts, epoch {host.disk.epoch}")
        self._input(host, 0, host.node.start(now))

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
        survivors = host.disk.crash(self._disk_random)
        if self._trace:
            self._say(host, f"crashes; {survivors} unsynced records survive")

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
            self._input(host, 1, host.node.request(token, request, host.local(self.now)))
        return token

    # ---- faults ------------------------------------------------------------------------------

    def apply(self, fault: Fault, restart: Callable[[Host], None]) -> None:
        """Carry a fault out; `restart` is called when a crashed peer is to start again."""
        if self._trace:
            self._trace(f"{self.now / 1e6:11.6f}   {fault}")
        match fault:
            case Crash():
                for number, down in zip(fault.peers, fault.down, strict=True):
                    self.crash(self.hosts[number])
                    self.after(down, restart, self.hosts[number])
            case Pause():
                self._pause(self.hosts[fault.peer], fault.duration)
            case Cut():
                self.links.cut(fault.links)
                self.after(fault.duration, self.links.mend, fault.links)
            case Clog():
                self.links.clog(fault.links)
                self.after(fault.duration, self.links.unclog, fault.links)
            case Reset():
                self.links.reset(fault.links)
            case _:
                assert_never(fault)

    def heal(self, weather: Weather) -> None:
        """End every fault of links and processes that runs; go on in other weather."""
        self.weather = weather
        self.links.network = weather.network
        self.links.heal()
        for host in self.hosts:
            if host.paused_until > self.now:
                host.paused_until = self.now
                self._resume(host, host.life)

    def _pause(self, host: Host, duration: int) -> None:
        if host.node is not None and host.paused_until <= self.now:
            host.paused_until = self.now + duration
            self.at(host.paused_until, self._resume, host, host.life)

    def _resume(self, host: Host, life: int) -> None:
        if host.life != life or host.node is None or host.paused_until > self.now:
            return
        # Everything is due at once, and nothing says what the process looks at first.
        frames, requests = host.backlog, host.late_requests
        host.backlog, host.late_requests = [], []
        requests_first = self._process.random() < 0.5
        if requests_first:
            self._ask_late(host, requests)
        if self._process.random() < 0.5:
            self._tick(host)
        for frame in frames:
            self._receive(host, frame)
        if not requests_first:
            self._ask_late(host, requests)
        self._schedule_tick(host)

    def _ask_late(self, host: Host, requests: list[tuple[int, Request]]) -> None:
        node = host.node
        assert node is not None, "a request to nobody"
        for token, request in requests:
            self._input(host, 1, node.request(token, request, host.local(self.now)))

    # ---- turns -------------------------------------------------------------------------------

    def _input(self, host: Host, kind: int, effects: Effects) -> None:
        """The effects of one input; the turn ends at once, or waits for more inputs."""
        self._record(host, kind, len(effects))
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
            self.at(host.paused_until, self._end_late, host, life)
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
        self._schedule_tick(host)

    def _schedule_tick(self, host: Host) -> None:
        node = host.node
        assert node is not None, "time without a process"
        deadline = node.next_deadline()
        if deadline == inf:
            return
        seconds = (deadline - host.clock_offset) / host.clock_rate
        due = max(ceil(seconds * 1_000_000), self.now + 1)
        if due < host.tick_at:
            host.tick_at = due
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
            self._tick(host)
        else:
            self._schedule_tick(host)

    def _tick(self, host: Host) -> None:
        node = host.node
        assert node is not None, "a tick without a process"
        if self._trace:
            self._say(host, "ticks")
        effects = node.tick(host.local(self.now))
        if node.replication.leadership is not None:
            check_quorum(host, node, self.now, self.weather.timing.election_timeout_seconds)
        soon = self.now - host.ticked_at <= IDLE_TICK_GAP + self.weather.processes.turn
        host.ticked_at = self.now
        host.idle_ticks = 0 if effects or not soon else host.idle_ticks + 1
        if host.idle_ticks > IDLE_TICKS_MAX:
            raise Violation("I16", f"{host.peer} spins: {node.next_deadline()} is past")
        self._input(host, 2, effects)

    # ---- the lane ----------------------------------------------------------------------------

    def _execute(self, host: Host, effects: Effects) -> None:
        """In order; an effect that waits for a Persist does not hold others back."""
        durable = host.durable
        for effect in effects:
            if isinstance(effect, Send):
                if effect.after <= durable:
                    self._queue(host, effect)
                else:
                    host.held.append(effect)
            elif isinstance(effect, Persist):
                self._write(host, effect)
            elif isinstance(effect, Connect):
                self._connect(host, effect)
            elif effect.after <= durable:
                self._perform(host, effect)
            else:
                host.held.append(effect)

    def _perform(self, host: Host, effect: Send | Notify | Resolve) -> None:
        match effect:
            case Send():
                self._queue(host, effect)
            case Resolve():
                if self._trace:
                    self._say(host, f"answers {effect.token}: {effect.answer}")
                reply = host.waiting.pop(effect.token, None)
                if host.node is not None:
                    check_figures(
                        self.checkers, host, host.node
                    )  # What the answer rests on comes first.
                if reply is None:
                    raise Violation("answers", f"{host.peer} answers {effect} twice or to nobody")
                reply(effect.answer)
            case Notify():
                if self._trace:
                    self._say(host, f"tells {effect.event}")
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
            self.at(host.paused_until, self._synced, host, life, number)
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
        outgoing = host.outgoing
        host.outgoing = {}
        sent = self.checkers.sent
        limit = self.weather.limits.frame_messages_max
        for target, messages in outgoing.items():
            for message in messages:
                sent(host.ghost, target, message)
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
                    frame = self._through_codec(frame)
                if listener is not None:
                    self.links.send(host.number, listener.number, address, frame)

    def _through_codec(self, frame: Frame) -> Frame:
        decoded = self.codec.decode_frame(self.codec.encode_frame(frame))
        if decoded != frame:
            raise Violation("codec", f"{frame} comes back as {decoded}")
        return decoded

    def _deliver(self, address: str, frame: Frame) -> None:
        host = self._listening.get(address)
        if host is None:
            return
        if self.now < host.paused_until:
            host.backlog.append(frame)
        else:
            self._receive(host, frame)

    def _receive(self, host: Host, frame: Frame) -> None:
        node = host.node
        assert node is not None, "a frame for nobody"
        if self._trace:
            self._say(host, f"receives {self._name(frame.source)} #{frame.sequence}")
        host.idle_ticks = 0
        host.heard[frame.source] = self.now
        self._input(host, 4, node.receive(frame, host.local(self.now)))

    # ---- words -------------------------------------------------------------------------------

    def _name(self, peer: PeerId) -> str:
        host = self._by_peer.get(peer)
        return host.letter if host is not None else peer

    def _say(self, host: Host, text: str) -> None:
        assert self._trace is not None, "nobody listens"
        for other in self.hosts:
            text = text.replace(other.peer, other.letter)
        self._trace(f"{self.now / 1e6:11.6f} {host.letter} {text}")

    def _say_frame(self, host: Host, target: PeerId, frame: Frame) -> None:
        for message in frame.messages:
            self._say(host, f"sends {self._name(target)} #{frame.sequence} {message}")
