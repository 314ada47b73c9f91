"""What the API gives back of money, budgets and reputations. Amounts are exact Decimals of units;
`to_dict()` makes texts of them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from mabeam_p2p.api.amounts import units
from mabeam_p2p.api.results import Result, seconds
from mabeam_p2p.records import Account, BudgetChange, MovementKind
from mabeam_p2p.records import Budget as BudgetRecord
from mabeam_p2p.records import Currency as CurrencyRecord
from mabeam_p2p.records import Deal as DealRecord
from mabeam_p2p.records import Hold as HoldRecord
from mabeam_p2p.records import Movement as MovementRecord
from mabeam_p2p.records import Rating as RatingRecord
from mabeam_p2p.records import Reputation as ReputationRecord

KindWord = Literal["mint", "transfer", "burn", "hold", "capture", "release"]
ChangeWord = Literal["set", "removed", "reserved", "spent", "released", "reset"]

_KINDS: dict[MovementKind, KindWord] = {
    MovementKind.MINT: "mint",
    MovementKind.TRANSFER: "transfer",
    MovementKind.BURN: "burn",
    MovementKind.HOLD: "hold",
    MovementKind.CAPTURE: "capture",
    MovementKind.RELEASE: "release",
}
CHANGES: dict[BudgetChange, ChangeWord] = {
    BudgetChange.SET: "set",
    BudgetChange.REMOVED: "removed",
    BudgetChange.RESERVED: "reserved",
    BudgetChange.SPENT: "spent",
    BudgetChange.RELEASED: "released",
    BudgetChange.RESET: "reset",
}

PARTS = 1_000
"""Scores travel in thousandths."""


@dataclass(frozen=True, slots=True)
class Balance(Result):
    """What one account has of one currency."""

    account: str
    currency: str
    balance: Decimal
    """What can be spent."""
    held: Decimal
    """What is set aside."""

    @staticmethod
    def of(record: Account) -> "Balance":
        return Balance(record.account, record.currency, units(record.balance), units(record.held))


@dataclass(frozen=True, slots=True)
class Currency(Result):
    """minted - burned is the sum of all balances and holds."""

    name: str
    issuer: str
    minted: Decimal
    burned: Decimal

    @staticmethod
    def of(record: CurrencyRecord) -> "Currency":
        return Currency(record.name, str(record.issuer), units(record.minted), units(record.burned))


@dataclass(frozen=True, slots=True)
class Held(Result):
    """A hold, as it stands in the log."""

    id: str
    account: str
    currency: str
    amount: Decimal
    """What is still held."""
    payee: str
    """The only account that it can be paid to; empty: its owner decides."""
    deadline: float | None
    """When it is given back, in seconds by the log's clock; None: never by itself."""
    when: float
    escrow: bool
    """Held by an auction or the like, which alone decides."""

    @staticmethod
    def of(record: HoldRecord) -> "Held":
        return Held(
            record.name,
            record.account,
            record.currency,
            units(record.amount),
            record.payee,
            seconds(record.deadline) if record.deadline else None,
            seconds(record.opened_clock),
            record.escrow,
        )


@dataclass(frozen=True, slots=True)
class Movement(Result):
    """One change of the ledger; they are numbered from 1."""

    number: int
    kind: KindWord
    operation: str
    agent: str
    """Who asked for it; empty: the log's clock, or an auction."""
    source: str
    target: str
    currency: str
    amount: Decimal
    hold: str
    index: int
    when: float
    note: str

    @staticmethod
    def of(record: MovementRecord) -> "Movement":
        return Movement(
            record.number,
            _KINDS[record.kind],
            record.operation,
            record.agent,
            record.source,
            record.target,
            record.currency,
            units(record.amount),
            record.hold,
            record.index,
            seconds(record.clock),
            record.note,
        )


@dataclass(frozen=True, slots=True)
class Receipt(Result):
    """An operation that took effect. The same operation again gives the same receipt."""

    operation: str
    number: int
    """Of its movement."""
    index: int
    term: int


@dataclass(frozen=True, slots=True)
class BudgetFacts(Result):
    """A budget, as it stands in the log."""

    name: str
    owner: str
    limit: Decimal
    spent: Decimal
    """In the present window, with what was spent of the budgets in it."""
    reserved: Decimal
    parent: str
    window: float | None
    """Seconds; None: one for ever."""

    @property
    def free(self) -> Decimal:
        """What this budget alone would still allow; those that it is part of may allow less."""
        return self.limit - self.spent - self.reserved

    @staticmethod
    def of(record: BudgetRecord) -> "BudgetFacts":
        return BudgetFacts(
            record.name,
            str(record.owner),
            units(record.limit),
            units(record.spent),
            units(record.reserved),
            record.parent,
            seconds(record.window) if record.window else None,
        )

    def to_dict(self) -> dict[str, object]:
        # Not super(): a class with slots is made twice, and the first one is the wrong one here.
        return Result.to_dict(self) | {"free": format(self.free, "f")}


@dataclass(frozen=True, slots=True)
class Rating(Result):
    """What one party of a deal has said of the other."""

    agent: str
    about: str
    skill: str
    score: float

    @staticmethod
    def of(record: RatingRecord) -> "Rating":
        return Rating(str(record.agent), str(record.about), record.skill, record.score / PARTS)


@dataclass(frozen=True, slots=True)
class Deal(Result):
    """Two agents have finished something with each other; each may rate the other once."""

    id: str
    """KIND/NAME, as `hold/7f3a` or `auction/lot`."""
    parties: tuple[str, str]
    index: int
    when: float
    ratings: tuple[Rating, ...]

    @staticmethod
    def of(record: DealRecord) -> "Deal":
        return Deal(
            record.name,
            (str(record.one), str(record.other)),
            record.index,
            seconds(record.clock),
            tuple(map(Rating.of, record.ratings)),
        )


@dataclass(frozen=True, slots=True)
class Reputation(Result):
    """What is thought of an agent's skill: the distribution Beta(alpha, beta). Beta(1, 1), of
    expectation one half, is that of an agent of whom nothing is known."""

    agent: str
    skill: str
    alpha: float
    beta: float
    count: int
    """Ratings ever; the older ones count less."""

    @property
    def score(self) -> float:
        """The expectation, between 0 and 1."""
        return self.alpha / (self.alpha + self.beta)

    @staticmethod
    def of(record: ReputationRecord) -> "Reputation":
        return Reputation(
            str(record.agent),
            record.skill,
            record.alpha / PARTS,
            record.beta / PARTS,
            record.count,
        )

    def to_dict(self) -> dict[str, object]:
        return Result.to_dict(self) | {"score": self.score}
