"""Auctions of equal units: first price, Vickrey, English and Dutch.

A bid wants up to `quantity` units at one price each, and takes fewer. The units go to the bids of
the greatest surplus, so that at most one bid is filled in part, the last of them.

1. First price: a winner pays its own price. Bidding one's value is not optimal.
2. Vickrey: a winner pays for each unit what the best of the units that it keeps from others would
   have brought: the best bids of others that are not filled, or the reserve where there are none.
   This is Vickrey's auction of several units (Vickrey 1961), which is VCG: for a bidder whose
   value is the same for each of up to q units and nothing for more, bidding (q, value) is a
   dominant strategy. It is not for one whose value falls from unit to unit, since a bid cannot
   say so. When everyone wants one unit, all winners pay the (k+1)-th price.
3. English: bids are open and each fills as under first price. A bid must win a unit, be no worse
   than the reserve, and beat by the increment every bid that it takes units from, its bidder's
   own last one included; and it is for no fewer units than that one still has. So what has lost a
   unit never gets it back, and its money can be returned at once.
4. Dutch: the price starts above and falls by `step` at every `tick`; with REVERSE it starts below
   and rises. The first bids whose limit reaches it take their units, at the price and not at
   their limit.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Side


class UnitTerms(Struct, frozen=True, gc=False):
    """What is auctioned. quantity: 1 or more. reserve: for one unit, 0 or more."""

    side: Side
    quantity: int
    reserve: int

    def surplus(self, price: int) -> int:
        """What a price is better than the reserve; negative if it is worse."""
        return price - self.reserve if self.side is Side.FORWARD else self.reserve - price


class UnitBid(Struct, frozen=True, gc=False):
    """index: of the log, unique. quantity: 1 or more. price: for one unit, 0 or more."""

    index: int
    bidder: AgentId
    quantity: int
    price: int


class Win(Struct, frozen=True, gc=False):
    """What a bid has won. payment: for all its units together, between auctioneer and bidder;
    the auctioneer receives it when it sells and pays it when it buys."""

    index: int
    bidder: AgentId
    quantity: int
    payment: int


def ranked(terms: UnitTerms, bids: Iterable[UnitBid]) -> list[UnitBid]:
    """The bids that may win, best first."""
    eligible = [bid for bid in bids if terms.surplus(bid.price) >= 0]
    return sorted(eligible, key=lambda bid: (-terms.surplus(bid.price), bid.index))


def filled(terms: UnitTerms, bids: Iterable[UnitBid]) -> list[tuple[UnitBid, int]]:
    """The bids that win, best first, and how many units each gets, 1 or more."""
    left = terms.quantity
    fills = []
    for bid in ranked(terms, bids):
        if left == 0:
            break
        taken = min(left, bid.quantity)
        fills.append((bid, taken))
        left -= taken
    return fills


def first_price(terms: UnitTerms, bids: Iterable[UnitBid]) -> tuple[Win, ...]:
    """Rule 1, best bid first."""
    return tuple(
        Win(bid.index, bid.bidder, taken, taken * bid.price) for bid, taken in filled(terms, bids)
    )


def vickrey(terms: UnitTerms, bids: Iterable[UnitBid]) -> tuple[Win, ...]:
    """Rule 2, best bid first. bids: at most one of each bidder."""
    offers = list(bids)
    assert len(dict.fromkeys(bid.bidder for bid in offers)) == len(offers)
    fills = filled(terms, offers)
    rest = ranked(terms, offers)[len(fills) :]
    if fills and fills[-1][1] < fills[-1][0].quantity:
        # The last winner wants more than it got; only others are kept from units by it.
        last, taken = fills[-1]
        rest.insert(0, UnitBid(last.index, last.bidder, last.quantity - taken, last.price))
    return tuple(
        Win(bid.index, bid.bidder, taken, _displaced(terms, rest, bid, taken))
        for bid, taken in fills
    )


def _displaced(terms: UnitTerms, rest: list[UnitBid], winner: UnitBid, quantity: int) -> int:
    """The price together of the best `quantity` units that were not filled, others' only; what
    nobody else wants is the auctioneer's, at the reserve."""
    payment, left = 0, quantity
    for bid in rest:
        if left == 0:
            break
        if bid.bidder != winner.bidder:
            taken = min(left, bid.quantity)
            payment += taken * bid.price
            left -= taken
    return payment + left * terms.reserve


# ---- English ---------------------------------------------------------------------------------


def english_limit(
    terms: UnitTerms, increment: int, standing: Sequence[UnitBid], bid: UnitBid
) -> int:
    """What the price of `bid` must reach, for so many units: the least when selling, the greatest
    when buying, where it can be below 0: then no price is good enough. It may rise with the price,
    since a better one takes units from better bids. standing: the last bids of all bidders, for
    the units that they have."""
    others = [each for each in standing if each.bidder != bid.bidder]
    before = {each.bidder: taken for each, taken in filled(terms, standing)}
    after = {each.bidder: taken for each, taken in filled(terms, [*others, bid])}
    beaten = [each for each in standing if each.bidder == bid.bidder]
    if bid.bidder not in after and sum(before.values()) == terms.quantity:
        # It must be better than the worst bid that has a unit.
        beaten.append(filled(terms, standing)[-1][0])
    beaten += [each for each in others if after.get(each.bidder, 0) < before.get(each.bidder, 0)]
    if terms.side is Side.FORWARD:
        return max([terms.reserve, *(each.price + increment for each in beaten)])
    return min([terms.reserve, *(each.price - increment for each in beaten)])


def reaches(side: Side, price: int, limit: int) -> bool:
    """Whether a price is as good as `limit` for the auctioneer, or better."""
    return price >= limit if side is Side.FORWARD else price <= limit


# ---- Dutch -----------------------------------------------------------------------------------


def dutch_price(terms: UnitTerms, start: int, step: int, tick: int, elapsed: int) -> int:
    """Rule 4: the price of a unit `elapsed` microseconds of the log's clock after the opening.
    start: no worse than the reserve, at which the price stays. tick: microseconds, 1 or more."""
    assert terms.surplus(start) >= 0
    moved = step * (elapsed // tick)
    if terms.side is Side.FORWARD:
        return max(terms.reserve, start - moved)
    return min(terms.reserve, start + moved)


def dutch_takes(side: Side, limit: int, price: int) -> bool:
    """Whether a bidder with that limit takes a unit at `price`."""
    return limit >= price if side is Side.FORWARD else limit <= price
