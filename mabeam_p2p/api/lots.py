"""What the API gives back of auctions, and what a bid is. Amounts are exact Decimals of units;
`to_dict()` makes texts of them. Times are seconds by the log's clock, as in `results`."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from mabeam_p2p.api.amounts import Amount, micro_units, units
from mabeam_p2p.api.results import Decoded, Result, decoded, seconds
from mabeam_p2p.errors import InvalidValue, Rejected
from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.mechanisms.bundles import is_searchable
from mabeam_p2p.machine.mechanisms.units import UnitBid, UnitTerms, dutch_price, english_limit
from mabeam_p2p.records import Auction as AuctionRecord
from mabeam_p2p.records import (
    AuctionRule,
    AuctionStatus,
    AuctionTerms,
    BidStatus,
    Offer,
    OnBidderDeparture,
    Side,
)
from mabeam_p2p.records import Award as AwardRecord
from mabeam_p2p.records import Bid as BidRecord

RuleWord = Literal["english", "dutch", "first_price", "vickrey", "combinatorial"]
SideWord = Literal["forward", "reverse"]
AuctionWord = Literal["open", "revealing", "awarded", "unsold", "cancelled"]
BidWord = Literal["sealed", "standing", "lost", "won", "forfeited", "withdrawn"]
DepartureWord = Literal["bind", "withdraw"]

RULES: dict[RuleWord, AuctionRule] = {
    "english": AuctionRule.ENGLISH,
    "dutch": AuctionRule.DUTCH,
    "first_price": AuctionRule.FIRST_PRICE,
    "vickrey": AuctionRule.VICKREY,
    "combinatorial": AuctionRule.COMBINATORIAL,
}
SIDES: dict[SideWord, Side] = {"forward": Side.FORWARD, "reverse": Side.REVERSE}
DEPARTURES: dict[DepartureWord, OnBidderDeparture] = {
    "bind": OnBidderDeparture.BIND,
    "withdraw": OnBidderDeparture.WITHDRAW,
}
_RULE_WORDS = {rule: word for word, rule in RULES.items()}
_SIDE_WORDS = {side: word for word, side in SIDES.items()}
_DEPARTURE_WORDS = {policy: word for word, policy in DEPARTURES.items()}
_STATUS_WORDS: dict[AuctionStatus, AuctionWord] = {
    AuctionStatus.OPEN: "open",
    AuctionStatus.REVEALING: "revealing",
    AuctionStatus.AWARDED: "awarded",
    AuctionStatus.UNSOLD: "unsold",
    AuctionStatus.CANCELLED: "cancelled",
}
_BID_WORDS: dict[BidStatus, BidWord] = {
    BidStatus.SEALED: "sealed",
    BidStatus.STANDING: "standing",
    BidStatus.LOST: "lost",
    BidStatus.WON: "won",
    BidStatus.FORFEITED: "forfeited",
    BidStatus.WITHDRAWN: "withdrawn",
}
SEALED_RULES = (AuctionRule.FIRST_PRICE, AuctionRule.VICKREY, AuctionRule.COMBINATORIAL)


@dataclass(frozen=True, slots=True)
class Bid(Result):
    """What a bidder offers. price: for each of up to `quantity` units, or, with `items`, for all of
    them together. deposit: what is set aside for a sealed bid, at least its total, and seen by
    everybody; None: the next power of two, so that little is told. Raises InvalidValue."""

    price: Amount
    quantity: int = 1
    items: tuple[str, ...] = ()
    deposit: Amount | None = None

    def __post_init__(self) -> None:
        micro_units(self.price, "the price of a bid", least=0)
        if self.deposit is not None:
            micro_units(self.deposit, "the deposit of a bid", least=0)
        quantity: object = self.quantity
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            raise InvalidValue(f"quantity {quantity!r}: take a whole number, 1 or more")
        if isinstance(self.items, str):
            raise InvalidValue(f"items {self.items!r} is one text: give ({self.items!r},)")


@dataclass(frozen=True, slots=True)
class PlacedBid(Result):
    """A bid as it stands in the log; in a Dutch auction a purchase."""

    bidder: str
    status: BidWord
    offers: tuple[Bid, ...]
    """Empty while it is sealed; more than one only for several bundles."""
    deposit: Decimal
    index: int
    when: float

    @staticmethod
    def of(record: BidRecord, terms: AuctionTerms) -> "PlacedBid":
        names = tuple(name for name, _ in terms.items)
        offers = tuple(
            Bid(units(one.price), one.quantity, tuple(names[item] for item in one.items))
            for one in record.offers
        )
        return PlacedBid(
            str(record.bidder),
            _BID_WORDS[record.status],
            offers,
            units(record.deposit),
            record.index,
            seconds(record.clock),
        )


@dataclass(frozen=True, slots=True)
class Award(Result):
    """What one bid has won, paid when the auction ended; a Dutch one, when it was bought."""

    bidder: str
    quantity: int
    payment: Decimal
    """For all of it: to the auctioneer of a forward auction, from that of a reverse one."""
    items: tuple[str, ...]
    deal: str
    """Under which auctioneer and bidder rate each other: `agent.reputation.report`."""

    @staticmethod
    def of(record: AwardRecord, terms: AuctionTerms) -> "Award":
        return Award(
            str(record.bidder),
            record.quantity,
            units(record.payment),
            tuple(terms.items[item][0] for item in record.items),
            f"auction/{record.bid}",
        )


@dataclass(frozen=True, slots=True)
class Auction(Result):
    """An auction as it is in the log; once it has ended, the same on every peer, for ever."""

    id: str
    item: str
    auctioneer: str
    group: str
    rule: RuleWord
    side: SideWord
    quantity: int
    reserve: Decimal
    """Of one unit: the least price of a forward auction, the greatest of a reverse one."""
    currency: str
    """Empty: no money moves."""
    items: Mapping[str, Decimal]
    """Of a combinatorial auction, with the reserve of each."""
    bond: Decimal
    """What a sealed bid that is not revealed costs."""
    increment: Decimal
    start: Decimal
    step: Decimal
    tick: float
    bids_max: int
    exact: bool
    """Whether the best of all possible winners are found; else those of a greedy rule, which
    docs/economics.md states. Only a combinatorial auction can be without."""
    on_departure: DepartureWord
    metadata: Mapping[str, Decoded]
    when: float
    """When it was opened."""
    deadline: float
    """Of bidding, then of revealing."""
    status: AuctionWord
    bids: tuple[PlacedBid, ...]
    awards: tuple[Award, ...]
    reason: str
    """Why it ended when it did; empty before."""
    index: int
    """Of the log entry that ended it; 0 before."""
    limit: Decimal | None
    """Of an English auction: the price that wins one unit more; None: none does."""

    @staticmethod
    def of(record: AuctionRecord) -> "Auction":
        terms = record.terms
        return Auction(
            str(record.id),
            record.item,
            str(record.auctioneer),
            record.group,
            _RULE_WORDS[terms.rule],
            _SIDE_WORDS[terms.side],
            terms.quantity,
            units(terms.reserve),
            terms.currency,
            {name: units(reserve) for name, reserve in terms.items},
            units(terms.bond),
            units(terms.increment),
            units(terms.start),
            units(terms.step),
            seconds(terms.tick),
            terms.bids_max,
            terms.rule is not AuctionRule.COMBINATORIAL
            or is_searchable(len(terms.items), terms.bids_max),
            _DEPARTURE_WORDS[terms.on_departure],
            decoded(record.metadata) if record.metadata else {},
            seconds(record.opened_clock),
            seconds(record.deadline),
            _STATUS_WORDS[record.status],
            tuple(PlacedBid.of(bid, terms) for bid in record.bids),
            tuple(Award.of(award, terms) for award in record.awards),
            record.reason,
            record.closed_index,
            limit_of(record),
        )

    @property
    def is_over(self) -> bool:
        return self.status not in ("open", "revealing")

    @property
    def award(self) -> Award | None:
        """The first award: the only one, unless several units or items were awarded."""
        return self.awards[0] if self.awards else None

    def bid_of(self, bidder: str) -> PlacedBid | None:
        """The last bid of this agent, that is known."""
        return next((bid for bid in reversed(self.bids) if bid.bidder == bidder), None)

    def price_after(self, elapsed: float) -> Decimal:
        """Of a Dutch auction: the price of a unit so many seconds after the opening."""
        if self.rule != "dutch":
            raise InvalidValue(f"auction {self.id} is {self.rule}: only a Dutch one has a price")
        terms = UnitTerms(SIDES[self.side], self.quantity, micro_units(self.reserve, "", least=0))
        start, step = (micro_units(one, "", least=0) for one in (self.start, self.step))
        tick = round(self.tick * 1_000_000)
        return units(dutch_price(terms, start, step, tick, round(elapsed * 1_000_000)))

    def raise_for_status(self) -> "Auction":
        """Itself if it was awarded; else raises Rejected, whose `reason` is the status."""
        if self.status == "awarded":
            return self
        raise Rejected(
            f"auction {self.id} of {self.item!r} is {self.status} ({self.reason or 'goes on'}): "
            f"{len(self.bids)} bids, reserve {self.reserve}; `mabeam auction show {self.id}` tells "
            "more",
            reason=self.status,
        )

    def to_dict(self) -> dict[str, object]:
        # Not super(): a class with slots is made twice, and the first one is the wrong one here.
        return Result.to_dict(self) | {"over": self.is_over}


def bid_facts(record: BidRecord) -> dict[str, object]:
    """A bid as plain data, where the auction's items are not at hand: by their positions."""
    return {
        "bidder": str(record.bidder),
        "status": _BID_WORDS[record.status],
        "offers": [
            {
                "price": format(units(offer.price), "f"),
                "quantity": offer.quantity,
                "items": list(offer.items),
            }
            for offer in record.offers
        ],
        "deposit": format(units(record.deposit), "f"),
        "index": record.index,
        "when": seconds(record.clock),
    }


def limit_of(record: AuctionRecord) -> Decimal | None:
    """The price that wins one unit of an English auction."""
    terms = record.terms
    if terms.rule is not AuctionRule.ENGLISH or record.status is not AuctionStatus.OPEN:
        return None
    standing = [
        UnitBid(bid.index, bid.bidder, bid.offers[0].quantity, bid.offers[0].price)
        for bid in record.bids
        if bid.status is BidStatus.STANDING
    ]
    of_units = UnitTerms(terms.side, terms.quantity, terms.reserve)
    # As somebody would who comes last and bids the reserve.
    index = max((bid.index for bid in standing), default=0) + 1
    newcomer = UnitBid(index, AgentId(""), 1, terms.reserve)
    limit = english_limit(of_units, terms.increment, standing, newcomer)
    return units(limit) if limit >= 0 else None


def offers_of(bids: tuple[Bid, ...], terms: AuctionTerms) -> tuple[Offer, ...]:
    """As they travel. Raises InvalidValue for items that the auction does not have."""
    places = {name: place for place, (name, _) in enumerate(terms.items)}
    offers = []
    for bid in bids:
        unknown = [name for name in bid.items if name not in places]
        if unknown:
            known = ", ".join(places) or "no items"
            raise InvalidValue(f"there is no item {unknown[0]!r} in the auction: it has {known}")
        if len(dict.fromkeys(bid.items)) != len(bid.items):
            raise InvalidValue(f"items {bid.items!r}: name each of them once")
        price = micro_units(bid.price, "the price of a bid", least=0)
        offers.append(Offer(price, bid.quantity, tuple(sorted(places[name] for name in bid.items))))
    return tuple(offers)
