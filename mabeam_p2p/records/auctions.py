"""Auctions: what is sold or bought, who bids, and what comes of it.

All amounts are integers, micro-units of a currency.
"""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import AgentId, AuctionId


class Side(IntEnum):
    """Who competes in an auction: buyers for what is sold, or sellers for what is bought."""

    FORWARD = 0
    REVERSE = 1


class AuctionRule(IntEnum):
    """Who wins and what is paid: machine/mechanisms."""

    ENGLISH = 0
    DUTCH = 1
    FIRST_PRICE = 2
    VICKREY = 3
    COMBINATORIAL = 4


class OnBidderDeparture(IntEnum):
    """What becomes of the bids of an agent whose session ends."""

    BIND = 0
    WITHDRAW = 1


class AuctionTerms(Struct, frozen=True, gc=False, array_like=True):
    """What an auction is opened with. A field that its rule does not know keeps its default."""

    rule: AuctionRule
    side: Side
    timeout: int
    """Microseconds of the log's clock for bids."""
    quantity: int = 1
    """Equal units; 1 for COMBINATORIAL."""
    reserve: int = 0
    """For one unit: the least price when selling, the greatest when buying. Not COMBINATORIAL."""
    currency: str = ""
    """Empty: no money moves."""
    items: tuple[tuple[str, int], ...] = ()
    """COMBINATORIAL: name and reserve of each."""
    reveal: int = 0
    """Sealed rules: microseconds for revealing, once bidding has ended."""
    bond: int = 0
    """Sealed rules: what a bidder forfeits that does not reveal. Needs a currency."""
    increment: int = 0
    """ENGLISH: by how much a bid must be better than those it takes units from."""
    extension: int = 0
    """ENGLISH: microseconds that are left after every bid, at least; 0: no matter."""
    start: int = 0
    """DUTCH: the first price of a unit."""
    step: int = 0
    """DUTCH: by how much the price moves at each tick, towards the reserve."""
    tick: int = 0
    """DUTCH: microseconds."""
    bids_max: int = 256
    """Bids that the auction takes; COMBINATORIAL: bundles, of all bidders together."""
    on_departure: OnBidderDeparture = OnBidderDeparture.BIND


class Offer(Struct, frozen=True, gc=False, array_like=True):
    """What a bid says. `price` is for one unit, or for all items of a bundle together."""

    price: int
    quantity: int = 1
    """The most units; 1 for a bundle."""
    items: tuple[int, ...] = ()
    """COMBINATORIAL: positions in `AuctionTerms.items`, ascending."""


class BidStatus(IntEnum):
    """SEALED and STANDING can still win."""

    SEALED = 0
    STANDING = 1
    LOST = 2
    WON = 3
    FORFEITED = 4
    """Never revealed."""
    WITHDRAWN = 5


class Bid(Struct, frozen=True, gc=False, array_like=True):
    """A bidder's last word in an auction; DUTCH: one purchase."""

    bidder: AgentId
    index: int
    """Of the entry that placed or sealed it: the earlier one wins a tie."""
    clock: int
    status: BidStatus
    offers: tuple[Offer, ...] = ()
    """Empty while SEALED. More than one for COMBINATORIAL alone. An ENGLISH bid that has lost some
    of its units is one for the rest."""
    seal: bytes = b""
    deposit: int = 0
    """Held when it was sealed: no bid of it can be greater."""
    count: int = 1
    """Offers that a sealed bid has announced, at most."""


class Award(Struct, frozen=True, gc=False, array_like=True):
    bidder: AgentId
    bid: int
    """Index of the bid."""
    quantity: int
    payment: int
    """For all of this award together: to the auctioneer when selling, from it when buying."""
    items: tuple[int, ...] = ()


class AuctionStatus(IntEnum):
    OPEN = 0
    REVEALING = 1
    AWARDED = 2
    UNSOLD = 3
    CANCELLED = 4


class Auction(Struct, frozen=True, gc=False, array_like=True):
    id: AuctionId
    item: str
    auctioneer: AgentId
    group: str
    """Whose agents may bid."""
    terms: AuctionTerms
    metadata: bytes
    opened_index: int
    opened_term: int
    opened_clock: int
    deadline: int
    """Of bidding, then of revealing, by the log's clock."""
    status: AuctionStatus = AuctionStatus.OPEN
    bids: tuple[Bid, ...] = ()
    awards: tuple[Award, ...] = ()
    """Best bid first; COMBINATORIAL: in order of the bids. DUTCH: also while it is open."""
    closed_index: int = 0
    closed_term: int = 0
    closed_clock: int = 0
    reason: str = ""
    """`deadline`, `all revealed`, `sold out`, `no bids`, or why it was cancelled."""
