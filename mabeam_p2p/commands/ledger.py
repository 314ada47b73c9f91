"""What is said of money, budgets and good names. Amounts: micro-units."""

from mabeam_p2p.commands.base import SessionCommand


class LedgerCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what moves money. An operation takes effect once, whichever session it comes from."""

    operation: str
    """Its id, made by who asks, so that a retry is the same operation."""


class Mint(LedgerCommand, frozen=True, gc=False, array_like=True, tag=50):
    """Money comes into being. The first one makes the currency, and its agent the issuer."""

    account: str
    currency: str
    amount: int
    note: str = ""


class Transfer(LedgerCommand, frozen=True, gc=False, array_like=True, tag=51):
    source: str
    target: str
    currency: str
    amount: int
    note: str = ""


class Burn(LedgerCommand, frozen=True, gc=False, array_like=True, tag=52):
    account: str
    currency: str
    amount: int
    note: str = ""


class PlaceHold(LedgerCommand, frozen=True, gc=False, array_like=True, tag=53):
    """Set money aside. The hold has the operation's id."""

    account: str
    currency: str
    amount: int
    payee: str = ""
    """The only account that it can be paid to; needs a timeout."""
    timeout: int = 0
    """Microseconds of the log's clock after which it is given back; 0: never by itself."""
    note: str = ""


class CaptureHold(LedgerCommand, frozen=True, gc=False, array_like=True, tag=54):
    """Pay some of a hold; the rest stays held."""

    hold: str
    amount: int
    account: str
    """Who is paid."""
    note: str = ""


class ReleaseHold(LedgerCommand, frozen=True, gc=False, array_like=True, tag=55):
    """Give back what is left of a hold."""

    hold: str
    note: str = ""


AnyLedgerCommand = Mint | Transfer | Burn | PlaceHold | CaptureHold | ReleaseHold


class BudgetCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what is said of budgets."""

    budget: str


class SetBudget(BudgetCommand, frozen=True, gc=False, array_like=True, tag=56):
    """Make a budget, or change its limit."""

    limit: int | None
    """None: remove it."""
    parent: str = ""
    """The budget that it is part of, for ever."""
    window: int = 0
    """Microseconds of the log's clock after which nothing is spent again; 0: one for ever."""


class Reserve(BudgetCommand, frozen=True, gc=False, array_like=True, tag=57):
    """Committed.number names the reservation."""

    amount: int
    operation: str = ""
    """Its id, made by who asks, so that a retry is the same reservation; empty: each is another."""


class SpendReserved(BudgetCommand, frozen=True, gc=False, array_like=True, tag=58):
    """End a reservation: `amount` of it was spent, the rest is free again."""

    reservation: int
    amount: int


AnyBudgetCommand = SetBudget | Reserve | SpendReserved


class Rate(SessionCommand, frozen=True, gc=False, array_like=True, tag=59):
    """Say how the other party of a deal did."""

    deal: str
    skill: str
    score: int
    """Thousandths, 0..1000."""
