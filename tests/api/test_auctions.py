"""Auctions at real peers in this process: bidders that are declared, money, and bids by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from mabeam_p2p import (
    Agent,
    Auction,
    AuctionEnded,
    AuctionTimeout,
    Award,
    Bid,
    InsufficientFunds,
    InvalidValue,
    NotEligible,
    NotOwner,
    Outbid,
    Rejected,
    UnknownAuction,
)
from tests.api.clusters import agents, lags_behind
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

QUICK = 4.0
"""Seconds for bids: a busy machine asks three bidders in less."""


@asynccontextmanager
async def market(money: int = 100) -> AsyncIterator[list[Agent]]:
    """Three agents with so much money each."""
    async with agents(3) as found:
        for agent in found:
            await found[0].ledger.mint("coin", money, account=agent.id)
        yield found


def bids(agent: Agent, price: float, item: str = "gpu-hour") -> list[Auction]:
    """The agent bids this much, whatever the auction; what it was asked is returned."""
    asked: list[Auction] = []

    @agent.bidder(item)
    def bid(lot: Auction) -> Bid:
        asked.append(lot)
        return Bid(price)

    return asked


async def has(agent: Agent, account: Agent, amount: str) -> bool:
    balance = await agent.ledger.read("coin", account=account.id)
    return balance.balance == Decimal(amount) and balance.held == 0


# ---- bidders ---------------------------------------------------------------------------------


@in_loop
async def test_a_vickrey_auction_is_sealed_revealed_awarded_and_paid() -> None:
    async with market() as (seller, one, two):
        asked = bids(one, 7.5)
        bids(two, 5)
        ended = await seller.auction(
            "gpu-hour", reserve=1, currency="coin", timeout=QUICK, reveal=QUICK
        )
        assert (ended.status, ended.reason) == ("awarded", "all revealed")
        award = ended.award
        assert award is not None
        assert (award.bidder, award.payment) == (one.id, Decimal(5))
        assert [lot.item for lot in asked] == ["gpu-hour"]
        assert (asked[0].rule, asked[0].reserve, asked[0].auctioneer) == (
            "vickrey",
            Decimal(1),
            seller.id,
        )
        assert await has(seller, seller, "105")
        assert await has(seller, one, "95")
        assert await has(seller, two, "100")
        await one.reputation.report(award.deal, 1.0, skill="selling")
        assert (await two.reputation.of(seller.id, "selling")).score > 0.5
        assert (await two.market.show(ended.id)).awards == ended.awards
        assert [auction.id for auction in await two.auctions()] == [ended.id]


@in_loop
async def test_an_auction_that_buys_pays_the_second_lowest() -> None:
    async with market() as (buyer, one, two):
        bids(one, 20)
        bids(two, 30)
        ended = await buyer.auction(
            "gpu-hour",
            side="reverse",
            reserve=50,
            bond=2,
            currency="coin",
            timeout=QUICK,
            reveal=QUICK,
        )
        assert [(award.bidder, award.payment) for award in ended.awards] == [(one.id, Decimal(30))]
        assert await has(buyer, buyer, "70")
        assert await has(buyer, one, "130")


@in_loop
async def test_english_bidders_are_asked_again_when_they_are_outbid() -> None:
    async with market() as (seller, one, two):
        asked: dict[str, int] = {one.id: 0, two.id: 0}

        def up_to(agent: Agent, value: int) -> None:
            @agent.bidder("gpu-*")
            async def bid(lot: Auction) -> Bid | None:
                asked[agent.id] += 1
                own = lot.bid_of(agent.id)
                if own is not None and own.status == "standing":
                    return None
                return None if lot.limit is None or lot.limit > value else Bid(lot.limit)

        up_to(one, 6)
        up_to(two, 12)
        ended = await seller.auction(
            "gpu-hour",
            rule="english",
            reserve=5,
            increment=1,
            currency="coin",
            timeout=4,
            extension=0.2,
        )
        assert [award.bidder for award in ended.awards] == [two.id]
        assert ended.awards[0].payment in (Decimal(6), Decimal(7)), "the other's last bid and 1"
        assert asked[one.id] >= 2
        assert await has(seller, one, "100")


@in_loop
async def test_a_dutch_bidder_buys_when_the_price_has_come_to_its_limit() -> None:
    async with market() as (seller, one, two):
        bids(one, 6)
        bids(two, 1)
        ended = await seller.auction(
            "gpu-hour",
            rule="dutch",
            start=7,
            step=1,
            tick=1.0,
            reserve=1,
            currency="coin",
            timeout=10,
        )
        assert ended.reason == "sold out"
        assert [award.bidder for award in ended.awards] == [one.id]
        assert Decimal(1) < ended.awards[0].payment <= Decimal(6)


@in_loop
async def test_bundles_are_sold_to_whoever_values_them_most() -> None:
    async with market() as (seller, one, two):

        @one.bidder("machines")
        def both(lot: Auction) -> Bid:
            return Bid(10, items=tuple(lot.items))

        @two.bidder("machines")
        def either(lot: Auction) -> list[Bid]:
            return [Bid(8, items=("gpu",)), Bid(3, items=("disk",))]

        ended = await seller.auction(
            "machines",
            rule="combinatorial",
            items={"gpu": 1, "disk": 0.5},
            currency="coin",
            timeout=QUICK,
            reveal=QUICK,
        )
        assert ended.exact
        # The reserve, and what the other would have paid above its own.
        (award,) = ended.awards
        assert award == Award(one.id, 1, Decimal("8.5"), ("gpu", "disk"), award.deal)


@in_loop
async def test_a_bidder_that_fails_or_says_nothing_bids_nothing() -> None:
    async with market() as (seller, one, two):

        @one.bidder("*")
        def wrong(lot: Auction) -> Bid:
            raise RuntimeError("no idea")

        @two.bidder("*")
        def silent(lot: Auction) -> None:
            return None

        ended = await seller.auction("gpu-hour", timeout=QUICK, reveal=1)
        assert (ended.status, ended.bids, ended.award) == ("unsold", (), None)
        with pytest.raises(Rejected, match="is unsold") as caught:
            ended.raise_for_status()
        assert caught.value.reason == "unsold"


@in_loop
async def test_a_group_has_auctions_of_its_own() -> None:
    async with agents(2) as (seller, two):
        asked = bids(two, 5)
        lot = await seller.group("vision").market.open("gpu-hour", rule="english", increment=1)
        with pytest.raises(NotEligible, match="not in group vision"):
            await two.market.bid(lot.id, 5)
        assert asked == []
        assert [auction.id for auction in await seller.group("vision").auctions()] == [lot.id]
        assert await seller.group("audio").auctions() == ()


# ---- by hand ---------------------------------------------------------------------------------


@in_loop
async def test_bids_by_hand_are_refused_in_words_and_change_nothing() -> None:
    async with market(money=10) as (seller, one, two):
        lot = await seller.market.open(
            "gpu-hour", rule="english", reserve=5, increment=1, currency="coin", id="lot"
        )
        assert (lot.id, lot.status, lot.limit) == ("lot", "open", Decimal(5))
        with pytest.raises(Outbid, match="at least 5000000 micro-units"):
            await one.market.bid("lot", 4)
        with pytest.raises(InsufficientFunds):
            await one.market.bid("lot", 11)
        with pytest.raises(NotEligible, match="your own auction"):
            await seller.market.bid("lot", 5)
        with pytest.raises(UnknownAuction, match="auction list"):
            await one.market.show("other")
        with pytest.raises(InvalidValue, match="more than 6 decimals"):
            await one.market.bid("lot", 5.0000001)
        assert await one.market.bid("lot", 5) == 1
        assert (await seller.market.show("lot")).limit == Decimal(6)
        with pytest.raises(Rejected, match="has bids"):
            await seller.market.cancel("lot")
        with pytest.raises(AuctionTimeout, match="has not ended") as caught:
            await two.market.wait("lot", timeout=0.2)
        assert caught.value.auction == "lot"


@in_loop
async def test_a_sealed_bid_by_hand_is_revealed_by_hand() -> None:
    async with market() as (seller, one, two):
        lot = await seller.market.open(
            "gpu-hour", bond=1, currency="coin", timeout=QUICK, reveal=QUICK, reserve=2
        )
        kept = await one.market.seal(lot.id, Bid(9, deposit=10))
        forgotten = await two.market.seal(lot.id, Bid(20))
        assert forgotten.deposit == 1 << 25, "the next power of two"
        with pytest.raises(Rejected, match="bidding goes on"):
            await one.market.reveal(kept)
        with pytest.raises(Rejected, match="first bid binds"):
            await one.market.seal(lot.id, Bid(10))
        await eventually(lambda: lot.id in revealing(one))
        await one.market.reveal(kept)
        ended = await seller.market.wait(lot.id)
        assert [(award.bidder, award.payment) for award in ended.awards] == [(one.id, Decimal(2))]
        assert {bid.bidder: bid.status for bid in ended.bids} == {
            one.id: "won",
            two.id: "forfeited",
        }
        assert await has(seller, two, "99")
        assert await has(seller, seller, "103")
        with pytest.raises(AuctionEnded):
            await two.market.reveal(forgotten)


@in_loop
async def test_an_auction_that_ones_own_peer_has_not_heard_of_yet_is_asked_for() -> None:
    async with market() as (seller, one, _):
        lot = await seller.market.open("gpu-hour", currency="coin", timeout=QUICK, reveal=QUICK)
        lags_behind(one)
        kept = await one.market.seal(lot.id, Bid(9, deposit=10))
        lags_behind(one)
        assert await one.market.sealed(lot.id, *kept.bids, salt=kept.salt) == kept
        lags_behind(one)
        assert await one.market.wait_for_reveal(lot.id)
        await one.market.reveal(kept)
        lags_behind(one)
        assert (await one.market.wait(lot.id)).awards[0].bidder == one.id
        lags_behind(one)
        with pytest.raises(UnknownAuction):
            await one.market.show(lot.id, level="local")


def revealing(agent: Agent) -> list[str]:
    view = agent._attachment.view
    return [one.id for one in view.open_auctions.values() if one.status == 1]


@in_loop
async def test_an_auction_without_bids_is_cancelled_by_its_auctioneer_alone() -> None:
    async with market() as (buyer, one, _):
        lot = await buyer.market.open(
            "gpu-hour", rule="english", increment=1, side="reverse", reserve=60, currency="coin"
        )
        with pytest.raises(InsufficientFunds):
            await buyer.market.open("more", side="reverse", reserve=60, currency="coin")
        with pytest.raises(NotOwner, match="its auctioneer"):
            await one.market.cancel(lot.id)
        ended = await buyer.market.cancel(lot.id, reason="no need")
        assert (ended.status, ended.reason) == ("cancelled", "no need")
        assert await has(buyer, buyer, "100")


@in_loop
async def test_events_tell_of_auctions() -> None:
    async with agents(3) as (seller, one, _):
        events = one.events("auction.*")
        lot = await seller.market.open("gpu-hour", rule="english", increment=1, timeout=QUICK)
        await one.market.bid(lot.id, 3)
        await seller.market.wait(lot.id)
        names, facts = [], []
        async with asyncio.timeout(10):
            async for event in events:
                names.append(event.name)
                facts.append(event.to_dict())
                if event.name == "auction.ended":
                    break
        assert names == ["auction.opened", "auction.bid", "auction.ended"]
        assert facts[0]["id"] == facts[1]["id"] == facts[2]["id"] == lot.id
        assert facts[1]["bid"]["offers"] == [{"price": "3", "quantity": 1, "items": []}]  # type: ignore[index]
        assert facts[2]["status"] == "awarded"


# ---- what makes no sense ---------------------------------------------------------------------


@in_loop
async def test_terms_that_make_no_sense_are_refused_before_anything_is_sent() -> None:
    async with agents(1) as (agent,):
        for words, terms in (
            ("rule 'candle'", {"rule": "candle"}),
            ("side 'up'", {"side": "up"}),
            ("increment", {"rule": "english"}),
            ("give `start=`", {"rule": "dutch"}),
            ("the reserve", {"reserve": -1}),
            ("timeout", {"timeout": 0}),
            ("on_departure", {"on_departure": "stay"}),
        ):
            with pytest.raises(InvalidValue, match=words):
                await agent.market.open("gpu-hour", **terms)
        with pytest.raises(Rejected, match="bond needs a currency"):
            await agent.market.open("gpu-hour", bond=1)
        lot = await agent.market.open("gpu-hour", rule="combinatorial", items={"x": 0})
        for words, bid in (
            ("no item 'y'", Bid(1, items=("y",))),
            ("names the items", Bid(1)),
            ("each of them once", Bid(1, items=("x", "x"))),
        ):
            with pytest.raises(InvalidValue, match=words):
                await agent.market.seal(lot.id, bid)


def test_a_bid_that_makes_no_sense_is_refused() -> None:
    for words, fields in (
        ("price", {"price": -1}),
        ("quantity 0", {"price": 1, "quantity": 0}),
        ("quantity True", {"price": 1, "quantity": True}),
        ("one text", {"price": 1, "items": "gpu"}),
        ("deposit", {"price": 1, "deposit": -1}),
    ):
        with pytest.raises(InvalidValue, match=words):
            Bid(**fields)
