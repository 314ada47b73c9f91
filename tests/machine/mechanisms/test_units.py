from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.mechanisms.units import (
    UnitBid,
    UnitTerms,
    Win,
    dutch_price,
    dutch_takes,
    english_limit,
    filled,
    first_price,
    reaches,
    vickrey,
)
from mabeam_p2p.records import Side

FORWARD, REVERSE = Side
Rule = Callable[[UnitTerms, Sequence[UnitBid]], tuple[Win, ...]]


def bids(*offers: tuple[int, int]) -> list[UnitBid]:
    """(quantity, price) of the bidders a, b, ..., in order of their indices."""
    names = "abcdefgh"
    return [UnitBid(10 + n, AgentId(names[n]), *offer) for n, offer in enumerate(offers)]


def results(wins: Sequence[Win]) -> list[tuple[str, int, int]]:
    return [(win.bidder, win.quantity, win.payment) for win in wins]


# ---- directed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "side", "reserve", "offers", "expected"),
    [
        (first_price, FORWARD, 0, [(1, 5), (1, 9)], [("b", 1, 9)]),
        (vickrey, FORWARD, 0, [(1, 5), (1, 9)], [("b", 1, 5)]),
        (first_price, REVERSE, 10, [(1, 5), (1, 9)], [("a", 1, 5)]),
        (vickrey, REVERSE, 10, [(1, 5), (1, 9)], [("a", 1, 9)]),
        # One bidder: the reserve is the second price.
        (vickrey, FORWARD, 3, [(1, 5)], [("a", 1, 3)]),
        (vickrey, REVERSE, 8, [(1, 5)], [("a", 1, 8)]),
        (first_price, FORWARD, 3, [(1, 5)], [("a", 1, 5)]),
        # Nobody, or nobody good enough.
        (vickrey, FORWARD, 6, [], []),
        (vickrey, FORWARD, 6, [(1, 5)], []),
        (first_price, REVERSE, 4, [(1, 5)], []),
        # At the reserve it is sold.
        (first_price, FORWARD, 5, [(1, 5)], [("a", 1, 5)]),
        (vickrey, REVERSE, 5, [(1, 5)], [("a", 1, 5)]),
        # The reserve is greater than the second price.
        (vickrey, FORWARD, 7, [(1, 9), (1, 5)], [("a", 1, 7)]),
        # Ties: the earlier index, at its own price.
        (first_price, FORWARD, 0, [(1, 5), (1, 5)], [("a", 1, 5)]),
        (vickrey, FORWARD, 0, [(1, 5), (1, 5)], [("a", 1, 5)]),
        (vickrey, REVERSE, 9, [(1, 5), (1, 5)], [("a", 1, 5)]),
    ],
)
def test_one_unit_goes_to_the_best_bid(
    rule: Rule,
    side: Side,
    reserve: int,
    offers: list[tuple[int, int]],
    expected: list[tuple[str, int, int]],
) -> None:
    assert results(rule(UnitTerms(side, 1, reserve), bids(*offers))) == expected


def test_with_one_unit_each_all_winners_pay_the_price_of_the_first_loser() -> None:
    wins = vickrey(UnitTerms(FORWARD, 3, 1), bids((1, 4), (1, 8), (1, 6), (1, 9), (1, 2)))
    assert results(wins) == [("d", 1, 4), ("b", 1, 4), ("c", 1, 4)]


def test_a_winner_of_several_units_pays_for_each_what_it_keeps_from_another() -> None:
    offers = bids((2, 9), (1, 8), (1, 5), (3, 4))
    assert results(vickrey(UnitTerms(FORWARD, 3, 0), offers)) == [("a", 2, 5 + 4), ("b", 1, 5)]
    assert results(first_price(UnitTerms(FORWARD, 3, 0), offers)) == [("a", 2, 18), ("b", 1, 8)]


def test_the_last_winner_may_get_fewer_units_and_its_rest_counts_for_others_alone() -> None:
    wins = vickrey(UnitTerms(FORWARD, 4, 1), bids((3, 9), (3, 7)))
    assert results(wins) == [("a", 3, 7 + 7 + 1), ("b", 1, 1)]


def test_units_that_nobody_wants_stay_with_the_auctioneer() -> None:
    wins = vickrey(UnitTerms(REVERSE, 5, 10), bids((2, 4), (1, 12)))
    assert results(wins) == [("a", 2, 20)]


# ---- exhaustive: what is promised of every rule -----------------------------------------------

PRICES = range(4)


def small_auctions() -> Iterator[tuple[UnitTerms, list[UnitBid]]]:
    offers = list(product((1, 2), PRICES))
    for side, quantity, reserve in product(Side, (1, 2, 3), (0, 1, 3)):
        for count in range(4):
            for chosen in product(offers, repeat=count):
                yield UnitTerms(side, quantity, reserve), bids(*chosen)


def best_surplus(terms: UnitTerms, offers: Sequence[UnitBid]) -> int:
    """The greatest of any way to give units to bids, by trying all."""
    ways = product(*(range(bid.quantity + 1) for bid in offers))
    return max(
        sum(units * terms.surplus(bid.price) for units, bid in zip(way, offers, strict=True))
        for way in ways
        if sum(way) <= terms.quantity
    )


def test_the_winners_are_the_best_and_nobody_loses_by_taking_part() -> None:
    for terms, offers in small_auctions():
        by_index = {bid.index: bid for bid in offers}
        for rule in (first_price, vickrey):
            wins = rule(terms, offers)
            made = 0
            for win in wins:
                bid = by_index[win.index]
                made += win.quantity * terms.surplus(bid.price)
                assert 1 <= win.quantity <= bid.quantity
                own, reserve = win.quantity * bid.price, win.quantity * terms.reserve
                assert min(own, reserve) <= win.payment <= max(own, reserve), (terms, offers)
            assert sum(win.quantity for win in wins) <= terms.quantity
            assert made == best_surplus(terms, offers), (terms, offers)


def test_a_vickrey_payment_is_what_taking_part_costs_the_others() -> None:
    for terms, offers in small_auctions():
        everything = best_surplus(terms, offers)
        by_index = {bid.index: bid for bid in offers}
        for win in vickrey(terms, offers):
            others = [bid for bid in offers if bid.index != win.index]
            own = win.quantity * terms.surplus(by_index[win.index].price)
            externality = best_surplus(terms, others) - (everything - own)
            reserve = win.quantity * terms.reserve
            sign = 1 if terms.side is FORWARD else -1
            assert win.payment == reserve + sign * externality, (terms, offers)


def utility(rule: Rule, terms: UnitTerms, offers: list[UnitBid], who: int, value: UnitBid) -> int:
    """Of bidder `who`, whose value (or cost, when it sells) of up to value.quantity units is
    value.price each. Units beyond are worth nothing, and cannot be delivered for less than what
    any reserve here pays."""
    for win in rule(terms, offers):
        if win.bidder == offers[who].bidder:
            useful = min(win.quantity, value.quantity) * value.price
            if terms.side is FORWARD:
                return useful - win.payment
            return win.payment - useful - 100 * max(0, win.quantity - value.quantity)
    return 0


def gains_by_lying(rule: Rule, quantity: int, lies: Sequence[tuple[int, int]]) -> int:
    """How many (auction, bidder, lie) there are in which a lie is better than the truth."""
    gains = 0
    offers = list(product((1, 2), PRICES))
    for side, reserve, chosen, who in product(Side, (0, 2, 3), product(offers, repeat=3), range(3)):
        terms = UnitTerms(side, quantity, reserve)
        truth = bids(*chosen)
        value = truth[who]
        honest = utility(rule, terms, truth, who, value)
        for lie in lies:
            lied = list(truth)
            lied[who] = UnitBid(value.index, value.bidder, *lie)
            gains += utility(rule, terms, lied, who, value) > honest
    return gains


LIES = list(product((1, 2, 3), range(5)))


@pytest.mark.slow
@pytest.mark.parametrize("quantity", [1, 2, 3])
def test_no_lie_is_ever_better_than_the_truth_under_vickrey(quantity: int) -> None:
    assert gains_by_lying(vickrey, quantity, LIES) == 0


def test_under_first_price_a_lie_can_be_better() -> None:
    assert gains_by_lying(first_price, 1, [(1, 1)]) > 0


def test_a_rule_that_lets_the_winner_of_two_units_pay_one_price_rewards_lies() -> None:
    """The check above sees what Vickrey's auction of several units is there for: with the
    (k+1)-th price for everybody, whoever wants two units gains by asking for one."""

    def uniform(terms: UnitTerms, offers: Sequence[UnitBid]) -> tuple[Win, ...]:
        wins = first_price(terms, offers)
        rest = [bid.price for bid in offers if bid.index not in {win.index for win in wins}]
        rest += [
            bid.price
            for bid in offers
            for win in wins
            if win.index == bid.index and win.quantity < bid.quantity
        ]
        best = [price for price in rest if terms.surplus(price) >= 0] + [terms.reserve]
        price = max(best) if terms.side is FORWARD else min(best)
        return tuple(Win(w.index, w.bidder, w.quantity, w.quantity * price) for w in wins)

    assert gains_by_lying(uniform, 2, [(1, 3)]) > 0


@pytest.mark.parametrize("rule", [first_price, vickrey])
def test_the_order_in_which_bids_are_given_is_nowhere_in_the_result(rule: Rule) -> None:
    for side, prices in product(Side, combinations_with_replacement(PRICES, 4)):
        offers = bids(*zip((1, 2, 1, 2), prices, strict=True))
        terms = UnitTerms(side, 3, 1)
        expected = rule(terms, offers)
        assert all(rule(terms, order) == expected for order in permutations(offers))


# ---- English ---------------------------------------------------------------------------------


def limit(
    terms: UnitTerms, increment: int, standing: list[UnitBid], quantity: int, price: int
) -> int:
    """For somebody new."""
    return english_limit(terms, increment, standing, UnitBid(99, AgentId("new"), quantity, price))


@pytest.mark.fault("A2")
def test_the_first_english_bid_reaches_the_reserve_and_later_ones_the_increment_more() -> None:
    terms = UnitTerms(FORWARD, 1, 10)
    assert limit(terms, 3, [], 1, 50) == 10
    assert [limit(terms, 3, bids((1, 10)), 1, price) for price in (0, 10, 11, 99)] == [13] * 4
    terms = UnitTerms(REVERSE, 1, 10)
    assert limit(terms, 3, [], 1, 5) == 10
    assert limit(terms, 3, bids((1, 9)), 1, 9) == 6
    assert limit(terms, 3, bids((1, 2)), 1, 0) == -1


def test_an_english_bid_beats_by_the_increment_all_that_it_takes_units_from() -> None:
    terms = UnitTerms(FORWARD, 3, 10)
    standing = bids((2, 30))
    assert limit(terms, 5, standing, 1, 10) == 10, "one unit is left"
    assert limit(terms, 5, standing, 3, 30) == 10, "a tie takes the unit that is left"
    assert limit(terms, 5, standing, 3, 31) == 35, "more than the tie takes all"
    standing = bids((2, 30), (1, 11))
    assert limit(terms, 5, standing, 1, 12) == 16
    assert limit(terms, 5, standing, 2, 30) == 16, "no unit from the better one"
    assert limit(terms, 5, standing, 2, 31) == 35


def test_an_english_bidder_beats_its_own_last_bid_too() -> None:
    terms = UnitTerms(FORWARD, 2, 10)
    standing = bids((1, 20))
    assert english_limit(terms, 5, standing, UnitBid(99, AgentId("a"), 1, 21)) == 25


def test_a_price_reaches_a_limit_from_the_side_that_the_auctioneer_likes() -> None:
    assert [reaches(FORWARD, price, 5) for price in (4, 5, 6)] == [False, True, True]
    assert [reaches(REVERSE, price, 5) for price in (4, 5, 6)] == [True, True, False]


@given(
    st.sampled_from(Side),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 20)), max_size=12),
)
def test_what_an_english_bid_has_lost_never_comes_back(
    side: Side, quantity: int, tries: list[tuple[int, int, int]]
) -> None:
    """The rule that lets the machine return money at once: better prices for no fewer units."""
    terms = UnitTerms(side, quantity, 12 if side is REVERSE else 3)
    standing: dict[AgentId, UnitBid] = {}
    for index, (who, units, price) in enumerate(tries):
        bid = UnitBid(index, AgentId("abcd"[who]), units, price)
        own = standing.get(bid.bidder)
        limit = english_limit(terms, 1, tuple(standing.values()), bid)
        if not reaches(side, price, limit) or (own is not None and units < own.quantity):
            continue
        before = {one.bidder: taken for one, taken in filled(terms, standing.values())}
        standing[bid.bidder] = bid
        fills = filled(terms, standing.values())
        after = {one.bidder: taken for one, taken in fills}
        assert after[bid.bidder] >= max(1, before.get(bid.bidder, 0)), "who bids wins"
        assert sum(after.values()) >= sum(before.values())
        for other in standing:
            if other != bid.bidder and after.get(other, 0) != before.get(other, 0):
                assert after.get(other, 0) < before[other]
                assert terms.surplus(price) > terms.surplus(standing[other].price)
        # As the machine does: a bid is for the units that it has.
        standing = {
            one.bidder: UnitBid(one.index, one.bidder, taken, one.price) for one, taken in fills
        }


# ---- Dutch -----------------------------------------------------------------------------------


def test_a_dutch_price_moves_at_each_tick_and_stops_at_the_reserve() -> None:
    terms = UnitTerms(FORWARD, 1, 5)
    prices = [dutch_price(terms, 20, 4, 10, elapsed) for elapsed in (0, 9, 10, 39, 40, 10**9)]
    assert prices == [20, 20, 16, 8, 5, 5]
    terms = UnitTerms(REVERSE, 1, 20)
    prices = [dutch_price(terms, 5, 4, 10, elapsed) for elapsed in (0, 9, 10, 39, 40, 10**9)]
    assert prices == [5, 5, 9, 17, 20, 20]


def test_a_dutch_bid_takes_at_its_limit_or_better() -> None:
    assert [dutch_takes(FORWARD, limit, 5) for limit in (4, 5, 6)] == [False, True, True]
    assert [dutch_takes(REVERSE, limit, 5) for limit in (4, 5, 6)] == [True, True, False]
