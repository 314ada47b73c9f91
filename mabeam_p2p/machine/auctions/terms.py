"""What an auction may be opened with, and a bid say: a fault in words, None if there is none."""

from collections.abc import Iterator
from operator import lt

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX, is_key
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.machine.mechanisms.bundles import BundleTerms
from mabeam_p2p.machine.mechanisms.units import UnitTerms
from mabeam_p2p.records import AuctionRule, AuctionTerms, Offer, Side

SEALED = (AuctionRule.FIRST_PRICE, AuctionRule.VICKREY, AuctionRule.COMBINATORIAL)
"""Rules whose bids are committed to and revealed."""

_FIELDS: tuple[tuple[str, tuple[AuctionRule, ...]], ...] = (
    ("items", (AuctionRule.COMBINATORIAL,)),
    ("reveal", SEALED),
    ("bond", SEALED),
    ("increment", (AuctionRule.ENGLISH,)),
    ("extension", (AuctionRule.ENGLISH,)),
    ("start", (AuctionRule.DUTCH,)),
    ("step", (AuctionRule.DUTCH,)),
    ("tick", (AuctionRule.DUTCH,)),
)
"""Which rules know a field. With any other it is a fault, lest it be thought to do something."""


def unit_terms(terms: AuctionTerms) -> UnitTerms:
    return UnitTerms(terms.side, terms.quantity, terms.reserve)


def bundle_terms(terms: AuctionTerms) -> BundleTerms:
    reserves = tuple(reserve for _, reserve in terms.items)
    return BundleTerms(terms.side, reserves, terms.bids_max)


def ceiling(terms: AuctionTerms) -> int:
    """The most that an auctioneer who buys can have to pay."""
    return terms.quantity * terms.reserve + sum(reserve for _, reserve in terms.items)


def fault_of_terms(terms: AuctionTerms, entry: Entry, limits: Limits) -> str | None:
    return next(_faults(terms, entry, limits), None)


def _faults(terms: AuctionTerms, entry: Entry, limits: Limits) -> Iterator[str]:
    rule = terms.rule
    for field, rules in _FIELDS:
        if rule not in rules and getattr(terms, field):
            yield f"{field} means nothing in an auction by {rule.name.lower()}"
    if terms.currency and not is_key(terms.currency):
        yield "the currency has no usable name"
    if not entry.can_wait(terms.timeout):
        yield "timeout is no positive number of microseconds"
    if not 1 <= terms.bids_max <= limits.auction_bids_max:
        yield f"bids_max is 1 to {limits.auction_bids_max}"
    amounts = (terms.reserve, terms.bond, terms.increment, terms.start, terms.step)
    if min(terms.quantity, *amounts, *(reserve for _, reserve in terms.items)) < 0:
        yield "amounts are not below 0"
    if max(terms.quantity * max(terms.reserve, terms.start), ceiling(terms)) > INTEGER_MAX:
        yield f"amounts end at {INTEGER_MAX}"
    if terms.side is Side.REVERSE and ceiling(terms) == 0:
        yield "an auction that buys has a reserve above 0: the most that it pays"
    yield from _faults_of_rule(terms, entry, limits)


def _faults_of_rule(terms: AuctionTerms, entry: Entry, limits: Limits) -> Iterator[str]:
    match terms.rule:
        case AuctionRule.COMBINATORIAL:
            names = dict.fromkeys(name for name, _ in terms.items)
            if not 1 <= len(terms.items) <= limits.auction_items_max:
                yield f"items are 1 to {limits.auction_items_max}"
            if len(names) != len(terms.items) or not all(map(is_key, names)):
                yield "items have different, usable names"
            if (terms.quantity, terms.reserve) != (1, 0):
                yield "quantity is 1 and reserve 0: each item has its own"
        case AuctionRule.ENGLISH:
            if terms.increment < 1:
                yield "increment is 1 or more"
            if terms.extension and not entry.can_wait(terms.extension):
                yield "extension is no number of microseconds"
        case AuctionRule.DUTCH:
            if terms.tick < 1 or terms.step < 1:
                yield "step and tick are 1 or more"
            if unit_terms(terms).surplus(terms.start) < 0:
                yield "start is no worse than the reserve"
        case AuctionRule.FIRST_PRICE | AuctionRule.VICKREY:
            pass
    if terms.quantity < 1:
        yield "quantity is 1 or more"
    if terms.rule in SEALED and not entry.can_wait(terms.reveal):
        yield "reveal is no positive number of microseconds"
    if terms.bond and not terms.currency:
        yield "a bond needs a currency"


def fault_of_offer(terms: AuctionTerms, offer: Offer) -> str | None:
    """Of one offer by itself."""
    if offer.price < 0:
        return "a price is not below 0"
    if terms.rule is AuctionRule.COMBINATORIAL:
        if offer.quantity != 1:
            return "a bundle has quantity 1"
        ascending = all(map(lt, offer.items, offer.items[1:]))
        if not offer.items or not ascending:
            return "a bundle names one item or more, in ascending order"
        if offer.items[0] < 0 or offer.items[-1] >= len(terms.items):
            return f"items are numbered 0 to {len(terms.items) - 1}"
    elif offer.items:
        return "only auctions of items together have bundles"
    if not 1 <= offer.quantity <= terms.quantity:
        return f"quantity is 1 to {terms.quantity}"
    if offer.price * offer.quantity > INTEGER_MAX:
        return f"amounts end at {INTEGER_MAX}"
    return None


def fault_of_offers(terms: AuctionTerms, offers: tuple[Offer, ...], count: int) -> str | None:
    """Of what a sealed bid reveals that has announced `count` offers."""
    if not 1 <= len(offers) <= count:
        return f"{len(offers)} offers, {count} were announced"
    bundles = dict.fromkeys(offer.items for offer in offers)
    if len(bundles) != len(offers):
        return "each bundle stands once"
    return next((fault for offer in offers if (fault := fault_of_offer(terms, offer))), None)
