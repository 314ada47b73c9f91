"""Whatever is said of money, budgets and reputations gets an outcome and breaks no rule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import (
    AnyCommand,
    Burn,
    CaptureHold,
    CloseSession,
    Mint,
    OpenSession,
    PlaceHold,
    Rate,
    ReleaseHold,
    Reserve,
    SetBudget,
    SpendReserved,
    Transfer,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.requests import Refused
from tests.machine.money_log import MoneyLog
from tests.machine.written_log import peer_id

SMALL = Limits(
    session_window=4,
    currencies_max=2,
    accounts_max=3,
    holds_max=2,
    operations_max=4,
    movements_max=3,
    budgets_max=3,
    budget_depth_max=2,
    reservations_max=2,
    deals_max=2,
    reputations_max=2,
)
sessions = st.integers(0, 3).map(SessionId)
sequences = st.integers(0, 12)
integers = st.one_of(st.integers(0, 9), st.integers(-(2**63), 2**63))
accounts = st.one_of(st.sampled_from(["a1@p", "a2@p", "lab:x", "x"]), st.text(max_size=4))
names = st.one_of(st.sampled_from(["x", "y", "z"]), st.text(max_size=3))
notes = st.text(max_size=2)
limits = st.one_of(st.none(), integers)
AGENTS = [AgentId(f"a{n}@p") for n in (1, 2)]

commands = st.one_of(
    st.builds(Mint, sessions, sequences, names, accounts, names, integers, notes),
    st.builds(Transfer, sessions, sequences, names, accounts, accounts, names, integers, notes),
    st.builds(Burn, sessions, sequences, names, accounts, names, integers, notes),
    st.builds(
        PlaceHold, sessions, sequences, names, accounts, names, integers, accounts, integers, notes
    ),
    st.builds(CaptureHold, sessions, sequences, names, names, integers, accounts, notes),
    st.builds(ReleaseHold, sessions, sequences, names, names, notes),
    st.builds(SetBudget, sessions, sequences, names, limits, names, integers),
    st.builds(Reserve, sessions, sequences, names, integers, names),
    st.builds(SpendReserved, sessions, sequences, names, integers, integers),
    st.builds(Rate, sessions, sequences, names.map("hold/{}".format), names, integers),
    st.builds(CloseSession, sessions, sequences, st.just("bye")),
    st.builds(
        OpenSession,
        sessions,
        st.just(1),
        st.sampled_from(AGENTS),
        st.just(peer_id(1)),
        integers,
        st.sampled_from([(), ("lab",)]),
        st.just(True),
        st.just(True),
    ),
)


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.lists(commands, min_size=1, max_size=4)), max_size=30)
)
def test_any_log_about_money_is_applied_whole(batches: list[tuple[int, list[AnyCommand]]]) -> None:
    # The log audits every batch, and applies it to a restored machine too.
    log = MoneyLog(SMALL)
    log.attached(2, groups=("lab",))
    for elapsed, batch in batches:
        log.clock += elapsed
        outcomes = log.append(*batch)
        assert len(outcomes) == len(batch)
        for outcome in outcomes:
            assert isinstance(outcome, Refused) or outcome.index <= log.machine.applied_index
        deadline = log.machine.next_deadline()
        assert deadline is None or deadline > log.clock
