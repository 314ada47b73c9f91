"""Before everybody is back, some majority of the voters has to get on alone."""

import pytest

from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, fair


@pytest.fixture
def trial() -> Trial:
    made = Trial("core", fair(5))
    made.storm(5 * SECOND)
    return made


def test_a_majority_is_enough_and_nobody_else_runs_meanwhile(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[int] = []
    start = Trial._start

    def seen(self: Trial, host: Host) -> None:
        start(self, host)
        running.append(sum(one.node is not None for one in self.simulator.hosts))

    monkeypatch.setattr(Trial, "_start", seen)
    before = trial.simulator.checkers.committed.index
    trial.settle()
    assert running[:3] == [3, 3, 3]
    assert running[-1] == 5
    assert trial.simulator.checkers.committed.index > before


def test_a_majority_that_gets_nowhere_is_seen(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial.simulator.links, "send", lambda *arguments: None)
    with pytest.raises(Violation, match=r"^liveness: \w{3}, a majority, have committed nothing"):
        trial.settle()
