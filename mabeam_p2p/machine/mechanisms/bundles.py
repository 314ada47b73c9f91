"""Auctions of different items together: who gets which bundle, and what is paid.

A bid names a bundle of items and one price for all of it: it wins whole or not at all. A bidder
may name several bundles and wins at most one of them (XOR bids; Nisan 2000). No item is won twice.
With REVERSE bidders offer to deliver bundles, and the auctioneer takes no item twice. Its reserve
for a bundle is that of its items together.

1. Exact: when the search of as many bids as there may be has at most SEARCH_STEPS_MAX steps,
   the winners are those of the greatest surplus together, and each pays by Vickrey, Clarke and
   Groves: what its taking part costs the others. Then it is a dominant strategy to bid one's value
   for each bundle, and no winner pays more than it bid.
2. Greedy: beyond that, bids win in order of surplus / sqrt(items of the bundle), as long as they
   overlap with none before (Lehmann, O'Callaghan, Shoham 2002). The surplus is at least
   1 / sqrt(items of the auction) of the greatest. A winner pays the least that its bid would
   still have won with. Bidding one's value is dominant for bidders that want one bundle, not for
   those that name several.

Equally good sets of winners: the one that holds the bid of the lowest index in which they differ.
So at the reserve an item is rather sold than kept.
"""

from collections.abc import Sequence

from msgspec import Struct

from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Side

SEARCH_STEPS_MAX = 16_384
"""Steps of one exact search, some tens of nanoseconds each. It takes 14 bids on any number of
items; 64 on 8 items, 256 on 6, 1024 on 4."""


class BundleTerms(Struct, frozen=True, gc=False):
    """What is auctioned. reserves: of each item, 0 or more. bids_max: how many bids may come."""

    side: Side
    reserves: tuple[int, ...]
    bids_max: int

    @property
    def is_exact(self) -> bool:
        """Whether rule 1 applies, else rule 2."""
        return is_searchable(len(self.reserves), self.bids_max)

    def reserve_of(self, items: tuple[int, ...]) -> int:
        return sum(self.reserves[item] for item in items)

    def surplus(self, bid: "BundleBid") -> int:
        """What a bid is better than the reserve of its items; negative if it is worse."""
        reserve = self.reserve_of(bid.items)
        return bid.price - reserve if self.side is Side.FORWARD else reserve - bid.price


class BundleBid(Struct, frozen=True, gc=False):
    """rank: unique, in order of the log. items: positions in the auction, each once, one or more.
    price: for all of them together, 0 or more."""

    rank: int
    bidder: AgentId
    items: tuple[int, ...]
    price: int


class BundleWin(Struct, frozen=True, gc=False):
    """payment: between auctioneer and bidder; the auctioneer pays it when it buys."""

    rank: int
    bidder: AgentId
    items: tuple[int, ...]
    payment: int


class _Offer(Struct, frozen=True, gc=False):
    """A bid that may win. items: a bit for each."""

    bid: BundleBid
    items: int
    size: int
    surplus: int


def is_searchable(item_count: int, bid_count: int) -> bool:
    """Whether so many bids can be searched. A search meets no more sets of items than there are
    sets of bids, nor more for each bid than there are sets of items."""
    if bid_count < SEARCH_STEPS_MAX.bit_length():
        return True
    return item_count < SEARCH_STEPS_MAX.bit_length() and (
        bid_count << item_count <= SEARCH_STEPS_MAX
    )


def allot(terms: BundleTerms, bids: Sequence[BundleBid]) -> tuple[BundleWin, ...]:
    """Winners and payments by rule 1 or rule 2, in order of rank."""
    assert len(bids) <= terms.bids_max
    offers = [
        _Offer(bid, sum(1 << item for item in bid.items), len(bid.items), terms.surplus(bid))
        for bid in sorted(bids, key=lambda bid: bid.rank)
        if terms.surplus(bid) >= 0
    ]
    return _exact(terms, offers) if terms.is_exact else _greedy(terms, offers)


# ---- exact -----------------------------------------------------------------------------------


def _exact(terms: BundleTerms, offers: list[_Offer]) -> tuple[BundleWin, ...]:
    best, winners = _best(offers)
    wins = []
    for winner in winners:
        without, _ = _best([each for each in offers if each.bid.bidder != winner.bid.bidder])
        externality = without - (best - winner.surplus)
        wins.append(_win(terms, winner, externality))
    return tuple(wins)


def _best(offers: list[_Offer]) -> tuple[int, list[_Offer]]:
    """The greatest surplus, and the winners in order of rank.

    A table of the best value for every set of items that can be sold, one bidder after the other.
    To the surplus, in front, is added one bit for each bid, the earliest being the greatest: so
    two sets of winners are never equal, and sums of values still decide (rule of ties).
    """
    count = len(offers)
    by_bidder: dict[AgentId, list[tuple[int, int]]] = {}
    for position, offer in enumerate(offers):
        value = (offer.surplus << count) + (1 << (count - 1 - position))
        by_bidder.setdefault(offer.bid.bidder, []).append((offer.items, value))
    table = {0: 0}
    for bundles in by_bidder.values():
        reached = dict(table)
        for items, value in bundles:
            for sold, held in table.items():
                if not sold & items and reached.get(sold | items, -1) < held + value:
                    reached[sold | items] = held + value
        table = reached
    value = max(table.values())
    winners = [offers[n] for n in range(count) if value >> (count - 1 - n) & 1]
    return value >> count, winners


# ---- greedy ----------------------------------------------------------------------------------


def _greedy(terms: BundleTerms, offers: list[_Offer]) -> tuple[BundleWin, ...]:
    ordered = sorted(offers, key=_Merit)
    winners = sorted(_taken(ordered), key=lambda offer: offer.bid.rank)
    return tuple(_win(terms, winner, _critical(winner, ordered)) for winner in winners)


class _Merit:
    """Order of rule 2: surplus / sqrt(size), compared by its square; then rank."""

    __slots__ = ("_offer",)

    def __init__(self, offer: _Offer) -> None:
        self._offer = offer

    def __lt__(self, other: "_Merit") -> bool:
        mine, theirs = self._offer, other._offer
        left, right = mine.surplus**2 * theirs.size, theirs.surplus**2 * mine.size
        return left > right or (left == right and mine.bid.rank < theirs.bid.rank)


def _taken(ordered: list[_Offer]) -> list[_Offer]:
    sold = 0
    bidders: dict[AgentId, None] = {}
    winners = []
    for offer in ordered:
        if not offer.items & sold and offer.bid.bidder not in bidders:
            sold |= offer.items
            bidders[offer.bid.bidder] = None
            winners.append(offer)
    return winners


def _critical(winner: _Offer, ordered: list[_Offer]) -> int:
    """The least surplus with which the winner still wins: that of coming before the first bid
    that wins if its bidder stays away and that overlaps with it. ordered: by merit."""
    rivals = [offer for offer in ordered if offer.bid.bidder != winner.bid.bidder]
    blocking = next((each for each in _taken(rivals) if each.items & winner.items), None)
    if blocking is None:
        return 0
    low, high = 0, winner.surplus
    while low < high:
        middle = (low + high) // 2
        lowered = _Offer(winner.bid, winner.items, winner.size, middle)
        if _Merit(lowered) < _Merit(blocking):
            high = middle
        else:
            low = middle + 1
    return low


# ---- both ------------------------------------------------------------------------------------


def _win(terms: BundleTerms, winner: _Offer, surplus: int) -> BundleWin:
    """surplus: what the winner must leave to the auctioneer above the reserve."""
    bid = winner.bid
    assert 0 <= surplus <= winner.surplus, (surplus, winner)
    reserve = terms.reserve_of(bid.items)
    payment = reserve + surplus if terms.side is Side.FORWARD else reserve - surplus
    return BundleWin(bid.rank, bid.bidder, bid.items, payment)
