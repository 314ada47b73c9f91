"""What an agent bids in the auctions of others, and when it says so.

1. As with evaluators: the bidders of the auction's group are asked first, then those for every
   group; among each, the most specific pattern of the item speaks. No bidder, or None from it: no
   bid. It raises, or overruns its time: no bid, with a line in the log. The agent's own auctions
   are left alone.
2. English: the bid is placed; when it has lost a unit, the bidder is asked again, with the auction
   as it is then.
3. Dutch: the bid is a limit. It is placed when the price has come to it, as far as this agent can
   reckon; one that comes early is refused, which costs nothing, and comes again a tick later.
4. Sealed: the bid is sealed at once, and revealed when bidding has ended. The salt is kept in this
   process alone: a bid of a process that has died is never revealed and costs its bond.
5. Each auction is taken part in once, and again only if a bid did not get through, when the agent
   is attached anew. A purchase that may have been made is not made again.
6. Nothing is said before `begin`, and where there is no bidder not for a while after it.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from mabeam_p2p.api.amounts import micro_units
from mabeam_p2p.api.calls import Calls
from mabeam_p2p.api.evaluators import SETTLING_SECONDS, TIME_SHARE
from mabeam_p2p.api.insisting import NOT_DONE, PAUSE_SECONDS, insistently
from mabeam_p2p.api.lots import SEALED_RULES, Auction, Bid
from mabeam_p2p.api.market import Market
from mabeam_p2p.api.patterns import Patterns
from mabeam_p2p.api.results import MICROSECONDS, seconds
from mabeam_p2p.api.values import text_of
from mabeam_p2p.api.view import View
from mabeam_p2p.errors import (
    AuctionEnded,
    Closed,
    MabeamError,
    Outbid,
    OutcomeUnknown,
    Rejected,
)
from mabeam_p2p.ids import AgentId, AuctionId
from mabeam_p2p.machine.mechanisms.units import dutch_takes
from mabeam_p2p.records import Auction as AuctionRecord
from mabeam_p2p.records import AuctionRule, AuctionStatus, BidStatus, Side
from mabeam_p2p.records import Bid as BidRecord

T = TypeVar("T")

_log = logging.getLogger(__name__)

BidderAnswer = Bid | Sequence[Bid] | None
Bidder = Callable[[Auction], BidderAnswer | Awaitable[BidderAnswer]]

REQUEST_SECONDS = 10.0
"""For one try of a sealed bid."""


class Bidders:
    """The bidders of one agent. market: speaks for it. is_eligible: whether the log would take a
    bid of it."""

    def __init__(
        self,
        view: View,
        market: Market,
        agent: Callable[[], str],
        is_eligible: Callable[[AuctionRecord], bool],
    ) -> None:
        self._view = view
        self._market = market
        self._agent = agent
        self._is_eligible = is_eligible
        self._by_group: dict[str | None, Patterns[Bidder]] = {}
        self._running: dict[AuctionId, asyncio.Task[None]] = {}
        self._news: dict[AuctionId, asyncio.Event] = {}
        self._done: dict[AuctionId, None] = {}
        """Open auctions in which everything has been said."""
        self._seen: dict[AuctionId, float] = {}
        """When auctions were opened, by the loop's clock; of those alone that were seen to be."""
        self._calls = Calls("bidders")
        self._settled_at: float | None = None

    def declare(self, pattern: str, group: str | None, bidder: Bidder) -> None:
        """`group` None: for auctions of every group."""
        self._by_group.setdefault(group, Patterns()).declare(pattern, bidder)

    def begin(self) -> None:
        """The program has its agent. Whoever calls this considers then what is open."""
        self._settled_at = asyncio.get_running_loop().time() + SETTLING_SECONDS

    def opened(self, record: AuctionRecord) -> None:
        """An auction has been opened just now."""
        self._seen[record.id] = asyncio.get_running_loop().time()
        self.consider(record)

    def consider(self, record: AuctionRecord) -> None:
        """Take part in an open auction, once."""
        if self._settled_at is None or record.id in self._running or record.id in self._done:
            return
        if record.status is AuctionStatus.OPEN and self._is_eligible(record):
            self._news[record.id] = asyncio.Event()
            task = asyncio.create_task(self._take_part(record), name=f"bid on {record.id}")
            self._running[record.id] = task
            task.add_done_callback(lambda _: self._ended(record.id))

    def changed(self, auction: AuctionId) -> None:
        """The view has another record of the auction, or none any more."""
        if (news := self._news.get(auction)) is not None:
            news.set()
        if auction not in self._view.open_auctions:
            self._seen.pop(auction, None)
            self._done.pop(auction, None)

    def look_again(self) -> None:
        """Events may have been lost, and the view was read anew: whoever waits for one looks."""
        for news in self._news.values():
            news.set()
        is_open = self._view.open_auctions.__contains__
        self._seen = {auction: when for auction, when in self._seen.items() if is_open(auction)}
        self._done = {auction: None for auction in self._done if is_open(auction)}

    def forget(self) -> None:
        """Another log has begun: an auction of the same id is another one."""
        self._seen.clear()
        self._done.clear()

    async def close(self) -> None:
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, auction: AuctionId) -> None:
        self._running.pop(auction, None)
        self._news.pop(auction, None)

    # ---- taking part -------------------------------------------------------------------------

    async def _take_part(self, record: AuctionRecord) -> None:
        bidder = self._find(record)
        if bidder is None:
            # The program may be about to declare its bidders.
            assert self._settled_at is not None, "nobody is asked before begin"
            await asyncio.sleep(self._settled_at - asyncio.get_running_loop().time())
            bidder = self._find(record)
        if bidder is None:
            return
        rule = record.terms.rule
        try:
            if rule in SEALED_RULES:
                await self._seal_and_reveal(record, bidder)
            elif rule is AuctionRule.ENGLISH:
                await self._outbid(record, bidder)
            else:
                await self._buy(record, bidder)
            if record.id in self._view.open_auctions:
                self._done[record.id] = None
        except Closed:
            return
        except OutcomeUnknown as error:
            # A purchase: all else is said until it is known.
            self._done[record.id] = None
            _log.warning("a bid of %s may have been made: %s", self._agent(), error)
        except (AuctionEnded, Rejected) as error:
            _log.info("no bid of %s in auction %s: %s", self._agent(), record.id, error)
        except MabeamError as error:
            _log.warning("no bid of %s in auction %s: %s", self._agent(), record.id, error)

    def _find(self, record: AuctionRecord) -> Bidder | None:
        for group in (record.group, None):
            patterns = self._by_group.get(group)
            if patterns is not None and (found := patterns.find(record.item)) is not None:
                return found
        return None

    async def _ask(self, record: AuctionRecord, bidder: Bidder) -> tuple[Bid, ...]:
        """What the bidder says; nothing if it says None, fails or takes too long."""
        last = max((bid.clock for bid in record.bids), default=record.opened_clock)
        allowed = TIME_SHARE * seconds(record.deadline - last)
        try:
            async with asyncio.timeout(allowed):
                said = await self._calls.call(partial(bidder, Auction.of(record)))
            bids = (said,) if isinstance(said, Bid) else tuple(said or ())
        except Exception as error:
            text = text_of(error)
            fault = f"{type(error).__name__}: {text}" if text else type(error).__name__
            _log.warning("the bidder of %s for auction %s: %s", self._agent(), record.id, fault)
            return ()
        for bid in bids:
            if not isinstance(bid, Bid):
                kind = type(bid).__name__
                _log.warning("the bidder for auction %s returned %s, and no Bid", record.id, kind)
                return ()
        return bids

    async def _one(self, record: AuctionRecord, bidder: Bidder) -> Bid | None:
        bids = await self._ask(record, bidder)
        if len(bids) > 1:
            _log.warning("%d bids at once in auction %s: none is placed", len(bids), record.id)
        return bids[0] if len(bids) == 1 else None

    async def _until(self, auction: AuctionId, holds: Callable[[AuctionRecord], bool]) -> bool:
        """Wait until it holds; False if the auction has ended before."""
        news = self._news[auction]
        while True:
            news.clear()
            record = self._view.open_auctions.get(auction)
            if record is None:
                return False
            if holds(record):
                return True
            await news.wait()

    async def _insistently(self, say: Callable[[], Awaitable[T]], auction: AuctionId) -> T | None:
        """Until it gets through; None if the auction has ended."""
        return await insistently(say, lambda: auction in self._view.open_auctions)

    # ---- sealed ------------------------------------------------------------------------------

    async def _seal_and_reveal(self, record: AuctionRecord, bidder: Bidder) -> None:
        if self._own(record) is not None:
            _log.warning(
                "%s has sealed a bid in auction %s with a salt that this process does not know",
                self._agent(),
                record.id,
            )
            return
        bids = await self._ask(record, bidder)
        if not bids:
            return
        # One salt for all tries: an equal repeat is the same bid.
        sealed = self._market.prepared(record, bids, secrets.token_bytes(16))
        seal = partial(self._market.commit_seal, sealed, REQUEST_SECONDS)
        if not await self._insistently(seal, record.id):
            return
        if await self._until(record.id, lambda now: now.status is AuctionStatus.REVEALING):
            await self._insistently(partial(self._market.reveal, sealed), record.id)

    # ---- English -----------------------------------------------------------------------------

    async def _outbid(self, record: AuctionRecord, bidder: Bidder) -> None:
        while (bid := await self._one(record, bidder)) is not None:
            before = self._own(record)
            price, quantity = bid.price, bid.quantity
            place = partial(self._market.bid, str(record.id), price, quantity)
            try:
                has = await self._insistently(place, record.id)
            except Outbid:
                # Somebody was faster, of whom the view may not know yet.
                is_over = not await self._until(record.id, partial(_is_news, record))
            else:
                index = 0 if before is None else before.index
                is_over = has is None or not await self._until(
                    record.id, partial(self._has_lost, index, has)
                )
            if is_over:
                return
            record = self._view.open_auctions[record.id]

    def _has_lost(self, index: int, units: int, record: AuctionRecord) -> bool:
        """Whether this agent's bid behind `index` has fewer units than that."""
        own = self._own(record)
        if own is None or own.index <= index:
            return False
        return own.status is not BidStatus.STANDING or own.offers[0].quantity < units

    def _own(self, record: AuctionRecord) -> BidRecord | None:
        agent = AgentId(self._agent())
        return next((bid for bid in record.bids if bid.bidder == agent), None)

    # ---- Dutch -------------------------------------------------------------------------------

    async def _buy(self, record: AuctionRecord, bidder: Bidder) -> None:
        bid = await self._one(record, bidder)
        if bid is None:
            return
        limit = micro_units(bid.price, "the price of a bid", least=0)
        ticks = ticks_until(record, limit)
        if ticks is None:
            return
        loop = asyncio.get_running_loop()
        tick = record.terms.tick / MICROSECONDS
        opened_at = self._seen.get(record.id)
        pause = 0.0 if opened_at is None else opened_at + ticks * tick - loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause)):
                    # Until it ends: nothing else is waited for.
                    await self._until(record.id, lambda _: False)
            if record.id not in self._view.open_auctions:
                return
            try:
                await self._market.bid(str(record.id), bid.price, bid.quantity)
            except Outbid:
                pause = tick
            except NOT_DONE:
                pause = PAUSE_SECONDS
            else:
                # What may have been done is not said again: it would buy twice.
                return


def _is_news(seen: AuctionRecord, record: AuctionRecord) -> bool:
    return record is not seen


def ticks_until(record: AuctionRecord, limit: int) -> int | None:
    """How often the price of a Dutch auction must move until a bidder with this limit takes it;
    None: it never comes so far."""
    terms = record.terms
    if not dutch_takes(terms.side, limit, terms.reserve):
        return None
    away = terms.start - limit if terms.side is Side.FORWARD else limit - terms.start
    return max(0, -(-away // terms.step))
