"""Peers that would rather lead, leaders that are asked to hand over, and the judge of both.

preference   two hand-overs to a preferred peer, over all leaders, are an interval apart
eligible     who may not lead does so only where its log was wanted, and hands over when it can
"""

from mabeam_p2p.events import Event, HandOverBegan
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.node.handover import PREFERRED
from mabeam_p2p.requests import Answer, SetFitness, TransferLeadership
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.weather import SECOND, Weather

PREFERENCE = "preference"


class PreferenceJudge:
    """Hears of every hand-over that a leader begins, and of every leader's heartbeats."""

    def __init__(self, weather: Weather) -> None:
        self.preferred: list[int] = []
        """When hand-overs to a preferred peer began, in microseconds."""
        self.others_count = 0
        """Hand-overs for other reasons."""
        self._ineligible = weather.preferences.ineligible
        timing = weather.timing
        # By the fastest clock, and less what a leader may be late to see that it leads no more.
        seconds = timing.preference_interval_seconds / (1 + weather.processes.clock_spread)
        self._gap = int((seconds - 2 * timing.election_timeout_seconds) * SECOND)

    def hear(self, simulator: Simulator) -> None:
        simulator.on_event = lambda _, event: self.told(event, simulator.now)

    def told(self, event: Event, now: int) -> None:
        """now: microseconds."""
        if not isinstance(event, HandOverBegan):
            return
        if event.reason != PREFERRED:
            self.others_count += 1
            return
        if self.preferred and now - self.preferred[-1] < self._gap:
            raise Violation(PREFERENCE, f"{now - self.preferred[-1]} us after the last: {event}")
        self.preferred.append(now)

    def lacks(self, leader: Host) -> str:
        """What is wrong with this leader of a settled cluster; empty when nothing is."""
        if leader.number in self._ineligible:
            return f"{leader.letter} leads, and may not"
        return ""


class Whims:
    """What comes over the peers of one run, until `end`."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._random = simulator.stream("whims")
        self._every = simulator.weather.preferences.every

    def begin(self) -> None:
        if self._every:
            gap = int(self._random.expovariate(1 / self._every))
            self._simulator.after(gap, self._next)

    def end(self) -> None:
        """Everybody is fit from now on."""
        if not self._every:
            return
        self._every = 0
        for host in self._simulator.hosts:
            if host.node is not None:
                self._simulator.ask(host, SetFitness(50), _take)

    def _next(self) -> None:
        """Another score, unfit or fit again, or a leader that is asked to hand over."""
        if not self._every:
            return
        hosts, random = self._simulator.hosts, self._random
        host, other = hosts[random.randrange(len(hosts))], hosts[random.randrange(len(hosts))]
        kind, score = random.randrange(4), random.randrange(101)
        if host.node is not None:
            wish: SetFitness | TransferLeadership = SetFitness(score, "tired" if kind == 1 else "")
            if kind == 0:
                wish = TransferLeadership(other.peer if score < 50 else PeerId(""))
            self._simulator.ask(host, wish, _take)
        self.begin()


def _take(answer: Answer) -> None:
    """Whatever it is: exactly one comes, which the simulator sees to."""
