import pytest

from mabeam_p2p.commands import SealBid
from mabeam_p2p.ids import INTEGER_MAX, AuctionId, SessionId
from mabeam_p2p.records import (
    AuctionRule,
    AuctionStatus,
    BidStatus,
    Offer,
    OnBidderDeparture,
    Side,
)
from mabeam_p2p.requests import Committed
from tests.machine.auctions.house import SALT, SECOND, House, detail, reason

FIRST_PRICE, VICKREY = AuctionRule.FIRST_PRICE, AuctionRule.VICKREY
COMBINATORIAL = AuctionRule.COMBINATORIAL
REVERSE = Side.REVERSE
WITHDRAW = OnBidderDeparture.WITHDRAW


def run(house: House, bids: dict[str, Offer], order: str = "") -> None:
    """All seal, and reveal in this order."""
    for who, offer in bids.items():
        assert reason(house.seal(who, offer)) == ""
    house.end_bidding()
    for who in order or bids:
        assert reason(house.reveal(who, bids[who])) == ""


# ---- who wins and what is paid ---------------------------------------------------------------


@pytest.mark.parametrize(("rule", "payment"), [(FIRST_PRICE, 90), (VICKREY, 70)])
def test_the_best_sealed_bid_wins_and_everybody_elses_money_is_free(
    rule: AuctionRule, payment: int
) -> None:
    house = House()
    house.open(rule, reserve=20)
    run(house, {"a": Offer(70), "b": Offer(90), "c": Offer(10)})
    assert house.told() == ["c standing", "awarded"]
    assert house.awards() == [("b", 1, payment)]
    assert house.auction().reason == "all revealed"
    assert [house.balance(who) for who in ("a", "b", "c")] == [1_000, 1_000 - payment, 1_000]
    assert house.balance("house") == 1_000 + payment
    assert [bid.status for bid in house.auction().bids] == [
        BidStatus.LOST,
        BidStatus.WON,
        BidStatus.LOST,
    ]


@pytest.mark.fault("A4")
def test_one_bidder_pays_the_reserve_and_nobody_nothing() -> None:
    house = House()
    house.open(VICKREY, reserve=20)
    run(house, {"a": Offer(70)})
    assert house.awards() == [("a", 1, 20)]
    house.open(VICKREY, auction="empty")
    house.end_bidding("empty")
    assert house.told() == ["unsold"], "there is nothing to reveal"
    assert house.auction("empty").reason == "no bids"


def test_bids_that_are_all_too_low_sell_nothing_and_forfeit_nothing() -> None:
    house = House()
    house.open(VICKREY, reserve=20, bond=10)
    run(house, {"a": Offer(19), "b": Offer(15)})
    assert house.auction().status is AuctionStatus.UNSOLD
    assert house.balance("a") == house.balance("b") == 1_000


@pytest.mark.fault("A1")
def test_the_seller_of_the_lowest_ask_is_paid_the_second_or_the_reserve() -> None:
    house = House()
    house.open(VICKREY, REVERSE, reserve=200, quantity=2, bond=5)
    assert house.balance("house") == 600
    for who, price in (("a", 120), ("b", 150)):
        house.seal(who, Offer(price), deposit=5)
    house.end_bidding()
    for who, price in (("a", 120), ("b", 150)):
        house.reveal(who, Offer(price))
    assert house.awards() == [("a", 1, 200), ("b", 1, 200)]
    assert [house.balance(who) for who in ("house", "a", "b")] == [600, 1_200, 1_200]


def test_of_equal_bids_the_one_that_was_sealed_first_wins_whoever_reveals_first() -> None:
    house = House()
    house.open(FIRST_PRICE)
    run(house, {"a": Offer(50), "b": Offer(50)}, order="ba")
    assert house.awards() == [("a", 1, 50)]


def test_several_units_go_to_several_sealed_bids() -> None:
    house = House()
    house.open(VICKREY, quantity=3)
    run(house, {"a": Offer(9, 2), "b": Offer(8), "c": Offer(5, 3)}, order="cba")
    assert house.awards() == [("a", 2, 10), ("b", 1, 5)]
    assert len(house.bank.deals) == 2


def test_items_are_sold_together_with_vcg_payments() -> None:
    house = House()
    house.open(COMBINATORIAL, items=(("left", 0), ("right", 0)), bids_max=14)
    both, left, right = (Offer(10, items=(0, 1)), Offer(8, items=(0,)), Offer(6, items=(1,)))
    run(house, {"a": both, "b": left, "c": right}, order="cab")
    ended = house.auction()
    assert [(award.bidder, award.items, award.payment) for award in ended.awards] == [
        ("b@p", (0,), 4),
        ("c@p", (1,), 2),
    ]
    assert [house.balance(who) for who in ("a", "b", "c")] == [1_000, 996, 998]


def test_a_bidder_names_several_bundles_and_wins_one() -> None:
    house = House()
    house.open(COMBINATORIAL, REVERSE, items=(("left", 50), ("right", 50)), bids_max=14)
    assert house.balance("house") == 900
    offers = (Offer(20, items=(0,)), Offer(30, items=(1,)))
    house.seal("a", *offers, deposit=0)
    house.end_bidding()
    house.reveal("a", *offers)
    assert [(award.items, award.payment) for award in house.auction().awards] == [((0,), 50)]
    assert house.balance("a") == 1_050


# ---- sealing ---------------------------------------------------------------------------------


def test_a_bid_binds_from_its_seal_and_an_equal_repeat_is_the_same_bid() -> None:
    house = House()
    house.open(VICKREY)
    house.seal("a", Offer(5))
    assert isinstance(house.seal("a", Offer(5)), Committed)
    assert house.told() == []
    assert reason(house.seal("a", Offer(6))) == "conflicting_bid"
    house.end_bidding()
    assert isinstance(house.seal("a", Offer(5)), Committed)
    assert reason(house.seal("b", Offer(6))) == "wrong_phase"


@pytest.mark.parametrize(
    ("terms", "deposit", "count", "words"),
    [
        ({"bond": 10}, 9, 1, "the deposit is 10 micro-units or more"),
        (
            {"bond": 10, "side": REVERSE, "reserve": 50},
            11,
            1,
            "sellers deposit the bond, 10 micro-units",
        ),
        ({"currency": ""}, 1, 1, "no money moves in this auction"),
        ({}, 5, 2, "count is 1 to 1"),
        ({}, 5, 0, "count is 1 to 1"),
        ({}, -1, 1, "the deposit is 0 micro-units or more"),
    ],
)
def test_a_seal_that_the_terms_do_not_allow_is_refused(
    terms: dict[str, object], deposit: int, count: int, words: str
) -> None:
    house = House()
    house.open(VICKREY, **terms)  # type: ignore[arg-type]  # side is among them
    refused = house.seal("a", Offer(5), deposit=deposit, count=count)
    assert reason(refused) == "invalid"
    assert words in detail(refused)
    assert house.balance("a") == 1_000


def test_a_bidder_without_the_money_for_its_deposit_cannot_seal() -> None:
    house = House(money=9)
    house.open(VICKREY, bond=5)
    assert reason(house.seal("a", Offer(10))) == "insufficient_funds"
    assert house.auction().bids == ()


def test_an_auction_takes_so_many_bundles_of_all_bidders_together() -> None:
    house = House()
    house.open(COMBINATORIAL, items=(("left", 0), ("right", 0)), bids_max=3)
    house.seal("a", Offer(1, items=(0,)), Offer(1, items=(1,)))
    refused = house.seal("b", Offer(1, items=(0,)), Offer(1, items=(1,)))
    assert (reason(refused), detail(refused)) == ("limit", "the auction takes 3 bids, it has 2")
    assert reason(house.seal("c", Offer(1, items=(0,)))) == ""


def test_open_and_sealed_bids_each_have_their_rules() -> None:
    house = House()
    house.open(VICKREY)
    house.open(AuctionRule.ENGLISH, auction="english")
    assert detail(house.place("a", 5)) == "the bids of this auction are sealed"
    assert (
        detail(house.seal("a", Offer(5), auction="english")) == "the bids of this auction are open"
    )
    assert detail(house.reveal("a", Offer(5), auction="english")) == "bids are open"


# ---- revealing -------------------------------------------------------------------------------


def test_nothing_is_revealed_before_bidding_has_ended_nor_by_who_has_not_bid() -> None:
    house = House()
    house.open(VICKREY)
    house.seal("a", Offer(5))
    refused = house.reveal("a", Offer(5))
    assert (reason(refused), detail(refused)) == ("wrong_phase", "bidding goes on")
    house.end_bidding()
    assert house.told() == ["revealing"]
    assert reason(house.reveal("b", Offer(5))) == "not_bidder"


def test_only_what_was_sealed_can_be_revealed() -> None:
    house = House()
    house.open(VICKREY)
    house.seal("a", Offer(5))
    house.seal("b", Offer(9))
    house.end_bidding()
    assert reason(house.reveal("a", Offer(6))) == "wrong_seal"
    assert reason(house.reveal("a", Offer(5), salt=b"another salt of bytes")) == "wrong_seal"
    assert reason(house.reveal("a", Offer(5), salt=b"short")) == "invalid"
    assert isinstance(house.reveal("a", Offer(5)), Committed)
    assert isinstance(house.reveal("a", Offer(5)), Committed), "again is the same"
    assert reason(house.reveal("a", Offer(6))) == "conflicting_bid"


@pytest.mark.fault("A7")
def test_a_seal_that_was_copied_from_another_bidder_cannot_be_revealed() -> None:
    house = House()
    house.open(VICKREY)
    house.seal("a", Offer(5))
    (bid,) = house.auction().bids
    house.apply("b", SealBid(SessionId(1), 1, AuctionId("lot"), bid.seal, bid.deposit))
    house.end_bidding()
    house.reveal("a", Offer(5))
    assert reason(house.reveal("b", Offer(5), salt=SALT)) == "wrong_seal"


def test_a_bid_beyond_its_deposit_cannot_be_revealed() -> None:
    house = House()
    house.open(VICKREY, quantity=2, bond=3)
    house.seal("a", Offer(5, 2), deposit=9)
    house.end_bidding()
    refused = house.reveal("a", Offer(5, 2))
    assert (reason(refused), detail(refused)) == ("invalid", "it comes to 10 micro-units of 9")
    house.end_bidding()
    assert house.auction().status is AuctionStatus.UNSOLD
    assert house.balance("a") == 997, "which costs the bond, as not to reveal"


@pytest.mark.parametrize(
    "offers",
    [
        (Offer(5, items=(1, 0)),),
        (Offer(5, items=(0, 0)),),
        (Offer(5, items=(2,)),),
        (Offer(5, items=(-1,)),),
        (Offer(5, items=()),),
        (Offer(5, 2, (0,)),),
        (Offer(5, items=(0,)), Offer(4, items=(0,))),
        (Offer(-5, items=(0,)),),
    ],
)
def test_bundles_that_make_no_sense_cannot_be_revealed(offers: tuple[Offer, ...]) -> None:
    house = House()
    house.open(COMBINATORIAL, items=(("left", 0), ("right", 0)))
    house.seal("a", *offers, deposit=20)
    house.end_bidding()
    assert reason(house.reveal("a", *offers)) == "invalid"


def test_more_bundles_than_were_announced_cannot_be_revealed() -> None:
    house = House()
    house.open(COMBINATORIAL, items=(("left", 0), ("right", 0)))
    offers = (Offer(5, items=(0,)), Offer(4, items=(1,)))
    house.seal("a", *offers, count=1)
    house.end_bidding()
    assert detail(house.reveal("a", *offers)) == "2 offers, 1 were announced"


def test_a_bid_that_is_not_revealed_in_time_costs_the_bond_and_cannot_win() -> None:
    house = House()
    house.open(FIRST_PRICE, bond=30)
    house.seal("a", Offer(90))
    house.seal("b", Offer(50))
    house.end_bidding()
    house.reveal("b", Offer(50))
    house.pass_time(5 * SECOND)
    assert house.awards() == [("b", 1, 50)]
    assert [house.balance(who) for who in ("house", "a", "b")] == [1_080, 970, 950]
    assert [bid.status for bid in house.auction().bids] == [BidStatus.FORFEITED, BidStatus.WON]
    late = house.reveal("a", Offer(90))
    assert (reason(late), detail(late)) == ("auction_closed", "awarded at index 6")


def test_when_nobody_reveals_nothing_is_sold_and_all_bonds_are_the_auctioneers() -> None:
    house = House()
    house.open(VICKREY, REVERSE, reserve=100, bond=30)
    for who in ("a", "b"):
        house.seal(who, Offer(50), deposit=30)
    house.end_bidding()
    house.end_bidding()
    assert house.auction().status is AuctionStatus.UNSOLD
    assert [house.balance(who) for who in ("house", "a", "b")] == [1_060, 970, 970]


def test_revealing_begins_when_the_log_ends_bidding_however_late() -> None:
    """Nobody could reveal while the log stood still."""
    house = House()
    house.open(VICKREY, timeout=10 * SECOND, reveal=5 * SECOND)
    house.seal("a", Offer(5))
    house.pass_time(60 * SECOND)
    assert house.auction().status is AuctionStatus.REVEALING
    assert house.auction().deadline == house.clock + 5 * SECOND
    house.reveal("a", Offer(5))
    assert house.awards() == [("a", 1, 0)]


# ---- bidders that are gone -------------------------------------------------------------------


def test_a_sealed_bid_of_a_bidder_that_is_gone_costs_its_bond_like_any_other() -> None:
    house = House()
    house.open(VICKREY, bond=30)
    house.seal("a", Offer(90))
    house.leave("a")
    house.end_bidding()
    house.end_bidding()
    assert house.balance("a") == 970


def test_a_bidder_that_comes_back_reveals_the_bid_of_its_earlier_session() -> None:
    house = House()
    house.open(VICKREY, bond=30, reserve=10)
    house.seal("a", Offer(90))
    house.leave("a")
    house.end_bidding()
    house.reveal("a", Offer(90))
    assert house.awards() == [("a", 1, 10)]


def test_where_bids_are_withdrawn_they_are_only_while_bidding_goes_on() -> None:
    """Else whoever has seen what the others revealed could still go."""
    house = House()
    house.open(VICKREY, bond=30, on_departure=WITHDRAW)
    for who, price in (("a", 50), ("b", 60), ("c", 70)):
        house.seal(who, Offer(price))
    house.leave("a")
    assert house.told() == ["a withdrawn"]
    assert house.balance("a") == 1_000
    house.end_bidding()
    house.reveal("b", Offer(60))
    house.leave("b")
    house.leave("c")
    assert house.told() == []
    house.end_bidding()
    assert house.awards() == [("b", 1, 0)]
    assert house.balance("c") == 970


def test_to_reveal_nothing_is_no_bid() -> None:
    house = House()
    house.open(COMBINATORIAL, items=(("left", 0), ("right", 0)))
    house.seal("a", count=1)
    house.end_bidding()
    assert detail(house.reveal("a")) == "0 offers, 1 were announced"


def test_the_greatest_deposit_there_can_be_is_refused_for_want_of_money_alone() -> None:
    house = House()
    house.open(FIRST_PRICE)
    assert reason(house.seal("a", Offer(1), deposit=INTEGER_MAX)) == "insufficient_funds"
    assert reason(house.seal("a", Offer(1), deposit=INTEGER_MAX + 1)) == "invalid"
