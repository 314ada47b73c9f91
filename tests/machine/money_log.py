"""A log about money, budgets and reputations. What is told of each batch is audited."""

from mabeam_p2p.commands import (
    AnyCommand,
    Burn,
    CaptureHold,
    Mint,
    PlaceHold,
    Rate,
    ReleaseHold,
    Reserve,
    SetBudget,
    SpendReserved,
    Transfer,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import LedgerChanged
from mabeam_p2p.ids import SessionId
from mabeam_p2p.records import (
    Account,
    Budget,
    Currency,
    Deal,
    Hold,
    Movement,
    Reputation,
    Reservation,
)
from mabeam_p2p.requests import (
    AccountQuery,
    BudgetQuery,
    HoldQuery,
    MovementQuery,
    Outcome,
    ReputationQuery,
)
from mabeam_p2p.testing.audits import Audit
from tests.machine.written_log import SECOND, WrittenLog

GPU = "gpu"


class MoneyLog(WrittenLog):
    """Operations have ids of their own, op-1, op-2 and so on, unless they are given one."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.audit = Audit(self.limits.operations_max)
        self._operations = 0

    def append(self, *commands: AnyCommand) -> list[Outcome]:
        outcomes = super().append(*commands)
        for event in self.events:
            self.audit.happened(event)
        self.audit.compare(self.machine)
        return outcomes

    def operation(self) -> str:
        """A fresh id."""
        self._operations += 1
        return f"op-{self._operations}"

    # ---- the ledger --------------------------------------------------------------------------

    def mint(
        self,
        session: SessionId,
        amount: int,
        account: str = "a1@p",
        currency: str = GPU,
        operation: str = "",
    ) -> Outcome:
        sequence = self.next(session)
        name = operation or self.operation()
        return self.apply(Mint(session, sequence, name, account, currency, amount))

    def transfer(
        self,
        session: SessionId,
        amount: int,
        source: str = "a1@p",
        target: str = "a2@p",
        currency: str = GPU,
        operation: str = "",
    ) -> Outcome:
        sequence = self.next(session)
        name = operation or self.operation()
        return self.apply(Transfer(session, sequence, name, source, target, currency, amount))

    def burn(self, session: SessionId, amount: int, account: str = "a1@p") -> Outcome:
        sequence = self.next(session)
        return self.apply(Burn(session, sequence, self.operation(), account, GPU, amount))

    def place(
        self,
        session: SessionId,
        amount: int,
        account: str = "a1@p",
        payee: str = "",
        timeout: int = 0,
        name: str = "h",
    ) -> Outcome:
        sequence = self.next(session)
        return self.apply(PlaceHold(session, sequence, name, account, GPU, amount, payee, timeout))

    def capture(
        self,
        session: SessionId,
        amount: int,
        account: str = "a2@p",
        name: str = "h",
        operation: str = "",
    ) -> Outcome:
        sequence = self.next(session)
        by = operation or self.operation()
        return self.apply(CaptureHold(session, sequence, by, name, amount, account))

    def release(self, session: SessionId, name: str = "h", operation: str = "") -> Outcome:
        sequence = self.next(session)
        return self.apply(ReleaseHold(session, sequence, operation or self.operation(), name))

    def account(self, account: str, currency: str = GPU) -> tuple[int, int]:
        """Balance and held."""
        found = self.machine.find(AccountQuery(account, currency)).accounts
        return (found[0].balance, found[0].held) if found else (0, 0)

    def accounts(self) -> tuple[Account, ...]:
        return self.machine.find(AccountQuery("", "")).accounts

    def currency(self, name: str = GPU) -> Currency:
        (found,) = self.machine.find(AccountQuery("", name)).currencies
        return found

    def holds(self) -> tuple[Hold, ...]:
        return self.machine.find(HoldQuery("", "")).holds

    def movements(self, first: int = 0, limit: int = 100) -> tuple[Movement, ...]:
        return self.machine.find(MovementQuery(first, limit)).movements

    def moved(self) -> list[Movement]:
        """In the last batch."""
        return [event.movement for event in self.events if isinstance(event, LedgerChanged)]

    # ---- budgets -----------------------------------------------------------------------------

    def set_budget(
        self,
        session: SessionId,
        limit: int | None,
        budget: str = "b",
        parent: str = "",
        window: int = 0,
    ) -> Outcome:
        return self.apply(SetBudget(session, self.next(session), budget, limit, parent, window))

    def reserve(
        self, session: SessionId, amount: int, budget: str = "b", operation: str = ""
    ) -> Outcome:
        return self.apply(Reserve(session, self.next(session), budget, amount, operation))

    def spend(
        self, session: SessionId, reservation: int, amount: int, budget: str = "b"
    ) -> Outcome:
        return self.apply(SpendReserved(session, self.next(session), budget, reservation, amount))

    def budget(self, name: str = "b") -> Budget:
        (found,) = self.machine.find(BudgetQuery(name)).budgets
        return found

    def used(self, name: str = "b") -> tuple[int, int]:
        """Spent and reserved."""
        budget = self.budget(name)
        return budget.spent, budget.reserved

    def reservations(self, budget: str = "") -> tuple[Reservation, ...]:
        return self.machine.find(BudgetQuery(budget)).reservations

    # ---- reputations -------------------------------------------------------------------------

    def deal(self, payer: SessionId, payee: str, name: str = "h") -> str:
        """Money changes hands; the deal's name."""
        self.mint(SessionId(1), 1, f"a{payer}@p")
        self.place(payer, 1, f"a{payer}@p", payee, 30 * SECOND, name)
        self.capture(payer, 1, payee, name)
        return f"hold/{name}"

    def rate(self, session: SessionId, deal: str, score: int, skill: str = "judge") -> Outcome:
        return self.apply(Rate(session, self.next(session), deal, skill, score))

    def reputation(self, agent: str, skill: str = "judge") -> Reputation | None:
        found = self.machine.find(ReputationQuery(agent, skill)).reputations
        return found[0] if found else None

    def deals(self, agent: str = "") -> tuple[Deal, ...]:
        return self.machine.find(ReputationQuery(agent, "")).deals
