"""What the API makes of auctions, and the view's mirror of them."""

import json
from decimal import Decimal

import pytest
from msgspec.structs import replace

from mabeam_p2p import Auction, Bid, InvalidValue, Rejected
from mabeam_p2p.api.lots import limit_of, offers_of
from mabeam_p2p.api.market import exact_bids
from mabeam_p2p.api.view import View
from mabeam_p2p.config import Limits
from mabeam_p2p.events import AuctionClosed, AuctionOpened, BidPlaced
from mabeam_p2p.ids import AgentId, AuctionId
from mabeam_p2p.records import Auction as AuctionRecord
from mabeam_p2p.records import (
    AuctionRule,
    AuctionStatus,
    AuctionTerms,
    Award,
    BidStatus,
    Offer,
    Side,
)
from mabeam_p2p.records import Bid as BidRecord

MICRO = 1_000_000
LOT = AuctionId("lot")


def bid(
    name: str,
    index: int,
    price: int,
    quantity: int = 1,
    status: BidStatus = BidStatus.STANDING,
) -> BidRecord:
    offers = (Offer(price * MICRO, quantity),)
    return BidRecord(AgentId(f"{name}@p"), index, index, status, offers)


def auction(
    rule: AuctionRule = AuctionRule.ENGLISH,
    *bids: BidRecord,
    side: Side = Side.FORWARD,
    quantity: int = 1,
    reserve: int = 2,
    **terms: object,
) -> AuctionRecord:
    chosen = AuctionTerms(rule, side, 30 * MICRO, quantity, reserve * MICRO)
    fields = {name: getattr(chosen, name) for name in chosen.__struct_fields__} | terms
    return AuctionRecord(
        id=LOT,
        item="gpu-hour",
        auctioneer=AgentId("house@p"),
        group="all",
        terms=AuctionTerms(**fields),
        metadata=b"",
        opened_index=1,
        opened_term=1,
        opened_clock=5 * MICRO,
        deadline=35 * MICRO,
        bids=bids,
    )


def buying(*bids: BidRecord) -> AuctionRecord:
    return auction(AuctionRule.ENGLISH, *bids, increment=MICRO, side=Side.REVERSE, reserve=9)


@pytest.mark.parametrize(
    ("record", "limit"),
    [
        (auction(increment=MICRO), 2),
        (auction(AuctionRule.ENGLISH, bid("a", 2, 4), increment=MICRO), 5),
        (auction(AuctionRule.ENGLISH, bid("a", 2, 2), increment=MICRO), 3),
        (auction(AuctionRule.ENGLISH, bid("a", 2, 4), increment=MICRO, quantity=2), 2),
        (auction(AuctionRule.ENGLISH, bid("a", 2, 4, 2), increment=MICRO, quantity=2), 5),
        (auction(increment=MICRO, side=Side.REVERSE, reserve=9), 9),
        (
            auction(
                AuctionRule.ENGLISH, bid("a", 2, 9), increment=MICRO, side=Side.REVERSE, reserve=9
            ),
            8,
        ),
        (
            auction(
                AuctionRule.ENGLISH, bid("a", 2, 0), increment=MICRO, side=Side.REVERSE, reserve=9
            ),
            None,
        ),
        (auction(AuctionRule.VICKREY), None),
        (replace(auction(increment=MICRO), status=AuctionStatus.UNSOLD), None),
    ],
)
def test_the_limit_is_the_price_that_wins_one_unit(
    record: AuctionRecord, limit: int | None
) -> None:
    assert limit_of(record) == limit


def test_an_auction_becomes_plain_data_with_exact_amounts() -> None:
    award = Award(AgentId("a@p"), 7, 1, 2_500_000, (1, 0))
    record = auction(
        AuctionRule.COMBINATORIAL,
        BidRecord(AgentId("a@p"), 7, 7, BidStatus.WON, (Offer(3_000_000, 1, (0, 1)),)),
        items=(("gpu", 1_000_000), ("disk", 500_000)),
        reserve=0,
        bids_max=14,
    )
    ended = Auction.of(
        replace(record, status=AuctionStatus.AWARDED, awards=(award,), closed_index=9)
    )
    plain = json.loads(json.dumps(ended.to_dict()))
    assert plain["items"] == {"gpu": "1", "disk": "0.5"}
    assert plain["awards"] == [
        {
            "bidder": "a@p",
            "quantity": 1,
            "payment": "2.5",
            "items": ["disk", "gpu"],
            "deal": "auction/7",
        }
    ]
    assert plain["bids"][0]["offers"][0]["items"] == ["gpu", "disk"]
    assert (plain["status"], plain["over"], plain["index"], plain["exact"]) == (
        "awarded",
        True,
        9,
        True,
    )
    assert ended.raise_for_status() is ended
    assert (ended.when, ended.deadline) == (5.0, 35.0)


def test_an_auction_that_was_not_awarded_says_so() -> None:
    with pytest.raises(Rejected, match="is open \\(goes on\\): 0 bids, reserve 2"):
        Auction.of(auction(increment=1)).raise_for_status()
    assert not Auction.of(auction(AuctionRule.COMBINATORIAL, items=(("x", 0),) * 20)).exact


def test_a_dutch_price_can_be_reckoned() -> None:
    lot = Auction.of(auction(AuctionRule.DUTCH, start=9 * MICRO, step=MICRO // 2, tick=MICRO // 10))
    assert [lot.price_after(elapsed) for elapsed in (0, 0.09, 0.1, 0.25, 60)] == [
        Decimal(9),
        Decimal(9),
        Decimal("8.5"),
        Decimal(8),
        Decimal(2),
    ]
    with pytest.raises(InvalidValue, match="only a Dutch one"):
        Auction.of(auction(increment=1)).price_after(1)


def test_bundles_travel_by_the_positions_of_their_items() -> None:
    terms = auction(AuctionRule.COMBINATORIAL, items=(("gpu", 0), ("disk", 0))).terms
    bids = (Bid(1, items=("disk", "gpu")), Bid(0.5, items=("disk",)))
    assert offers_of(bids, terms) == (Offer(MICRO, 1, (0, 1)), Offer(MICRO // 2, 1, (1,)))


def test_as_many_bundles_are_taken_as_can_be_searched() -> None:
    limits = Limits()
    assert [exact_bids(items, limits) for items in (4, 6, 8, 40)] == [1_024, 256, 64, 14]
    assert exact_bids(4, Limits(auction_bids_max=10)) == 10


# ---- the view --------------------------------------------------------------------------------


def told(*events: BidPlaced, rule: AuctionRule = AuctionRule.ENGLISH) -> View:
    view = View()
    view.on_event(AuctionOpened(auction(rule)))
    for event in events:
        view.on_event(event)
    return view


def placed(one: BidRecord, deadline: int = 35) -> BidPlaced:
    return BidPlaced(LOT, one, deadline * MICRO)


def test_the_view_knows_the_last_bid_of_each_bidder_and_the_deadline() -> None:
    first, other, raised = bid("a", 2, 3), bid("b", 3, 4), bid("a", 4, 5)
    view = told(placed(first), placed(other), placed(raised, 40))
    known = view.open_auctions[LOT]
    assert known.bids == (other, raised)
    assert known.deadline == 40 * MICRO
    view.on_event(placed(first))
    assert view.open_auctions[LOT].bids == (other, raised), "old news"
    view.on_event(placed(replace(raised, status=BidStatus.LOST)))
    assert view.open_auctions[LOT].bids[-1].status is BidStatus.LOST


def test_purchases_of_one_buyer_stand_beside_each_other() -> None:
    first, second = (bid("a", index, 3, status=BidStatus.WON) for index in (2, 3))
    view = told(placed(first), placed(second), placed(second), rule=AuctionRule.DUTCH)
    assert view.open_auctions[LOT].bids == (first, second)


def test_an_auction_that_has_ended_is_not_open_whatever_comes_late() -> None:
    view = told()
    view.on_event(AuctionClosed(auction()))
    view.on_event(placed(bid("a", 2, 3)))
    assert view.open_auctions == {}
