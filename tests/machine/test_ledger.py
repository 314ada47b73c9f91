import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyLedgerCommand,
    Burn,
    CaptureHold,
    Mint,
    PlaceHold,
    ReleaseHold,
    Transfer,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX, SessionId
from mabeam_p2p.machine.machine import MachineState
from mabeam_p2p.records import MovementKind
from mabeam_p2p.requests import AccountQuery, Committed, HoldQuery, Outcome
from tests.machine.money_log import GPU, MoneyLog
from tests.machine.written_log import SECOND, START, reason

ONE, TWO = SessionId(1), SessionId(2)
A1, A2, A3 = "a1@p", "a2@p", "a3@p"


def funded(amount: int = 100, limits: Limits | None = None) -> MoneyLog:
    """Three agents, of whom the first has so much."""
    log = MoneyLog(limits)
    log.attached(3)
    assert reason(log.mint(ONE, amount)) == ""
    return log


def number(outcome: Outcome) -> int:
    assert isinstance(outcome, Committed)
    return outcome.number


# ---- minting, moving, burning ----------------------------------------------------------------


def test_who_first_mints_a_currency_is_its_issuer_for_good() -> None:
    log = funded()
    assert (log.currency().issuer, log.currency().minted) == (A1, 100)
    assert reason(log.mint(TWO, 1, A2)) == "not_issuer"
    log.close(ONE)
    assert reason(log.mint(TWO, 1, A2)) == "not_issuer"
    log.attach("a1", session=9)
    assert reason(log.mint(SessionId(9), 1)) == ""
    assert log.account(A1) == (101, 0)


def test_a_transfer_takes_from_one_what_it_gives_to_the_other() -> None:
    log = funded()
    outcome = log.transfer(ONE, 30)
    assert number(outcome) == 2
    assert (log.account(A1), log.account(A2)) == ((70, 0), (30, 0))
    (moved,) = log.moved()
    assert (moved.kind, moved.source, moved.target, moved.amount, moved.agent) == (
        MovementKind.TRANSFER,
        A1,
        A2,
        30,
        A1,
    )


def test_nobody_spends_more_than_the_balance_and_nothing_is_half_done() -> None:
    log = funded()
    before = log.accounts()
    outcome = log.transfer(ONE, 101)
    assert reason(outcome) == "insufficient_funds"
    assert "has 100 micro-units of 'gpu', not 101" in str(outcome)
    assert log.events == ()
    assert reason(log.place(ONE, 101)) == "insufficient_funds"
    assert reason(log.burn(ONE, 101)) == "insufficient_funds"
    assert reason(log.transfer(TWO, 1, A2, A1)) == "insufficient_funds"
    assert log.accounts() == before
    assert reason(log.transfer(ONE, 100)) == ""
    assert log.account(A1) == (0, 0)


@pytest.mark.parametrize("amount", [0, -1, -(2**60), INTEGER_MAX + 1])
def test_an_amount_is_a_positive_integer_that_can_be_written(amount: int) -> None:
    log = funded()
    log.place(ONE, 10, name="held")
    before = log.accounts()
    assert reason(log.mint(ONE, amount)) == "invalid"
    assert reason(log.transfer(ONE, amount)) == "invalid"
    assert reason(log.burn(ONE, amount)) == "invalid"
    assert reason(log.place(ONE, amount)) == "invalid"
    assert reason(log.capture(ONE, amount, name="held")) == "invalid"
    assert log.accounts() == before


def test_no_more_is_ever_minted_than_can_be_written() -> None:
    log = funded(INTEGER_MAX - 5)
    outcome = log.mint(ONE, 6)
    assert reason(outcome) == "overflow"
    assert reason(log.mint(ONE, 5)) == ""
    # What was burned was minted: the figure that can be written is that of all that ever was.
    assert reason(log.burn(ONE, 10)) == ""
    assert reason(log.mint(ONE, 1)) == "overflow"
    assert log.account(A1) == (INTEGER_MAX - 10, 0)


def test_the_issuer_alone_burns_and_what_it_owns_alone() -> None:
    log = funded()
    log.transfer(ONE, 40)
    assert reason(log.burn(TWO, 1, A2)) == "not_issuer"
    assert reason(log.burn(ONE, 1, A2)) == "not_owner"
    assert reason(log.burn(ONE, 60)) == ""
    assert (log.currency().minted, log.currency().burned) == (100, 60)
    assert log.accounts()[0].account == A2


def test_money_of_an_unknown_currency_cannot_be_moved() -> None:
    log = funded()
    assert reason(log.transfer(ONE, 1, currency="gold")) == "unknown_currency"


def test_an_account_does_not_pay_itself() -> None:
    log = funded()
    assert reason(log.transfer(ONE, 1, A1, A1)) == "invalid"
    assert reason(log.place(ONE, 1, payee=A1, timeout=SECOND)) == "invalid"
    log.place(ONE, 1)
    assert reason(log.capture(ONE, 1, A1)) == "invalid"


@pytest.mark.parametrize(
    "account", ["", "a\n", "a1@", "@p", "a1@p@q", "all:x", "no name:x", "lab:", "x" * 257]
)
def test_money_goes_to_what_can_be_an_account_only(account: str) -> None:
    log = funded()
    assert reason(log.mint(ONE, 1, account)) == "invalid"
    assert reason(log.transfer(ONE, 1, A1, account)) == "invalid"


# ---- whose money it is -----------------------------------------------------------------------


def test_an_agents_money_is_moved_by_that_agent_alone() -> None:
    log = funded()
    assert reason(log.transfer(TWO, 1, A1, A2)) == "not_owner"
    assert reason(log.place(TWO, 1, A1)) == "not_owner"


def test_a_groups_money_is_moved_by_whoever_is_in_the_group_then() -> None:
    log = MoneyLog()
    log.attached(1, groups=("lab",))
    log.attach("a2", session=2, peer=2)
    log.mint(ONE, 10, "lab:purse")
    assert reason(log.transfer(TWO, 1, "lab:purse", A2)) == "not_owner"
    assert reason(log.transfer(ONE, 1, "lab:purse", A2)) == ""
    log.mint(ONE, 10, "treasury")
    assert reason(log.transfer(TWO, 1, "treasury", A2)) == ""


def test_what_an_agent_has_when_its_session_ends_it_has_when_it_comes_back() -> None:
    log = funded()
    log.place(ONE, 30)
    log.close(ONE)
    assert log.account(A1) == (70, 30)
    log.attach("a1", session=9)
    assert reason(log.release(SessionId(9))) == ""
    assert log.account(A1) == (100, 0)


# ---- operations ------------------------------------------------------------------------------


@pytest.mark.fault("E3")
def test_an_operation_that_comes_again_from_another_session_has_the_same_outcome() -> None:
    log = funded()
    first = log.transfer(ONE, 30, operation="pay")
    assert log.transfer(ONE, 30, operation="pay") == first
    log.close(ONE)
    log.attach("a1", session=9)
    assert log.transfer(SessionId(9), 30, operation="pay") == first
    assert log.events == ()
    assert (log.account(A1), log.account(A2)) == ((70, 0), (30, 0))


def test_an_operation_with_other_content_is_refused() -> None:
    log = funded()
    log.transfer(ONE, 30, operation="pay")
    for outcome in (
        log.transfer(ONE, 31, operation="pay"),
        log.transfer(ONE, 30, target=A3, operation="pay"),
        log.mint(ONE, 30, operation="pay"),
        log.transfer(TWO, 30, operation="pay"),
        log.transfer(TWO, 1, A2, A1, operation="pay"),
    ):
        assert reason(outcome) == "conflicting_operation"
    assert (log.account(A1), log.account(A2)) == ((70, 0), (30, 0))


def test_a_refused_operation_changed_nothing_and_can_be_tried_again() -> None:
    log = funded()
    assert reason(log.transfer(TWO, 30, A2, A3, operation="pay")) == "insufficient_funds"
    log.transfer(ONE, 30)
    assert reason(log.transfer(TWO, 30, A2, A3, operation="pay")) == ""
    assert reason(log.transfer(TWO, 30, A2, A3, operation="pay")) == ""
    assert log.account(A3) == (30, 0)


def test_the_oldest_operations_are_forgotten() -> None:
    log = funded(limits=Limits(operations_max=2))
    first = log.transfer(ONE, 1, operation="x")
    log.transfer(ONE, 1, operation="y")
    assert log.transfer(ONE, 1, operation="x") == first
    log.transfer(ONE, 1, operation="z")
    assert log.account(A2) == (3, 0)
    assert log.transfer(ONE, 1, operation="x") != first
    assert log.account(A2) == (4, 0)


def test_an_operation_needs_a_usable_id_and_a_note_is_short() -> None:
    log = funded()
    for operation in ("a\n", "x" * 257):
        assert reason(log.transfer(ONE, 1, operation=operation)) == "invalid"
    long = Transfer(ONE, log.next(ONE), "op", A1, A2, GPU, 1, "x" * 257)
    assert reason(log.apply(long)) == "too_large"


# ---- holds -----------------------------------------------------------------------------------


def test_what_is_held_cannot_be_spent_and_is_paid_in_parts_or_given_back() -> None:
    log = funded()
    log.place(ONE, 60)
    assert log.account(A1) == (40, 60)
    assert reason(log.transfer(ONE, 41)) == "insufficient_funds"
    assert reason(log.capture(ONE, 25)) == ""
    assert (log.account(A1), log.account(A2)) == ((40, 35), (25, 0))
    assert reason(log.capture(ONE, 36)) == "insufficient_funds"
    assert reason(log.release(ONE)) == ""
    assert log.account(A1) == (75, 0)
    assert log.holds() == ()


def test_a_hold_that_has_ended_is_neither_captured_nor_released_again() -> None:
    log = funded()
    log.place(ONE, 60)
    log.capture(ONE, 60)
    assert reason(log.capture(ONE, 60)) == "unknown_hold"
    assert reason(log.release(ONE)) == "unknown_hold"
    log.place(ONE, 40, name="other")
    log.release(ONE, "other")
    assert reason(log.release(ONE, "other")) == "unknown_hold"
    assert (log.account(A1), log.account(A2)) == ((40, 0), (60, 0))


def test_what_is_held_for_a_payee_goes_to_it_alone_and_only_it_gives_it_back() -> None:
    log = funded()
    log.place(ONE, 60, payee=A2, timeout=10 * SECOND)
    assert reason(log.release(ONE)) == "not_owner"
    assert reason(log.capture(ONE, 10, A3)) == "not_owner"
    assert reason(log.capture(SessionId(3), 10, A2)) == "not_owner"
    assert reason(log.capture(TWO, 10, A2)) == ""
    assert reason(log.capture(ONE, 10, A2)) == ""
    assert reason(log.release(TWO)) == ""
    assert (log.account(A1), log.account(A2)) == ((80, 0), (20, 0))


def test_a_promise_has_a_deadline_so_that_nothing_is_held_for_ever() -> None:
    log = funded()
    assert reason(log.place(ONE, 60, payee=A2)) == "invalid"
    assert reason(log.place(ONE, 60, payee=A2, timeout=INTEGER_MAX - START)) == "invalid"


def test_a_hold_is_given_back_by_the_clock_of_the_log() -> None:
    log = funded()
    log.place(ONE, 60, payee=A2, timeout=SECOND)
    log.capture(TWO, 10)
    assert log.machine.next_deadline() == log.holds()[0].deadline
    log.pass_time(SECOND)
    (moved,) = log.moved()
    assert (moved.kind, moved.agent, moved.amount, moved.note) == (
        MovementKind.RELEASE,
        "",
        50,
        "expired",
    )
    assert log.account(A1) == (90, 0)
    assert log.machine.next_deadline() is None
    assert reason(log.capture(TWO, 10)) == "unknown_hold"


def test_a_hold_that_ends_early_has_no_deadline_left() -> None:
    log = funded()
    log.place(ONE, 60, timeout=SECOND)
    log.capture(ONE, 60)
    log.place(ONE, 40, timeout=SECOND, name="other")
    log.release(ONE, "other")
    assert log.machine.next_deadline() is None


def test_the_name_of_a_hold_that_stands_is_not_taken_again() -> None:
    log = funded(limits=Limits(operations_max=1))
    log.place(ONE, 10)
    log.mint(ONE, 1)
    assert reason(log.place(ONE, 10)) == "conflicting_operation"
    assert log.account(A1) == (91, 10)


# ---- what is remembered and how much ---------------------------------------------------------


def test_tables_are_bounded() -> None:
    log = funded(limits=Limits(currencies_max=1, accounts_max=2, holds_max=1))
    assert reason(log.mint(ONE, 1, currency="gold")) == "limit"
    assert reason(log.transfer(ONE, 1)) == ""
    assert reason(log.transfer(ONE, 1, target=A3)) == "limit"
    assert reason(log.mint(ONE, 1, A3)) == "limit"
    log.place(ONE, 1)
    assert reason(log.place(ONE, 1, name="other")) == "limit"
    assert reason(log.capture(ONE, 1, A3)) == "limit"
    # Who has nothing takes no place.
    log.transfer(TWO, 1, A2, A1)
    assert reason(log.capture(ONE, 1, A3)) == ""


def test_movements_are_numbered_and_the_last_ones_kept() -> None:
    log = funded(limits=Limits(movements_max=3))
    for _ in range(4):
        log.transfer(ONE, 1)
    assert [one.number for one in log.movements()] == [3, 4, 5]
    assert [one.number for one in log.movements(1, 2)] == [3, 4]
    assert [one.number for one in log.movements(5)] == [5]
    assert [one.number for one in log.movements(6)] == []
    assert [one.number for one in log.movements(0, 1)] == [5]


def test_a_currency_needs_a_usable_name() -> None:
    log = funded()
    assert reason(log.mint(ONE, 1, currency="a\n")) == "invalid"


def test_balances_are_found_by_account_and_by_currency() -> None:
    log = funded()
    log.mint(TWO, 7, A1, "gold")
    log.transfer(ONE, 1)

    def found(account: str, currency: str) -> list[tuple[str, str, int]]:
        accounts = log.machine.find(AccountQuery(account, currency)).accounts
        return [(one.account, one.currency, one.balance) for one in accounts]

    assert found(A1, "") == [(A1, GPU, 99), (A1, "gold", 7)]
    assert found("", GPU) == [(A1, GPU, 99), (A2, GPU, 1)]
    assert found(A2, "gold") == []


def test_a_hold_is_found_by_its_name_while_it_stands() -> None:
    log = funded()
    log.place(ONE, 10, name="one")
    log.place(ONE, 20, name="other")

    def found(name: str) -> list[tuple[str, int]]:
        holds = log.machine.find(HoldQuery(name, "")).holds
        return [(hold.name, hold.amount) for hold in holds]

    assert found("one") == [("one", 10)]
    assert found("") == [("one", 10), ("other", 20)]
    log.release(ONE, "one")
    assert found("one") == []


# ---- in any order ----------------------------------------------------------------------------

sessions = st.integers(1, 3).map(SessionId)
accounts = st.sampled_from([A1, A2, A3, "treasury", "lab:purse"])
payees = st.one_of(st.just(""), accounts)
amounts = st.one_of(st.integers(1, 30), st.integers(-2, INTEGER_MAX))
currencies = st.sampled_from([GPU, "gold"])
operations = st.sampled_from([f"o{n}" for n in range(12)])
timeouts = st.sampled_from([0, 3, 20])

commands = st.one_of(
    st.builds(Mint, sessions, st.just(0), operations, accounts, currencies, amounts),
    st.builds(Transfer, sessions, st.just(0), operations, accounts, accounts, currencies, amounts),
    st.builds(Burn, sessions, st.just(0), operations, accounts, currencies, amounts),
    st.builds(
        PlaceHold,
        sessions,
        st.just(0),
        operations,
        accounts,
        currencies,
        amounts,
        payees,
        timeouts,
    ),
    st.builds(CaptureHold, sessions, st.just(0), operations, operations, amounts, accounts),
    st.builds(ReleaseHold, sessions, st.just(0), operations, operations),
)
Step = AnyLedgerCommand | int
"""A command, without its number, or microseconds that pass."""


@pytest.mark.fault("E2")
@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.lists(st.one_of(commands, commands, st.integers(1, 9)), min_size=5, max_size=60),
    st.sampled_from([2, 100]),
)
def test_in_any_order_money_is_conserved_and_nobody_owes(steps: list[Step], memory: int) -> None:
    # The log audits every batch with books of its own, and applies it to a restored machine too.
    log = MoneyLog(Limits(operations_max=memory, movements_max=3, accounts_max=5, holds_max=3))
    log.attached(3, groups=("lab",))
    log.mint(ONE, 60, operation="first")
    for step in steps:
        if isinstance(step, int):
            log.pass_time(step)
            continue
        before = ledger_of(log.machine.snapshot())
        outcome = log.apply(replace(step, sequence=log.next(step.session)))
        if reason(outcome) and not log.events:
            assert ledger_of(log.machine.snapshot()) == before
    assert all(one.balance >= 0 <= one.held for one in log.accounts())


def ledger_of(snapshot: object) -> object:
    """The part of a snapshot that is the ledger's."""
    return msgspec.convert(snapshot, MachineState).parts.ledger


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), max_size=12), st.integers(1, 3))
def test_repeating_every_operation_any_number_of_times_changes_nothing(
    transfers: list[tuple[bool, int]], times: int
) -> None:
    once, often = funded(), funded()
    for log, count in ((once, 1), (often, 1 + times)):
        for at, (there, amount) in enumerate(transfers):
            source, target = (A1, A2) if there else (A2, A1)
            session = ONE if there else TWO
            for _ in range(count):
                log.transfer(session, amount, source, target, operation=f"t{at}")
    assert once.accounts() == often.accounts()
