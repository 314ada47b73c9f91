"""A member that lies, which is no voter, breaks nothing among the others."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.requests import ChangeVoters
from mabeam_p2p.testing.hostile import KINDS
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.trial import Trial, judge
from mabeam_p2p.testing.weather import SECOND, draw, fair


def trial(seed: int) -> Trial:
    weather = draw(Simulator.stream_of(seed, "weather"))
    return Trial(seed, replace(weather, peers=5, expect=3, hostile=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_rule_is_broken_among_the_others(seed: int) -> None:
    one = trial(seed)
    report = judge(one, 6 * SECOND)
    assert report.violation is None


@pytest.mark.slow
def test_it_gets_a_word_in_and_the_others_go_on() -> None:
    one = Trial("hostile 1", replace(fair(4), expect=3, hostile=True))
    one.storm(20 * SECOND)
    assert one.hostile is not None
    assert one.hostile.said > 200
    assert one.workload.acknowledged > 30
    [liar] = one.simulator.checkers.liars
    assert liar not in one.simulator.checkers.committed.log.voters


def test_a_run_in_which_others_let_the_liar_vote_ends_there_and_says_so() -> None:
    """What it has said of its own log is counted from then on: nothing can be promised, or judged.
    Before, it is a member like any other, whom a command can promote."""
    one = Trial("hostile 1", replace(fair(4), expect=3, hostile=True))

    def promote() -> None:
        [liar] = one.simulator.checkers.liars
        wish = ChangeVoters(liar, True, 0, 5.0)
        one.simulator.ask(one.simulator.hosts[0], wish, lambda answer: None)

    one.simulator.at(5 * SECOND, promote)
    report = judge(one, 20 * SECOND)
    assert report.violation is None
    assert report.liar_votes
    assert 5 <= report.seconds < 7


def test_the_liar_is_one_member_for_the_whole_run() -> None:
    one = trial(3)
    judge(one, 6 * SECOND)
    assert one.liar is not None
    assert all(peer in one.simulator.checkers.ghosts for peer in one.simulator.checkers.liars)
    assert len(one.simulator.checkers.liars) <= one.liar.identities


def test_what_the_wire_refuses_is_not_said() -> None:
    one = Trial("hostile 1", replace(fair(4), expect=3, hostile=True))
    one.storm(5 * SECOND)
    assert one.hostile is not None
    liar, other = one.simulator.hosts[3].node, one.simulator.hosts[0].node
    assert liar is not None
    assert other is not None
    frames = [one.hostile.frame(liar, other) for _ in range(2_000)]
    kinds = {type(message) for frame in frames if frame for message in frame.messages}
    assert None in frames
    assert len(kinds) > len(KINDS) // 2
