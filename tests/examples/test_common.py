"""What the examples share: a claim that does not hold is told, a peer that fails is no success."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from examples.common.options import Options
from examples.common.peer import Meeting
from examples.common.peers import PeerFailed, Peers
from examples.common.picture import Series, chart, stacked, staircase
from examples.common.report import Report, carried_out
from mabeam_p2p import BarrierBroken, Event, MabeamTimeout, Release
from mabeam_p2p.blocking import Agent
from tests.in_loop import in_loop


def report(folder: Path) -> Report:
    return Report("trial", Options(peers=3, seed=0, kill=False, quick=True, out=folder))


@pytest.mark.parametrize("holds", [True, False])
def test_claim_decides_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], holds: bool
) -> None:
    one = report(tmp_path / "out")
    one.claim("the sky is blue", True)
    one.claim("the grass is green", holds)
    picture = chart("t", "x", "y", [Series("line", [(0, 0), (1, 2)])])
    assert one.finish({"colours": 2}, picture) == (0 if holds else 1)
    told = json.loads((tmp_path / "out" / "trial.json").read_text())
    assert (told["ok"], told["colours"]) == (holds, 2)
    assert told["claims"][1] == {"claim": "the grass is green", "holds": holds}
    assert ("FAILED  the grass is green" in capsys.readouterr().out) is not holds


def test_table_has_straight_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(tmp_path).table(("name", "n"), [("ada", 1), ("b", 1000)])
    assert capsys.readouterr().out.splitlines() == ["name     n", " ada     1", "   b  1000"]


@pytest.mark.parametrize(
    "points",
    [[(0, 0.0)], [(1, 5.0), (2, 5.0)], [(0, -1e-6), (3, 1e6)], [(0, 0.31), (30, 0.97)]],
    ids=str,
)
def test_every_chart_is_xml_with_its_points_inside(points: list[tuple[float, float]]) -> None:
    lines = [Series("a < b & c", points), Series("", points, is_faint=True)]
    root = ElementTree.fromstring(chart("t < u", "x", "y", lines))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    drawn = root.findall(".//{*}polyline")
    assert len(drawn) == 2
    for line in drawn:
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    assert "a < b & c" in [text.text for text in root.findall(".//{*}text")]


def test_charts_stand_below_each_other() -> None:
    one = chart("t", "x", "y", [Series("line", [(0, 0), (1, 2)])])
    root = ElementTree.fromstring(stacked([one, one]))
    inner = root.findall("{*}svg")
    assert [float(chart.attrib["y"]) for chart in inner] == [0.0, float(inner[0].attrib["height"])]
    assert float(root.attrib["viewBox"].split()[3]) == 2 * float(inner[0].attrib["height"])


def test_staircase_holds_each_value_until_the_next() -> None:
    assert staircase([]) == []
    assert staircase([(1, 2), (3, 4)]) == [(1, 2), (3, 2), (3, 4)]


def test_failure_and_lateness_are_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    async def failing() -> int:
        raise PeerFailed("peer ada ended with exit code 3")

    async def late() -> int:
        raise TimeoutError

    assert carried_out(failing, 5.0) == 1
    assert carried_out(late, 5.0) == 1
    said = capsys.readouterr().err
    assert "exit code 3" in said
    assert "not done within 5 s" in said


@pytest.mark.slow
@in_loop
async def test_peer_that_fails_is_told_with_what_it_said() -> None:
    async with Peers("examples.common.nowhere", 3, {}) as peers:
        with pytest.raises(PeerFailed, match=r"(?s)peer \w+ ended with 1:.*nowhere"):
            await anext(peers.told())


class Stage:
    """Stands in for an agent whose barriers end as they are told to."""

    id = "ada@ada"

    def __init__(self, outcome: Exception | Release, told: list[Event]) -> None:
        self._outcome = outcome
        self._told = iter(told)
        self.parties: list[int] = []
        self.is_closed = False

    def barrier(self, name: str, *, parties: int, timeout: float, on_departure: str) -> "Stage":
        self.parties.append(parties)
        return self

    def wait(self) -> Release:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def events(self, *patterns: str) -> "Stage":
        return self

    def __iter__(self) -> Iterator[Event]:
        return self._told

    def close(self) -> None:
        self.is_closed = True


def ended(barrier: str, *arrived: str) -> Event:
    return Event("barrier.broken", {"barrier": barrier, "arrived": list(arrived)})


def test_those_who_came_are_the_parties_of_the_next_meeting() -> None:
    both = ("ada@ada", "bela@bela")
    for outcome in (
        Release("b", 1, 0, both, 0.1),
        BarrierBroken("timeout", reason="timeout", arrived=both, missing_count=1),
        MabeamTimeout("it has not heard the end"),
    ):
        stage = Stage(outcome, [ended("other", "chen@chen"), ended("now", *both)])
        meeting = Meeting(cast(Agent, stage), 3)
        assert meeting.meet("now", 5.0) == both
        assert stage.is_closed
        stage._told = iter([ended("then", *both)])
        meeting.meet("then", 5.0)
        assert stage.parties == [3, 2]


def test_meeting_without_this_agent_is_an_error() -> None:
    broken = BarrierBroken("timeout", reason="timeout", arrived=("bela@bela",), missing_count=2)
    with pytest.raises(RuntimeError, match="without ada@ada"):
        Meeting(cast(Agent, Stage(broken, [])), 3).meet("now", 5.0)
