"""What the handles ask of a peer, and what they make of its answers."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from mabeam_p2p import (
    BudgetExceeded,
    ConflictingOperation,
    InsufficientFunds,
    InvalidName,
    InvalidValue,
    NotOwner,
    NotParty,
    Rejected,
    UnknownBudget,
)
from mabeam_p2p.api.budgets import Budget
from mabeam_p2p.api.event_names import EVENT_NAMES, named
from mabeam_p2p.api.ledger import Ledger
from mabeam_p2p.api.profiles import profile_of
from mabeam_p2p.api.reputations import Reputations
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import (
    AnyCommand,
    CaptureHold,
    Mint,
    PlaceHold,
    Rate,
    ReleaseHold,
    SetBudget,
    SpendReserved,
    Transfer,
)
from mabeam_p2p.events import BudgetChanged, DealSettled, LedgerChanged, ReputationChanged
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Account, BudgetChange, Deal, Movement, MovementKind, Rating
from mabeam_p2p.records import Budget as BudgetRecord
from mabeam_p2p.records import Reputation as ReputationRecord
from mabeam_p2p.requests import (
    BudgetQuery,
    Found,
    Read,
    Refused,
    ReputationQuery,
    Request,
    Submit,
)
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.in_loop import in_loop

ME = "me@ant"


async def nothing() -> None:
    pass


class Desk:
    """Handles of one agent at a peer that answers as told."""

    def __init__(self, group: str = "all") -> None:
        self.peer = FakePeer()
        self.attachment = attachment(self.peer)
        session = Session(self.attachment, profile_of("me", (), None, True, True), nothing)
        self.ledger = Ledger(group, self.attachment, session, lambda: ME)
        self.reputation = Reputations(group, self.attachment, session, lambda: ME)
        self._group = group
        self._session = session

    def budget(self, name: str) -> Budget:
        return Budget(self._group, self.attachment, self._session, lambda: ME, name)

    def answer(self, reply: Callable[[Request], Reply]) -> None:
        """What is not answered with None is; the rest as usual."""
        self.peer.reply = lambda request: reply(request) or usual(request)

    def said(self) -> AnyCommand:
        """The last command."""
        return self.peer.commands()[-1]


# ---- money -----------------------------------------------------------------------------------


@in_loop
async def test_amounts_travel_in_micro_units_and_own_accounts_are_the_default() -> None:
    desk = Desk()
    receipt = await desk.ledger.mint("gpu", 0.5, operation="m")
    said = desk.said()
    assert isinstance(said, Mint)
    assert (said.operation, said.account, said.currency, said.amount) == ("m", ME, "gpu", 500_000)
    assert (receipt.operation, receipt.index) == ("m", 1)
    await desk.ledger.transfer("bee@hive", "gpu", Decimal("1.25"), note="fee")
    said = desk.said()
    assert isinstance(said, Transfer)
    assert (said.source, said.target, said.amount, said.note) == (ME, "bee@hive", 1_250_000, "fee")


@in_loop
async def test_operations_without_an_id_get_one_each() -> None:
    desk = Desk()
    first = await desk.ledger.transfer("bee@hive", "gpu", 1)
    second = await desk.ledger.transfer("bee@hive", "gpu", 1)
    assert first.operation != second.operation


@in_loop
async def test_names_of_a_group_are_scoped_and_agents_are_not() -> None:
    desk = Desk("lab")
    receipt = await desk.ledger.transfer("purse", "credit", 1, operation="t")
    said = desk.said()
    assert isinstance(said, Transfer)
    assert (said.operation, said.source, said.target, said.currency) == (
        "lab:t",
        ME,
        "lab:purse",
        "lab:credit",
    )
    assert receipt.operation == "t"
    hold = await desk.ledger.hold("credit", 2, payee="purse", expires=9, operation="h")
    await hold.capture()
    said = desk.said()
    assert isinstance(said, CaptureHold)
    assert (said.hold, said.account, said.amount) == ("lab:h", "lab:purse", 2_000_000)
    assert desk.budget("sweep").name == "lab:sweep"


@in_loop
async def test_bad_input_is_refused_before_anything_is_sent() -> None:
    desk = Desk()
    ledger = desk.ledger
    for amount in (0, -1, 1e-7, float("nan"), 2**60):
        with pytest.raises(InvalidValue):
            await ledger.transfer("bee@hive", "gpu", amount)
    for account in ("", "a@", "a\n", "all:x", "no name:x"):
        with pytest.raises(InvalidName, match="account"):
            await ledger.transfer(account, "gpu", 1)
    with pytest.raises(InvalidName, match="currency"):
        await ledger.mint("", 1)
    with pytest.raises(InvalidName, match="operation"):
        await ledger.mint("gpu", 1, operation="a\n")
    with pytest.raises(InvalidValue, match="note"):
        await ledger.mint("gpu", 1, note="x" * 257)
    with pytest.raises(InvalidValue, match="expires"):
        await ledger.hold("gpu", 1, payee="bee@hive")
    with pytest.raises(InvalidValue, match="timeout"):
        await ledger.hold("gpu", 1, expires=0)
    with pytest.raises(InvalidValue, match="movements"):
        await ledger.history(-1)
    with pytest.raises(InvalidValue, match="0 or more"):
        await desk.budget("b").set(-1)
    with pytest.raises(InvalidValue, match="more than 0"):
        desk.budget("b").reserve(0)
    with pytest.raises(InvalidValue, match="score"):
        await desk.reputation.report("hold/h", 1.1, skill="x")
    with pytest.raises(InvalidName, match="NAME@PEER"):
        await desk.reputation.of("somebody", "x")
    assert desk.peer.asked == []


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("insufficient_funds", InsufficientFunds),
        ("not_owner", NotOwner),
        ("not_issuer", NotOwner),
        ("conflicting_operation", ConflictingOperation),
        ("budget_exceeded", BudgetExceeded),
        ("unknown_budget", UnknownBudget),
        ("not_party", NotParty),
        ("unknown_currency", Rejected),
        ("unknown_hold", Rejected),
        ("unknown_reservation", Rejected),
        ("unknown_deal", Rejected),
        ("overflow", Rejected),
        ("budget_mismatch", Rejected),
        ("budget_in_use", Rejected),
        ("conflicting_rating", Rejected),
    ],
)
def test_a_refusal_is_an_error_that_names_what_was_asked(
    reason: str, error: type[Rejected]
) -> None:
    @in_loop
    async def run() -> None:
        desk = Desk()
        desk.answer(lambda request: Refused(reason, "because") if is_command(request) else None)
        with pytest.raises(error, match="paying 5 gpu to bee@hive") as raised:
            await desk.ledger.transfer("bee@hive", "gpu", 5, operation="t")
        assert raised.value.reason == reason
        assert "'t'" in str(raised.value)
        assert "see the reason" not in str(raised.value)

    run()


def is_command(request: Request) -> bool:
    return isinstance(request, Submit)


@in_loop
async def test_balances_are_mirrored_from_what_the_peer_tells() -> None:
    desk = Desk()
    view = desk.attachment.view
    view.on_accounts((Account(ME, "gpu", 5_500_000, 0), Account("b@x", "gpu", 1, 1)))
    assert desk.ledger.balance("gpu") == Decimal("5.5")
    assert desk.ledger.balance("gold") == 0
    told = Movement(1, MovementKind.TRANSFER, "t", ME, ME, "c@x", "gpu", 5_500_000, "", 9, 9)
    changed = (Account(ME, "gpu", 0, 0), Account("c@x", "gpu", 5_500_000, 0))
    desk.peer.tell(LedgerChanged(told, changed))
    assert desk.ledger.balance("gpu") == 0
    assert desk.ledger.balance("gpu", account="c@x") == Decimal("5.5")
    assert [(one.account, one.balance, one.held) for one in desk.ledger.accounts("gpu")] == [
        ("b@x", Decimal("0.000001"), Decimal("0.000001")),
        ("c@x", Decimal("5.5"), Decimal(0)),
    ]
    assert desk.ledger.accounts("gold") == ()
    assert desk.ledger.accounts()[1].to_dict() == {
        "account": "c@x",
        "currency": "gpu",
        "balance": "5.5",
        "held": "0",
    }


# ---- holds -----------------------------------------------------------------------------------


@in_loop
async def test_what_is_left_of_a_hold_is_given_back_at_the_end_of_the_block() -> None:
    desk = Desk()
    async with await desk.ledger.hold("gpu", 5) as hold:
        await hold.capture(2, "bee@hive")
        assert hold.left == 3
    said = desk.said()
    assert isinstance(said, ReleaseHold)
    assert said.hold == hold.id
    assert hold.left == 0
    count = len(desk.peer.commands())
    async with await desk.ledger.hold("gpu", 5) as hold:
        await hold.capture(account="bee@hive")
    assert not isinstance(desk.said(), ReleaseHold)
    assert len(desk.peer.commands()) == count + 2


@in_loop
async def test_what_was_promised_stays_held() -> None:
    desk = Desk()
    async with await desk.ledger.hold("gpu", 5, payee="bee@hive", expires=60) as hold:
        assert hold.payee == "bee@hive"
    said = desk.said()
    assert isinstance(said, PlaceHold)
    assert (said.payee, said.timeout) == ("bee@hive", 60_000_000)


@in_loop
async def test_a_hold_without_a_payee_is_paid_to_whom_one_says() -> None:
    desk = Desk()
    hold = await desk.ledger.hold("gpu", 5)
    with pytest.raises(InvalidValue, match="say which account"):
        await hold.capture(1)


# ---- budgets ---------------------------------------------------------------------------------


def spent(desk: Desk) -> list[int]:
    return [one.amount for one in desk.peer.commands() if isinstance(one, SpendReserved)]


@in_loop
async def test_a_reservation_is_spent_whole_unless_something_else_is_said() -> None:
    desk = Desk()
    async with desk.budget("b").reserve(5.5) as reservation:
        assert (reservation.token, reservation.spent) == (1, None)
    assert spent(desk) == [5_500_000]
    assert reservation.spent == Decimal("5.5")
    async with desk.budget("b").reserve(5) as reservation:
        reservation.spend(1)
        reservation.spend(Decimal("0.5"))
        with pytest.raises(InvalidValue, match="reserve more first"):
            reservation.spend(4)
    assert spent(desk)[-1] == 1_500_000


@in_loop
async def test_a_block_that_raises_spends_what_it_said_and_nothing_else() -> None:
    desk = Desk()
    with pytest.raises(KeyError):
        async with desk.budget("b").reserve(5):
            raise KeyError
    reservation = desk.budget("b").reserve(5)
    await reservation.open()
    reservation.spend(2)
    await reservation.__aexit__(KeyError, KeyError(), None)
    assert spent(desk) == [0, 2_000_000]


@in_loop
async def test_a_reservation_that_was_ended_by_hand_is_not_ended_again() -> None:
    desk = Desk()
    async with desk.budget("b").reserve(5) as reservation:
        await reservation.commit(3)
    async with desk.budget("b").reserve(5) as other:
        await other.release()
    assert spent(desk) == [3_000_000, 0]
    with pytest.raises(InvalidValue, match="make another one"):
        await reservation.open()


@in_loop
async def test_a_budget_is_set_within_another_and_told_as_it_is() -> None:
    desk = Desk()
    record = BudgetRecord(
        "task", AgentId(ME), 9_000_000, 2_000_000, 500_000, "team", 60_000_000, 0, 1, 1
    )

    def reply(request: Request) -> Reply:
        if isinstance(request, Read) and isinstance(request.query, BudgetQuery):
            return Found(1, 0.0, True, budgets=(record,))
        return None

    desk.answer(reply)
    await desk.budget("task").set(9, parent=desk.budget("team"), window=60)
    said = desk.said()
    assert isinstance(said, SetBudget)
    assert (said.limit, said.parent, said.window) == (9_000_000, "team", 60_000_000)
    facts = await desk.budget("task").status()
    assert (facts.limit, facts.free) == (Decimal(9), Decimal("6.5"))
    assert facts.window == 60
    assert facts.to_dict()["free"] == "6.5"


@in_loop
async def test_a_budget_that_nobody_has_set_is_unknown() -> None:
    desk = Desk()
    with pytest.raises(UnknownBudget, match="'task'"):
        await desk.budget("task").status()


# ---- reputations -----------------------------------------------------------------------------


@in_loop
async def test_of_whom_nothing_is_known_one_half_is_expected() -> None:
    desk = Desk()
    found = await desk.reputation.of("bee@hive", "judging")
    assert (found.score, found.alpha, found.beta, found.count) == (0.5, 1.0, 1.0, 0)


@in_loop
async def test_reputations_are_told_with_their_expectation_the_best_first() -> None:
    desk = Desk("lab")
    records = tuple(
        ReputationRecord(AgentId(agent), skill, alpha, 1_000, 0, 1)
        for agent, skill, alpha in (
            ("a@x", "lab:speed", 1_500),
            ("b@x", "lab:speed", 3_000),
            ("b@x", "speed", 9_000),
        )
    )

    def reply(request: Request) -> Reply:
        if isinstance(request, Read) and isinstance(request.query, ReputationQuery):
            return Found(1, 0.0, True, reputations=records)
        return None

    desk.answer(reply)
    seen = await desk.reputation.known()
    assert [(one.agent, one.score) for one in seen] == [("b@x", 0.75), ("a@x", 0.6)]
    assert seen[0].to_dict()["score"] == 0.75


@in_loop
async def test_a_report_names_deal_skill_and_score() -> None:
    desk = Desk("lab")
    await desk.reputation.report("hold/h", 0.8, skill="speed")
    said = desk.said()
    assert isinstance(said, Rate)
    assert (said.deal, said.skill, said.score) == ("hold/h", "lab:speed", 800)


# ---- events ----------------------------------------------------------------------------------


def test_what_happens_is_told_under_its_name_as_plain_data() -> None:
    budget = BudgetRecord("b", AgentId(ME), 9_500_000, 0, 0, "", 0, 0, 1, 1)
    rating = Rating(AgentId(ME), AgentId("b@x"), "speed", 900)
    reputation = ReputationRecord(AgentId("b@x"), "speed", 1_900, 1_100, 0, 1)
    deal = Deal("hold/h", AgentId(ME), AgentId("b@x"), 9, 2_000_000, (rating,))
    movement = Movement(1, MovementKind.HOLD, "h", ME, ME, "b@x", "gpu", 5, "h", 9, 9, "why")
    told = [
        named(LedgerChanged(movement, ())),
        named(BudgetChanged(budget, BudgetChange.SET, 9_500_000, ME)),
        named(DealSettled(deal)),
        named(ReputationChanged(reputation, rating)),
    ]
    assert [event.name for event in told] == [
        "ledger.held",
        "budget.changed",
        "deal.settled",
        "reputation.changed",
    ]
    assert {event.name for event in told} <= set(EVENT_NAMES)
    held, changed, settled, rated = (event.to_dict() for event in told)
    assert (held["amount"], held["target"], held["note"]) == ("0.000005", "b@x", "why")
    assert (changed["change"], changed["amount"], changed["free"]) == ("set", "9.5", "9.5")
    assert (settled["id"], settled["parties"], settled["when"]) == ("hold/h", [ME, "b@x"], 2.0)
    assert rated["rating"] == {"agent": ME, "about": "b@x", "skill": "speed", "score": 0.9}


@pytest.mark.parametrize("kind", MovementKind)
def test_every_kind_of_movement_has_an_event(kind: MovementKind) -> None:
    movement = Movement(1, kind, "o", ME, ME, "b@x", "gpu", 5, "h", 9, 9)
    assert named(LedgerChanged(movement, ())).name in EVENT_NAMES
