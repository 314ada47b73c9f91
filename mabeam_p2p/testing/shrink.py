"""Makes the tape of a failing run short, so that a person can read what it takes.

Four passes, each keeps what still breaks the same rule: (1) less time, by bisection; (2) whole
classes of faults, and what the weather has besides; (3) single faults (delta debugging, Zeller and
Hildebrandt 2002); (4) fewer peers and clients. Then time once more.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from mabeam_p2p.testing.faults import peers_of
from mabeam_p2p.testing.tape import Planned, Tape
from mabeam_p2p.testing.trial import replay
from mabeam_p2p.testing.weather import SECOND, Discovery, Weather

ATTEMPTS_MAX = 400
SHORTER_MIN = SECOND // 20
"""Less than this is not worth another attempt."""


def rule_of(violation: str | None) -> str:
    """The name of the broken rule, as in I6; of what a core raised, the exception's."""
    return (violation or "").partition(":")[0]


class Shrinker:
    """Shortens one tape. judge: runs a tape, and says what it broke, None if nothing."""

    def __init__(
        self,
        tape: Tape,
        judge: Callable[[Tape], str | None] | None = None,
        attempts: int = ATTEMPTS_MAX,
    ) -> None:
        self.tape = tape
        """The shortest so far."""
        self.attempts = 0
        self._judge = judge or (lambda tape: replay(tape).violation)
        self._attempts_max = attempts
        self._rule = rule_of(tape.violation)
        if not self._rule:
            raise ValueError("this tape breaks no rule: there is nothing to shorten")

    def shrink(self) -> Tape:
        """All passes. Every attempt is a run: it takes as many times as long as one."""
        self._less_time()
        self._fewer_classes()
        self._fewer_faults()
        self._fewer_peers()
        self._fewer_clients()
        self._less_time()
        return self.tape

    def _try(self, tape: Tape) -> bool:
        """Whether `tape` breaks the same rule; then it is the shortest so far."""
        if self.attempts >= self._attempts_max or tape == self.tape:
            return False
        self.attempts += 1
        violation = self._judge(tape)
        if rule_of(violation) != self._rule:
            return False
        self.tape = replace(tape, violation=violation or "")
        return True

    # ---- passes ------------------------------------------------------------------------------

    def _less_time(self) -> None:
        enough, too_little = self.tape.storm, 0
        while enough - too_little > SHORTER_MIN:
            middle = (enough + too_little) // 2
            faults = tuple(one for one in self.tape.faults if one.time <= middle)
            if self._try(replace(self.tape, storm=middle, faults=faults)):
                enough = middle
            else:
                too_little = middle

    def _fewer_classes(self) -> None:
        for kind in dict.fromkeys(type(one.fault) for one in self.tape.faults):
            faults = tuple(one for one in self.tape.faults if type(one.fault) is not kind)
            self._try(replace(self.tape, faults=faults))
        for simpler in _FAIRER:
            self._try(replace(self.tape, weather=simpler(self.tape.weather)))

    def _fewer_faults(self) -> None:
        """Delta debugging: leave out ever smaller shares, until no single one can be missed."""
        parts = 2
        while self.tape.faults:
            faults = self.tape.faults
            size = max(1, len(faults) // parts)
            if any(self._try(replace(self.tape, faults=rest)) for rest in _without(faults, size)):
                parts = max(2, parts - 1)
            elif size == 1:
                return
            else:
                parts *= 2

    def _fewer_peers(self) -> None:
        for peers in range(1, self.tape.weather.peers):
            weather = self.tape.weather
            weather = replace(weather, peers=peers, expect=min(weather.expect, peers))
            faults = tuple(one for one in self.tape.faults if max(_peers(one)) < peers)
            if self._try(replace(self.tape, weather=weather, faults=faults)):
                return

    def _fewer_clients(self) -> None:
        for fewer in (
            {"traders": 0},
            {"tasks": False},
            {"seats": False},
            {"recipes": 0.0},
            {"per_peer": 1},
            {"outstanding": 1},
            {"keys": 1},
            {"variables": 1},
            {"attached": False},
            {"lease": 0},
        ):
            weather = self.tape.weather
            agents = replace(weather.agents, **fewer)
            self._try(replace(self.tape, weather=replace(weather, agents=agents)))


_FAIRER: tuple[Callable[[Weather], Weather], ...] = (
    lambda one: replace(one, network=replace(one.network, loss=0.0)),
    lambda one: replace(one, network=replace(one.network, duplicate=0.0)),
    lambda one: replace(one, network=replace(one.network, slow_chance=0.0)),
    lambda one: replace(one, network=replace(one.network, queue=0)),
    lambda one: replace(one, network=replace(one.network, ordered=True)),
    lambda one: replace(one, storage=replace(one.storage, slow_chance=0.0)),
    lambda one: replace(one, processes=replace(one.processes, clock_spread=0.0)),
    lambda one: replace(one, processes=replace(one.processes, turn_inputs=1)),
    lambda one: replace(one, processes=replace(one.processes, moves=False)),
    lambda one: replace(one, processes=replace(one.processes, wall_spread=1.0)),
    lambda one: replace(one, discovery=Discovery(), stranger=False, hostile=False, codec=False),
)
"""What the weather can do without, one at a time."""


def _without(faults: Sequence[Planned], size: int) -> Iterator[tuple[Planned, ...]]:
    for first in range(0, len(faults), size):
        yield (*faults[:first], *faults[first + size :])


def _peers(planned: Planned) -> tuple[int, ...]:
    return peers_of(planned.fault) or (0,)
