"""The audit sees what it is there for: each planted wrong is told by its rule."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.events import (
    AgentJoined,
    AgentLeft,
    BudgetChanged,
    DealSettled,
    LedgerChanged,
    MachineEvent,
    ReputationChanged,
)
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import (
    Account,
    Agent,
    Budget,
    BudgetChange,
    Deal,
    Movement,
    MovementKind,
    Rating,
    Reputation,
    Reservation,
)
from mabeam_p2p.testing.audits import Audit, judge_budgets
from mabeam_p2p.testing.checkers import Violation
from tests.machine.money_log import MoneyLog

A, B, C = AgentId("a@p"), AgentId("b@p"), AgentId("c@p")
MINT, TRANSFER, BURN = MovementKind.MINT, MovementKind.TRANSFER, MovementKind.BURN
HOLD, CAPTURE, RELEASE = MovementKind.HOLD, MovementKind.CAPTURE, MovementKind.RELEASE


class Story:
    """An audit that has heard of a hundred in a's account, forty of them promised to b."""

    def __init__(self) -> None:
        self.audit = Audit(operations_max=10)
        self.count = 0
        self.audit.happened(AgentJoined(agent(A, ("lab",))))
        self.audit.happened(AgentJoined(agent(B)))
        self.tell(MINT, A, target=A, amount=100)
        self.tell(HOLD, A, source=A, target=B, amount=40, hold="h")

    def movement(
        self,
        kind: MovementKind,
        agent: str,
        *,
        source: str = "",
        target: str = "",
        amount: int = 1,
        hold: str = "",
        operation: str = "",
    ) -> Movement:
        self.count += 1
        name = operation or f"o{self.count}"
        place = self.count, self.count
        return Movement(self.count, kind, name, agent, source, target, "gpu", amount, hold, *place)

    def tell(
        self,
        kind: MovementKind,
        agent: str,
        *,
        source: str = "",
        target: str = "",
        amount: int = 1,
        hold: str = "",
        operation: str = "",
    ) -> None:
        movement = self.movement(
            kind,
            agent,
            source=source,
            target=target,
            amount=amount,
            hold=hold,
            operation=operation,
        )
        self.audit.happened(LedgerChanged(movement, ()))


def agent(name: AgentId, groups: tuple[str, ...] = ()) -> Agent:
    return Agent(name, PeerId("0" * 16), 1, SessionId(1), groups, True, True, (), 1)


@pytest.fixture
def story() -> Story:
    return Story()


def test_what_is_right_is_let_pass(story: Story) -> None:
    story.tell(CAPTURE, A, source=A, target=B, amount=10, hold="h")
    story.tell(CAPTURE, B, source=A, target=B, amount=10, hold="h")
    story.tell(RELEASE, B, source=A, target=A, amount=20, hold="h")
    story.tell(TRANSFER, A, source=A, target="lab:purse", amount=80)
    story.tell(TRANSFER, A, source="lab:purse", target=A, amount=80)
    story.tell(BURN, A, source=A, amount=80)
    assert story.audit.outstanding == {"gpu": 20}
    assert {place: amount for place, amount in story.audit.free.items() if amount} == {
        (B, "gpu"): 20
    }
    assert story.audit.aside == {}


WRONG = {
    "overspent": (TRANSFER, A, A, B, 61, ""),
    "anothers": (TRANSFER, B, A, B, 1, ""),
    "a group's": (TRANSFER, B, "lab:purse", B, 1, ""),
    "minted by another": (MINT, B, "", B, 1, ""),
    "burned by another": (BURN, B, B, "", 1, ""),
    "nothing": (TRANSFER, A, A, B, 0, ""),
    "negative": (TRANSFER, A, A, B, -1, ""),
    "captured beyond": (CAPTURE, A, A, B, 41, "h"),
    "captured for another": (CAPTURE, A, A, C, 1, "h"),
    "captured by another": (CAPTURE, C, A, B, 1, "h"),
    "released by the payer": (RELEASE, A, A, A, 40, "h"),
    "never held": (CAPTURE, A, A, B, 1, "other"),
    "of another's account": (CAPTURE, A, B, A, 1, "h"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_movement_that_must_not_be_is_seen(story: Story, wrong: str) -> None:
    kind, by, source, target, amount, hold = WRONG[wrong]
    with pytest.raises(Violation, match="ledger"):
        story.tell(kind, by, source=source, target=target, amount=amount, hold=hold)


def test_a_hold_that_is_captured_twice_is_seen(story: Story) -> None:
    story.tell(CAPTURE, B, source=A, target=B, amount=40, hold="h")
    with pytest.raises(Violation, match="ledger"):
        story.tell(CAPTURE, B, source=A, target=B, amount=40, hold="h")


def test_an_operation_that_takes_effect_twice_is_seen_within_the_horizon(story: Story) -> None:
    story.tell(TRANSFER, A, source=A, target=B, operation="pay")
    for _ in range(9):
        story.tell(TRANSFER, A, source=A, target=B)
    with pytest.raises(Violation, match="and again"):
        story.tell(TRANSFER, A, source=A, target=B, operation="pay")
    other = Story()
    other.tell(TRANSFER, A, source=A, target=B, operation="pay")
    for _ in range(10):
        other.tell(TRANSFER, A, source=A, target=B)
    other.tell(TRANSFER, A, source=A, target=B, operation="pay")


def test_a_movement_that_is_missing_is_seen(story: Story) -> None:
    story.movement(TRANSFER, A)
    with pytest.raises(Violation, match="missing"):
        story.tell(TRANSFER, A, source=A, target=B)


def test_an_account_that_is_told_otherwise_is_seen(story: Story) -> None:
    movement = story.movement(TRANSFER, A, source=A, target=B)
    with pytest.raises(Violation, match="is told as"):
        story.audit.happened(LedgerChanged(movement, (Account(B, "gpu", 2, 0),)))


def test_a_machine_that_says_otherwise_is_seen() -> None:
    log = MoneyLog()
    log.attached(1)
    log.mint(SessionId(1), 5)
    other = Audit(10)
    for event in log.events:
        other.happened(event)
    other.compare(log.machine)
    for event in log.events:
        assert isinstance(event, LedgerChanged)
        more = replace(event.movement, number=2, operation="more")
        other.happened(LedgerChanged(more, ()))
    with pytest.raises(Violation, match="ledger"):
        other.compare(log.machine)


# ---- budgets ---------------------------------------------------------------------------------


def budget(name: str, spent: int, reserved: int, parent: str = "") -> Budget:
    return Budget(name, A, 10, spent, reserved, parent, 0, 0, 1, 1)


@pytest.mark.parametrize(("spent", "reserved"), [(11, 0), (0, 11), (6, 5), (-1, 5), (5, -1)])
def test_a_budget_over_its_limit_is_seen(spent: int, reserved: int) -> None:
    with pytest.raises(Violation, match="budgets"):
        Audit(10).happened(BudgetChanged(budget("b", spent, reserved), BudgetChange.SPENT, 1, A))
    with pytest.raises(Violation, match="budgets"):
        judge_budgets((budget("b", spent, reserved),), (Reservation(1, "b", reserved, A),))


def test_a_reservation_that_does_not_count_everywhere_is_seen() -> None:
    reservation = Reservation(1, "task", 4, A)
    team, task = budget("team", 0, 4), budget("task", 0, 4, "team")
    judge_budgets((team, task), (reservation,))
    for wrong in (replace(team, reserved=0), replace(team, reserved=8)):
        with pytest.raises(Violation, match="reserved in"):
            judge_budgets((wrong, task), (reservation,))
    with pytest.raises(Violation, match="reserved in"):
        judge_budgets((team, replace(task, reserved=3)), (reservation,))


def test_a_reservation_whose_agent_has_gone_is_seen() -> None:
    log = MoneyLog()
    (one,) = log.attached(1)
    joined = log.events
    log.set_budget(one, 5)
    log.reserve(one, 5)
    log.audit.compare(log.machine)
    late = Audit(10)
    for event in (*joined, *log.events):
        late.happened(event)
    late.compare(log.machine)
    (agent_joined,) = joined
    assert isinstance(agent_joined, AgentJoined)
    late.happened(AgentLeft(agent_joined.agent, "closed"))
    with pytest.raises(Violation, match="has gone"):
        late.compare(log.machine)


# ---- reputations -----------------------------------------------------------------------------


def rated(
    by: AgentId = A, about: AgentId = B, score: int = 500, alpha: int = 1_500
) -> MachineEvent:
    rating = Rating(by, about, "speed", score)
    return ReputationChanged(Reputation(B, "speed", alpha, 1_500, 0, 1), rating)


def test_a_rating_needs_a_deal_and_counts_once() -> None:
    audit = Audit(10)
    with pytest.raises(Violation, match="more ratings than deals"):
        audit.happened(rated())
    audit = Audit(10)
    audit.happened(DealSettled(Deal("hold/h", A, B, 1, 1)))
    audit.happened(rated())
    with pytest.raises(Violation, match="more ratings than deals"):
        audit.happened(rated())


@pytest.mark.parametrize(
    "wrong", [rated(score=1_001), rated(score=-1), rated(alpha=999), rated(by=B, about=A)]
)
def test_a_rating_that_must_not_be_is_seen(wrong: MachineEvent) -> None:
    audit = Audit(10)
    audit.happened(DealSettled(Deal("hold/h", A, B, 1, 1)))
    with pytest.raises(Violation, match="reputations"):
        audit.happened(wrong)


def test_a_deal_with_oneself_is_seen() -> None:
    with pytest.raises(Violation, match="with oneself"):
        Audit(10).happened(DealSettled(Deal("hold/h", A, A, 1, 1)))


def test_an_untouched_machine_needs_no_comparison() -> None:
    Audit(10).compare(Machine(Limits()))
