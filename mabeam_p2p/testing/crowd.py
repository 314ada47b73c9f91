"""Thousands of Membership cores alone in virtual time: what the failure detector costs and how fast
it is, as the cluster grows.

No log, no links, no disks: every core is ticked when it is due, and what it sends arrives after a
delay, or is lost. The members know each other from the start, unless a newcomer is let in.
"""

import heapq
from collections.abc import Callable
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import MembershipMessage, Message
from mabeam_p2p.protocol.core import Drops, Outbox
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.records import Member, MemberState, Standing

MILLISECOND = 0.001
STANDING = Standing(1, 1, 5, 0)
SAMPLE_EVERY = 64
"""One message in so many is encoded to know its size."""


class Conditions(Struct, frozen=True):
    """Of the network between the members. Seconds, and shares of messages."""

    delay: float = 0.5 * MILLISECOND
    jitter: float = 1.0 * MILLISECOND
    """Mean of what is added, exponentially distributed."""
    loss: float = 0.0


class Seat:
    """One member of the crowd."""

    __slots__ = ("asleep_until", "backlog", "core", "number", "outbox", "peer", "runs", "tick_at")

    def __init__(self, number: int, peer: PeerId, core: Membership, outbox: Outbox) -> None:
        self.number = number
        self.peer = peer
        self.core = core
        self.outbox = outbox
        self.runs = True
        self.tick_at = 0.0
        self.asleep_until = 0.0
        self.backlog: list[tuple[PeerId, MembershipMessage]] = []


class Crowd:
    """`count` members, of which the first `voters` ask each other all the time.

    on_change: hears of every change in what a member sees: when, who sees it, and the record.
    size_of: bytes of a message that travels alone.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int | str = 0,
        voters: int = 0,
        conditions: Conditions | None = None,
        timing: Timing | None = None,
        limits: Limits | None = None,
        size_of: Callable[[Message], int] | None = None,
        sample_every: int = SAMPLE_EVERY,
    ) -> None:
        self.now = 0.0
        self.messages = 0
        """Sent so far."""
        self.most_messages = 0
        """Sent by one member in answer to one input, at most."""
        self.conditions = conditions or Conditions()
        self.timing = timing or Timing()
        self.limits = limits or Limits(members_max=max(1_024, 2 * count))
        self.on_change: Callable[[float, Seat, Member], None] | None = None
        self._size_of = size_of
        self._sample_every = sample_every
        self._sampled = self._sampled_bytes = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._counter = 0
        self._random = Random(f"{seed}/net")
        self._seed = seed
        self.seats: list[Seat] = []
        self._by_peer: dict[PeerId, Seat] = {}
        everybody = [self._record(number) for number in range(count)]
        for number in range(count):
            self._sit_down(number, everybody)
        if voters:
            chosen = tuple(one.peer for one in everybody[:voters])
            for seat in self.seats:
                seat.core.set_voters(chosen)

    def _record(self, number: int) -> Member:
        peer = PeerId(f"{number + 1:016x}")
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:7000"
        return Member(peer, f"peer-{number}", address, 1, 1 << 16, MemberState.ALIVE)

    def _sit_down(self, number: int, known: list[Member]) -> Seat:
        """known: records of everybody whom this one knows, itself perhaps among them."""
        outbox = Outbox()
        record = self._record(number)
        core = Membership(
            record,
            timing=self.timing,
            limits=self.limits,
            random=Random(f"{self._seed}/{number}"),
            outbox=outbox,
            now=self.now,
            drop=Drops(outbox, 1).drop,
        )
        core.introduce(known)
        seat = Seat(number, record.peer, core, outbox)
        self.seats.append(seat)
        self._by_peer[record.peer] = seat
        # Nobody is in step with anybody.
        first = self.now + self._random.random() * self.timing.probe_interval_seconds
        self.at(first, self._tick, seat)
        return seat

    # ---- time --------------------------------------------------------------------------------

    def at(self, time: float, action: Callable[..., None], *arguments: object) -> None:
        self._counter += 1
        heapq.heappush(self._heap, (time, self._counter, action, arguments))

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def run_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Until the condition holds, which is looked at after every event; whether it came to hold
        in so many seconds."""
        end = self.now + seconds
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(heap)
            action(*arguments)
            if holds():
                return True
        self.now = end
        return False

    # ---- what happens ------------------------------------------------------------------------

    def crash(self, seat: Seat) -> None:
        seat.runs = False

    def leave(self, seat: Seat) -> None:
        seat.core.leave()
        self._done(seat)
        seat.runs = False

    def join(self, contact: Seat) -> Seat:
        """A newcomer that knows one member alone."""
        seat = self._sit_down(len(self.seats), [])
        self._greet(contact, seat)
        self._greet(seat, contact)
        seat.core.joined()
        return seat

    def _greet(self, seat: Seat, other: Seat) -> None:
        seat.core.met(other.core.mine, self.now)
        self._done(seat)

    def restart(self, seat: Seat, epoch: int, contact: Seat) -> None:
        """The same peer in a new life, which has forgotten everything."""
        record = replace(self._record(seat.number), epoch=epoch, incarnation=epoch << 16)
        seat.core = Membership(
            record,
            timing=self.timing,
            limits=self.limits,
            random=Random(f"{self._seed}/{seat.number}/{epoch}"),
            outbox=seat.outbox,
            now=self.now,
            drop=Drops(seat.outbox, 1).drop,
        )
        seat.runs = True
        self._greet(contact, seat)
        self._greet(seat, contact)
        self.at(self.now, self._tick, seat)

    def stall(self, seat: Seat, seconds: float) -> None:
        """It does nothing for so long; what arrives waits."""
        seat.asleep_until = max(seat.asleep_until, self.now + seconds)
        self.at(seat.asleep_until, self._wake, seat)

    def _wake(self, seat: Seat) -> None:
        if self.now < seat.asleep_until:
            return
        # Nothing says what a process looks at first when it wakes.
        if self._random.random() < 0.5:
            self._tick(seat)
        backlog, seat.backlog = seat.backlog, []
        for source, message in backlog:
            self._arrive(source, seat, message)
        self._tick(seat)

    def _tick(self, seat: Seat) -> None:
        if not seat.runs or self.now < seat.asleep_until:
            return
        seat.core.tick(STANDING, self.now)
        self._done(seat)
        due = max(seat.core.next_deadline(), self.now + MILLISECOND)
        due = min(due, self.now + self.timing.probe_interval_seconds)
        if due > seat.tick_at:
            seat.tick_at = due
            self.at(due, self._tick, seat)

    def _arrive(self, source: PeerId, seat: Seat, message: MembershipMessage) -> None:
        if not seat.runs:
            return
        if self.now < seat.asleep_until:
            seat.backlog.append((source, message))
            return
        seat.core.receive(source, message, STANDING, self.now)
        self._done(seat)

    def _done(self, seat: Seat) -> None:
        """Send what it has to say, and tell what it sees."""
        effects = seat.outbox.take()
        if effects:
            self._send(seat, [effect for effect in effects if isinstance(effect, Send)])
        changes = seat.core.changes
        if changes:
            if self.on_change is not None:
                for member in changes:
                    self.on_change(self.now, seat, member)
            changes.clear()
        seat.core.hints.clear()
        seat.core.forgotten.clear()

    def _send(self, seat: Seat, sends: list[Send]) -> None:
        random, conditions = self._random, self.conditions
        self.most_messages = max(self.most_messages, len(sends))
        for send in sends:
            self.messages += 1
            message: MembershipMessage = send.message  # type: ignore[assignment]
            if self._size_of is not None and self.messages % self._sample_every == 0:
                self._sampled += 1
                self._sampled_bytes += self._size_of(message)
            if conditions.loss and random.random() < conditions.loss:
                continue
            delay = conditions.delay + random.expovariate(1.0) * conditions.jitter
            target = self._by_peer.get(send.target)
            if target is not None:
                self.at(self.now + delay, self._arrive, seat.peer, target, message)

    # ---- facts -------------------------------------------------------------------------------

    def mean_bytes(self) -> float:
        """Of a message, by the samples."""
        return self._sampled_bytes / self._sampled if self._sampled else 0.0

    def running(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.runs]
