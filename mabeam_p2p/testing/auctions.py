"""What auctions come to, judged from the log alone: each has one end, and its winners and payments
are those of the bids, computed anew from the definitions.

Nothing of machine/mechanisms is used. An English auction is played unit by unit; the others are
decided by trying every way to sell, or for many units by sorting them one by one.
"""

import hashlib
from itertools import combinations

import msgspec

from mabeam_p2p.commands import (
    AuctionCommand,
    OpenAuction,
    PlaceBid,
    RevealBid,
    SealBid,
)
from mabeam_p2p.events import (
    AuctionClosed,
    AuctionOpened,
    AuctionRevealing,
    BidPlaced,
    MachineEvent,
)
from mabeam_p2p.ids import AgentId, AuctionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import (
    Auction,
    AuctionRule,
    AuctionStatus,
    AuctionTerms,
    BidStatus,
    Offer,
    Side,
)
from mabeam_p2p.requests import Committed, HoldQuery, Outcome
from mabeam_p2p.testing.checkers import Violation

RULE = "auctions"
TRIED_BIDS_MAX = 12
"""Bundles of which every set is tried."""

Sale = tuple[AgentId, int, int, int, tuple[int, ...]]
"""Bidder, index of the bid, quantity, payment, items."""


def _sign(terms: AuctionTerms) -> int:
    """To compare prices as if everything were sold."""
    return 1 if terms.side is Side.FORWARD else -1


class _Played:
    """An auction, as far as the log has brought it."""

    def __init__(self, opened: Auction) -> None:
        self.opened = opened
        self.units: list[tuple[int, int, AgentId]] = []
        """ENGLISH: of each unit that has a bid, worst first: (signed price, -index, bidder)."""
        self.sealed: dict[AgentId, tuple[int, SealBid]] = {}
        self.revealed: dict[AgentId, tuple[Offer, ...]] = {}
        self.sales: list[Sale] = []
        """DUTCH."""
        self.seen: dict[int, None] = {}
        """Indices of bids."""
        self.is_revealing = False


class AuctionJudge:
    """Hears every committed command with its outcome, then the events of its batch."""

    def __init__(self) -> None:
        self.closed: dict[AuctionId, Auction] = {}
        self._played: dict[AuctionId, _Played] = {}
        self._said: dict[int, tuple[AgentId, AuctionCommand, int]] = {}
        """By index: who said it, and the log's clock."""
        self._has_closed = False
        self._reveals: dict[tuple[AuctionId, AgentId], RevealBid] = {}

    def is_revealing(self, auction: AuctionId) -> bool:
        played = self._played.get(auction)
        return played is not None and played.is_revealing

    def took_effect(
        self, agent: AgentId, command: AuctionCommand, outcome: Outcome, clock: int
    ) -> None:
        if isinstance(outcome, Committed):
            self._said.setdefault(outcome.index, (agent, command, clock))
            if isinstance(command, RevealBid):
                self._reveals.setdefault((command.auction, agent), command)

    def happened(self, event: MachineEvent) -> None:
        """Raises Violation."""
        match event:
            case AuctionOpened(auction=auction):
                self._open(auction)
            case BidPlaced():
                self._bid(event)
            case AuctionRevealing(auction=auction):
                self._played[auction.id].is_revealing = True
            case AuctionClosed(auction=auction):
                self._close(auction)
            case _:
                # Nothing else is said of auctions.
                pass

    def judge_holds(self, machine: Machine) -> None:
        """After the events of a batch: of auctions that have ended nothing is set aside."""
        if not self._has_closed:
            return
        self._has_closed = False
        may_hold = {
            f"auction/{index}": None
            for played in self._played.values()
            for index in (played.opened.opened_index, *played.seen)
        }
        for hold in machine.find(HoldQuery("", "")).holds:
            if hold.escrow and hold.name not in may_hold:
                raise Violation(RULE, f"held for nothing: {hold}")

    def _open(self, auction: Auction) -> None:
        agent, command, _ = self._said[auction.opened_index]
        if auction.id in self._played or auction.id in self.closed:
            raise Violation(RULE, f"opened twice: {auction}")
        if not isinstance(command, OpenAuction) or agent != auction.auctioneer:
            raise Violation(RULE, f"opened by nobody: {auction}")
        if (command.auction, command.item, command.terms) != (
            auction.id,
            auction.item,
            auction.terms,
        ):
            raise Violation(RULE, f"opened by {command} as {auction}")
        self._played[auction.id] = _Played(auction)

    def _bid(self, event: BidPlaced) -> None:
        played = self._played.get(event.auction)
        if played is None:
            raise Violation(RULE, f"a bid where nothing is open: {event}")
        bid = event.bid
        agent, command, clock = self._said[bid.index]
        if agent != bid.bidder or agent == played.opened.auctioneer:
            raise Violation(RULE, f"a bid of {agent} counts for another: {event}")
        if bid.status is BidStatus.WITHDRAWN:
            played.units = [unit for unit in played.units if unit[2] != agent]
            played.sealed.pop(agent, None)
            return
        is_new = bid.index not in played.seen
        played.seen[bid.index] = None
        match command:
            case PlaceBid() if played.opened.terms.rule is AuctionRule.DUTCH:
                _sell(played, agent, bid.index, command, clock)
            case PlaceBid() if is_new:
                _play(played, agent, bid.index, command)
            case SealBid() if is_new:
                if played.is_revealing:
                    raise Violation(RULE, f"sealed when bidding had ended: {event}")
                played.sealed[agent] = bid.index, command
            case SealBid():
                self._reveal(played, agent, event)
            case _:
                # A bid that has lost units: what it was said with is known.
                pass

    def _reveal(self, played: _Played, agent: AgentId, event: BidPlaced) -> None:
        reveal = self._reveals[event.auction, agent]
        if not played.is_revealing:
            raise Violation(RULE, f"revealed while bidding went on: {event}")
        _, sealed = played.sealed[agent]
        text = msgspec.msgpack.encode((event.auction, agent, reveal.offers, reveal.salt))
        if hashlib.blake2b(text, digest_size=32, person=b"mabeam bid").digest() != sealed.seal:
            raise Violation(RULE, f"not what was sealed: {event}")
        played.revealed[agent] = reveal.offers

    def _close(self, auction: Auction) -> None:
        played = self._played.pop(auction.id, None)
        if played is None:
            raise Violation(RULE, f"ended twice, or never opened: {auction}")
        self.closed[auction.id] = auction
        self._has_closed = True
        made: list[Sale] = [
            (award.bidder, award.bid, award.quantity, award.payment, award.items)
            for award in auction.awards
        ]
        if auction.status is AuctionStatus.CANCELLED:
            if made or played.units or played.sealed or played.sales:
                raise Violation(RULE, f"cancelled with bids: {auction}")
            return
        if (auction.status is AuctionStatus.AWARDED) != bool(made):
            raise Violation(RULE, f"awards and status disagree: {auction}")
        expected = _expected(played)
        if expected is not None and sorted(made) != sorted(expected):
            raise Violation(RULE, f"the bids come to {expected}, awarded was: {auction}")
        forfeited = [bid.bidder for bid in auction.bids if bid.status is BidStatus.FORFEITED]
        if sorted(forfeited) != sorted(set(played.sealed) - set(played.revealed)):
            raise Violation(RULE, f"others forfeit than those that did not reveal: {auction}")


# ---- the rules, anew -------------------------------------------------------------------------


def _play(played: _Played, agent: AgentId, index: int, command: PlaceBid) -> None:
    """ENGLISH: the bid takes free units, then the worst ones that it is better than."""
    terms = played.opened.terms
    price = _sign(terms) * command.price
    if price < _sign(terms) * terms.reserve:
        raise Violation(RULE, f"worse than the reserve, yet a bid: {command}")
    own = [unit for unit in played.units if unit[2] == agent]
    units = sorted(unit for unit in played.units if unit[2] != agent)
    taken = min(command.quantity, terms.quantity - len(units))
    while taken < command.quantity and units and units[0][0] < price:
        beaten = units.pop(0)
        if price < beaten[0] + terms.increment:
            raise Violation(RULE, f"takes a unit without the increment: {command}")
        taken += 1
    if taken == 0 or taken < len(own) or any(price < p + terms.increment for p, _, _ in own):
        raise Violation(RULE, f"no better than what it had, yet a bid: {command}")
    played.units = sorted([*units, *[(price, -index, agent)] * taken])


def _sell(played: _Played, agent: AgentId, index: int, command: PlaceBid, clock: int) -> None:
    """DUTCH: at the price of that moment."""
    terms = played.opened.terms
    sign = _sign(terms)
    ticks = (clock - played.opened.opened_clock) // terms.tick
    price = sign * max(sign * terms.start - ticks * terms.step, sign * terms.reserve)
    if sign * command.price < sign * price:
        raise Violation(RULE, f"bought at {price}, which it did not want: {command}")
    left = terms.quantity - sum(quantity for _, _, quantity, _, _ in played.sales)
    taken = min(left, command.quantity)
    played.sales.append((agent, index, taken, taken * price, ()))


def _expected(played: _Played) -> list[Sale] | None:
    """What is to be awarded; None: too many ways to try."""
    terms = played.opened.terms
    if terms.rule is AuctionRule.DUTCH:
        return played.sales
    if terms.rule is AuctionRule.ENGLISH:
        return _units_sold(_sign(terms), played.units)
    bids = [(played.sealed[who][0], who, offers) for who, offers in played.revealed.items()]
    if terms.rule is AuctionRule.COMBINATORIAL:
        return _bundles_sold(terms, sorted(bids))
    return _sealed_sold(terms, sorted(bids))


def _units_sold(sign: int, units: list[tuple[int, int, AgentId]]) -> list[Sale]:
    """At their own prices."""
    sold: dict[tuple[AgentId, int], list[int]] = {}
    for price, index, bidder in units:
        sold.setdefault((bidder, -index), []).append(sign * price)
    return [(who, index, len(paid), sum(paid), ()) for (who, index), paid in sold.items()]


Bids = list[tuple[int, AgentId, tuple[Offer, ...]]]


def _best_units(terms: AuctionTerms, bids: Bids) -> list[tuple[int, int, AgentId]]:
    """The units that are sold, and not below the reserve."""
    sign = _sign(terms)
    wanted = [
        (sign * offer.price, -index, bidder)
        for index, bidder, (offer,) in bids
        for _ in range(offer.quantity)
        if sign * offer.price >= sign * terms.reserve
    ]
    return sorted(wanted)[-terms.quantity :]


def _sealed_sold(terms: AuctionTerms, bids: Bids) -> list[Sale]:
    best = _best_units(terms, bids)
    sign = _sign(terms)
    if terms.rule is AuctionRule.FIRST_PRICE:
        return _units_sold(sign, best)
    sold: list[Sale] = []
    for bidder, index, quantity, own, _ in _units_sold(sign, best):
        # Vickrey: what the others, and the auctioneer with its reserve, would have had more.
        without = _best_units(terms, [bid for bid in bids if bid[1] != bidder])
        everything = sum(price for price, _, _ in best)
        everything += sign * terms.reserve * (terms.quantity - len(best))
        alone = sum(price for price, _, _ in without)
        alone += sign * terms.reserve * (terms.quantity - len(without))
        sold.append((bidder, index, quantity, sign * (alone - (everything - sign * own)), ()))
    return sold


def _is_exact(terms: AuctionTerms) -> bool:
    """Whether the terms promise the best of all ways to sell, as docs/economics.md says."""
    return terms.bids_max <= 14 or (
        len(terms.items) <= 14 and terms.bids_max * 2 ** len(terms.items) <= 2**14
    )


def _bundles_sold(terms: AuctionTerms, bids: Bids) -> list[Sale] | None:
    flat = [(index, bidder, offer) for index, bidder, offers in bids for offer in offers]
    if len(flat) > TRIED_BIDS_MAX or not _is_exact(terms):
        return None
    sign = _sign(terms)

    def gain(offer: Offer) -> int:
        return sign * (offer.price - sum(terms.items[item][1] for item in offer.items))

    def best(of: list[int]) -> tuple[int, list[bool]]:
        """The greatest gain, and which bids make it: of equal ones those of the earliest bid."""
        ways = [(0, [False] * len(flat))]
        for count in range(1, len(of) + 1):
            for chosen in combinations(of, count):
                items = [item for at in chosen for item in flat[at][2].items]
                bidders = [flat[at][1] for at in chosen]
                if len(set(items)) == len(items) and len(set(bidders)) == count:
                    total = sum(gain(flat[at][2]) for at in chosen)
                    ways.append((total, [at in chosen for at in range(len(flat))]))
        return max(ways)

    able = [at for at, (_, _, offer) in enumerate(flat) if gain(offer) >= 0]
    greatest, winners = best(able)
    sold: list[Sale] = []
    for at, (index, bidder, offer) in enumerate(flat):
        if winners[at]:
            without, _ = best([other for other in able if flat[other][1] != bidder])
            kept = without - (greatest - gain(offer))
            reserve = sum(terms.items[item][1] for item in offer.items)
            sold.append((bidder, index, 1, reserve + sign * kept, offer.items))
    return sold
