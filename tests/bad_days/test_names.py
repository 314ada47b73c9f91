"""Two peers with one name: one of them gives way, and only one."""

from functools import partial
from itertools import combinations

import pytest

from mabeam_p2p.config import Config
from mabeam_p2p.requests import Leave
from mabeam_p2p.testing import host as machines
from mabeam_p2p.testing.host import Host
from tests.bad_days.stage import MILLISECOND, Stage

FATAL = "fatal=True"


class Namesakes:
    """Four peers, of which three are expected to form a cluster; two of them have one name. Who is
    refused for good leaves, as its application makes it."""

    def __init__(self, seed: str, pair: tuple[int, int], patch: pytest.MonkeyPatch) -> None:
        """pair: the namesakes, by their places in the order of ids."""
        self.stage = Stage(seed, peers=4, expect=3, trace=self._hear)
        ordered = sorted(self.stage.hosts, key=lambda host: host.peer)
        self.pair = [ordered[place] for place in pair]
        self.others = [host for host in ordered if host not in self.pair]
        self.gave_way: list[Host] = []
        names = {f"peer-{host.letter.lower()}": "namesake" for host in self.pair}
        patch.setattr(machines, "Config", partial(_renamed, names))

    def _hear(self, line: str) -> None:
        _, letter, *words = line.split()
        if words[0] == "tells" and words[1].startswith("Refused(") and FATAL in line:
            host = next(host for host in self.stage.hosts if host.letter == letter)
            if host not in self.gave_way:
                self.gave_way.append(host)
                self.stage.simulator.after(0, self._leave, host)

    def _leave(self, host: Host) -> None:
        self.stage.ask(host, Leave())
        self.stage.simulator.after(50 * MILLISECOND, self.stage.kill, host)


def _renamed(names: dict[str, str], **settings: object) -> Config:
    name = str(settings.pop("name"))
    return Config(name=names.get(name, name), **settings)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("pair", [*combinations(range(4), 2)])
@pytest.mark.parametrize("seed", range(6))
def test_of_two_peers_that_start_with_one_name_exactly_one_gives_way(
    seed: int, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Namesakes(f"names {seed}", pair, monkeypatch)
    stage = start.stage
    draw = stage.simulator.stream("starts")
    for host in stage.hosts:
        stage.simulator.after(draw.randint(0, 2 * MILLISECOND), stage.start, host)
    # An offer to the one that gave way may have to be withdrawn first.
    stage.run(1.0)
    stage.until(lambda: stage.leader() is not None)
    stage.run(1.0)
    assert len(start.gave_way) == 1
    assert start.gave_way[0] in start.pair
    assert len(stage.nodes) == 3


@pytest.mark.parametrize("place", range(4))
def test_newcomer_with_the_name_of_a_member_gives_way_whatever_its_id(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = (place + 1) % 4
    start = Namesakes("newcomer", (min(place, member), max(place, member)), monkeypatch)
    stage = start.stage
    newcomer = sorted(stage.hosts, key=lambda host: host.peer)[place]
    stage.start(*(host for host in stage.hosts if host is not newcomer))
    stage.until(lambda: stage.leader() is not None)
    stage.start(newcomer)
    stage.until(lambda: newcomer in start.gave_way, 1.0)
    stage.run(3.0)
    assert start.gave_way == [newcomer]
    assert len(stage.nodes) == 3
    assert stage.leader() is not None
