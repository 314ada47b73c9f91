"""The books of the ledger: currencies, accounts, holds, and the movements between them.

They keep the sum: all balances and holds of a currency are what was minted less what was burned,
after every movement; no balance and no hold is negative, and no figure exceeds INTEGER_MAX. Who may
move what, and whether there is enough, is asked before: by the ledger, not here.
"""

from collections import deque

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.events import LedgerChanged, MachineEvent
from mabeam_p2p.ids import INTEGER_MAX, AgentId
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import Account, Currency, Hold, Movement, MovementKind


class Cause(Struct, frozen=True):
    """Why money moves. agent: who asked for it; empty: the log itself."""

    operation: str
    agent: str = ""
    note: str = ""


class BooksState(Struct, frozen=True, array_like=True):
    """currencies, accounts, holds: in the order in which they came into being. movements: oldest
    first."""

    currencies: tuple[Currency, ...] = ()
    accounts: tuple[Account, ...] = ()
    holds: tuple[Hold, ...] = ()
    movements: tuple[Movement, ...] = ()
    movement_count: int = 0


class Books:
    def __init__(self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent]) -> None:
        self.currencies: dict[str, Currency] = {}
        self.accounts: dict[tuple[str, str], Account] = {}
        """By (account, currency). Without those that have nothing."""
        self.holds: dict[tuple[bool, str], Hold] = {}
        """By (whether it is an escrow, name)."""
        self.movements: deque[Movement] = deque(maxlen=limits.movements_max)
        self.movement_count = 0
        self._deadlines = deadlines
        self._events = events
        self._sums: dict[str, int] = {}
        """Of each currency: all balances and holds. Derived, and kept apart from what was minted
        and burned, so that each is the other's witness."""

    def balance(self, account: str, currency: str) -> int:
        known = self.accounts.get((account, currency))
        return 0 if known is None else known.balance

    # ---- movements -------------------------------------------------------------------------

    def mint(self, entry: Entry, currency: Currency, account: str, amount: int, by: Cause) -> None:
        """currency: as it was, or a new one."""
        name = currency.name
        self.currencies[name] = replace(currency, minted=currency.minted + amount)
        self._sums.setdefault(name, 0)
        changed = (self._change(account, name, balance=amount),)
        self._moved(entry, MovementKind.MINT, by, "", account, name, amount, "", changed)

    def burn(self, entry: Entry, currency: Currency, account: str, amount: int, by: Cause) -> None:
        name = currency.name
        self.currencies[name] = replace(currency, burned=currency.burned + amount)
        changed = (self._change(account, name, balance=-amount),)
        self._moved(entry, MovementKind.BURN, by, account, "", name, amount, "", changed)

    def transfer(
        self, entry: Entry, source: str, target: str, currency: str, amount: int, by: Cause
    ) -> None:
        changed = (
            self._change(source, currency, balance=-amount),
            self._change(target, currency, balance=amount),
        )
        kind = MovementKind.TRANSFER
        self._moved(entry, kind, by, source, target, currency, amount, "", changed)

    def place(self, entry: Entry, hold: Hold, by: Cause) -> None:
        """Begin a hold."""
        account, currency, amount = hold.account, hold.currency, hold.amount
        assert (hold.escrow, hold.name) not in self.holds, hold
        self.holds[hold.escrow, hold.name] = hold
        if hold.deadline:
            self._deadlines.add(DeadlineKind.LEDGER, hold.name, hold.deadline)
        changed = (self._change(account, currency, balance=-amount, held=amount),)
        kind = MovementKind.HOLD
        self._moved(entry, kind, by, account, hold.payee, currency, amount, hold.name, changed)

    def pay(self, entry: Entry, hold: Hold, amount: int, account: str, by: Cause) -> None:
        """Pay a part of a hold, or all of it, to an account."""
        self._take(hold, amount)
        source, currency = hold.account, hold.currency
        changed = (
            self._change(source, currency, held=-amount),
            self._change(account, currency, balance=amount),
        )
        kind = MovementKind.CAPTURE
        self._moved(entry, kind, by, source, account, currency, amount, hold.name, changed)

    def give_back(self, entry: Entry, hold: Hold, amount: int, by: Cause) -> None:
        """Give a part of a hold, or all of it, back to its account."""
        self._take(hold, amount)
        account, currency = hold.account, hold.currency
        changed = (self._change(account, currency, balance=amount, held=-amount),)
        kind = MovementKind.RELEASE
        self._moved(entry, kind, by, account, account, currency, amount, hold.name, changed)

    # ---- queries ---------------------------------------------------------------------------

    def movements_from(self, first: int, limit: int) -> tuple[Movement, ...]:
        """Those that are kept, from number `first` on, up to `limit` of them; 0: the last ones."""
        kept = self.movements
        oldest = self.movement_count - len(kept) + 1
        begin = max(0, first - oldest) if first else max(0, len(kept) - limit)
        return tuple(kept[at] for at in range(begin, min(len(kept), begin + limit)))

    # ---- snapshots -------------------------------------------------------------------------

    def state(self) -> BooksState:
        return BooksState(
            tuple(self.currencies.values()),
            tuple(self.accounts.values()),
            tuple(self.holds.values()),
            tuple(self.movements),
            self.movement_count,
        )

    def load(self, state: BooksState) -> None:
        self.currencies = {one.name: one for one in state.currencies}
        self.accounts = {(one.account, one.currency): one for one in state.accounts}
        self.holds = {(one.escrow, one.name): one for one in state.holds}
        self.movements = deque(state.movements, self.movements.maxlen)
        self.movement_count = state.movement_count
        self._sums = dict.fromkeys(self.currencies, 0)
        for account in state.accounts:
            self._sums[account.currency] += account.balance + account.held
        for currency in self.currencies:
            self._assert_conserved(currency)
        for hold in state.holds:
            if hold.deadline:
                self._deadlines.add(DeadlineKind.LEDGER, hold.name, hold.deadline)

    # ---- entries in the books --------------------------------------------------------------

    def _take(self, hold: Hold, amount: int) -> None:
        """Take so much out of a hold; one that is empty is gone."""
        key = hold.escrow, hold.name
        assert self.holds[key] == hold, hold
        assert 0 < amount <= hold.amount, (hold, amount)
        if amount < hold.amount:
            self.holds[key] = replace(hold, amount=hold.amount - amount)
            return
        del self.holds[key]
        if hold.deadline:
            self._deadlines.remove(DeadlineKind.LEDGER, hold.name)

    def _change(self, account: str, currency: str, balance: int = 0, held: int = 0) -> Account:
        """Add to what an account has, and return it. What has nothing is no account."""
        key = account, currency
        known = self.accounts.get(key) or Account(account, currency, 0, 0)
        one = replace(known, balance=known.balance + balance, held=known.held + held)
        assert 0 <= one.balance <= INTEGER_MAX, one
        assert 0 <= one.held <= INTEGER_MAX, one
        if one.balance or one.held:
            self.accounts[key] = one
        else:
            del self.accounts[key]
        self._sums[currency] += balance + held
        return one

    def _moved(
        self,
        entry: Entry,
        kind: MovementKind,
        by: Cause,
        source: str,
        target: str,
        currency: str,
        amount: int,
        hold: str,
        changed: tuple[Account, ...],
    ) -> None:
        self.movement_count += 1
        movement = Movement(
            self.movement_count,
            kind,
            by.operation,
            by.agent,
            source,
            target,
            currency,
            amount,
            hold,
            entry.index,
            entry.clock,
            by.note,
        )
        self.movements.append(movement)
        self._events.append(LedgerChanged(movement, changed))
        self._assert_conserved(currency)

    def _assert_conserved(self, name: str) -> None:
        currency = self.currencies[name]
        assert self._sums[name] == currency.minted - currency.burned, (currency, self._sums[name])


def new_currency(name: str, issuer: AgentId) -> Currency:
    return Currency(name, issuer, 0, 0)
