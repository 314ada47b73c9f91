import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.events import BudgetChanged
from mabeam_p2p.ids import INTEGER_MAX, SessionId
from mabeam_p2p.records import BudgetChange
from mabeam_p2p.requests import BudgetQuery, Committed, Outcome
from tests.machine.money_log import MoneyLog
from tests.machine.written_log import SECOND, START, reason

ONE, TWO = SessionId(1), SessionId(2)


def nested() -> MoneyLog:
    """`team` of 100, in it `agent` of 60, in it `task` of 50."""
    log = MoneyLog()
    log.attached(3)
    log.set_budget(ONE, 100, "team")
    log.set_budget(ONE, 60, "agent", "team")
    log.set_budget(ONE, 50, "task", "agent")
    return log


def granted(outcome: Outcome) -> int:
    assert isinstance(outcome, Committed), outcome
    return outcome.number


def told(log: MoneyLog) -> list[tuple[str, BudgetChange, int, str]]:
    return [
        (event.budget.name, event.change, event.amount, event.agent)
        for event in log.events
        if isinstance(event, BudgetChanged)
    ]


# ---- reserving and spending ------------------------------------------------------------------


def test_a_reservation_counts_in_its_budget_and_in_all_that_it_is_part_of() -> None:
    log = nested()
    granted(log.reserve(ONE, 40, "task"))
    assert [log.used(name) for name in ("task", "agent", "team")] == [(0, 40)] * 3
    granted(log.reserve(TWO, 20, "agent"))
    assert [log.used(name) for name in ("task", "agent", "team")] == [(0, 40), (0, 60), (0, 60)]


@pytest.mark.parametrize(("budget", "amount"), [("task", 51), ("agent", 61), ("team", 101)])
def test_no_budget_is_exceeded(budget: str, amount: int) -> None:
    log = nested()
    outcome = log.reserve(ONE, amount, budget)
    assert reason(outcome) == "budget_exceeded"
    assert f"in '{budget}'" in str(outcome)
    granted(log.reserve(ONE, amount - 1, budget))


@pytest.mark.fault("E4")
def test_what_a_parent_has_left_bounds_its_parts_and_a_refusal_reserves_nothing() -> None:
    log = nested()
    granted(log.reserve(ONE, 90, "team"))
    outcome = log.reserve(ONE, 11, "task")
    assert reason(outcome) == "budget_exceeded"
    assert "in 'team' 0 are spent and 90 reserved" in str(outcome)
    assert [log.used(name) for name in ("task", "agent", "team")] == [(0, 0), (0, 0), (0, 90)]
    assert log.events == ()


def test_what_was_not_spent_is_free_again() -> None:
    log = nested()
    number = granted(log.reserve(ONE, 40, "task"))
    log.spend(ONE, number, 15, "task")
    assert told(log) == [("task", BudgetChange.SPENT, 15, "a1@p")]
    assert [log.used(name) for name in ("task", "agent", "team")] == [(15, 0)] * 3
    assert reason(log.reserve(ONE, 36, "task")) == "budget_exceeded"
    granted(log.reserve(ONE, 35, "task"))


def test_no_more_is_spent_than_was_reserved_and_the_reservation_stands() -> None:
    log = nested()
    number = granted(log.reserve(ONE, 40, "task"))
    assert reason(log.spend(ONE, number, 41, "task")) == "budget_exceeded"
    assert reason(log.spend(ONE, number, -1, "task")) == "invalid"
    assert log.used("task") == (0, 40)
    assert reason(log.spend(ONE, number, 40, "task")) == ""


def test_a_reservation_ends_once_and_who_asks_again_is_told_the_same() -> None:
    log = nested()
    number = granted(log.reserve(ONE, 40, "task"))
    log.spend(ONE, number, 15, "task")
    assert granted(log.spend(ONE, number, 15, "task")) == number
    assert log.events == ()
    assert reason(log.spend(ONE, number, 40, "task")) == "unknown_reservation"
    assert reason(log.spend(TWO, number, 15, "task")) == "unknown_reservation"
    assert reason(log.spend(ONE, number, 15, "agent")) == "unknown_reservation"
    assert log.used("task") == log.used("team") == (15, 0)


def test_a_reservation_that_is_asked_for_again_is_the_same_one_also_once_it_is_spent() -> None:
    log = nested()
    number = granted(log.reserve(ONE, 40, "task", "r"))
    assert granted(log.reserve(ONE, 40, "task", "r")) == number
    assert log.used("task") == (0, 40)
    for outcome in (
        log.reserve(ONE, 39, "task", "r"),
        log.reserve(ONE, 40, "agent", "r"),
        log.reserve(TWO, 40, "task", "r"),
    ):
        assert reason(outcome) == "conflicting_operation"
    log.spend(ONE, number, 15, "task")
    assert granted(log.reserve(ONE, 40, "task", "r")) == number
    assert log.used("task") == (15, 0)
    assert reason(log.reserve(ONE, 1, "task", "a\n")) == "invalid"


def test_a_reservation_that_ended_with_its_session_is_another_one_when_it_is_asked_for_again() -> (
    None
):
    log = nested()
    number = granted(log.reserve(ONE, 40, "task", "r"))
    log.close(ONE)
    log.attach("a1", session=9)
    nine = SessionId(9)
    assert reason(log.spend(nine, number, 1, "task")) == "unknown_reservation"
    assert granted(log.reserve(nine, 40, "task", "r")) != number
    assert log.used("task") == (0, 40)


def test_the_oldest_reservations_that_were_spent_are_forgotten() -> None:
    log = MoneyLog(Limits(reservations_max=2))
    log.attached(1)
    log.set_budget(ONE, 100)
    numbers = [granted(log.reserve(ONE, 1, operation=f"r{n}")) for n in range(2)]
    for number in numbers:
        log.spend(ONE, number, 1)
    assert granted(log.reserve(ONE, 1, operation="r0")) == numbers[0]
    log.spend(ONE, granted(log.reserve(ONE, 1, operation="r2")), 1)
    assert reason(log.spend(ONE, numbers[0], 1)) == "unknown_reservation"
    assert granted(log.reserve(ONE, 1, operation="r0")) > numbers[1]


def test_a_reservation_is_spent_by_its_agent_alone_and_from_its_budget() -> None:
    log = nested()
    number = granted(log.reserve(ONE, 40, "task"))
    assert reason(log.spend(TWO, number, 1, "task")) == "not_owner"
    assert reason(log.spend(ONE, number, 1, "agent")) == "unknown_reservation"
    assert log.used("task") == (0, 40)


@pytest.mark.parametrize("amount", [0, -1, INTEGER_MAX + 1])
def test_an_amount_is_a_positive_integer_that_can_be_written(amount: int) -> None:
    log = nested()
    assert reason(log.reserve(ONE, amount, "task")) == "invalid"
    assert log.used("task") == (0, 0)


def test_of_an_unknown_budget_nothing_is_reserved() -> None:
    log = nested()
    assert reason(log.reserve(ONE, 1, "other")) == "unknown_budget"


@pytest.mark.fault("E5")
def test_a_session_that_ends_frees_what_its_agent_had_reserved_and_no_more() -> None:
    log = nested()
    spent = granted(log.reserve(ONE, 10, "task"))
    log.spend(ONE, spent, 10, "task")
    granted(log.reserve(ONE, 20, "task"))
    granted(log.reserve(TWO, 5, "task"))
    log.close(ONE)
    assert told(log) == [("task", BudgetChange.RELEASED, 20, "a1@p")]
    assert [log.used(name) for name in ("task", "agent", "team")] == [(10, 5)] * 3
    log.depart(2)
    assert log.used("team") == (10, 0)


# ---- setting ---------------------------------------------------------------------------------


def test_the_limit_is_set_by_who_set_it_first_and_not_below_what_is_in_use() -> None:
    log = nested()
    granted(log.reserve(ONE, 40, "task"))
    assert reason(log.set_budget(TWO, 99, "team")) == "not_owner"
    assert reason(log.set_budget(ONE, 39, "team")) == "budget_exceeded"
    assert reason(log.set_budget(ONE, 40, "team")) == ""
    assert reason(log.reserve(ONE, 1, "task")) == "budget_exceeded"
    assert reason(log.set_budget(ONE, 41, "team")) == ""
    granted(log.reserve(ONE, 1, "task"))


def test_what_a_budget_is_part_of_and_its_window_never_change() -> None:
    log = nested()
    assert reason(log.set_budget(ONE, 60, "agent", "")) == "budget_mismatch"
    assert reason(log.set_budget(ONE, 60, "agent", "task")) == "budget_mismatch"
    assert reason(log.set_budget(ONE, 60, "agent", "team", SECOND)) == "budget_mismatch"
    assert reason(log.set_budget(ONE, 60, "agent", "team")) == ""


def test_a_budget_is_removed_once_nothing_depends_on_it() -> None:
    log = nested()
    number = granted(log.reserve(ONE, 40, "task"))
    assert reason(log.set_budget(ONE, None, "task")) == "budget_in_use"
    assert reason(log.set_budget(ONE, None, "agent")) == "budget_in_use"
    log.spend(ONE, number, 10, "task")
    assert reason(log.set_budget(ONE, None, "agent")) == "budget_in_use"
    assert reason(log.set_budget(TWO, None, "task")) == "not_owner"
    assert reason(log.set_budget(ONE, None, "task")) == ""
    assert reason(log.set_budget(ONE, None, "task")) == "unknown_budget"
    assert reason(log.set_budget(ONE, None, "agent")) == ""
    # What was spent in a part stays spent.
    assert log.used("team") == (10, 0)


@pytest.mark.parametrize(
    ("name", "limit", "parent", "window", "why"),
    [
        ("", 1, "", 0, "invalid"),
        ("a\n", 1, "", 0, "invalid"),
        ("b", -1, "", 0, "invalid"),
        ("b", INTEGER_MAX + 1, "", 0, "invalid"),
        ("b", 1, "nobody's", 0, "unknown_budget"),
        ("b", 1, "b", 0, "unknown_budget"),
        ("b", 1, "", -1, "invalid"),
        ("b", 1, "", INTEGER_MAX - START, "invalid"),
    ],
)
def test_a_malformed_budget_is_not_set(
    name: str, limit: int, parent: str, window: int, why: str
) -> None:
    log = MoneyLog()
    log.attached(1)
    assert reason(log.set_budget(ONE, limit, name, parent, window)) == why
    assert log.machine.find(BudgetQuery("")).budgets == ()


def test_tables_are_bounded() -> None:
    log = MoneyLog(Limits(budgets_max=2, budget_depth_max=2, reservations_max=1))
    log.attached(1)
    log.set_budget(ONE, 10, "a")
    log.set_budget(ONE, 10, "b", "a")
    assert reason(log.set_budget(ONE, 10, "c", "b")) == "limit"
    assert reason(log.set_budget(ONE, 10, "c")) == "limit"
    granted(log.reserve(ONE, 1, "b"))
    assert reason(log.reserve(ONE, 1, "b")) == "limit"
    assert log.used("a") == (0, 1)


def test_budgets_nest_as_deep_as_the_limit_and_no_deeper() -> None:
    log = MoneyLog(Limits(budget_depth_max=2))
    log.attached(1)
    for name, parent in (("a", ""), ("b", "a")):
        assert reason(log.set_budget(ONE, 10, name, parent)) == ""
    assert reason(log.set_budget(ONE, 10, "c", "b")) == "limit"
    assert reason(log.set_budget(ONE, 10, "c", "a")) == ""


# ---- windows ---------------------------------------------------------------------------------


def test_a_window_that_ends_forgets_what_was_spent_in_it_but_nothing_that_is_reserved() -> None:
    log = MoneyLog()
    log.attached(1)
    log.set_budget(ONE, 10, "b", window=10 * SECOND)
    opened = log.budget().opened_clock
    assert log.machine.next_deadline() is None
    first, second = granted(log.reserve(ONE, 6)), granted(log.reserve(ONE, 4))
    log.spend(ONE, first, 6)
    assert log.machine.next_deadline() == opened + 10 * SECOND
    assert reason(log.reserve(ONE, 1)) == "budget_exceeded"
    log.pass_time(10 * SECOND)
    assert told(log) == [("b", BudgetChange.RESET, 6, "")]
    assert log.used() == (0, 4)
    log.spend(ONE, second, 4)
    assert log.used() == (4, 0)


def test_windows_follow_each_other_from_the_beginning_of_the_budget() -> None:
    log = MoneyLog()
    log.attached(1)
    log.set_budget(ONE, 10, "b", window=10 * SECOND)
    opened = log.budget().opened_clock
    log.pass_time(34 * SECOND)
    log.spend(ONE, granted(log.reserve(ONE, 6)), 6)
    log.spend(ONE, granted(log.reserve(ONE, 1)), 1)
    assert log.budget().window_end == opened + 40 * SECOND
    log.pass_time(6 * SECOND)
    assert (log.used(), log.budget().window_end) == ((0, 0), 0)
    assert log.machine.next_deadline() is None


def test_each_budget_has_a_window_of_its_own() -> None:
    log = MoneyLog()
    log.attached(1)
    log.set_budget(ONE, 10, "year")
    log.set_budget(ONE, 6, "day", "year", 10 * SECOND)
    log.spend(ONE, granted(log.reserve(ONE, 6, "day")), 6, "day")
    log.pass_time(10 * SECOND)
    assert (log.used("day"), log.used("year")) == ((0, 0), (6, 0))
    assert reason(log.reserve(ONE, 5, "day")) == "budget_exceeded"
    granted(log.reserve(ONE, 4, "day"))


def test_a_budget_that_is_removed_has_no_window_left() -> None:
    log = MoneyLog()
    log.attached(1)
    log.set_budget(ONE, 10, "b", window=10 * SECOND)
    log.spend(ONE, granted(log.reserve(ONE, 6)), 6)
    log.set_budget(ONE, None)
    assert log.machine.next_deadline() is None


# ---- in any order ----------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c", "d"])
Step = tuple[str, int, str, str, int]


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "reserve", "reserve", "spend", "spend", "close", "pass"]),
            st.integers(1, 3),
            names,
            st.one_of(st.just(""), names),
            st.integers(0, 30),
        ),
        max_size=60,
    )
)
def test_in_any_order_no_budget_holds_more_than_its_limit(steps: list[Step]) -> None:
    # The log audits every batch: each budget holds what its reservations say, within its limit.
    log = MoneyLog()
    live = dict(enumerate(log.attached(3), 1))
    fresh = 100
    for verb, agent, name, parent, amount in steps:
        session = live[agent]
        match verb:
            case "set":
                window = 5 if amount % 2 else 0
                log.set_budget(session, amount or None, name, parent, window)
            case "reserve":
                log.reserve(session, amount, name, "" if amount % 3 else f"o{amount}")
            case "spend":
                standing = log.reservations()
                if standing:
                    one = standing[amount % len(standing)]
                    log.spend(session, one.number, amount, one.budget)
            case "close":
                fresh += 1
                log.close(session)
                log.attach(f"a{agent}", session=fresh, peer=agent)
                live[agent] = SessionId(fresh)
                assert all(one.agent != f"a{agent}@p" for one in log.reservations())
            case _:
                log.pass_time(1 + amount)
    for session in live.values():
        log.close(session)
    assert all(budget.reserved == 0 for budget in log.machine.find(BudgetQuery("")).budgets)
