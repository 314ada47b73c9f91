"""Counters: whole numbers by name. One that nobody has touched is 0, and one that is 0 takes no
room."""

from mabeam_p2p.commands import AddCounter, SetCounter
from mabeam_p2p.config import Limits
from mabeam_p2p.events import CounterChanged, MachineEvent
from mabeam_p2p.ids import INTEGER_MAX, is_key
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.records import Counter
from mabeam_p2p.requests import Outcome, Refused


class Counters:
    """Every counter that is not 0."""

    def __init__(self, limits: Limits, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._events = events
        self._values: dict[str, int] = {}

    def add(self, entry: Entry, command: AddCounter) -> Outcome:
        """Committed.number is what the counter is then. Refused: invalid, out_of_range, limit."""
        value = self._values.get(command.counter, 0) + command.amount
        return self._become(entry, command.counter, value)

    def set(self, entry: Entry, command: SetCounter) -> Outcome:
        """Committed.number is what the counter is then.

        Refused: invalid, out_of_range, limit, counter_changed (it is not what was expected).
        """
        present = self._values.get(command.counter, 0)
        if command.expected is not None and command.expected != present:
            return Refused("counter_changed", f"it is {present}, not {command.expected}")
        return self._become(entry, command.counter, command.value)

    def counters(self, name: str) -> tuple[Counter, ...]:
        """The one of this name; with an empty name all that are not 0, by name."""
        if name:
            return (Counter(name, self._values.get(name, 0)),)
        return tuple(Counter(name, self._values[name]) for name in sorted(self._values))

    @property
    def count(self) -> int:
        """Counters that are kept."""
        return len(self._values)

    def state(self) -> tuple[Counter, ...]:
        return self.counters("")

    def load(self, state: tuple[Counter, ...]) -> None:
        self._values = {counter.name: counter.value for counter in state}

    def _become(self, entry: Entry, name: str, value: int) -> Outcome:
        if not is_key(name):
            return Refused("invalid", "the counter has no usable name")
        if abs(value) > INTEGER_MAX:
            return Refused("out_of_range", f"a counter is at most {INTEGER_MAX} away from 0")
        known = self._values.get(name, 0)
        if not known and value and len(self._values) >= self._limits.counters_max:
            return Refused("limit", f"{self._limits.counters_max} counters are not 0 already")
        if value:
            self._values[name] = value
        else:
            self._values.pop(name, None)
        if value != known:
            self._events.append(CounterChanged(Counter(name, value)))
        return entry.committed(value)
