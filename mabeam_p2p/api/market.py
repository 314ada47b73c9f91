"""Auctions: opening them, bidding by hand, waiting for their end, looking at them; for one group.

Whose bids are sealed must reveal them, in time, with the salt that they were sealed with. Bidders
that are declared do (`bidders`); who bids by hand keeps the Sealed and reveals it.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mabeam_p2p.api.amounts import Amount, micro_units, units
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.lots import (
    DEPARTURES,
    RULES,
    SEALED_RULES,
    SIDES,
    Auction,
    Bid,
    DepartureWord,
    RuleWord,
    SideWord,
    offers_of,
)
from mabeam_p2p.api.results import MICROSECONDS, Level
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import check_rationale, encoded_metadata, microseconds
from mabeam_p2p.commands import CancelAuction, OpenAuction, PlaceBid, RevealBid, SealBid
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import AuctionTimeout, InvalidValue, UnknownAuction
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    GROUP_ALL,
    AgentId,
    AuctionId,
    check_key,
    scoped,
)
from mabeam_p2p.machine.mechanisms.bundles import is_searchable
from mabeam_p2p.machine.mechanisms.seals import SALT_BYTES_MAX, seal_of
from mabeam_p2p.records import Auction as AuctionRecord
from mabeam_p2p.records import AuctionRule, AuctionStatus, AuctionTerms, Offer, Side
from mabeam_p2p.requests import AuctionQuery, Found

T = TypeVar("T")
W = TypeVar("W", bound=str)

END_GRACE_SECONDS = 5.0
"""How much later than its deadline an auction's end may reach the auctioneer: the log closes it,
and a change of leader may come between."""

REVEAL_ITEMS_MAX = 1_800
"""Items and numbers that one reveal has room for. A bid that could not be revealed would cost its
bond."""

BIDS_MAX = 256
"""Bids that an auction takes unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bid that was sealed, with what reveals it: whoever has it knows the bid."""

    auction: str
    bids: tuple[Bid, ...]
    salt: bytes
    offers: tuple[Offer, ...]
    seal: bytes
    deposit: int
    """Micro-units."""


class Market:
    """The auctions of one group, as one agent sees them.

    Amounts are Decimal, int or float of units with six decimals at most. The currency is named
    within the group; without one no money moves. Every verb raises InvalidValue for what makes no
    sense, Rejected errors for what the log refuses, NoQuorum (it was certainly not done) and
    OutcomeUnknown (it may have been).
    """

    def __init__(
        self, group: str, attachment: Attachment, session: Session, agent: Callable[[], str]
    ) -> None:
        """Not for users. agent: this agent's id, as it is now."""
        self._group = group
        self._attachment = attachment
        self._session = session
        self._agent = agent

    # ---- auctioneers -------------------------------------------------------------------------

    async def open(
        self,
        item: str,
        *,
        quantity: int = 1,
        rule: RuleWord = "vickrey",
        side: SideWord = "forward",
        reserve: Amount = 0,
        currency: str | None = None,
        timeout: float | None = None,
        reveal: float | None = None,
        items: Mapping[str, Amount] | None = None,
        bond: Amount = 0,
        increment: Amount | None = None,
        extension: float = 0.0,
        start: Amount | None = None,
        step: Amount | None = None,
        tick: float = 1.0,
        bids_max: int | None = None,
        on_departure: DepartureWord = "bind",
        metadata: Mapping[str, object] | None = None,
        id: str | None = None,
    ) -> Auction:
        """Open an auction and return it; `wait` waits for its end. See `Scope.auction`."""
        terms = self._terms(
            rule=rule,
            side=side,
            quantity=quantity,
            reserve=reserve,
            currency=currency,
            timeout=timeout,
            reveal=reveal,
            items=items or {},
            bond=bond,
            increment=increment,
            extension=extension,
            start=start,
            step=step,
            tick=tick,
            bids_max=bids_max,
            on_departure=on_departure,
        )
        auction = AuctionId(check_key(id or secrets.token_hex(8), "auction"))
        about = encoded_metadata(dict(metadata or {}), self._attachment.limits)
        command = OpenAuction(
            CLUSTER_SESSION, 0, auction, check_key(item, "item"), self._group, terms, about
        )
        what = f"auction {auction} of {item!r}"
        seconds = self._attachment.timing.request_timeout_seconds
        await self._session.commit(command, what, seconds)
        return await self.show(auction, level="local")

    async def wait(self, auction: str, *, timeout: float | None = None) -> Auction:
        """The auction once it has ended. timeout: seconds; None: until its deadlines and some
        seconds more. Raises AuctionTimeout, and UnknownAuction."""
        loop = asyncio.get_running_loop()
        what = f"auction {auction}"
        query = AuctionQuery(AuctionId(auction))
        started, known = loop.time(), 0
        while True:
            record = await self._known(auction)
            if record.status >= AuctionStatus.AWARDED:
                return Auction.of(record)
            if timeout is not None:
                deadline = started + timeout
            elif record.deadline != known:
                # Later than this it cannot end, but by bids that extend it.
                known = record.deadline
                left = known - record.opened_clock + record.terms.reveal
                deadline = loop.time() + left / MICROSECONDS + END_GRACE_SECONDS
            found = await self._attachment.settled(query, what, deadline)
            if found is not None:
                return Auction.of(found.auctions[0])
            if timeout is not None or (await self._known(auction)).deadline == known:
                raise AuctionTimeout(
                    f"{what} has not ended as far as peer {self._attachment.peer_name} knows; it "
                    f"goes on: see `mabeam auction show {auction}`, and `mabeam status` for a "
                    "quorum",
                    auction=auction,
                )

    async def cancel(
        self, auction: str, *, reason: str = "", timeout: float | None = None
    ) -> Auction:
        """End an auction of one's own that has no bids yet. Raises UnknownAuction, AuctionEnded,
        and Rejected with reason not_auctioneer or auction_has_bids."""
        short = check_rationale(reason, self._attachment.limits)
        command = CancelAuction(CLUSTER_SESSION, 0, AuctionId(auction), short)
        await self._session.commit(command, f"cancelling auction {auction}", self._time(timeout))
        return await self.show(auction, level="local")

    # ---- bidders -----------------------------------------------------------------------------

    async def bid(
        self,
        auction: str,
        price: Amount,
        quantity: int = 1,
        *,
        timeout: float | None = None,
    ) -> int:
        """Bid in an English auction, or buy (sell) in a Dutch one that has come to `price`; return
        the units that the bid has. Raises Outbid, InsufficientFunds, UnknownAuction,
        AuctionEnded, NotEligible."""
        one = Bid(price, quantity)
        micro = micro_units(one.price, "the price of a bid", least=0)
        command = PlaceBid(CLUSTER_SESSION, 0, AuctionId(auction), micro, quantity)
        what = f"bid of {price} in auction {auction}"
        return (await self._session.commit(command, what, self._time(timeout))).number

    async def seal(
        self, auction: str, *bids: Bid, salt: bytes | None = None, timeout: float | None = None
    ) -> Sealed:
        """Bind oneself to a bid that nobody can read yet; `reveal` it when bidding has ended. More
        than one bid only for bundles, of which one is won at most. salt: 16 to 64 bytes of chance;
        None: drawn here."""
        record = await self._known(auction)
        sealed = self.prepared(record, bids, salt or secrets.token_bytes(16))
        return await self.commit_seal(sealed, self._time(timeout))

    async def wait_for_reveal(self, auction: str, *, timeout: float | None = None) -> bool:
        """Return when sealed bids can be revealed; False if the auction has ended before.
        timeout: seconds; None: as long as it takes. Raises AuctionTimeout, UnknownAuction."""
        view, identity = self._attachment.view, AuctionId(auction)

        def has_moved() -> bool:
            record = view.open_auctions.get(identity)
            return record is None or record.status is AuctionStatus.REVEALING

        try:
            async with asyncio.timeout(timeout):
                # The view may not have come as far as what was found.
                while (found := await self._known(auction)).status is AuctionStatus.OPEN:
                    await view.until(has_moved)
        except TimeoutError:
            raise AuctionTimeout(
                f"bidding in auction {auction} goes on as far as peer {self._attachment.peer_name} "
                f"knows: see `mabeam auction show {auction}`",
                auction=auction,
            ) from None
        return found.status is AuctionStatus.REVEALING

    async def reveal(self, sealed: Sealed, *, timeout: float | None = None) -> None:
        """Raises Rejected with reason wrong_phase while bidding goes on, and AuctionEnded."""
        command = RevealBid(
            CLUSTER_SESSION, 0, AuctionId(sealed.auction), sealed.offers, sealed.salt
        )
        what = f"revealing a bid in auction {sealed.auction}"
        await self._session.commit(command, what, self._time(timeout))

    async def sealed(self, auction: str, *bids: Bid, salt: bytes) -> Sealed:
        """What was sealed with this salt, to reveal it from elsewhere: nothing is said."""
        return self.prepared(await self._known(auction), bids, salt)

    def prepared(self, record: AuctionRecord, bids: Sequence[Bid], salt: bytes) -> Sealed:
        """What `seal` says, before it is said. Raises InvalidValue for a bid that could not be
        revealed."""
        terms = record.terms
        if terms.rule not in SEALED_RULES:
            raise InvalidValue(f"auction {record.id} has open bids: bid with `market.bid`")
        if not bids or (len(bids) > 1 and terms.rule is not AuctionRule.COMBINATORIAL):
            raise InvalidValue(f"{len(bids)} bids at once: give one, or several with `items=`")
        if not 16 <= len(salt) <= SALT_BYTES_MAX:
            raise InvalidValue(f"the salt has {len(salt)} bytes: take 16 to {SALT_BYTES_MAX}")
        offers = offers_of(tuple(bids), terms)
        if sum(len(offer.items) + 4 for offer in offers) > REVEAL_ITEMS_MAX:
            raise InvalidValue(f"{len(bids)} bundles are too many for one bid: name fewer")
        for offer in offers:
            self._check(record, offer)
        deposit = self._deposit(record, bids, offers)
        agent = AgentId(self._agent())
        seal = seal_of(record.id, agent, offers, salt)
        return Sealed(str(record.id), tuple(bids), salt, offers, seal, deposit)

    async def commit_seal(self, sealed: Sealed, timeout: float) -> Sealed:
        """Say it; again is the same bid."""
        command = SealBid(
            CLUSTER_SESSION,
            0,
            AuctionId(sealed.auction),
            sealed.seal,
            sealed.deposit,
            len(sealed.offers),
        )
        await self._session.commit(command, f"sealed bid in auction {sealed.auction}", timeout)
        return sealed

    # ---- looking -----------------------------------------------------------------------------

    async def show(
        self, auction: str, *, level: Level = "linearizable", timeout: float | None = None
    ) -> Auction:
        """Raises UnknownAuction."""
        return Auction.of(await self._find(auction, level, timeout))

    async def auctions(
        self, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[Auction, ...]:
        """Those of the group that are remembered, ended ones first."""
        found = await self._attachment.find(
            AuctionQuery(AuctionId("")),
            "reading the auctions",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        return tuple(
            Auction.of(record)
            for record in found.auctions
            if self._group in (GROUP_ALL, record.group)
        )

    async def _known(self, auction: str) -> AuctionRecord:
        """As this peer knows it, or else the leader."""
        query, what = _query_of(auction)
        found = await self._attachment.find_anywhere(query, what, lambda seen: seen.auctions)
        return self._only(found, auction)

    async def _find(
        self, auction: str, level: Level, timeout: float | None = None
    ) -> AuctionRecord:
        query, what = _query_of(auction)
        found = await self._attachment.find(
            query, what, linearizable=level == "linearizable", timeout=timeout
        )
        return self._only(found, auction)

    def _only(self, found: Found, auction: str) -> AuctionRecord:
        if not found.auctions:
            raise UnknownAuction(
                f"peer {self._attachment.peer_name} knows no auction {auction!r}: it is too old to "
                "be remembered, or never was; see `mabeam auction list`",
                reason="unknown_auction",
            )
        return found.auctions[0]

    # ---- terms and money ---------------------------------------------------------------------

    def _terms(
        self,
        *,
        rule: RuleWord,
        side: SideWord,
        quantity: int,
        reserve: Amount,
        currency: str | None,
        timeout: float | None,
        reveal: float | None,
        items: Mapping[str, Amount],
        bond: Amount,
        increment: Amount | None,
        extension: float,
        start: Amount | None,
        step: Amount | None,
        tick: float,
        bids_max: int | None,
        on_departure: DepartureWord,
    ) -> AuctionTerms:
        timing = self._attachment.timing
        kind = _chosen(RULES, rule, "rule")
        is_english, is_dutch = kind is AuctionRule.ENGLISH, kind is AuctionRule.DUTCH
        if is_english and increment is None:
            raise InvalidValue("an English auction has an increment: give `increment=`")
        if is_dutch and (start is None or step is None):
            raise InvalidValue("a Dutch auction has a price: give `start=` and `step=`")
        if kind in SEALED_RULES:
            reveal = timing.reveal_timeout_seconds if reveal is None else reveal
        if bids_max is None:
            is_bundles = kind is AuctionRule.COMBINATORIAL
            bids_max = exact_bids(len(items), self._attachment.limits) if is_bundles else BIDS_MAX
        return AuctionTerms(
            rule=kind,
            side=_chosen(SIDES, side, "side"),
            timeout=microseconds(timing.auction_timeout_seconds if timeout is None else timeout),
            quantity=quantity,
            reserve=micro_units(reserve, "the reserve", least=0),
            currency="" if currency is None else self._currency(currency),
            items=tuple(
                (check_key(name, "item"), micro_units(one, f"the reserve of {name!r}", least=0))
                for name, one in items.items()
            ),
            reveal=0 if reveal is None else microseconds(reveal),
            bond=micro_units(bond, "the bond", least=0),
            increment=0 if increment is None else micro_units(increment, "the increment"),
            extension=microseconds(extension) if extension else 0,
            start=0 if start is None else micro_units(start, "the first price", least=0),
            step=0 if step is None else micro_units(step, "the step"),
            tick=microseconds(tick) if is_dutch else 0,
            bids_max=bids_max,
            on_departure=_chosen(DEPARTURES, on_departure, "on_departure"),
        )

    def _currency(self, currency: str) -> str:
        return check_key(scoped(self._group, check_key(currency, "currency")), "currency")

    def _check(self, record: AuctionRecord, offer: Offer) -> None:
        is_bundle = record.terms.rule is AuctionRule.COMBINATORIAL
        if is_bundle != bool(offer.items):
            lacking = "names the items that it is for" if is_bundle else "names no items"
            raise InvalidValue(f"a bid in auction {record.id} {lacking}")
        if offer.quantity > (1 if is_bundle else record.terms.quantity):
            most = 1 if is_bundle else record.terms.quantity
            raise InvalidValue(f"quantity {offer.quantity}: take {most} at most")

    def _deposit(
        self, record: AuctionRecord, bids: Sequence[Bid], offers: tuple[Offer, ...]
    ) -> int:
        """What is set aside for a sealed bid, micro-units."""
        terms = record.terms
        if not terms.currency:
            return 0
        if terms.side is Side.REVERSE:
            return terms.bond
        total = max(terms.bond, *(offer.price * offer.quantity for offer in offers))
        given = [bid.deposit for bid in bids if bid.deposit is not None]
        if given:
            deposit = max(micro_units(one, "the deposit", least=0) for one in given)
            if deposit < total:
                raise InvalidValue(
                    f"a deposit of {units(deposit)} is less than the bid or its bond can come to: "
                    f"give {units(total)} or more"
                )
            return deposit
        account = self._attachment.view.accounts.get((self._agent(), terms.currency))
        # The next power of two tells little of the bid; all that there is tells nothing.
        balance = 0 if account is None else account.balance
        return min(1 << max(total - 1, 0).bit_length(), max(total, balance))

    def _time(self, timeout: float | None) -> float:
        return self._attachment.timing.request_timeout_seconds if timeout is None else timeout


def exact_bids(item_count: int, limits: Limits) -> int:
    """The most bundles for which a combinatorial auction of so many items is exact."""
    most = limits.auction_bids_max
    while most > 1 and not is_searchable(item_count, most):
        most -= 1
    return most


def _chosen(known: Mapping[W, T], word: W, what: str) -> T:
    if word not in known:
        raise InvalidValue(f"{what} {word!r}: take {', '.join(known)}")
    return known[word]


def _query_of(auction: str) -> tuple[AuctionQuery, str]:
    """And what it is for."""
    return AuctionQuery(AuctionId(check_key(auction, "auction"))), f"reading auction {auction}"
