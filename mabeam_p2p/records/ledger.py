"""Money, budgets and good names: what the log has made of them.

All amounts are integers, micro-units: millionths of one unit of a currency or budget.
"""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import AgentId

# ---- the ledger ------------------------------------------------------------------------------


class Currency(Struct, frozen=True, gc=False, array_like=True):
    """minted - burned: the sum of all balances and holds of it, at every index."""

    name: str
    issuer: AgentId
    """Who minted it first; nobody else mints or burns it."""
    minted: int
    burned: int


class Account(Struct, frozen=True, gc=False, array_like=True):
    """What one owner has of one currency. account: `name@peer` of an agent, or the name of an
    account of a group, `GROUP:NAME`; NAME alone is one of the group of all."""

    account: str
    currency: str
    balance: int
    """What can be spent."""
    held: int
    """What is set aside: the sum of its holds."""


class Hold(Struct, frozen=True, gc=False, array_like=True):
    """Money of an account that is set aside."""

    name: str
    """Its operation's."""
    account: str
    currency: str
    amount: int
    """What is still held."""
    payee: str
    """The only account that it can be paid to, whose owner alone can give it back before the
    deadline; empty: its own owner decides."""
    deadline: int
    """By the log's clock, when it is given back; 0: never by itself."""
    opened_index: int
    opened_clock: int
    escrow: bool = False
    """Held by an auction or the like, which alone captures and releases it."""


class MovementKind(IntEnum):
    MINT = 0
    TRANSFER = 1
    BURN = 2
    HOLD = 3
    CAPTURE = 4
    RELEASE = 5


class Movement(Struct, frozen=True, gc=False, array_like=True):
    """One change of the ledger. Movements are numbered from 1, without a gap."""

    number: int
    kind: MovementKind
    operation: str
    """Id of the operation; of an escrow's movement, or of what the clock releases, the hold's."""
    agent: str
    """Who asked for it; empty: the log itself."""
    source: str
    """Account that it leaves; empty: minted. HOLD and RELEASE: the account that it stays in."""
    target: str
    """Account that it comes to; empty: burned. HOLD: the payee, if there is one."""
    currency: str
    amount: int
    hold: str
    """HOLD, CAPTURE, RELEASE: which."""
    index: int
    clock: int
    note: str = ""


# ---- budgets ---------------------------------------------------------------------------------


class Budget(Struct, frozen=True, gc=False, array_like=True):
    """A limit of what may be spent: spent + reserved <= limit, at every index."""

    name: str
    owner: AgentId
    """Who set it first; nobody else changes it."""
    limit: int
    spent: int
    """In the present window; with what was spent of the budgets in it."""
    reserved: int
    parent: str
    """The budget that this one is part of; empty: none."""
    window: int
    """Microseconds of the log's clock after which nothing is spent again; 0: one for ever."""
    window_end: int
    """By the log's clock; 0 while nothing is spent, or without a window."""
    opened_index: int
    opened_clock: int


class Reservation(Struct, frozen=True, gc=False, array_like=True):
    """Part of a budget that an agent is about to spend."""

    number: int
    """Log index of its grant."""
    budget: str
    amount: int
    agent: AgentId
    operation: str = ""
    """Id that its agent gave it; empty: none."""


class BudgetChange(IntEnum):
    SET = 0
    REMOVED = 1
    RESERVED = 2
    SPENT = 3
    """A reservation has ended; what of it was spent."""
    RELEASED = 4
    """A session ended, and its reservation with it."""
    RESET = 5
    """A window has ended."""


# ---- good names ------------------------------------------------------------------------------


class Rating(Struct, frozen=True, gc=False, array_like=True):
    """What one party of a deal has said of the other."""

    agent: AgentId
    about: AgentId
    skill: str
    score: int
    """Thousandths, 0..1000."""


class Deal(Struct, frozen=True, gc=False, array_like=True):
    """Two agents have finished something with each other."""

    name: str
    """KIND/NAME, as `hold/7f3a`."""
    one: AgentId
    other: AgentId
    index: int
    clock: int
    ratings: tuple[Rating, ...] = ()
    """Of each party one at most, in order of the log."""


class Reputation(Struct, frozen=True, gc=False, array_like=True):
    """What is thought of an agent's skill: the distribution Beta(alpha, beta), its parameters in
    thousandths. The expectation is alpha / (alpha + beta)."""

    agent: AgentId
    skill: str
    alpha: int
    beta: int
    epoch: int
    """Of the log's clock: up to it the past is forgotten in part."""
    count: int
    """Ratings ever."""
