import pytest

from mabeam_p2p.commands import PlaceBid
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX, AuctionId, SessionId
from mabeam_p2p.records import AuctionRule, AuctionStatus, Offer, Side
from mabeam_p2p.requests import Committed
from tests.machine.auctions.house import SECOND, House, detail, reason

ENGLISH, DUTCH, FIRST_PRICE, VICKREY, COMBINATORIAL = AuctionRule
FORWARD, REVERSE = Side
ITEMS = (("left", 0), ("right", 0))


# ---- opening ---------------------------------------------------------------------------------


def test_the_same_auction_opened_again_is_the_same_and_another_one_is_refused() -> None:
    house = House()
    house.open(ENGLISH, REVERSE, reserve=500)
    assert isinstance(house.open(ENGLISH, REVERSE, reserve=500), Committed)
    assert house.balance("house") == 500, "its money is set aside once"
    for other in ({"reserve": 501}, {"item": "other"}, {"metadata": b"x"}, {"group": "g"}):
        assert reason(house.open(ENGLISH, REVERSE, **{"reserve": 500} | other)) == "auction_exists"
    house.end_bidding()
    assert isinstance(house.open(ENGLISH, REVERSE, reserve=500), Committed), "also when it is over"
    assert house.auction().status is AuctionStatus.UNSOLD


def test_an_auction_that_buys_needs_the_money_for_all_that_it_may_pay() -> None:
    house = House(money=999)
    refused = house.open(VICKREY, REVERSE, reserve=500, quantity=2)
    assert reason(refused) == "insufficient_funds"
    assert house.auctions.state().open == ()
    assert house.deadlines.first() is None
    assert reason(house.open(VICKREY, REVERSE, reserve=499, quantity=2)) == ""
    refused = house.open(COMBINATORIAL, REVERSE, "items", items=(("a", 1), ("b", 1)))
    assert reason(refused) == "insufficient_funds"


@pytest.mark.parametrize(
    ("rule", "side", "terms", "words"),
    [
        (VICKREY, FORWARD, {"increment": 1}, "increment means nothing in an auction by vickrey"),
        (VICKREY, FORWARD, {"extension": 1}, "extension means nothing"),
        (VICKREY, FORWARD, {"start": 1}, "start means nothing"),
        (VICKREY, FORWARD, {"items": ITEMS}, "items means nothing"),
        (ENGLISH, FORWARD, {"reveal": 1}, "reveal means nothing in an auction by english"),
        (ENGLISH, FORWARD, {"bond": 1}, "bond means nothing"),
        (DUTCH, FORWARD, {"increment": 1}, "increment means nothing in an auction by dutch"),
        (VICKREY, FORWARD, {"currency": "\n"}, "the currency has no usable name"),
        (VICKREY, FORWARD, {"timeout": 0}, "timeout is no positive number"),
        (VICKREY, FORWARD, {"timeout": INTEGER_MAX}, "timeout is no positive number"),
        (VICKREY, FORWARD, {"reveal": 0}, "reveal is no positive number"),
        (VICKREY, FORWARD, {"bids_max": 0}, "bids_max is 1 to 1024"),
        (VICKREY, FORWARD, {"bids_max": 1_025}, "bids_max is 1 to 1024"),
        (VICKREY, FORWARD, {"quantity": 0}, "quantity is 1 or more"),
        (VICKREY, FORWARD, {"quantity": -1}, "amounts are not below 0"),
        (VICKREY, FORWARD, {"reserve": -1}, "amounts are not below 0"),
        (VICKREY, FORWARD, {"bond": -1}, "amounts are not below 0"),
        (VICKREY, FORWARD, {"reserve": 2**52, "quantity": 2}, f"amounts end at {INTEGER_MAX}"),
        (VICKREY, FORWARD, {"bond": 1, "currency": ""}, "a bond needs a currency"),
        (VICKREY, REVERSE, {}, "an auction that buys has a reserve above 0"),
        (COMBINATORIAL, REVERSE, {"items": ITEMS}, "an auction that buys has a reserve above 0"),
        (COMBINATORIAL, FORWARD, {}, "items are 1 to 64"),
        (COMBINATORIAL, FORWARD, {"items": (("a", 0), ("a", 0))}, "different, usable names"),
        (COMBINATORIAL, FORWARD, {"items": (("", 0),)}, "different, usable names"),
        (COMBINATORIAL, FORWARD, {"items": (("a", -1),)}, "amounts are not below 0"),
        (COMBINATORIAL, FORWARD, {"items": ITEMS, "quantity": 2}, "quantity is 1 and reserve 0"),
        (COMBINATORIAL, FORWARD, {"items": ITEMS, "reserve": 2}, "quantity is 1 and reserve 0"),
        (ENGLISH, FORWARD, {"increment": 0}, "increment is 1 or more"),
        (ENGLISH, FORWARD, {"extension": INTEGER_MAX}, "extension is no number of microseconds"),
        (DUTCH, FORWARD, {"step": 0}, "step and tick are 1 or more"),
        (DUTCH, FORWARD, {"tick": 0}, "step and tick are 1 or more"),
        (DUTCH, FORWARD, {"reserve": 101}, "start is no worse than the reserve"),
        (DUTCH, REVERSE, {"reserve": 99}, "start is no worse than the reserve"),
        (DUTCH, FORWARD, {"start": 2**52, "quantity": 2}, f"amounts end at {INTEGER_MAX}"),
    ],
)
def test_terms_that_make_no_sense_are_refused_in_words(
    rule: AuctionRule, side: Side, terms: dict[str, object], words: str
) -> None:
    house = House()
    refused = house.open(rule, side, **terms)  # type: ignore[arg-type]
    assert reason(refused) == "invalid"
    assert words in detail(refused)
    assert house.auctions.state().open == ()


def test_names_and_metadata_have_their_limits() -> None:
    house = House(limits=Limits(metadata_bytes_max=4))
    assert reason(house.open(ENGLISH, auction="")) == "invalid"
    assert reason(house.open(ENGLISH, item="\n")) == "invalid"
    assert reason(house.open(ENGLISH, group="no group")) == "invalid"
    assert reason(house.open(ENGLISH, metadata=b"12345")) == "too_large"
    assert reason(house.open(ENGLISH, metadata=b"1234")) == ""


def test_so_many_auctions_are_open_and_so_many_ended_ones_remembered() -> None:
    house = House(limits=Limits(open_auctions_max=2, closed_auctions_max=1))
    house.open(ENGLISH, auction="one")
    house.open(ENGLISH, auction="two")
    assert reason(house.open(ENGLISH, auction="three")) == "limit"
    house.cancel(auction="one")
    assert reason(house.open(ENGLISH, auction="three")) == ""
    house.cancel(auction="two")
    assert [one.id for one in house.auctions.state().closed] == ["two"]
    assert reason(house.place("a", 1, auction="one")) == "unknown_auction"


# ---- bidding ---------------------------------------------------------------------------------


def test_the_auctioneer_does_not_bid_and_others_bid_as_long_as_it_is_open() -> None:
    house = House()
    house.open(ENGLISH)
    assert reason(house.place("house", 5)) == "not_bidder"
    assert reason(house.place("a", 5, auction="other")) == "unknown_auction"
    house.end_bidding()
    assert reason(house.place("a", 5)) == "auction_closed"
    assert reason(house.seal("a", Offer(5))) == "auction_closed"
    assert reason(house.reveal("a", Offer(5))) == "auction_closed"


def test_only_agents_of_the_auctions_group_bid() -> None:
    house = House()
    house.open(ENGLISH, group="vision")
    refused = house.place("a", 5)
    assert (reason(refused), detail(refused)) == ("not_bidder", "a@p is not in group vision")
    bid = PlaceBid(SessionId(1), 1, AuctionId("lot"), 5)
    assert isinstance(house.apply("a", bid, ("audio", "vision")), Committed)


# ---- cancelling ------------------------------------------------------------------------------


def test_an_auction_is_cancelled_by_its_auctioneer_while_nobody_has_bid() -> None:
    house = House()
    house.open(ENGLISH, REVERSE, reserve=400)
    assert reason(house.cancel("a")) == "not_auctioneer"
    assert isinstance(house.cancel(reason="no need"), Committed)
    assert house.told() == ["cancelled"]
    ended = house.auction()
    assert (ended.status, ended.reason) == (AuctionStatus.CANCELLED, "no need")
    assert house.balance("house") == 1_000
    assert isinstance(house.cancel(), Committed), "again is the same"
    assert reason(house.cancel("a")) == "auction_closed"
    assert reason(house.cancel(auction="other")) == "unknown_auction"
    assert reason(house.place("a", 5)) == "auction_closed"


@pytest.mark.parametrize("rule", [ENGLISH, DUTCH, FIRST_PRICE])
def test_an_auction_that_has_a_bid_goes_on_to_its_end(rule: AuctionRule) -> None:
    house = House()
    house.open(rule, quantity=2)
    if rule is FIRST_PRICE:
        house.seal("a", Offer(5))
    else:
        house.place("a", 100)
    assert reason(house.cancel()) == "auction_has_bids"
    house.end_bidding()
    assert reason(house.cancel()) == (
        "auction_has_bids" if rule is FIRST_PRICE else "auction_closed"
    )


def test_a_reason_has_its_limit() -> None:
    house = House(limits=Limits(rationale_bytes_max=4))
    house.open(ENGLISH)
    assert reason(house.cancel(reason="12345")) == "too_large"
    assert house.auction().status is AuctionStatus.OPEN


# ---- several at once -------------------------------------------------------------------------


def test_auctions_end_in_order_of_their_deadlines_and_names_at_one_entry() -> None:
    house = House()
    for name, timeout in (("c", 5), ("b", 4), ("a", 5)):
        house.open(ENGLISH, auction=name, timeout=timeout * SECOND)
    house.clock = house.auction("c").deadline + SECOND
    house.place("a", 1, auction="c")
    assert [one.id for one in house.auctions.state().closed] == ["b", "c", "a"]
    assert {one.closed_index for one in house.auctions.state().closed} == {house.index}


def test_auctions_are_listed_ended_ones_first() -> None:
    house = House()
    for name in ("one", "two", "three"):
        house.open(ENGLISH, auction=name)
    house.cancel(auction="two")
    listed = house.auctions.auctions(AuctionId(""))
    assert [one.id for one in listed] == ["two", "one", "three"]
    assert house.auctions.auctions(AuctionId("other")) == ()


def test_an_auction_of_as_many_items_as_allowed_opens_and_of_one_more_does_not() -> None:
    house = House(limits=Limits(auction_items_max=2))
    three = (*ITEMS, ("middle", 0))
    assert detail(house.open(COMBINATORIAL, items=three)).startswith("items are 1 to 2")
    assert reason(house.open(COMBINATORIAL, items=ITEMS)) == ""
