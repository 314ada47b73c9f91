"""Barriers: a set of agents meets, generation after generation.

1. A generation begins with its first arrival, which sets parties, timeout and what becomes of it
   when somebody departs; an arrival that asks for something else is refused while it runs.
2. Arrivals are a set of agents: arriving twice counts once.
3. It ends once, at one index, for everybody alike: RELEASED at the arrival that makes as many
   as there are parties; BROKEN past the deadline, which counts from the first arrival; or BROKEN
   by a departure.
4. A session that ends takes its agent's arrival with it. Of a generation that its agent has
   arrived at, it makes, by `on_departure`:
   BREAK   the end: `departed: AGENT`;
   SHRINK  a generation of one party less: the rest need not wait for it. If it comes back it is
           a party again, so that it never stands in for one that is missing;
   WAIT    one arrival less: the agent, or another in its place, is waited for.
   Neither of the latter releases by itself. Who has not arrived is not known as a party, and its
   departure changes nothing.
5. An arrival that names a generation never begins one: the running one takes it, a finished one
   that is remembered answers with its number, any other is unknown.
"""

from collections import OrderedDict

from msgspec import Struct

from mabeam_p2p.commands import Arrive
from mabeam_p2p.config import Limits
from mabeam_p2p.events import BarrierChanged, MachineEvent
from mabeam_p2p.ids import AgentId, is_key
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import Outcome, Refused


class BarrierState(Struct, frozen=True, array_like=True):
    """A barrier in a snapshot. departed: of the running generation, in order of departure."""

    name: str
    last: int
    finished: tuple[Generation, ...]
    running: Generation | None
    departed: tuple[AgentId, ...]


class BarriersState(Struct, frozen=True, array_like=True):
    """running: in order of their first arrivals. idle: in order of their last end."""

    running: tuple[BarrierState, ...]
    idle: tuple[BarrierState, ...]


class _Running:
    """A generation that waits."""

    __slots__ = ("arrived", "asked", "departed", "opened_clock")

    def __init__(self, asked: tuple[int, int, OnDeparture], opened_clock: int) -> None:
        self.asked = asked
        """Parties, timeout and on_departure, as the first arrival set them."""
        self.opened_clock = opened_clock
        self.arrived: dict[AgentId, None] = {}
        """In order of arrival."""
        self.departed: dict[AgentId, None] = {}
        """Parties by which the generation has shrunk."""

    @property
    def parties(self) -> int:
        return self.asked[0] - len(self.departed)

    @property
    def deadline(self) -> int:
        return self.opened_clock + self.asked[1]


class _Barrier:
    __slots__ = ("finished", "last", "name", "running")

    def __init__(self, name: str, last: int) -> None:
        self.name = name
        self.last = last
        """Number of the running or last generation; they count from 1."""
        self.running: _Running | None = None
        self.finished: OrderedDict[int, Generation] = OrderedDict()

    def generation(
        self,
        running: _Running,
        status: BarrierStatus = BarrierStatus.WAITING,
        entry: Entry | None = None,
        reason: str = "",
    ) -> Generation:
        """The running generation as a record. entry: where it ends, if it does."""
        _, timeout, on_departure = running.asked
        return Generation(
            barrier=self.name,
            generation=self.last,
            parties=running.parties,
            timeout=timeout,
            on_departure=on_departure,
            arrived=tuple(running.arrived),
            status=status,
            opened_clock=running.opened_clock,
            closed_index=0 if entry is None else entry.index,
            closed_clock=0 if entry is None else entry.clock,
            reason=reason,
        )

    def state(self) -> BarrierState:
        running = None if self.running is None else self.generation(self.running)
        departed = () if self.running is None else tuple(self.running.departed)
        return BarrierState(self.name, self.last, tuple(self.finished.values()), running, departed)


class Barriers:
    """Every barrier by name, with its running generation and the last finished ones."""

    def __init__(self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._events = events
        self._running: dict[str, _Barrier] = {}
        self._idle: OrderedDict[str, _Barrier] = OrderedDict()
        """Without a running generation, in order of their last end; the oldest are forgotten,
        and count from 1 again."""

    # ---- commands --------------------------------------------------------------------------

    def arrive(self, entry: Entry, agent: AgentId, command: Arrive) -> Outcome:
        """Committed.number is the generation.

        Refused: invalid, limit, barrier_mismatch, unknown_generation.
        """
        name = command.barrier
        barrier = self._running.get(name)
        if command.generation and (barrier is None or barrier.last != command.generation):
            return self._answer_finished(entry, command)
        if barrier is None:
            refusal = self._refusal(entry, command)
            if refusal is not None:
                return refusal
            barrier = self._begin(entry, command)
        running = barrier.running
        assert running is not None
        asked = _asked(command)
        if asked != running.asked:
            runs, other = _described(running.asked), _described(asked)
            return Refused("barrier_mismatch", f"generation {barrier.last} has {runs}; not {other}")
        if agent not in running.arrived:
            running.arrived[agent] = None
            running.departed.pop(agent, None)
            if len(running.arrived) == running.parties:
                self._end(entry, barrier, BarrierStatus.RELEASED, "all arrived")
            else:
                self._events.append(BarrierChanged(barrier.generation(running)))
        return entry.committed(barrier.last)

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """Take back the arrivals of an agent whose session has ended."""
        for barrier in tuple(self._running.values()):
            running = barrier.running
            assert running is not None
            if agent not in running.arrived:
                continue
            on_departure = running.asked[2]
            if on_departure is OnDeparture.BREAK:
                self._end(entry, barrier, BarrierStatus.BROKEN, f"departed: {agent}")
                continue
            del running.arrived[agent]
            if on_departure is OnDeparture.SHRINK:
                running.departed[agent] = None
            self._events.append(BarrierChanged(barrier.generation(running)))

    def expire(self, entry: Entry, name: str) -> None:
        """End the running generation of barrier `name`, whose deadline is past."""
        self._end(entry, self._running[name], BarrierStatus.BROKEN, "timeout")

    # ---- queries ---------------------------------------------------------------------------

    def find(self, name: str, generation: int) -> Generation | None:
        """generation 0: the running or last one."""
        barrier = self._running.get(name) or self._idle.get(name)
        if barrier is None:
            return None
        if barrier.running is not None and generation in (0, barrier.last):
            return barrier.generation(barrier.running)
        return barrier.finished.get(generation or barrier.last)

    def generations(self, name: str, generation: int) -> tuple[Generation, ...]:
        """The one that `find` finds; with an empty name all running ones, in order of their
        first arrivals."""
        if name:
            one = self.find(name, generation)
            return () if one is None else (one,)
        return tuple(
            barrier.generation(barrier.running)
            for barrier in self._running.values()
            if barrier.running is not None
        )

    def state(self) -> BarriersState:
        return BarriersState(
            tuple(barrier.state() for barrier in self._running.values()),
            tuple(barrier.state() for barrier in self._idle.values()),
        )

    def load(self, state: BarriersState) -> None:
        self._running = {stored.name: self._load(stored) for stored in state.running}
        self._idle = OrderedDict((stored.name, self._load(stored)) for stored in state.idle)

    def _load(self, state: BarrierState) -> _Barrier:
        barrier = _Barrier(state.name, state.last)
        barrier.finished.update((one.generation, one) for one in state.finished)
        if state.running is not None:
            one = state.running
            asked = (one.parties + len(state.departed), one.timeout, one.on_departure)
            running = barrier.running = _Running(asked, one.opened_clock)
            running.arrived = dict.fromkeys(one.arrived)
            running.departed = dict.fromkeys(state.departed)
            self._deadlines.add(DeadlineKind.BARRIER, barrier.name, running.deadline)
        return barrier

    # ---- transitions -----------------------------------------------------------------------

    def _begin(self, entry: Entry, command: Arrive) -> _Barrier:
        name = command.barrier
        barrier = self._idle.pop(name, None) or _Barrier(name, 0)
        barrier.last += 1
        running = barrier.running = _Running(_asked(command), entry.clock)
        self._running[name] = barrier
        self._deadlines.add(DeadlineKind.BARRIER, name, running.deadline)
        return barrier

    def _end(self, entry: Entry, barrier: _Barrier, status: BarrierStatus, reason: str) -> None:
        assert barrier.running is not None
        ended = barrier.generation(barrier.running, status, entry, reason)
        barrier.running = None
        barrier.finished[ended.generation] = ended
        if len(barrier.finished) > self._limits.closed_generations_max:
            barrier.finished.popitem(last=False)
        del self._running[barrier.name]
        self._idle[barrier.name] = barrier
        if len(self._idle) > self._limits.closed_barriers_max:
            self._idle.popitem(last=False)
        self._deadlines.remove(DeadlineKind.BARRIER, barrier.name)
        self._events.append(BarrierChanged(ended))

    # ---- refusals --------------------------------------------------------------------------

    def _answer_finished(self, entry: Entry, command: Arrive) -> Outcome:
        """The answer to an arrival at a generation that does not run."""
        found = self.find(command.barrier, command.generation)
        if found is not None:
            return entry.committed(found.generation)
        return Refused("unknown_generation", "no such generation runs or is remembered")

    def _refusal(self, entry: Entry, command: Arrive) -> Refused | None:
        limits = self._limits
        if not is_key(command.barrier):
            return Refused("invalid", "the barrier has no usable name")
        if not 1 <= command.parties <= limits.barrier_parties_max:
            return Refused("invalid", f"parties are 1 to {limits.barrier_parties_max}")
        if not entry.can_wait(command.timeout):
            return Refused("invalid", "timeout is no positive number of microseconds")
        if len(self._running) >= limits.open_barriers_max:
            return Refused("limit", f"{limits.open_barriers_max} barriers are running already")
        return None


def _asked(command: Arrive) -> tuple[int, int, OnDeparture]:
    return command.parties, command.timeout, command.on_departure


def _described(asked: tuple[int, int, OnDeparture]) -> str:
    parties, timeout, on_departure = asked
    return f"{parties} parties, timeout {timeout} us, on_departure {on_departure.name.lower()}"
