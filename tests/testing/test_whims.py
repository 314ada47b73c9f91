"""The judge of preference is broken by hand, once for each rule."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.events import HandOverBegan, Ready
from mabeam_p2p.ids import PeerId
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import SECOND, Preferences, Processes
from mabeam_p2p.testing.whims import PreferenceJudge
from tests.bad_days.stage import FAIR

B = PeerId("b" * 16)


def judge(clock_spread: float = 0.0) -> PreferenceJudge:
    """Of hand-overs a minute apart, in a run in which the second peer never leads."""
    weather = replace(
        FAIR,
        preferences=Preferences(ineligible=(1,)),
        processes=Processes(clock_spread=clock_spread),
    )
    return PreferenceJudge(weather)


def began(reason: str) -> HandOverBegan:
    return HandOverBegan(B, "b", 3, reason)


def test_hand_overs_by_preference_a_minute_apart_pass_and_are_counted() -> None:
    one = judge()
    for second in (0, 60, 121):
        one.told(began("preferred"), second * SECOND)
    one.told(Ready(), 122 * SECOND)
    assert len(one.preferred) == 3


def test_two_in_less_than_a_minute_are_found() -> None:
    one = judge()
    one.told(began("preferred"), 10 * SECOND)
    with pytest.raises(Violation, match="preference"):
        one.told(began("preferred"), 68 * SECOND)


def test_a_fast_clock_makes_a_shorter_minute() -> None:
    one = judge(clock_spread=0.25)
    one.told(began("preferred"), 10 * SECOND)
    one.told(began("preferred"), 60 * SECOND)
    with pytest.raises(Violation, match="preference"):
        one.told(began("preferred"), 105 * SECOND)


def test_those_that_were_asked_for_may_come_as_often_as_they_are_asked_for() -> None:
    one = judge()
    for second in range(10):
        one.told(began("asked"), second * SECOND)
        one.told(began("leaving"), second * SECOND)
    assert (one.preferred, one.others_count) == ([], 20)


def test_one_that_leads_a_settled_cluster_and_may_not_is_found() -> None:
    one = judge()
    first, second = (Host(number, PeerId("a" * 16), "", 1.0) for number in range(2))
    assert one.lacks(first) == ""
    assert one.lacks(second) == "B leads, and may not"
