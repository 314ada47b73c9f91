"""A trial in which peers die for good and disks are wiped, and the voters are replaced as the
cluster goes on: no more at a time than any protocol survives."""

from msgspec.structs import replace

from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, Weather, draw


def weather_of(seed: int) -> Weather:
    """As drawn for the seed, with enough peers and short times for the voters to change."""
    drawn = draw(Simulator.stream_of(seed, "weather"))
    random = Simulator.stream_of(seed, "voters weather")
    election = drawn.timing.election_timeout_seconds
    timing = replace(
        drawn.timing,
        voter_grace_seconds=election * random.choice((8, 20)),
        voter_change_seconds=election * random.choice((0.5, 2)),
    )
    peers = random.choice((4, 5, 6))
    # Who sits where is judged elsewhere; here the log is what matters.
    agents = replace(drawn.agents, seats=False, traders=0)
    return replace(drawn, peers=peers, expect=peers // 2 + 1, timing=timing, agents=agents)


class Replacing(Trial):
    """Its wipes come on top of the weather's faults."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, weather_of(seed))
        self._wipes = self.simulator.stream("wipes")

    def storm(self, duration: int) -> None:
        self._wipe_later()
        super().storm(duration)

    def _wipe_later(self) -> None:
        self.simulator.after(int(self._wipes.expovariate(1 / (2 * SECOND))), self._wipe)

    def _wipe(self) -> None:
        if self._calm:
            return
        simulator = self.simulator
        host = simulator.hosts[self._wipes.randrange(len(simulator.hosts))]
        if simulator.upsets.may_lose(host):
            simulator.crash(host)
            simulator.upsets.lost.append(host.peer)
            simulator.wipe(host)
            simulator.after(self._wipes.randint(0, 4 * SECOND), self._start, host)
        self._wipe_later()

    def replaced(self) -> None:
        """In the end nobody who is there waits for the place of a voter that is gone, and an odd
        number vote."""
        simulator = self.simulator
        bound = simulator.now + 120 * SECOND
        while True:
            lacking = self._voters_lack(simulator.hosts)
            if not lacking:
                return
            if simulator.now >= bound:
                raise Violation("liveness", lacking)
            simulator.run_until(simulator.now + SECOND // 4)

    def _voters_lack(self, hosts: list[Host]) -> str:
        here = [host.peer for host in hosts]
        for host in hosts:
            assert host.node is not None, "all run"
            voters = host.node.replication.voters
            gone = [voter for voter in voters if voter not in here]
            learners = [peer for peer in here if peer not in voters]
            if (gone and learners) or len(voters) % 2 == 0 or len(voters) < 3:
                return f"{host.letter} has the voters {voters}, of whom {gone} are gone"
        return ""
