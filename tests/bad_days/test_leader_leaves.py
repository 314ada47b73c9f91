"""A leader that leaves by its own will costs less than one that is killed."""

from mabeam_p2p.requests import Leave
from tests.bad_days.stage import Stage


def test_leader_that_leaves_is_followed_by_another_within_a_fraction_of_a_second() -> None:
    stage = Stage("leaving")
    leader = stage.formed()
    stage.run(2.0)
    term = stage.status(leader).term
    stage.ask(leader, Leave())
    stage.run(0.01)
    stage.kill(leader)
    seconds = stage.until(lambda: stage.leader() is not None)
    # Nobody has waited for the silence of the one that left.
    assert seconds < stage.simulator.weather.timing.election_timeout_seconds / 2
    successor = stage.leader()
    assert successor is not None
    assert stage.status(successor).term == term + 1
