"""Before everybody is back, some majority of the voters has to get on alone."""

import pytest

from mabeam_p2p.messages import Form, Frame
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


def test_a_majority_that_has_only_promised_waits_for_who_formed_the_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial("promised", fair(3))
    simulator = trial.simulator
    send = simulator.links.send

    def send_but_for_forms(source: int, target: int, address: str, frame: Frame) -> None:
        if not any(isinstance(message, Form) for message in frame.messages):
            send(source, target, address, frame)

    monkeypatch.setattr(simulator.links, "send", send_but_for_forms)
    trial.storm(0)
    while not any(host.disk.log.batches for host in simulator.hosts):
        simulator.run_until(simulator.now + 100)
    formed = [host for host in simulator.hosts if host.disk.log.batches]
    assert len(formed) == 1, "the others have heard of it"
    simulator.crash(formed[0])
    monkeypatch.setattr(simulator.links, "send", send)

    def last(hosts: list[Host]) -> None:
        """The core is made up from the end, of two: the one that has the log is not in it."""
        hosts.sort(key=formed.__contains__, reverse=True)

    monkeypatch.setattr(trial._starts, "shuffle", last)
    trial.settle()
    assert simulator.checkers.committed.index > 1
