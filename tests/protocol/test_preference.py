"""When a leader has another peer take over because it is preferred. Whole seconds and points: a
margin of 20, a dwell time of 10 s, one hand-over a minute."""

import itertools
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.preference import Preference
from mabeam_p2p.records import Standing

A, B, C = (PeerId(letter * 16) for letter in "abc")
TIMING = Timing(preference_dwell_seconds=10.0, preference_interval_seconds=60.0)
MARGIN = 20
OLD = 1000.0
"""A time at which the leader of these tests has led for long."""


def standing(score: int, *, eligible: bool = True, tenure: int = 0) -> Standing:
    return Standing(1, 1, score // 10, tenure, eligible, score)


def in_office(margin: int = MARGIN) -> Preference:
    """Of a leader since 0."""
    preference = Preference(margin, TIMING)
    preference.took_office(0.0)
    return preference


class Leader:
    """One in office for long, and what it sees of the others."""

    def __init__(self, score: int = 50, *, eligible: bool = True, margin: int = MARGIN) -> None:
        self.preference = in_office(margin)
        self.mine = standing(score, eligible=eligible)
        self.ready: Callable[[PeerId], bool] = lambda peer: True

    def sees(self, now: float, **scores: int) -> PeerId | None:
        """scores: of the peers by letter."""
        others = tuple((PeerId(name * 16), standing(score)) for name, score in scores.items())
        return self.preference.consider(self.mine, others, self.ready, OLD + now)


def test_leadership_goes_to_who_is_above_by_the_margin_for_the_dwell_time() -> None:
    leader = Leader()
    assert leader.sees(0, b=70) is None
    assert leader.sees(9.5, b=70) is None
    assert leader.sees(10, b=70) == B


def test_a_lead_of_less_than_the_margin_is_no_reason() -> None:
    leader = Leader()
    for second in range(100):
        assert leader.sees(second, b=69, c=51) is None


def test_with_a_margin_that_no_lead_reaches_leadership_stays() -> None:
    leader = Leader(score=0, margin=101)
    for second in range(100):
        assert leader.sees(second, b=100) is None


def test_a_dip_above_half_the_margin_does_not_begin_the_dwell_time_anew() -> None:
    """The hysteresis: a score that trembles about the margin is preferred all the same."""
    leader = Leader()
    assert leader.sees(0, b=70) is None
    assert leader.sees(5, b=60) is None
    assert leader.sees(10, b=60) is None, "but not while it is below the margin"
    assert leader.sees(11, b=70) == B


def test_a_dip_below_half_the_margin_begins_it_anew() -> None:
    leader = Leader()
    assert leader.sees(0, b=70) is None
    assert leader.sees(5, b=59) is None
    assert leader.sees(10, b=70) is None
    assert leader.sees(19.5, b=70) is None
    assert leader.sees(20, b=70) == B


def test_who_is_not_heard_of_any_more_begins_anew() -> None:
    """A member that is suspect has no standing for the while."""
    leader = Leader()
    assert leader.sees(0, b=90) is None
    assert leader.sees(5) is None
    assert leader.sees(10, b=90) is None
    assert leader.sees(20, b=90) == B


def test_who_is_not_ready_is_not_handed_over_to() -> None:
    """It lags, or its link is slow: preference waits for it, nothing else does."""
    leader = Leader()
    leader.ready = lambda peer: peer != B
    leader.sees(0, b=90, c=75)
    assert leader.sees(10, b=90, c=75) == C
    leader.ready = lambda peer: True
    assert leader.sees(11, b=90, c=75) == B


def test_of_several_the_best_score_is_taken_then_tenure_then_the_smaller_id() -> None:
    leader = Leader()
    for second in (0, 10):
        chosen = leader.sees(second, c=71, b=71, a=70)
    assert chosen == B
    longer = ((B, standing(75)), (C, standing(75, tenure=1)))
    preference = in_office()
    found = [preference.consider(standing(0), longer, leader.ready, s) for s in (60.0, 70.0)]
    assert found == [None, C]


def test_a_new_leader_waits_an_interval_first() -> None:
    """So that hand-overs of different leaders are an interval apart as well."""
    preference = in_office()
    mine, others = standing(0), ((B, standing(100)),)
    for second in range(60):
        assert preference.consider(mine, others, lambda peer: True, second) is None
    assert preference.consider(mine, others, lambda peer: True, 60.0) == B


def test_a_hand_over_that_failed_counts() -> None:
    leader = Leader()
    leader.sees(0, b=90)
    assert leader.sees(10, b=90) == B
    leader.preference.tried(OLD + 10)
    assert leader.sees(69.5, b=90) is None
    assert leader.sees(70, b=90) == B


def test_each_failure_doubles_the_time_to_the_next_attempt_up_to_a_bound() -> None:
    preference = in_office()
    mine, others = standing(0), ((B, standing(100)),)
    now, waits = 1000.0, []
    preference.consider(mine, others, lambda peer: True, now - 100)
    for _ in range(6):
        assert preference.consider(mine, others, lambda peer: True, now) == B
        preference.tried(now)
        preference.failed(now)
        began = now
        while preference.consider(mine, others, lambda peer: True, now) is None:
            now += 30
        waits.append(now - began)
    assert waits == [120, 240, 480, 960, 960, 960]


def test_a_leader_that_may_not_lead_loses_to_anybody_who_may() -> None:
    leader = Leader(score=90, eligible=False)
    assert leader.sees(0, b=0) is None
    assert leader.sees(10, b=0) == B, "after the dwell time: unfit for a moment is no reason"


def test_who_may_not_lead_is_no_challenger() -> None:
    preference = in_office()
    others = ((B, standing(100, eligible=False)),)
    for second in range(2):
        mine = standing(0)
        assert preference.consider(mine, others, lambda peer: True, OLD + 50 * second) is None


def test_it_knows_no_election_and_so_delays_none() -> None:
    """Nothing of it is asked when a leader is lost: who does not lead considers nothing, and has
    been in office for no interval."""
    fresh = Preference(MARGIN, TIMING)
    others = ((B, standing(100)),)
    assert fresh.consider(standing(0), others, lambda peer: True, 1e9) is None


@pytest.mark.slow
@given(
    seed=st.integers(0, 10**6),
    margin=st.integers(1, 101),
    dwell=st.sampled_from([0.5, 3.0, 30.0]),
)
def test_whatever_scores_do_hand_overs_are_an_interval_apart(
    seed: int, margin: int, dwell: float
) -> None:
    """Over a chain of leaders, each of which begins when the last one has handed over or failed."""
    random = Random(seed)
    timing = Timing(preference_dwell_seconds=dwell, preference_interval_seconds=60.0)
    peers = (A, B, C)
    leading, handed = A, []
    preference = Preference(margin, timing)
    preference.took_office(0.0)
    scores = dict.fromkeys(peers, 50)
    for second in range(2_000):
        now = float(second)
        if random.random() < 0.2:
            scores[peers[random.randrange(3)]] = random.randrange(101)
        others = tuple((p, standing(scores[p])) for p in peers if p != leading)
        chosen = preference.consider(standing(scores[leading]), others, lambda peer: True, now)
        if chosen is None:
            continue
        assert scores[chosen] - scores[leading] >= margin
        handed.append(second)
        preference.tried(now)
        if random.random() < 0.3:
            preference.failed(now)
        else:
            leading, preference = chosen, Preference(margin, timing)
            preference.took_office(now + 0.1)
    assert all(later - first >= 60 for first, later in itertools.pairwise(handed))
