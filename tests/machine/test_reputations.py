from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import Rate
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX, AgentId, SessionId
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.machine.reputations import EPOCH, Reputations, ReputationsState, forgotten
from mabeam_p2p.records import Reputation
from tests.machine.money_log import MoneyLog
from tests.machine.written_log import SECOND, reason

ONE, TWO, THREE = SessionId(1), SessionId(2), SessionId(3)
A1, A2, A3 = "a1@p", "a2@p", "a3@p"
PRIOR = 1_000


def started(limits: Limits | None = None) -> MoneyLog:
    log = MoneyLog(limits)
    log.attached(3)
    return log


def known(log: MoneyLog, agent: str, skill: str = "judge") -> tuple[int, int, int]:
    """Alpha, beta and count."""
    found = log.reputation(agent, skill)
    assert found is not None
    return found.alpha, found.beta, found.count


# ---- deals -----------------------------------------------------------------------------------


def test_a_paid_hold_between_two_agents_is_a_deal() -> None:
    log = started()
    assert log.deal(ONE, A2) == "hold/h"
    (deal,) = log.deals()
    assert (deal.name, deal.one, deal.other, deal.ratings) == ("hold/h", A1, A2, ())
    assert log.deals(A2) == (deal,)
    assert log.deals(A3) == ()


def test_what_is_paid_in_parts_is_one_deal() -> None:
    log = started()
    log.mint(ONE, 10)
    log.place(ONE, 10, payee=A2, timeout=SECOND)
    log.capture(ONE, 4)
    log.capture(ONE, 4)
    assert len(log.deals()) == 1


def test_money_of_groups_and_money_given_back_make_no_deal() -> None:
    log = started()
    log.mint(ONE, 10, "treasury")
    log.place(ONE, 5, "treasury")
    log.capture(ONE, 5)
    log.mint(ONE, 10)
    log.place(ONE, 5, name="to the treasury")
    log.capture(ONE, 5, "treasury", "to the treasury")
    log.place(ONE, 5, name="back")
    log.release(ONE, "back")
    assert log.deals() == ()


# ---- ratings ---------------------------------------------------------------------------------


@pytest.mark.fault("E8")
def test_each_party_of_a_deal_rates_the_other_once() -> None:
    log = started()
    deal = log.deal(ONE, A2)
    assert reason(log.rate(ONE, deal, 800)) == ""
    assert known(log, A2) == (PRIOR + 800, PRIOR + 200, 1)
    assert log.reputation(A1) is None
    assert reason(log.rate(TWO, deal, 1_000)) == ""
    assert known(log, A1) == (2 * PRIOR, PRIOR, 1)
    assert reason(log.rate(ONE, deal, 800)) == ""
    assert log.events == ()
    assert reason(log.rate(ONE, deal, 801)) == "conflicting_rating"
    assert reason(log.rate(ONE, deal, 800, "other skill")) == "conflicting_rating"
    assert known(log, A2) == (PRIOR + 800, PRIOR + 200, 1)


def test_who_was_no_party_rates_nobody() -> None:
    log = started()
    deal = log.deal(ONE, A2)
    assert reason(log.rate(THREE, deal, 0)) == "not_party"
    assert reason(log.rate(ONE, "hold/other", 0)) == "unknown_deal"
    assert log.reputation(A2) is None


@pytest.mark.parametrize(("skill", "score"), [("", 1), ("a\n", 1), ("x", -1), ("x", 1_001)])
def test_a_malformed_rating_is_not_counted(skill: str, score: int) -> None:
    log = started()
    assert reason(log.rate(ONE, log.deal(ONE, A2), score, skill)) == "invalid"
    assert log.reputation(A2, skill or "x") is None


def test_skills_are_apart() -> None:
    log = started()
    log.rate(ONE, log.deal(ONE, A2, "h1"), 1_000, "speed")
    log.rate(ONE, log.deal(ONE, A2, "h2"), 0, "care")
    assert known(log, A2, "speed") == (2 * PRIOR, PRIOR, 1)
    assert known(log, A2, "care") == (PRIOR, 2 * PRIOR, 1)


def test_the_oldest_deals_can_no_longer_be_rated() -> None:
    log = started(Limits(deals_max=1))
    first = log.deal(ONE, A2, "h1")
    log.deal(ONE, A2, "h2")
    assert reason(log.rate(ONE, first, 1)) == "unknown_deal"


def test_a_full_table_makes_room_by_what_has_been_forgotten() -> None:
    log = started(Limits(reputations_max=1))
    log.rate(ONE, log.deal(ONE, A2, "h1"), 1_000)
    later = log.deal(ONE, A3, "h2")
    assert reason(log.rate(ONE, later, 1_000)) == "limit"
    log.pass_time(EPOCH * 400)
    assert reason(log.rate(ONE, later, 1_000)) == ""
    assert log.reputation(A2) is None
    assert known(log, A3) == (2 * PRIOR, PRIOR, 1)


# ---- forgetting ------------------------------------------------------------------------------


@pytest.mark.fault("E7")
def test_evidence_is_forgotten_by_a_twentieth_each_epoch_down_to_the_prior() -> None:
    log = started()
    log.rate(ONE, log.deal(ONE, A2), 1_000)
    log.pass_time(EPOCH)
    assert known(log, A2) == (PRIOR + 950, PRIOR, 1)
    log.pass_time(EPOCH)
    assert known(log, A2) == (PRIOR + 902, PRIOR, 1)
    log.pass_time(EPOCH * 500)
    assert known(log, A2) == (PRIOR, PRIOR, 1)


@given(
    st.integers(0, 2**53 - 1 - PRIOR),
    st.integers(0, 2**53 - 1 - PRIOR),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_forgetting_at_once_is_forgetting_epoch_by_epoch(
    alpha: int, beta: int, first: int, second: int
) -> None:
    one = Reputation(AgentId(A1), "s", PRIOR + alpha, PRIOR + beta, 7, 1)
    at_once = forgotten(one, 7 + first + second)
    assert forgotten(forgotten(one, 7 + first), 7 + first + second) == at_once
    assert PRIOR <= at_once.alpha <= one.alpha
    assert PRIOR <= at_once.beta <= one.beta
    assert 0 < at_once.alpha < at_once.alpha + at_once.beta


# ---- in any order ----------------------------------------------------------------------------


def counted(ratings: tuple[tuple[int, int], ...]) -> dict[tuple[str, str], Reputation]:
    """Reputations after these ratings, each of a deal of its own: (rater, score)."""
    log = started()
    deals = [log.deal(SessionId(1 + at % 2), (A2, A1)[at % 2], f"h{at}") for at in range(4)]
    for at, score in ratings:
        assert reason(log.rate(SessionId(1 + at % 2), deals[at], score)) == ""
    return {(one, "judge"): found for one in (A1, A2) if (found := log.reputation(one))}


@pytest.mark.fault("E6")
@settings(max_examples=10)
@given(st.tuples(*[st.integers(0, 1_000)] * 4))
def test_within_an_epoch_the_order_of_ratings_does_not_matter(scores: tuple[int, ...]) -> None:
    expected = counted(tuple(enumerate(scores)))
    for order in permutations(enumerate(scores)):
        assert counted(order) == expected


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 1_000)), max_size=40),
    st.integers(0, 3),
)
def test_an_expectation_stays_between_nothing_and_one_and_every_rating_is_counted_once(
    ratings: list[tuple[int, bool, int]], epochs: int
) -> None:
    log = started()
    deals = [log.deal(ONE, A2, f"h{at}") for at in range(4)]
    first: dict[tuple[int, bool], int] = {}
    for at, by_payer, score in ratings:
        outcome = log.rate(ONE if by_payer else TWO, deals[at], score)
        expected = first.setdefault((at, by_payer), score)
        assert reason(outcome) == ("" if score == expected else "conflicting_rating")
    for agent, by_payer in ((A2, True), (A1, False)):
        scores = [score for (_, side), score in first.items() if side is by_payer]
        if scores:
            alpha, beta, count = known(log, agent)
            assert (alpha, count) == (PRIOR + sum(scores), len(scores))
            assert beta == PRIOR + 1_000 * len(scores) - sum(scores)
    log.pass_time(EPOCH * epochs + 1)
    for agent in (A1, A2):
        found = log.reputation(agent)
        assert found is None or 0 < found.alpha < found.alpha + found.beta


def test_a_deal_of_an_agent_with_itself_or_told_twice_is_none() -> None:
    reputations = Reputations(Limits(), [])
    entry = Entry(1, 1, 0)
    reputations.settled(entry, "task/1", AgentId(A1), AgentId(A1))
    assert reputations.deals("") == ()
    reputations.settled(entry, "task/1", AgentId(A1), AgentId(A2))
    reputations.settled(Entry(2, 1, 0), "task/1", AgentId(A1), AgentId(A3))
    (deal,) = reputations.deals("")
    assert (deal.other, deal.index) == (A2, 1)


@pytest.mark.parametrize(("alpha", "beta"), [(INTEGER_MAX, PRIOR), (PRIOR, INTEGER_MAX)])
def test_evidence_that_cannot_be_written_is_refused_and_counts_nothing(
    alpha: int, beta: int
) -> None:
    """Neither half of a reputation grows beyond what every peer can read."""
    reputations = Reputations(Limits(), [])
    known = Reputation(AgentId(A2), "judge", alpha, beta, 0, 1)
    reputations.load(ReputationsState((known,)))
    reputations.settled(Entry(1, 1, 0), "task/1", AgentId(A1), AgentId(A2))
    rate = Rate(ONE, 1, "task/1", "judge", 500)
    assert reason(reputations.apply(Entry(2, 1, 0), AgentId(A1), rate)) == "overflow"
    assert reputations.reputations(A2, "judge", 0) == (known,)
