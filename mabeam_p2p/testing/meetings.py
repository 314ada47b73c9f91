"""Runs in which agents do little else than meet at barriers and decide by ballots, in any weather.

An arrival is doubled by the network, asked again when its answer does not come, late, or of an
agent whose peer has crashed behind it; leaders change in between. I12 and I13 are judged by
`outcomes` at every commit, and by the agents at what they are told.
"""

from msgspec import Struct, structs

from mabeam_p2p.ids import SessionId
from mabeam_p2p.records import BarrierStatus
from mabeam_p2p.testing.agents import SimulatedAgent
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import Agents, draw

THINK = 2_000
"""Microseconds between two operations of an agent, in the mean."""


class Meeter(SimulatedAgent):
    """Arrives, proposes and votes; appends now and then."""

    def _next(self, session: SessionId) -> None:
        if not self._is_open or session != self.session:
            return
        draw = self._random.random()
        if draw < 0.25 and self.answer_polls():
            return
        if draw < 0.8:
            self._arrive()
        elif draw < 0.95:
            self._propose()
        else:
            self.append()


class Meetings(Struct, frozen=True):
    """What one run came to."""

    seed: int
    violation: str | None
    generations: int
    """Of barriers, ended."""
    released: int
    decided: int
    """Proposals."""
    leaders: int
    """Terms that had a leader."""
    crashes: int


def run(seed: int, seconds: float) -> Meetings:
    """One run; `seconds` of virtual time in which anything may fail."""
    name = f"meetings {seed}"
    drawn = draw(Simulator.stream_of(name, "weather"))
    agents = Agents(per_peer=2, think=THINK, reads=0.1, attached=bool(seed % 2))
    trial = Trial(name, structs.replace(drawn, agents=agents))
    trial.workload.agents = [
        Meeter(trial.workload, host, number)
        for host in trial.simulator.hosts
        for number in range(agents.per_peer)
    ]
    violation: str | None = None
    try:
        trial.run(seconds)
    except Violation as found:
        violation = str(found)
    ended = [
        generation
        for generation in trial.outcomes.generations.values()
        if generation.status is not BarrierStatus.WAITING
    ]
    return Meetings(
        seed,
        violation,
        len(ended),
        sum(generation.status is BarrierStatus.RELEASED for generation in ended),
        len(trial.outcomes.decided),
        len(trial.simulator.checkers.leaders),
        trial.crashes,
    )
