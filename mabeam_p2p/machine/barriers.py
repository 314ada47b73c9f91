"""Barriers: a set of agents meets, generation after generation.

1. A generation begins with its first arrival, which sets parties, timeout and what becomes of it
   when somebody departs; an arrival that asks for something else is refused while it runs.
2. Arrivals are a set of agents: arriving twice counts once. Each may leave a note; its last stands.
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
6. A generation may be for named members. They are the parties, nobody else may arrive, and the
   departure of each counts before it has arrived, too: what has shrunk to those who are there is
   released. An arrival that is not `present` begins it, or finds it, and does not count.
7. Members can be named `since` an index: only sessions that have been open since then may arrive,
   and who has no such session when the generation begins has departed. They meet once: a later
   arrival is answered with the number of the finished generation while it is remembered.
"""

from collections import OrderedDict
from collections.abc import Callable, KeysView
from operator import lt
from typing import NamedTuple

from msgspec import Struct

from mabeam_p2p.commands import Arrive
from mabeam_p2p.config import Limits
from mabeam_p2p.events import BarrierChanged, MachineEvent
from mabeam_p2p.ids import AgentId, is_key
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import Outcome, Refused

JoinedIndex = Callable[[AgentId], int]
"""Where the session that an agent has was opened; 0: it has none."""


class BarrierState(Struct, frozen=True, array_like=True):
    """A barrier in a snapshot."""

    name: str
    last: int
    finished: tuple[Generation, ...]
    running: Generation | None


class BarriersState(Struct, frozen=True, array_like=True):
    """running: in order of their first arrivals. idle: in order of their last end."""

    running: tuple[BarrierState, ...]
    idle: tuple[BarrierState, ...]


class _Terms(NamedTuple):
    """What all arrivals of a generation ask for alike."""

    parties: int
    timeout: int
    on_departure: OnDeparture
    members: tuple[AgentId, ...]
    since: int

    def __str__(self) -> str:
        text = (
            f"{self.parties} parties, timeout {self.timeout} us, "
            f"on_departure {self.on_departure.name.lower()}"
        )
        if not self.members:
            return text
        others = len(self.members) - 1
        return f"{text}, {self.members[0]} and {others} others named since {self.since}"

    def admits(self, agent: AgentId, joined_index: JoinedIndex) -> bool:
        """Whether the agent may arrive."""
        if not self.members:
            return True
        return agent in self.members and self.is_there(agent, joined_index)

    def is_there(self, agent: AgentId, joined_index: JoinedIndex) -> bool:
        """Whether the agent has a session that can arrive."""
        return joined_index(agent) > 0 and (not self.since or joined_index(agent) <= self.since)


class _Running:
    """A generation that waits."""

    __slots__ = ("asked", "departed", "notes", "opened_clock")

    def __init__(self, asked: _Terms, opened_clock: int) -> None:
        self.asked = asked
        """As the first arrival set them."""
        self.opened_clock = opened_clock
        self.notes: dict[AgentId, str] = {}
        """Of who has arrived, in order of arrival; empty: none."""
        self.departed: dict[AgentId, None] = {}
        """Parties by which the generation has shrunk, or breaks."""

    @property
    def arrived(self) -> KeysView[AgentId]:
        return self.notes.keys()

    @property
    def parties(self) -> int:
        is_smaller = self.asked.on_departure is OnDeparture.SHRINK
        return self.asked.parties - (len(self.departed) if is_smaller else 0)

    @property
    def deadline(self) -> int:
        return self.opened_clock + self.asked.timeout

    @property
    def is_complete(self) -> bool:
        return len(self.arrived) == self.parties > 0

    def expects(self, agent: AgentId) -> bool:
        """Whether the departure of the agent matters."""
        if agent in self.departed:
            return False
        return agent in self.arrived or agent in self.asked.members


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
        asked = running.asked
        return Generation(
            barrier=self.name,
            generation=self.last,
            parties=running.parties,
            timeout=asked.timeout,
            on_departure=asked.on_departure,
            arrived=tuple(running.arrived),
            status=status,
            opened_clock=running.opened_clock,
            closed_index=0 if entry is None else entry.index,
            closed_clock=0 if entry is None else entry.clock,
            reason=reason,
            members=asked.members,
            since=asked.since,
            departed=tuple(running.departed),
            notes=tuple(running.notes.values()) if any(running.notes.values()) else (),
        )

    def meeting(self, asked: _Terms) -> Generation | None:
        """The finished generation of members who meet once, if they have met."""
        if not asked.since:
            return None
        for one in reversed(self.finished.values()):
            if one.since == asked.since and one.members == asked.members:
                return one
        return None

    def state(self) -> BarrierState:
        running = None if self.running is None else self.generation(self.running)
        return BarrierState(self.name, self.last, tuple(self.finished.values()), running)


class Barriers:
    """Every barrier by name, with its running generation and the last finished ones."""

    def __init__(
        self,
        limits: Limits,
        deadlines: Deadlines,
        events: list[MachineEvent],
        joined_index: JoinedIndex,
    ) -> None:
        self._limits = limits
        self._joined_index = joined_index
        self._deadlines = deadlines
        self._events = events
        self._running: dict[str, _Barrier] = {}
        self._idle: OrderedDict[str, _Barrier] = OrderedDict()
        """Without a running generation, in order of their last end; the oldest are forgotten,
        and count from 1 again."""

    # ---- commands --------------------------------------------------------------------------

    def arrive(self, entry: Entry, agent: AgentId, command: Arrive) -> Outcome:
        """Committed.number is the generation.

        Refused: invalid, too_large, limit, barrier_mismatch, not_eligible, unknown_generation.
        """
        name = command.barrier
        barrier = self._running.get(name)
        if command.generation and (barrier is None or barrier.last != command.generation):
            return self._answer_finished(entry, command)
        asked = _asked(command)
        known = barrier or self._idle.get(name)
        met = None if known is None else known.meeting(asked)
        if met is not None:
            return entry.committed(met.generation)
        refusal = self._refusal(entry, command, barrier)
        if refusal is None and not asked.admits(agent, self._joined_index):
            refusal = Refused("not_eligible", f"{agent} is none of the members, or came after them")
        if refusal is not None:
            return refusal
        if barrier is None:
            barrier = self._begin(entry, command)
        running = barrier.running
        if running is not None and command.present:
            self._count(entry, barrier, running, agent, command.note)
        return entry.committed(barrier.last)

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """Take back the arrivals of an agent whose session has ended."""
        for barrier in tuple(self._running.values()):
            running = barrier.running
            assert running is not None
            if not running.expects(agent):
                continue
            on_departure = running.asked.on_departure
            if on_departure is OnDeparture.BREAK:
                self._break(entry, barrier, running, [agent])
                continue
            if on_departure is OnDeparture.SHRINK:
                running.departed[agent] = None
            running.notes.pop(agent, None)
            if running.is_complete:
                self._end(entry, barrier, BarrierStatus.RELEASED, "all arrived")
            elif not running.parties:
                self._end(entry, barrier, BarrierStatus.BROKEN, f"departed: {agent}")
            else:
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

    @property
    def count(self) -> int:
        """Barriers with a generation that has not ended."""
        return len(self._running)

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
            parties = one.parties + len(one.departed)
            asked = _Terms(parties, one.timeout, one.on_departure, one.members, one.since)
            running = barrier.running = _Running(asked, one.opened_clock)
            notes = one.notes or ("",) * len(one.arrived)
            running.notes = dict(zip(one.arrived, notes, strict=True))
            running.departed = dict.fromkeys(one.departed)
            self._deadlines.add(DeadlineKind.BARRIER, barrier.name, running.deadline)
        return barrier

    # ---- transitions -----------------------------------------------------------------------

    def _begin(self, entry: Entry, command: Arrive) -> _Barrier:
        """Begin a generation. It ends at once if named members are gone whom it cannot miss."""
        name = command.barrier
        barrier = self._idle.pop(name, None) or _Barrier(name, 0)
        barrier.last += 1
        running = barrier.running = _Running(_asked(command), entry.clock)
        self._running[name] = barrier
        self._deadlines.add(DeadlineKind.BARRIER, name, running.deadline)
        asked = running.asked
        gone = [one for one in asked.members if not asked.is_there(one, self._joined_index)]
        if gone and asked.on_departure is OnDeparture.BREAK:
            self._break(entry, barrier, running, gone)
        elif gone and asked.on_departure is OnDeparture.SHRINK:
            running.departed.update(dict.fromkeys(gone))
        return barrier

    def _count(
        self, entry: Entry, barrier: _Barrier, running: _Running, agent: AgentId, note: str
    ) -> None:
        """Let the agent arrive."""
        is_new = agent not in running.arrived
        running.notes[agent] = note
        if not is_new:
            return
        running.departed.pop(agent, None)
        if running.is_complete:
            self._end(entry, barrier, BarrierStatus.RELEASED, "all arrived")
        else:
            self._events.append(BarrierChanged(barrier.generation(running)))

    def _break(
        self, entry: Entry, barrier: _Barrier, running: _Running, gone: list[AgentId]
    ) -> None:
        running.departed.update(dict.fromkeys(gone))
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        self._end(entry, barrier, BarrierStatus.BROKEN, f"departed: {gone[0]}{more}")

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

    def _refusal(self, entry: Entry, command: Arrive, barrier: _Barrier | None) -> Refused | None:
        """barrier: that has a generation running."""
        note_bytes_max = self._limits.barrier_note_bytes_max
        if len(command.note.encode()) > note_bytes_max:
            return Refused("too_large", f"a note has at most {note_bytes_max} bytes")
        if barrier is None:
            return self._why_not_begin(entry, command)
        assert barrier.running is not None
        runs, asked = barrier.running.asked, _asked(command)
        if asked != runs:
            return Refused("barrier_mismatch", f"generation {barrier.last} has {runs}; not {asked}")
        return None

    def _why_not_begin(self, entry: Entry, command: Arrive) -> Refused | None:
        limits, members = self._limits, command.members
        if not is_key(command.barrier):
            return Refused("invalid", "the barrier has no usable name")
        if not 1 <= command.parties <= limits.barrier_parties_max:
            return Refused("invalid", f"parties are 1 to {limits.barrier_parties_max}")
        if not entry.can_wait(command.timeout):
            return Refused("invalid", "timeout is no positive number of microseconds")
        if members and not all(map(lt, members, members[1:])):
            return Refused("invalid", "the members are not sorted, or one is named twice")
        if members and not len(members) == command.parties <= limits.barrier_members_max:
            return Refused(
                "invalid", f"members are the parties, up to {limits.barrier_members_max}"
            )
        if not members and (command.since or not command.present):
            return Refused("invalid", "nobody is named who could be awaited")
        if not 0 <= command.since <= entry.index:
            return Refused("invalid", "members are named since an index that is to come")
        if len(self._running) >= limits.open_barriers_max:
            return Refused("limit", f"{limits.open_barriers_max} barriers are running already")
        return None


def _asked(command: Arrive) -> _Terms:
    return _Terms(
        command.parties, command.timeout, command.on_departure, command.members, command.since
    )
