import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.records import (
    AuctionRule,
    AuctionStatus,
    BidStatus,
    OnBidderDeparture,
    Side,
)
from mabeam_p2p.requests import Committed
from tests.machine.auctions.house import SECOND, House, detail, reason

ENGLISH, DUTCH = AuctionRule.ENGLISH, AuctionRule.DUTCH
REVERSE = Side.REVERSE
WITHDRAW = OnBidderDeparture.WITHDRAW


# ---- English ---------------------------------------------------------------------------------


def test_the_best_english_bid_wins_and_its_money_is_the_auctioneers() -> None:
    house = House()
    house.open(ENGLISH, reserve=100, increment=5)
    assert house.told() == ["opened"]
    assert detail(house.place("a", 99)) == "the price must be at least 100 micro-units"
    assert isinstance(house.place("a", 100), Committed)
    assert house.told() == ["a standing"]
    running = house.auction()
    assert (running.closed_index, running.closed_term, running.closed_clock) == (0, 0, 0)
    refused = house.place("b", 104)
    assert (reason(refused), detail(refused)) == (
        "outbid",
        "the price must be at least 105 micro-units",
    )
    house.place("b", 105)
    assert house.told() == ["b standing", "a lost"]
    assert (house.balance("a"), house.balance("b")) == (1_000, 895)
    house.pass_time(10 * SECOND)
    assert house.told() == ["awarded"]
    assert house.awards() == [("b", 1, 105)]
    assert (house.balance("house"), house.balance("b")) == (1_105, 895)
    ended = house.auction()
    assert (ended.status, ended.reason) == (AuctionStatus.AWARDED, "deadline")
    assert (ended.closed_index, ended.closed_clock) == (house.index, house.clock)
    assert house.bank.deals == [(f"auction/{ended.awards[0].bid}", "house@p", "b@p")]


def test_an_english_auction_that_buys_pays_the_lowest_ask_out_of_what_was_set_aside() -> None:
    house = House()
    house.open(ENGLISH, REVERSE, reserve=300, increment=10)
    assert house.balance("house") == 700
    assert detail(house.place("a", 301)) == "the price must be at most 300 micro-units"
    house.place("a", 300)
    assert detail(house.place("b", 291)) == "the price must be at most 290 micro-units"
    house.place("b", 290)
    assert house.balance("a") == house.balance("b") == 1_000, "sellers set nothing aside"
    house.pass_time(10 * SECOND)
    assert house.awards() == [("b", 1, 290)]
    assert (house.balance("house"), house.balance("b")) == (710, 1_290)


def test_a_bidder_that_raises_sets_the_difference_aside_and_cannot_bid_less() -> None:
    house = House(money=100)
    house.open(ENGLISH, increment=10)
    house.place("a", 60)
    assert reason(house.place("a", 65)) == "outbid", "its own bid is to be beaten too"
    assert isinstance(house.place("a", 100), Committed), "40 more, and not 100"
    assert house.balance("a") == 0
    assert len(house.auction().bids) == 1
    assert isinstance(house.place("a", 100), Committed), "an equal repeat changes nothing"
    assert house.told() == []
    house.end_bidding()
    assert house.awards() == [("a", 1, 100)]


@pytest.mark.fault("A8")
def test_a_bid_that_the_bidder_cannot_pay_is_refused_and_changes_nothing() -> None:
    house = House(money=50)
    house.open(ENGLISH)
    house.place("a", 10)
    before = house.auctions.state()
    assert reason(house.place("b", 51)) == "insufficient_funds"
    assert house.auctions.state() == before
    assert house.told() == []
    assert reason(house.place("a", 51)) == "insufficient_funds"
    assert house.auctions.state() == before


def test_several_units_go_to_several_bidders_and_a_better_bid_takes_the_worst_ones() -> None:
    house = House()
    house.open(ENGLISH, quantity=3, reserve=10, increment=5)
    assert house.place("a", 20, 2) == Committed(2, 1, 2)
    assert house.place("b", 10, 3) == Committed(3, 1, 1), "one unit is left"
    assert house.balance("b") == 990
    assert detail(house.place("c", 22, 2)) == "the price must be at least 25 micro-units"
    assert house.place("c", 25, 2) == Committed(5, 1, 2)
    assert house.told() == ["c standing", "a standing", "b lost"]
    assert [house.balance(who) for who in "abc"] == [980, 1_000, 950]
    assert reason(house.place("a", 90, 1)) == "", "it has one unit by now, and may raise that"
    house.end_bidding()
    assert house.awards() == [("a", 1, 90), ("c", 2, 50)]
    assert house.balance("house") == 1_140


def test_a_raise_is_for_no_fewer_units_than_the_bid_has() -> None:
    house = House()
    house.open(ENGLISH, quantity=3)
    house.place("a", 20, 2)
    refused = house.place("a", 90, 1)
    assert reason(refused) == "conflicting_bid"
    assert detail(refused) == "a better bid is for no fewer than the 2 it has"


def test_a_late_bid_extends_the_auction_and_an_early_one_does_not() -> None:
    house = House()
    house.open(ENGLISH, timeout=10 * SECOND, extension=3 * SECOND)
    deadline = house.auction().deadline
    house.pass_time(5 * SECOND)
    house.place("a", 1)
    assert house.auction().deadline == deadline
    house.pass_time(4 * SECOND)
    house.place("b", 2)
    assert house.auction().deadline == house.clock + 3 * SECOND
    house.pass_time(2 * SECOND)
    assert house.auction().status is AuctionStatus.OPEN
    house.end_bidding()
    assert house.awards() == [("b", 1, 2)]


def test_a_bid_at_the_deadline_is_too_late() -> None:
    house = House()
    house.open(ENGLISH, timeout=10)
    house.place("a", 1)
    house.clock += 8
    refused = house.place("b", 9)
    assert (reason(refused), detail(refused)) == ("auction_closed", "awarded at index 3")
    assert house.awards() == [("a", 1, 1)]


@pytest.mark.fault("A6")
def test_nobody_bids_and_nothing_is_sold() -> None:
    house = House()
    house.open(ENGLISH, REVERSE, reserve=1_000)
    house.end_bidding()
    ended = house.auction()
    assert (ended.status, ended.reason) == (AuctionStatus.UNSOLD, "no bids")
    assert house.balance("house") == 1_000
    assert house.bank.deals == []


def test_the_bid_of_a_bidder_that_is_gone_stands() -> None:
    house = House()
    house.open(ENGLISH)
    house.place("a", 7)
    house.leave("a")
    assert house.told() == []
    house.end_bidding()
    assert house.awards() == [("a", 1, 7)]
    assert house.balance("a") == 993


def test_where_bids_are_withdrawn_the_money_of_a_bidder_that_is_gone_is_free() -> None:
    house = House()
    house.open(ENGLISH, reserve=5, on_departure=WITHDRAW)
    house.place("a", 7)
    house.leave("a")
    assert house.told() == ["a withdrawn"]
    assert house.balance("a") == 1_000
    assert isinstance(house.place("b", 5), Committed), "the reserve is all there is to beat"
    assert isinstance(house.place("a", 6), Committed), "it is back, with a new bid"
    house.end_bidding()
    assert house.awards() == [("a", 1, 6)]


def test_an_auction_outlives_its_auctioneer() -> None:
    house = House()
    house.open(ENGLISH)
    house.place("a", 7)
    house.leave("house")
    house.end_bidding()
    assert house.awards() == [("a", 1, 7)]
    assert house.balance("house") == 1_007


def test_where_no_money_moves_nothing_is_asked_of_the_ledger() -> None:
    house = House(money=0)
    house.open(ENGLISH, currency="")
    house.place("a", 70)
    house.place("b", 80)
    house.end_bidding()
    assert house.awards() == [("b", 1, 80)]


def test_bids_that_have_lost_make_room_for_new_ones_and_standing_ones_do_not() -> None:
    house = House()
    house.open(ENGLISH, quantity=2, bids_max=2)
    house.place("a", 1)
    house.place("b", 2)
    house.place("c", 3)
    assert [bid.bidder for bid in house.auction().bids] == ["b@p", "c@p"]
    house.open(ENGLISH, auction="wide", quantity=3, bids_max=2)
    house.place("a", 1, auction="wide")
    house.place("b", 2, auction="wide")
    refused = house.place("c", 3, auction="wide")
    assert (reason(refused), detail(refused)) == ("limit", "the auction takes 2 bids, it has 2")
    assert isinstance(house.place("a", 5, auction="wide"), Committed), "a raise is no bid more"


# ---- Dutch -----------------------------------------------------------------------------------


@pytest.mark.fault("A3")
def test_the_first_bid_that_the_price_has_come_to_wins_at_the_price() -> None:
    house = House()
    house.open(DUTCH, start=100, step=10, tick=SECOND, reserve=50)
    refused = house.place("a", 99)
    assert (reason(refused), detail(refused)) == ("outbid", "the price is 100 micro-units now")
    house.pass_time(2 * SECOND)
    assert reason(house.place("a", 79)) == "outbid"
    assert house.place("b", 95) == Committed(5, 1, 1)
    assert house.told() == ["b won", "awarded"]
    assert house.awards() == [("b", 1, 80)]
    assert (house.balance("house"), house.balance("b")) == (1_080, 920)
    assert house.auction().reason == "sold out"
    assert reason(house.place("c", 100)) == "auction_closed"


def test_a_dutch_price_is_that_of_the_logs_clock_at_the_entry() -> None:
    house = House()
    house.open(DUTCH, start=100, step=10, tick=10, reserve=0, quantity=9)
    opened = house.clock
    paid = []
    for elapsed in (9, 10, 19, 20, 99, 1_000):
        house.clock = opened + elapsed - 1
        house.place("a", 100)
        paid.append(house.awards()[-1][2])
    assert paid == [100, 90, 90, 80, 10, 0]


def test_units_are_sold_one_after_the_other_until_none_is_left() -> None:
    house = House()
    house.open(DUTCH, start=100, step=10, tick=SECOND, reserve=50, quantity=3)
    assert house.place("a", 100) == Committed(2, 1, 1)
    assert house.auction().status is AuctionStatus.OPEN
    house.pass_time(10 * SECOND - 100)
    assert house.place("b", 50, 3) == Committed(4, 1, 2), "what is left of three"
    assert house.awards() == [("a", 1, 100), ("b", 2, 100)]
    assert house.balance("house") == 1_200
    assert len(house.bank.deals) == 2


def test_a_dutch_auction_that_buys_raises_its_price() -> None:
    house = House()
    house.open(DUTCH, REVERSE, start=10, step=10, tick=SECOND, reserve=50, quantity=2)
    assert house.balance("house") == 900
    assert detail(house.place("a", 11)) == "the price is 10 micro-units now"
    house.pass_time(SECOND)
    house.place("a", 11)
    assert (house.balance("a"), house.balance("house")) == (1_020, 900)
    house.end_bidding()
    assert house.awards() == [("a", 1, 20)]
    assert house.balance("house") == 980
    assert house.auction().status is AuctionStatus.AWARDED


def test_nobody_takes_a_dutch_price_and_nothing_is_sold() -> None:
    house = House()
    house.open(DUTCH)
    house.end_bidding()
    assert (house.auction().status, house.auction().reason) == (AuctionStatus.UNSOLD, "no bids")


def test_a_dutch_bid_beyond_the_bidders_money_is_refused_and_the_unit_stays() -> None:
    house = House(money=99)
    house.open(DUTCH, start=100)
    before = house.auctions.state()
    assert reason(house.place("a", 100)) == "insufficient_funds"
    assert house.auctions.state() == before


def test_a_purchase_is_not_undone_when_the_buyer_departs() -> None:
    house = House()
    house.open(DUTCH, quantity=2, on_departure=WITHDRAW)
    house.place("a", 100)
    house.leave("a")
    assert house.told() == []
    assert [bid.status for bid in house.auction().bids] == [BidStatus.WON]
    assert house.balance("a") == 900


def test_a_dutch_auction_takes_so_many_purchases_and_no_more() -> None:
    house = House(limits=Limits(auction_bids_max=2))
    house.open(DUTCH, quantity=9, bids_max=2)
    house.place("a", 100)
    house.place("a", 100)
    assert reason(house.place("a", 100)) == "limit"
    assert len(house.awards()) == 2


@pytest.mark.parametrize("rule", [ENGLISH, DUTCH])
def test_a_bid_for_nothing_or_for_more_than_there_is_is_refused(rule: AuctionRule) -> None:
    house = House()
    house.open(rule, quantity=2)
    for price, quantity in ((200, 0), (200, 3), (-1, 1), (2**53, 1)):
        assert reason(house.place("a", price, quantity)) == "invalid"


def test_who_buys_at_a_falling_price_has_nothing_set_aside_any_more() -> None:
    house = House()
    house.open(DUTCH, start=100, step=10, tick=SECOND, reserve=50, quantity=2)
    assert isinstance(house.place("a", 100), Committed)
    assert house.bank.holds == {}
    assert (house.balance("a"), house.balance("house")) == (900, 1_100)
    assert house.auction().status is AuctionStatus.OPEN, "the second unit is there"


def test_a_bid_that_loses_nothing_to_a_better_one_is_not_told_again() -> None:
    house = House()
    house.open(ENGLISH, quantity=3, reserve=10)
    house.place("a", 20)
    house.place("b", 15)
    assert house.told() == ["b standing"]
    house.place("c", 30)
    assert house.told() == ["c standing"]


def test_a_falling_price_may_begin_where_it_ends() -> None:
    house = House()
    assert reason(house.open(DUTCH, start=50, step=10, tick=SECOND, reserve=50)) == ""
    assert reason(house.open(DUTCH, auction="no", start=49, step=10, tick=SECOND, reserve=50)) == (
        "invalid"
    )
