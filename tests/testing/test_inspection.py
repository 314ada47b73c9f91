"""What is read from a node itself is judged, and what is lawful is let pass."""

import pytest

from mabeam_p2p.effects import Persist, Resolve
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.replication.progress import Progress
from mabeam_p2p.records import KnownAddresses
from mabeam_p2p.requests import Done
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.inspection import check_figures
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, fair


@pytest.fixture
def led() -> tuple[Trial, Host]:
    """A cluster of three that works, and its leader's host."""
    trial = Trial("figures", fair(3))
    trial.storm(4 * SECOND)
    for host in trial.simulator.hosts:
        if host.node is not None and host.node.replication.leadership is not None:
            return trial, host
    raise AssertionError("nobody leads in fair weather")


def progress_of(host: Host) -> dict[PeerId, Progress]:
    assert host.node is not None
    leadership = host.node.replication.leadership
    assert leadership is not None
    return dict(leadership.progress)


def test_i10_match_index_that_goes_back_is_seen(led: tuple[Trial, Host]) -> None:
    trial, host = led
    assert host.node is not None
    check_figures(trial.simulator.checkers, host, host.node)
    next(iter(progress_of(host).values())).match_index -= 1
    with pytest.raises(Violation, match=r"^I10: .* go back"):
        check_figures(trial.simulator.checkers, host, host.node)


def test_i10_follower_that_is_counted_anew_is_lawful(led: tuple[Trial, Host]) -> None:
    """A learner that was given up within a turn, and has come back in the same one."""
    trial, host = led
    node = host.node
    assert node is not None
    assert node.replication.leadership is not None
    check_figures(trial.simulator.checkers, host, node)
    for peer, progress in progress_of(host).items():
        assert progress.match_index > 0
        node.replication.leadership.progress[peer] = anew = Progress(progress.sent_index, 0.0)
        anew.match_index = 1
    check_figures(trial.simulator.checkers, host, node)
    assert [index for progress, index in host.matches.values()] == [1, 1]


def test_an_answer_is_judged_by_all_that_its_input_has_written(led: tuple[Trial, Host]) -> None:
    """One frame can bring what answers an agent, and then a log that takes the place of another."""
    trial, host = led
    simulator, written = trial.simulator, host.written
    seen: list[int] = []
    host.waiting[-1] = lambda answer: seen.append(host.written)
    record = KnownAddresses(())
    simulator._execute(host, (Resolve(-1, Done()), Persist(written + 1, record)))
    assert seen == [written + 1]
