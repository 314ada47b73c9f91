"""One auction that is open: its bids, and the money that stands behind them.

1. Bidding, then for sealed rules revealing, then the end; at every change all money is where the
   rules say. Whoever can win has enough set aside for it; whoever cannot any more has nothing.
2. Buyers' money is held when they bid, at the most that the bid can come to; when the auction buys,
   the auctioneer's is held from the opening, at its reserve for everything.
3. A sealed bid binds from the moment it is sealed. Not to reveal it costs the bond, whoever the
   bidder is and whatever kept it.
4. Only with the policy WITHDRAW, and only while bidding goes on, are the bids of a bidder whose
   session ends given back. During revealing they bind: else whoever has seen the others' bids
   could still go.
"""

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import PlaceBid, RevealBid, SealBid
from mabeam_p2p.events import BidPlaced, MachineEvent
from mabeam_p2p.ids import INTEGER_MAX, AgentId, AuctionId
from mabeam_p2p.machine.auctions.purse import Purse
from mabeam_p2p.machine.auctions.terms import (
    SEALED,
    bundle_terms,
    ceiling,
    fault_of_offer,
    fault_of_offers,
    unit_terms,
)
from mabeam_p2p.machine.core import Deals, Entry, Escrow
from mabeam_p2p.machine.mechanisms.bundles import BundleBid, allot
from mabeam_p2p.machine.mechanisms.seals import SALT_BYTES_MAX, SALT_BYTES_MIN, SEAL_BYTES, seal_of
from mabeam_p2p.machine.mechanisms.units import (
    UnitBid,
    dutch_price,
    dutch_takes,
    english_limit,
    filled,
    first_price,
    reaches,
    vickrey,
)
from mabeam_p2p.records import (
    Auction,
    AuctionRule,
    AuctionStatus,
    Award,
    Bid,
    BidStatus,
    Offer,
    OnBidderDeparture,
    Side,
)
from mabeam_p2p.requests import Outcome, Refused

_LIVE = (BidStatus.SEALED, BidStatus.STANDING)
_SPENT = (BidStatus.LOST, BidStatus.WITHDRAWN)

Holds = tuple[tuple[str, int], ...]


class LotState(Struct, frozen=True, array_like=True):
    """In a snapshot. house: what the auctioneer has set aside. purses: of bidders."""

    auction: Auction
    house: Holds
    purses: tuple[tuple[AgentId, Holds], ...]


class Lot:
    """`is_over` says when it is to be taken off the table; the owner keeps its deadline."""

    def __init__(
        self, state: LotState, escrow: Escrow, deals: Deals, events: list[MachineEvent]
    ) -> None:
        auction = state.auction
        self._opened = auction
        """As it was when this object was made: for what never changes."""
        self._escrow = escrow
        self._deals = deals
        self._events = events
        self.terms = auction.terms
        self.deadline = auction.deadline
        self.status = auction.status
        self._reason = auction.reason
        self._bids = {bid.index: bid for bid in auction.bids}
        """In order of their coming."""
        self._last = {bid.bidder: bid.index for bid in auction.bids}
        """The last bid of each bidder."""
        self._awards = list(auction.awards)
        self._house = self._purse(auction.auctioneer, state.house)
        self._purses = {who: self._purse(who, holds) for who, holds in state.purses}
        self._closed: Entry | None = None

    def _purse(self, owner: AgentId, holds: Holds = ()) -> Purse:
        return Purse(self._escrow, owner, self.terms.currency, holds)

    @property
    def id(self) -> AuctionId:
        return self._opened.id

    @property
    def auctioneer(self) -> AgentId:
        return self._opened.auctioneer

    @property
    def group(self) -> str:
        return self._opened.group

    @property
    def is_over(self) -> bool:
        return self.status >= AuctionStatus.AWARDED

    def record(self) -> Auction:
        closed = self._closed
        return replace(
            self._opened,
            deadline=self.deadline,
            status=self.status,
            bids=tuple(self._bids.values()),
            awards=tuple(self._awards),
            closed_index=0 if closed is None else closed.index,
            closed_term=0 if closed is None else closed.term,
            closed_clock=0 if closed is None else closed.clock,
            reason=self._reason,
        )

    def state(self) -> LotState:
        purses = tuple((who, purse.holds()) for who, purse in self._purses.items())
        return LotState(self.record(), self._house.holds(), purses)

    # ---- money -----------------------------------------------------------------------------

    def fund(self, entry: Entry) -> Refused | None:
        """Set the auctioneer's money aside, at the opening; or say why not."""
        if self.terms.side is Side.FORWARD:
            return None
        return self._house.raise_to(entry, ceiling(self.terms), _operation(entry))

    def _hold(self, entry: Entry, bidder: AgentId, amount: int) -> Refused | None:
        purse = self._purses.get(bidder) or self._purse(bidder)
        refusal = purse.raise_to(entry, amount, _operation(entry))
        if refusal is None and purse.held:
            self._purses[bidder] = purse
        return refusal

    def _lower(self, entry: Entry, bidder: AgentId, amount: int) -> None:
        purse = self._purses.get(bidder)
        if purse is not None:
            purse.lower_to(entry, amount)
            if not purse.held:
                del self._purses[bidder]

    def _settle(self, entry: Entry, bidder: AgentId, payment: int) -> None:
        """Pay an award, from whoever buys to whoever sells."""
        if self.terms.side is Side.REVERSE:
            self._house.pay(entry, payment, bidder)
        elif bidder in self._purses:
            self._purses[bidder].pay(entry, payment, self.auctioneer)
        else:
            assert payment == 0 or not self.terms.currency

    # ---- bids ------------------------------------------------------------------------------

    def live(self, bidder: AgentId) -> Bid | None:
        """The bid that it can still win with."""
        bid = self._bids.get(self._last.get(bidder, 0))
        return bid if bid is not None and bid.status in _LIVE else None

    def _standing(self) -> list[UnitBid]:
        return [
            UnitBid(bid.index, bid.bidder, bid.offers[0].quantity, bid.offers[0].price)
            for bid in self._bids.values()
            if bid.status is BidStatus.STANDING
        ]

    def _lacks_room(self, count: int, kept: int | None = None) -> Refused | None:
        """For so many offers besides the `kept` ones; None: all that have not lost."""
        if kept is None:
            kept = sum(bid.count for bid in self._bids.values() if bid.status not in _SPENT)
        if kept + count > self.terms.bids_max:
            return Refused("limit", f"the auction takes {self.terms.bids_max} bids, it has {kept}")
        return None

    def _make_room(self) -> None:
        """Forget what can win no more, the oldest first, until the rest is as many as may be."""
        count = sum(bid.count for bid in self._bids.values())
        for bid in tuple(self._bids.values()):
            if count <= self.terms.bids_max:
                return
            if bid.status in _SPENT:
                count -= bid.count
                self._forget(bid)

    def _forget(self, bid: Bid) -> None:
        del self._bids[bid.index]
        if self._last.get(bid.bidder) == bid.index:
            del self._last[bid.bidder]

    def _put(self, bid: Bid) -> None:
        """Add a bid, in the place of the bidder's last one where it has one bid."""
        older = self._bids.get(self._last.get(bid.bidder, 0))
        if older is not None and older.index != bid.index and older.status is not BidStatus.WON:
            self._forget(older)
        self._bids[bid.index] = bid
        self._last[bid.bidder] = bid.index

    def _tell(self, bid: Bid) -> None:
        self._events.append(BidPlaced(self.id, bid, self.deadline))

    # ---- open bids -------------------------------------------------------------------------

    def place(self, entry: Entry, bidder: AgentId, command: PlaceBid) -> Outcome:
        """Committed.number: the units that the bid has.

        Refused: invalid, wrong_phase, outbid, conflicting_bid, limit, and what the ledger says.
        """
        offer = Offer(command.price, command.quantity)
        fault = fault_of_offer(self.terms, offer) if self.terms.rule not in SEALED else None
        if fault is not None:
            return Refused("invalid", fault)
        match self.terms.rule:
            case AuctionRule.ENGLISH:
                return self._place_english(entry, bidder, offer)
            case AuctionRule.DUTCH:
                return self._buy(entry, bidder, offer)
            case _:
                return Refused("wrong_phase", "the bids of this auction are sealed")

    def _place_english(self, entry: Entry, bidder: AgentId, offer: Offer) -> Outcome:
        terms, own = unit_terms(self.terms), self.live(bidder)
        if own is not None and own.offers == (offer,):
            return entry.committed(offer.quantity)
        if own is not None and offer.quantity < own.offers[0].quantity:
            has = own.offers[0].quantity
            return Refused("conflicting_bid", f"a better bid is for no fewer than the {has} it has")
        bid = UnitBid(entry.index, bidder, offer.quantity, offer.price)
        standing = self._standing()
        limit = english_limit(terms, self.terms.increment, standing, bid)
        if not reaches(self.terms.side, offer.price, limit):
            return Refused("outbid", _must_reach(self.terms.side, limit))
        others = [one for one in standing if one.bidder != bidder]
        fills = {one.index: taken for one, taken in filled(terms, [*others, bid])}
        taken = fills[entry.index]
        refusal = self._lacks_room(1, len(fills) - 1)
        if refusal is None and self.terms.side is Side.FORWARD:
            refusal = self._hold(entry, bidder, offer.price * taken)
        if refusal is not None:
            return refusal
        placed = Bid(
            bidder, entry.index, entry.clock, BidStatus.STANDING, (Offer(offer.price, taken),)
        )
        self._put(placed)
        self._extend(entry)
        self._tell(placed)
        for one in others:
            if fills.get(one.index, 0) < one.quantity:
                self._cut(entry, self._bids[one.index], fills.get(one.index, 0))
        self._make_room()
        return entry.committed(taken)

    def _cut(self, entry: Entry, bid: Bid, quantity: int) -> None:
        """The bid has lost units to a better one: it is one for the rest from now on."""
        price = bid.offers[0].price
        if quantity:
            cut = replace(bid, offers=(Offer(price, quantity),))
        else:
            cut = replace(bid, status=BidStatus.LOST)
        self._bids[bid.index] = cut
        if self.terms.side is Side.FORWARD:
            self._lower(entry, bid.bidder, price * quantity)
        self._tell(cut)

    def _extend(self, entry: Entry) -> None:
        if self.deadline - entry.clock < self.terms.extension:
            self.deadline = min(entry.clock + self.terms.extension, INTEGER_MAX)

    def price(self, clock: int) -> int:
        """Of a unit, in a Dutch auction."""
        terms = self.terms
        elapsed = clock - self._opened.opened_clock
        return dutch_price(unit_terms(terms), terms.start, terms.step, terms.tick, elapsed)

    def _buy(self, entry: Entry, bidder: AgentId, offer: Offer) -> Outcome:
        price = self.price(entry.clock)
        if not dutch_takes(self.terms.side, offer.price, price):
            return Refused("outbid", f"the price is {price} micro-units now")
        left = self.terms.quantity - sum(award.quantity for award in self._awards)
        taken = min(left, offer.quantity)
        refusal = self._lacks_room(1)
        if refusal is None and self.terms.side is Side.FORWARD:
            refusal = self._hold(entry, bidder, price * taken)
        if refusal is not None:
            return refusal
        self._settle(entry, bidder, price * taken)
        self._lower(entry, bidder, 0)
        bought = Bid(bidder, entry.index, entry.clock, BidStatus.WON, (Offer(price, taken),))
        self._put(bought)
        self._awards.append(Award(bidder, entry.index, taken, price * taken))
        self._tell(bought)
        if taken == left:
            self._end(entry, "sold out")
        return entry.committed(taken)

    # ---- sealed bids -----------------------------------------------------------------------

    def seal(self, entry: Entry, bidder: AgentId, command: SealBid) -> Outcome:
        """Refused: wrong_phase, invalid, conflicting_bid, limit, and what the ledger says."""
        terms = self.terms
        if terms.rule not in SEALED:
            return Refused("wrong_phase", "the bids of this auction are open")
        own = self.live(bidder)
        if own is not None:
            said = (own.seal, own.deposit, own.count)
            if said == (command.seal, command.deposit, command.count):
                return entry.committed()
            return Refused("conflicting_bid", f"sealed at index {own.index}: the first bid binds")
        if self.status is not AuctionStatus.OPEN:
            return Refused("wrong_phase", "bidding has ended")
        fault = self._fault_of_seal(command)
        if fault is not None:
            return Refused("invalid", fault)
        refusal = self._lacks_room(command.count) or self._hold(entry, bidder, command.deposit)
        if refusal is not None:
            return refusal
        sealed = Bid(
            bidder,
            entry.index,
            entry.clock,
            BidStatus.SEALED,
            seal=command.seal,
            deposit=command.deposit,
            count=command.count,
        )
        self._put(sealed)
        self._make_room()
        self._tell(sealed)
        return entry.committed()

    def _fault_of_seal(self, command: SealBid) -> str | None:
        terms = self.terms
        most = terms.bids_max if terms.rule is AuctionRule.COMBINATORIAL else 1
        if len(command.seal) != SEAL_BYTES:
            return f"a seal has {SEAL_BYTES} bytes"
        if not 1 <= command.count <= most:
            return f"count is 1 to {most}"
        if not terms.currency and command.deposit:
            return "no money moves in this auction: the deposit is 0"
        if terms.side is Side.REVERSE and command.deposit != terms.bond:
            return f"sellers deposit the bond, {terms.bond} micro-units"
        if not terms.bond <= command.deposit <= INTEGER_MAX:
            return f"the deposit is {terms.bond} micro-units or more, the bond"
        return None

    def reveal(self, entry: Entry, bidder: AgentId, command: RevealBid) -> Outcome:
        """Refused: wrong_phase, not_bidder, wrong_seal, conflicting_bid, invalid."""
        own = self.live(bidder)
        if self.status is not AuctionStatus.REVEALING:
            sealed = self.terms.rule in SEALED
            return Refused("wrong_phase", "bidding goes on" if sealed else "bids are open")
        if own is None:
            return Refused("not_bidder", f"{bidder} has sealed no bid here")
        if own.status is BidStatus.STANDING:
            if own.offers == command.offers:
                return entry.committed()
            return Refused("conflicting_bid", "it was revealed before")
        if not SALT_BYTES_MIN <= len(command.salt) <= SALT_BYTES_MAX:
            return Refused("invalid", f"a salt has {SALT_BYTES_MIN} to {SALT_BYTES_MAX} bytes")
        if seal_of(self.id, bidder, command.offers, command.salt) != own.seal:
            return Refused("wrong_seal", "it is not what was sealed")
        fault = fault_of_offers(self.terms, command.offers, own.count)
        if fault is None and self.terms.currency and self.terms.side is Side.FORWARD:
            most = max(offer.price * offer.quantity for offer in command.offers)
            fault = f"it comes to {most} micro-units of {own.deposit}" * (most > own.deposit)
        if fault:
            return Refused("invalid", fault)
        revealed = replace(own, status=BidStatus.STANDING, offers=command.offers)
        self._bids[own.index] = revealed
        self._tell(revealed)
        if not any(bid.status is BidStatus.SEALED for bid in self._bids.values()):
            self._end(entry, "all revealed")
        return entry.committed()

    # ---- the end ---------------------------------------------------------------------------

    def expire(self, entry: Entry) -> None:
        """The deadline is past: of bidding, or of revealing."""
        is_sealed = any(bid.status is BidStatus.SEALED for bid in self._bids.values())
        if self.status is AuctionStatus.OPEN and is_sealed:
            self.status = AuctionStatus.REVEALING
            # From here, not from the deadline: nobody could reveal while the log stood still.
            self.deadline = min(entry.clock + self.terms.reveal, INTEGER_MAX)
        else:
            self._end(entry, "deadline" if self._bids else "no bids")

    def withdraw(self, entry: Entry, bidder: AgentId) -> None:
        """The bidder's session has ended: rule 4."""
        policy, bid = self.terms.on_departure, self.live(bidder)
        is_free = policy is OnBidderDeparture.WITHDRAW and self.status is AuctionStatus.OPEN
        if bid is not None and is_free:
            self._lower(entry, bidder, 0)
            self._bids[bid.index] = withdrawn = replace(bid, status=BidStatus.WITHDRAWN)
            self._tell(withdrawn)

    def cancel(self, entry: Entry, reason: str) -> Outcome:
        """Refused: auction_has_bids."""
        if self._awards or any(bid.status in _LIVE for bid in self._bids.values()):
            return Refused("auction_has_bids", "it must go on to its end")
        self._close(entry, AuctionStatus.CANCELLED, reason or "cancelled")
        return entry.committed()

    def _end(self, entry: Entry, reason: str) -> None:
        for bid in tuple(self._bids.values()):
            if bid.status is BidStatus.SEALED:
                self._forfeit(entry, bid)
        if self.terms.rule is not AuctionRule.DUTCH:
            self._awards = self._won()
            for award in self._awards:
                self._settle(entry, award.bidder, award.payment)
        winners = {award.bid: award for award in self._awards}
        for bid in tuple(self._bids.values()):
            if bid.status is BidStatus.STANDING:
                status = BidStatus.WON if bid.index in winners else BidStatus.LOST
                self._bids[bid.index] = replace(bid, status=status)
        self._close(entry, AuctionStatus.AWARDED if winners else AuctionStatus.UNSOLD, reason)

    def _forfeit(self, entry: Entry, bid: Bid) -> None:
        if self.terms.bond:
            self._purses[bid.bidder].pay(entry, self.terms.bond, self.auctioneer)
        self._bids[bid.index] = replace(bid, status=BidStatus.FORFEITED)

    def _won(self) -> list[Award]:
        if self.terms.rule is AuctionRule.COMBINATORIAL:
            return self._won_bundles()
        rule = vickrey if self.terms.rule is AuctionRule.VICKREY else first_price
        wins = rule(unit_terms(self.terms), self._standing())
        return [Award(win.bidder, win.index, win.quantity, win.payment) for win in wins]

    def _won_bundles(self) -> list[Award]:
        standing = [bid for bid in self._bids.values() if bid.status is BidStatus.STANDING]
        standing.sort(key=lambda bid: bid.index)
        said = [(bid, offer) for bid in standing for offer in bid.offers]
        bundles = [
            BundleBid(rank, bid.bidder, offer.items, offer.price)
            for rank, (bid, offer) in enumerate(said)
        ]
        return [
            Award(win.bidder, said[win.rank][0].index, 1, win.payment, win.items)
            for win in allot(bundle_terms(self.terms), bundles)
        ]

    def _close(self, entry: Entry, status: AuctionStatus, reason: str) -> None:
        """Give back all that is still held."""
        for bidder in tuple(self._purses):
            self._lower(entry, bidder, 0)
        self._house.lower_to(entry, 0)
        for award in self._awards:
            deal = f"auction/{award.bid}"
            self._deals.settled(entry, deal, self.auctioneer, award.bidder)
        self.status = status
        self._closed = entry
        self._reason = reason


def _operation(entry: Entry) -> str:
    """An entry holds money once."""
    return f"auction/{entry.index}"


def _must_reach(side: Side, limit: int) -> str:
    if side is Side.FORWARD:
        return f"the price must be at least {limit} micro-units"
    return f"the price must be at most {limit} micro-units" if limit >= 0 else "no price wins"
