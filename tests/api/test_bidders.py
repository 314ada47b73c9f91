"""What declared bidders say, and when: with a market that a test plays."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import cast

import pytest
from msgspec.structs import replace

from mabeam_p2p.api.bidders import Bidders, ticks_until
from mabeam_p2p.api.lots import Auction, Bid
from mabeam_p2p.api.market import Market, Sealed
from mabeam_p2p.api.view import View
from mabeam_p2p.errors import (
    AuctionEnded,
    DaemonNotRunning,
    NoQuorum,
    Outbid,
    OutcomeUnknown,
    Rejected,
)
from mabeam_p2p.events import AuctionClosed, AuctionOpened, AuctionRevealing, BidPlaced, Event
from mabeam_p2p.ids import AgentId, AuctionId
from mabeam_p2p.records import Auction as AuctionRecord
from mabeam_p2p.records import (
    AuctionRule,
    AuctionStatus,
    AuctionTerms,
    BidStatus,
    Offer,
    Side,
)
from mabeam_p2p.records import Bid as BidRecord
from tests.eventually import eventually
from tests.in_loop import in_loop

ME, OTHER = AgentId("me@ant"), AgentId("you@ant")
SECOND = 1_000_000


class PlayedMarket:
    """Answers as the test says: what was said is kept."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.trouble: list[Exception] = []
        """Raised one after the other, before anything is accepted."""

    def _say(self, what: object) -> None:
        self.said.append(what)
        if self.trouble:
            raise self.trouble.pop(0)

    async def bid(self, auction: str, price: float, quantity: int = 1) -> int:
        self._say(("bid", price, quantity))
        return quantity

    def prepared(self, record: AuctionRecord, bids: tuple[Bid, ...], salt: bytes) -> Sealed:
        return Sealed(str(record.id), bids, salt, (), b"", 0)

    async def commit_seal(self, sealed: Sealed, _: float) -> Sealed:
        self._say(("seal", sealed))
        return sealed

    async def reveal(self, sealed: Sealed) -> None:
        self._say(("reveal", sealed))


class Desk:
    """Bidders, their view and their market. As an agent, it passes on what the view hears."""

    def __init__(self) -> None:
        self.view = View()
        self.market = PlayedMarket()
        self.bidders = Bidders(
            self.view, cast(Market, self.market), lambda: str(ME), lambda record: True
        )
        self.view.listen(self._on_event)
        self.bidders.begin()

    def tell(self, event: Event) -> None:
        self.view.on_event(event)

    def _on_event(self, event: Event) -> None:
        match event:
            case AuctionOpened(auction=auction):
                self.bidders.opened(auction)
            case AuctionRevealing(auction=auction) | AuctionClosed(auction=auction):
                self.bidders.changed(auction.id)
            case BidPlaced(auction=auction_id):
                self.bidders.changed(auction_id)
            case _:
                raise AssertionError(event)

    def open(self, rule: AuctionRule, **terms: int) -> AuctionRecord:
        record = auction(rule, **terms)
        self.tell(AuctionOpened(record))
        return record

    def stand(self, bidder: AgentId, index: int, price: int, *, lost: bool = False) -> None:
        status = BidStatus.LOST if lost else BidStatus.STANDING
        bid = BidRecord(bidder, index, index, status, (Offer(price * SECOND),))
        self.tell(BidPlaced(AuctionId("lot"), bid, 30 * SECOND))

    def end(self) -> None:
        record = self.view.open_auctions[AuctionId("lot")]
        self.tell(AuctionClosed(replace(record, status=AuctionStatus.UNSOLD)))

    async def said(self, count: int) -> list[object]:
        """What was said, once it is so much."""
        await eventually(lambda: len(self.market.said) >= count)
        return self.market.said

    async def idle(self) -> None:
        await eventually(lambda: not self.bidders._running)


def auction(rule: AuctionRule, **terms: int) -> AuctionRecord:
    chosen = AuctionTerms(rule=rule, side=Side.FORWARD, timeout=30 * SECOND)
    return AuctionRecord(
        id=AuctionId("lot"),
        item="gpu-hour",
        auctioneer=OTHER,
        group="all",
        terms=replace(chosen, **terms),
        metadata=b"",
        opened_index=1,
        opened_term=1,
        opened_clock=0,
        deadline=30 * SECOND,
    )


def play(
    scenario: Callable[[Desk], Coroutine[None, None, None]],
) -> Callable[[], Coroutine[None, None, None]]:
    """Run it with a desk, which is closed at the end."""

    async def run() -> None:
        desk = Desk()
        try:
            await scenario(desk)
        finally:
            await desk.bidders.close()

    run.__name__ = scenario.__name__
    return run


# ---- sealed ----------------------------------------------------------------------------------


@in_loop
@play
async def test_a_sealed_bid_is_revealed_as_it_was_sealed_when_bidding_has_ended(
    desk: Desk,
) -> None:
    desk.bidders.declare("gpu-*", None, lambda lot: Bid(5))
    record = desk.open(AuctionRule.VICKREY)
    await desk.said(1)
    assert len(desk.market.said) == 1
    desk.tell(AuctionRevealing(replace(record, status=AuctionStatus.REVEALING)))
    (_, sealed), (verb, revealed) = cast(list[tuple[str, Sealed]], await desk.said(2))
    assert verb == "reveal"
    assert revealed is sealed
    assert sealed.bids == (Bid(5),)
    assert len(sealed.salt) == 16


@in_loop
@play
async def test_what_does_not_get_through_is_said_again_with_the_same_salt(desk: Desk) -> None:
    desk.market.trouble = [NoQuorum("none"), OutcomeUnknown("perhaps")]
    desk.bidders.declare("*", None, lambda lot: Bid(5))
    desk.open(AuctionRule.FIRST_PRICE)
    said = await desk.said(3)
    assert said[0] == said[1] == said[2]


@in_loop
@play
async def test_a_bid_is_revealed_though_its_daemon_was_away_when_bidding_ended(desk: Desk) -> None:
    desk.bidders.declare("*", None, lambda lot: Bid(9))
    record = desk.open(AuctionRule.VICKREY)
    ((_, sealed),) = cast(list[tuple[str, Sealed]], await desk.said(1))
    desk.market.trouble = [DaemonNotRunning("away")]
    # No event tells of it: the view is read anew.
    desk.view.on_auctions((replace(record, status=AuctionStatus.REVEALING),))
    desk.bidders.look_again()
    assert (await desk.said(3))[1:] == [("reveal", sealed)] * 2
    await desk.idle()


@in_loop
@play
async def test_an_auction_that_has_ended_unheard_is_waited_for_no_more(desk: Desk) -> None:
    desk.bidders.declare("*", None, lambda lot: Bid(9))
    desk.open(AuctionRule.VICKREY)
    await desk.said(1)
    desk.view.on_auctions(())
    desk.bidders.look_again()
    await desk.idle()
    assert not desk.bidders._seen


@in_loop
@play
async def test_a_bid_that_was_sealed_by_an_earlier_process_is_left_alone(desk: Desk) -> None:
    desk.bidders.declare("*", None, lambda lot: Bid(5))
    own = BidRecord(ME, 2, 2, BidStatus.SEALED, seal=bytes(32))
    desk.tell(AuctionOpened(replace(auction(AuctionRule.VICKREY), bids=(own,))))
    await desk.idle()
    assert desk.market.said == []


@in_loop
@play
async def test_an_auction_that_ends_before_anything_is_revealed_is_over(desk: Desk) -> None:
    desk.bidders.declare("*", None, lambda lot: Bid(5))
    desk.open(AuctionRule.VICKREY)
    await desk.said(1)
    desk.end()
    await desk.idle()
    assert len(desk.market.said) == 1


# ---- English ---------------------------------------------------------------------------------


@in_loop
@play
async def test_an_english_bidder_is_asked_again_when_its_own_bid_has_lost(desk: Desk) -> None:
    seen: list[Auction] = []

    def bid(lot: Auction) -> Bid | None:
        seen.append(lot)
        return Bid(lot.limit) if lot.limit is not None and lot.limit < 4 else None

    desk.bidders.declare("*", None, bid)
    desk.open(AuctionRule.ENGLISH, increment=SECOND, reserve=SECOND)
    await desk.said(1)
    desk.stand(ME, 2, 1)
    desk.stand(OTHER, 3, 2)
    # Our bid still stands as far as we have heard.
    desk.stand(ME, 2, 1, lost=True)
    await desk.said(2)
    assert [lot.limit for lot in seen] == [1, 3]
    desk.stand(ME, 4, 3)
    desk.stand(ME, 4, 3, lost=True)
    desk.stand(OTHER, 5, 9)
    await desk.idle()
    assert desk.market.said == [("bid", 1, 1), ("bid", 3, 1)]


@in_loop
@play
async def test_who_was_outbid_before_its_bid_came_is_asked_when_it_has_heard_of_it(
    desk: Desk,
) -> None:
    desk.market.trouble = [Outbid("too low")]
    desk.bidders.declare("*", None, lambda lot: Bid(lot.limit or 0))
    desk.open(AuctionRule.ENGLISH, increment=SECOND)
    await desk.said(1)
    desk.stand(OTHER, 2, 7)
    assert await desk.said(2) == [("bid", 0, 1), ("bid", 8, 1)]


# ---- Dutch -----------------------------------------------------------------------------------


@in_loop
@play
async def test_a_dutch_bid_is_made_once_the_price_has_come_to_it(desk: Desk) -> None:
    loop = asyncio.get_running_loop()
    desk.bidders.declare("*", None, lambda lot: Bid(3))
    began = loop.time()
    desk.market.trouble = [Outbid("not yet")]
    desk.open(AuctionRule.DUTCH, start=5 * SECOND, step=SECOND, tick=SECOND // 20)
    assert await desk.said(2) == [("bid", 3, 1), ("bid", 3, 1)]
    assert loop.time() - began >= 0.1, "two ticks until the price is there"
    await desk.idle()


@in_loop
@play
async def test_a_purchase_of_unknown_outcome_is_not_made_again(desk: Desk) -> None:
    desk.market.trouble = [OutcomeUnknown("perhaps")]
    desk.bidders.declare("*", None, lambda lot: Bid(9))
    record = desk.open(AuctionRule.DUTCH, start=SECOND, step=1, tick=1)
    await desk.said(1)
    await desk.idle()
    # As when the agent is attached anew.
    desk.bidders.consider(record)
    await desk.idle()
    assert len(desk.market.said) == 1


@in_loop
@play
async def test_a_purchase_that_was_not_made_while_the_daemon_was_away_is_made_later(
    desk: Desk,
) -> None:
    desk.market.trouble = [DaemonNotRunning("away"), NoQuorum("soon")]
    desk.bidders.declare("*", None, lambda lot: Bid(9))
    desk.open(AuctionRule.DUTCH, start=SECOND, step=1, tick=1)
    await desk.said(3)
    await desk.idle()
    assert len(desk.market.said) == 3


@in_loop
@play
async def test_a_purchase_is_not_repeated_when_the_agent_is_attached_anew(desk: Desk) -> None:
    desk.bidders.declare("*", None, lambda lot: Bid(9))
    record = desk.open(AuctionRule.DUTCH, start=SECOND, step=1, tick=1)
    await desk.said(1)
    await desk.idle()
    desk.bidders.consider(record)
    await desk.idle()
    assert len(desk.market.said) == 1


@in_loop
@play
async def test_an_auction_of_another_log_is_another_one_though_it_has_the_same_id(
    desk: Desk,
) -> None:
    desk.bidders.declare("*", None, lambda lot: Bid(9))
    record = desk.open(AuctionRule.DUTCH, start=SECOND, step=1, tick=1)
    await desk.said(1)
    await desk.idle()
    desk.bidders.forget()
    desk.bidders.consider(record)
    await desk.said(2)


@pytest.mark.parametrize(
    ("side", "start", "reserve", "limit", "ticks"),
    [
        (Side.FORWARD, 10, 2, 10, 0),
        (Side.FORWARD, 10, 2, 20, 0),
        (Side.FORWARD, 10, 2, 9, 1),
        (Side.FORWARD, 10, 2, 4, 2),
        (Side.FORWARD, 10, 2, 1, None),
        (Side.REVERSE, 2, 10, 2, 0),
        (Side.REVERSE, 2, 10, 0, 0),
        (Side.REVERSE, 2, 10, 3, 1),
        (Side.REVERSE, 2, 10, 8, 2),
        (Side.REVERSE, 2, 10, 11, None),
    ],
)
def test_ticks_are_counted_until_the_limit_is_reached(
    side: Side, start: int, reserve: int, limit: int, ticks: int | None
) -> None:
    record = auction(AuctionRule.DUTCH, start=start, reserve=reserve, step=3, tick=1)
    assert ticks_until(replace(record, terms=replace(record.terms, side=side)), limit) == ticks


# ---- who speaks ------------------------------------------------------------------------------


@in_loop
@play
async def test_the_most_specific_pattern_of_the_group_speaks(desk: Desk) -> None:
    desk.bidders.declare("*", None, lambda lot: Bid(1))
    desk.bidders.declare("gpu-hour", None, lambda lot: Bid(2))
    desk.bidders.declare("gpu-*", "vision", lambda lot: Bid(3))
    record = replace(auction(AuctionRule.ENGLISH, increment=1), group="vision")
    desk.tell(AuctionOpened(record))
    assert await desk.said(1) == [("bid", 3, 1)]
    other = replace(record, id=AuctionId("other"), group="all")
    desk.tell(AuctionOpened(other))
    assert (await desk.said(2))[1] == ("bid", 2, 1)


@in_loop
@play
async def test_a_bidder_that_is_declared_a_moment_after_joining_is_asked(desk: Desk) -> None:
    desk.open(AuctionRule.ENGLISH, increment=1)
    desk.bidders.declare("*", None, lambda lot: Bid(2))
    assert await desk.said(1) == [("bid", 2, 1)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RuntimeError("no idea"), "RuntimeError: no idea"),
        ("5", "returned str, and no Bid"),
        (5, "TypeError"),
        ([Bid(1), Bid(2)], "2 bids at once"),
    ],
)
def test_a_bidder_that_fails_bids_nothing_and_the_log_says_why(
    answer: object, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    @play
    async def run(desk: Desk) -> None:
        def bid(lot: Auction) -> Bid:
            if isinstance(answer, Exception):
                raise answer
            return cast(Bid, answer)

        desk.bidders.declare("*", None, bid)
        desk.open(AuctionRule.ENGLISH, increment=1)
        await desk.idle()
        assert desk.market.said == []

    with caplog.at_level(logging.WARNING):
        run()
    assert words in caplog.text


@in_loop
@play
async def test_a_refused_bid_ends_it_and_is_no_failure_of_the_agent(desk: Desk) -> None:
    desk.market.trouble = [Rejected("no money", reason="insufficient_funds"), AuctionEnded("over")]
    desk.bidders.declare("*", None, lambda lot: Bid(2))
    record = desk.open(AuctionRule.ENGLISH, increment=1)
    await desk.said(1)
    await desk.idle()
    desk.bidders.consider(record)
    await desk.said(2)
    await desk.idle()
