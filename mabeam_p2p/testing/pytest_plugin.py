"""A pytest plugin for those who build on the package: `pytest_plugins` or `-p` with this module.

The fixture `trial` makes simulated clusters; a test that fails after it has made one is told how to
replay it. The seed is `--simulation-seed`, by default 0.
"""

from collections.abc import Callable, Iterator

import pytest

from mabeam_p2p.testing.trial import Trial, replay_command
from mabeam_p2p.testing.weather import Weather

MakeTrial = Callable[..., Trial]
_MADE = pytest.StashKey[list[int | str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mabeam_p2p")
    group.addoption("--simulation-seed", type=int, default=0, help="seed of simulated clusters")


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> MakeTrial:
    """Call it with a seed and a Weather, both optional, for a Trial that has not begun."""
    made: list[int | str] = []
    request.node.stash[_MADE] = made

    def make(seed: int | str | None = None, weather: Weather | None = None) -> Trial:
        chosen = request.config.getoption("--simulation-seed") if seed is None else seed
        made.append(chosen)
        return Trial(chosen, weather)

    return make


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    seeds = item.stash.get(_MADE, [])
    if report.when == "call" and report.failed and seeds:
        commands = "\n".join(f"{replay_command(seed)} --trace" for seed in seeds)
        report.sections.append(("replay, if the weather was drawn", commands))
