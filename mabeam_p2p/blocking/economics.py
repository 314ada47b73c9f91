"""Money, budgets and reputations without `await`."""

from decimal import Decimal
from types import TracebackType

from mabeam_p2p.api import budgets, ledger, reputations
from mabeam_p2p.api.amounts import Amount
from mabeam_p2p.api.holdings import (
    Balance,
    BudgetFacts,
    Currency,
    Deal,
    Held,
    Movement,
    Receipt,
    Reputation,
)
from mabeam_p2p.api.results import Level
from mabeam_p2p.blocking.loop import LOOP


class Ledger:
    def __init__(self, own: ledger.Ledger) -> None:
        self._own = own

    def balance(self, currency: str, *, account: str | None = None) -> Decimal:
        return LOOP.call(lambda: self._own.balance(currency, account=account))

    def accounts(self, currency: str | None = None) -> tuple[Balance, ...]:
        return LOOP.call(lambda: self._own.accounts(currency))

    def read(
        self,
        currency: str,
        *,
        account: str | None = None,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Balance:
        return LOOP.run(self._own.read(currency, account=account, level=level, timeout=timeout))

    def currencies(
        self, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[Currency, ...]:
        return LOOP.run(self._own.currencies(level=level, timeout=timeout))

    def holds(
        self,
        *,
        account: str | None = None,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Held, ...]:
        return LOOP.run(self._own.holds(account=account, level=level, timeout=timeout))

    def history(
        self,
        first: int = 0,
        *,
        limit: int = 100,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Movement, ...]:
        return LOOP.run(self._own.history(first, limit=limit, level=level, timeout=timeout))

    def mint(
        self,
        currency: str,
        amount: Amount,
        *,
        account: str | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        return LOOP.run(
            self._own.mint(
                currency, amount, account=account, note=note, operation=operation, timeout=timeout
            )
        )

    def transfer(
        self,
        target: str,
        currency: str,
        amount: Amount,
        *,
        source: str | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        return LOOP.run(
            self._own.transfer(
                target,
                currency,
                amount,
                source=source,
                note=note,
                operation=operation,
                timeout=timeout,
            )
        )

    def burn(
        self,
        currency: str,
        amount: Amount,
        *,
        account: str | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        return LOOP.run(
            self._own.burn(
                currency, amount, account=account, note=note, operation=operation, timeout=timeout
            )
        )

    def hold(
        self,
        currency: str,
        amount: Amount,
        *,
        account: str | None = None,
        payee: str | None = None,
        expires: float | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> "Hold":
        own = LOOP.run(
            self._own.hold(
                currency,
                amount,
                account=account,
                payee=payee,
                expires=expires,
                note=note,
                operation=operation,
                timeout=timeout,
            )
        )
        return Hold(own)

    def capture(
        self,
        hold: str,
        amount: Amount,
        account: str | None = None,
        *,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        return LOOP.run(
            self._own.capture(
                hold, amount, account, note=note, operation=operation, timeout=timeout
            )
        )

    def release(
        self,
        hold: str,
        *,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        return LOOP.run(self._own.release(hold, note=note, operation=operation, timeout=timeout))


class Hold:
    def __init__(self, own: ledger.Hold) -> None:
        self.id = own.id
        self.amount = own.amount
        self.payee = own.payee
        self._own = own

    @property
    def left(self) -> Decimal:
        return self._own.left

    def capture(
        self,
        amount: Amount | None = None,
        account: str | None = None,
        *,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        return LOOP.run(
            self._own.capture(amount, account, note=note, operation=operation, timeout=timeout)
        )

    def release(
        self, *, note: str = "", operation: str | None = None, timeout: float | None = None
    ) -> Receipt:
        return LOOP.run(self._own.release(note=note, operation=operation, timeout=timeout))

    def __enter__(self) -> "Hold":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOOP.run(self._own.__aexit__(kind, error, trace))


class Budget:
    def __init__(self, own: budgets.Budget) -> None:
        self.name = own.name
        self._own = own

    def set(
        self,
        limit: Amount,
        *,
        parent: "Budget | str | None" = None,
        window: float | None = None,
        timeout: float | None = None,
    ) -> None:
        of = parent._own if isinstance(parent, Budget) else parent
        LOOP.run(self._own.set(limit, parent=of, window=window, timeout=timeout))

    def status(self, *, level: Level = "linearizable", timeout: float | None = None) -> BudgetFacts:
        return LOOP.run(self._own.status(level=level, timeout=timeout))

    def reserve(self, amount: Amount, *, timeout: float | None = None) -> "Reservation":
        return Reservation(self._own.reserve(amount, timeout=timeout))

    def remove(self, *, timeout: float | None = None) -> None:
        LOOP.run(self._own.remove(timeout=timeout))


class Reservation:
    def __init__(self, own: budgets.Reservation) -> None:
        self.budget = own.budget
        self.amount = own.amount
        self._own = own

    @property
    def spent(self) -> Decimal | None:
        return self._own.spent

    @property
    def token(self) -> int:
        return self._own.token

    def open(self) -> None:
        LOOP.run(self._own.open())

    def spend(self, amount: Amount) -> None:
        self._own.spend(amount)

    def commit(self, spent: Amount | None = None) -> None:
        LOOP.run(self._own.commit(spent))

    def release(self) -> None:
        LOOP.run(self._own.release())

    def __enter__(self) -> "Reservation":
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOOP.run(self._own.__aexit__(kind, error, trace))


class Reputations:
    def __init__(self, own: reputations.Reputations) -> None:
        self._own = own

    def of(
        self,
        agent: str,
        skill: str,
        *,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Reputation:
        return LOOP.run(self._own.of(agent, skill, level=level, timeout=timeout))

    def known(
        self,
        agent: str | None = None,
        *,
        skill: str | None = None,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Reputation, ...]:
        return LOOP.run(self._own.known(agent, skill=skill, level=level, timeout=timeout))

    def report(self, deal: str, score: float, *, skill: str, timeout: float | None = None) -> None:
        LOOP.run(self._own.report(deal, score, skill=skill, timeout=timeout))

    def deals(
        self,
        agent: str | None = None,
        *,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Deal, ...]:
        return LOOP.run(self._own.deals(agent, level=level, timeout=timeout))
