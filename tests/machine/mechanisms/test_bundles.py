from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations, product
from math import isqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.mechanisms.bundles import (
    SEARCH_STEPS_MAX,
    BundleBid,
    BundleTerms,
    BundleWin,
    allot,
    is_searchable,
)
from mabeam_p2p.records import Side

FORWARD, REVERSE = Side
Offer = tuple[str, tuple[int, ...], int]


def bids(*offers: Offer) -> list[BundleBid]:
    """(bidder, items, price), in order of their ranks."""
    return [
        BundleBid(n, AgentId(who), items, price) for n, (who, items, price) in enumerate(offers)
    ]


def terms_of(side: Side, reserves: tuple[int, ...], bids_max: int = 14) -> BundleTerms:
    return BundleTerms(side, reserves, bids_max)


def results(wins: Sequence[BundleWin]) -> list[tuple[str, tuple[int, ...], int]]:
    return [(win.bidder, win.items, win.payment) for win in wins]


def feasible(offers: Sequence[BundleBid]) -> Iterator[tuple[BundleBid, ...]]:
    """Every set of bids that can win together."""
    for count in range(len(offers) + 1):
        for chosen in combinations(offers, count):
            items = [item for bid in chosen for item in bid.items]
            bidders = [bid.bidder for bid in chosen]
            if len(set(items)) == len(items) and len(set(bidders)) == len(bidders):
                yield chosen


def best(terms: BundleTerms, offers: Sequence[BundleBid]) -> tuple[int, tuple[int, ...]]:
    """Surplus and ranks of the winners, as stated, by trying everything."""
    eligible = [bid for bid in offers if terms.surplus(bid) >= 0]

    def order(chosen: tuple[BundleBid, ...]) -> tuple[int, list[bool]]:
        ranks = {bid.rank for bid in chosen}
        surplus = sum(map(terms.surplus, chosen))
        return surplus, [rank in ranks for rank in range(len(offers))]

    winners = max(feasible(eligible), key=order)
    return sum(map(terms.surplus, winners)), tuple(sorted(bid.rank for bid in winners))


# ---- directed --------------------------------------------------------------------------------


@pytest.mark.fault("A5")
def test_two_that_want_one_item_each_beat_one_that_wants_both_and_pay_for_it_together() -> None:
    """The textbook example of VCG with complements."""
    offers = bids(("both", (0, 1), 10), ("left", (0,), 8), ("right", (1,), 6))
    found = allot(terms_of(FORWARD, (0, 0)), offers)
    assert results(found) == [("left", (0,), 4), ("right", (1,), 2)]


def test_one_bid_pays_the_reserve_and_too_low_a_bid_does_not_win() -> None:
    terms = terms_of(FORWARD, (2, 3))
    assert results(allot(terms, bids(("a", (0, 1), 9)))) == [("a", (0, 1), 5)]
    assert results(allot(terms, bids(("a", (0, 1), 4)))) == []
    assert results(allot(terms, bids())) == []
    terms = terms_of(REVERSE, (2, 3))
    assert results(allot(terms, bids(("a", (0, 1), 4)))) == [("a", (0, 1), 5)]
    assert results(allot(terms, bids(("a", (0, 1), 6)))) == []


def test_sellers_of_bundles_are_paid_what_the_others_would_have_cost() -> None:
    offers = bids(("both", (0, 1), 12), ("left", (0,), 5), ("right", (1,), 4))
    found = allot(terms_of(REVERSE, (20, 20)), offers)
    assert results(found) == [("left", (0,), 8), ("right", (1,), 7)]


def test_a_bidder_wins_one_of_its_bundles_at_most() -> None:
    offers = bids(("a", (0,), 9), ("a", (1,), 9), ("b", (1,), 2))
    found = allot(terms_of(FORWARD, (0, 0)), offers)
    assert results(found) == [("a", (0,), 0), ("b", (1,), 0)]


def test_of_equally_good_winners_those_with_the_earliest_bid_win() -> None:
    terms = terms_of(FORWARD, (0, 0))
    both, left, right = ("both", (0, 1), 4), ("left", (0,), 2), ("right", (1,), 2)
    assert [win.bidder for win in allot(terms, bids(both, left, right))] == ["both"]
    assert [win.bidder for win in allot(terms, bids(left, both, right))] == ["left", "right"]
    assert [win.bidder for win in allot(terms, bids(("x", (0,), 0)))] == ["x"]


# ---- exhaustive ------------------------------------------------------------------------------

BUNDLES = ((0,), (1,), (0, 1))
Values = tuple[int, ...]
"""Of each of BUNDLES."""


def small_auctions() -> Iterator[tuple[BundleTerms, list[BundleBid]]]:
    """Three bidders of one bundle each, and two of all three bundles."""
    single = list(product(BUNDLES, range(4)))
    for side, reserves in product(Side, ((0, 0), (1, 2), (3, 3))):
        terms = terms_of(side, reserves)
        for offers in product(single, repeat=3):
            yield terms, bids(*(("abc"[n], *offer) for n, offer in enumerate(offers)))
        for values in product(range(3), repeat=6):
            named = zip("aaabbb", BUNDLES * 2, values, strict=True)
            yield terms, bids(*named)


def test_the_exact_winners_are_the_best_and_pay_what_they_cost_the_others() -> None:
    for terms, offers in small_auctions():
        found = allot(terms, offers)
        surplus, ranks = best(terms, offers)
        assert terms.is_exact
        assert tuple(win.rank for win in found) == ranks, (terms, offers)
        for win in found:
            bid = offers[win.rank]
            without, _ = best(terms, [each for each in offers if each.bidder != win.bidder])
            externality = without - (surplus - terms.surplus(bid))
            sign = 1 if terms.side is FORWARD else -1
            assert win.payment == terms.reserve_of(bid.items) + sign * externality
            low, high = sorted((terms.reserve_of(bid.items), bid.price))
            assert low <= win.payment <= high, "nobody loses by taking part"


@settings(max_examples=200)
@given(st.data())
def test_ten_bids_on_four_items_have_the_exact_optimum(data: st.DataObject) -> None:
    bundles = [items for size in (1, 2, 3, 4) for items in combinations(range(4), size)]
    offer = st.tuples(st.sampled_from("abcdef"), st.sampled_from(bundles), st.integers(0, 9))
    offers = bids(*data.draw(st.lists(offer, max_size=10)))
    reserves = data.draw(st.tuples(*[st.integers(0, 4)] * 4))
    terms = terms_of(data.draw(st.sampled_from(Side)), reserves)
    found = allot(terms, offers)
    assert tuple(win.rank for win in found) == best(terms, offers)[1]
    assert allot(terms, offers[::-1]) == found


def utility(terms: BundleTerms, offers: list[BundleBid], values: Values) -> int:
    """Of bidder `a`, to whom the bundles are worth (or cost) that much. More than a wanted
    bundle is never won, since bundles win whole."""
    for win in allot(terms, offers):
        if win.bidder == "a":
            value = values[BUNDLES.index(win.items)]
            return value - win.payment if terms.side is FORWARD else win.payment - value
    return 0


def offers_of(who: str, values: Values) -> list[Offer]:
    return [(who, items, value) for items, value in zip(BUNDLES, values, strict=True)]


def gains_by_lying(
    side: Side,
    others: Sequence[Values],
    own: Sequence[Values],
    mechanism: Callable[[BundleTerms, list[BundleBid], Values], int] = utility,
) -> int:
    gains = 0
    terms = terms_of(side, (1, 1))
    for other in others:
        rivals = offers_of("b", other)
        for values in own:
            honest = mechanism(terms, bids(*offers_of("a", values), *rivals), values)
            for lie in own:
                lied = bids(*offers_of("a", lie), *rivals)
                gains += mechanism(terms, lied, values) > honest
    return gains


@pytest.mark.slow
@pytest.mark.parametrize("side", Side)
def test_no_lie_is_ever_better_than_the_truth_under_vcg(side: Side) -> None:
    values = list(product(range(4), repeat=3))
    others = list(product((0, 1, 3), (0, 2), (0, 2, 4, 5)))
    assert gains_by_lying(side, others, values) == 0


def test_paying_ones_own_price_for_a_bundle_rewards_lies() -> None:
    def first_price(terms: BundleTerms, offers: list[BundleBid], values: Values) -> int:
        for win in allot(terms, offers):
            if win.bidder == "a":
                return values[BUNDLES.index(win.items)] - offers[win.rank].price
        return 0

    assert gains_by_lying(FORWARD, [(0, 0, 0)], [(3, 3, 3), (2, 2, 2)], first_price) > 0


# ---- beyond the exact bound ------------------------------------------------------------------


def test_the_bound_of_the_exact_search_is_as_stated() -> None:
    assert SEARCH_STEPS_MAX == 2**14
    assert is_searchable(1_000, 14)
    assert not is_searchable(1_000, 15)
    for items, most in ((8, 64), (6, 256), (4, 1024)):
        assert is_searchable(items, most)
        assert not is_searchable(items, most + 1)


def test_which_rule_it_is_follows_from_the_terms_and_not_from_the_bids() -> None:
    """Else a bidder could choose it, by one bid more that wins nothing."""
    offers = bids(("a", (0, 1), 4), ("b", (0,), 3), ("c", (1,), 3))
    exact, greedy = (terms_of(FORWARD, (0,) * 16, most) for most in (14, 15))
    assert (exact.is_exact, greedy.is_exact) == (True, False)
    assert results(allot(exact, offers)) == [("b", (0,), 1), ("c", (1,), 1)]
    assert results(allot(greedy, offers)) == [("b", (0,), 0), ("c", (1,), 0)]


def test_the_greatest_search_of_the_bound_ends_at_the_optimum() -> None:
    """64 bids on 8 items, whose best sum is known by how they are made."""
    pairs = [(f"p{n}", (2 * n, 2 * n + 1), 10) for n in range(4)]
    crowd = [
        (f"c{n}", tuple(sorted({n % 8, (3 * n + 1) % 8, (5 * n + 3) % 8})), 9) for n in range(60)
    ]
    terms = terms_of(FORWARD, (0,) * 8, 64)
    assert terms.is_exact
    found = allot(terms, bids(*pairs, *crowd))
    assert [win.bidder for win in found] == ["p0", "p1", "p2", "p3"]


def big_offers(draw: st.DrawFn, item_count: int, low: int) -> list[Offer]:
    """One bundle for each bidder, more than the exact search takes."""
    bundle = st.lists(st.integers(0, item_count - 1), min_size=1, max_size=4, unique=True).map(
        lambda items: tuple(sorted(items))
    )
    offers = draw(st.lists(st.tuples(bundle, st.integers(low, 60)), min_size=15, max_size=18))
    return [(f"b{n}", *offer) for n, offer in enumerate(offers)]


@st.composite
def big_auctions(draw: st.DrawFn) -> tuple[BundleTerms, list[BundleBid]]:
    side = draw(st.sampled_from(Side))
    # No bid is below the reserve, so that all of them count.
    reserve, low = (0, 0) if side is FORWARD else (60, 0)
    return terms_of(side, (reserve,) * 16, 18), bids(*big_offers(draw, 16, low))


@settings(max_examples=30)
@given(big_auctions())
def test_the_greedy_surplus_is_within_its_bound_of_the_optimum(
    auction: tuple[BundleTerms, list[BundleBid]],
) -> None:
    terms, offers = auction
    found = allot(terms, offers)
    assert not terms.is_exact
    made = sum(terms.surplus(offers[win.rank]) for win in found)
    optimum, _ = best(terms, offers)
    assert made**2 * len(terms.reserves) >= optimum**2
    items = [item for win in found for item in win.items]
    assert len(items) == len(set(items))


@settings(max_examples=30)
@given(big_auctions(), st.data())
def test_a_greedy_winner_pays_the_least_that_it_would_have_won_with(
    auction: tuple[BundleTerms, list[BundleBid]], data: st.DataObject
) -> None:
    terms, offers = auction
    wins = allot(terms, offers)
    win = data.draw(st.sampled_from(wins))
    bid = offers[win.rank]
    low, high = sorted((terms.reserve_of(bid.items), bid.price))
    assert low <= win.payment <= high

    assert not terms.is_exact

    def wins_with(price: int) -> bool:
        changed = list(offers)
        changed[win.rank] = BundleBid(bid.rank, bid.bidder, bid.items, price)
        if terms.surplus(changed[win.rank]) < 0:
            return False
        return any(each.bidder == bid.bidder for each in allot(terms, changed))

    assert wins_with(win.payment)
    worse = win.payment - 1 if terms.side is FORWARD else win.payment + 1
    if worse >= 0:
        assert not wins_with(worse)


def test_greedy_prefers_what_pays_most_for_the_root_of_its_size() -> None:
    """9 for nine items is as good as 3 for one; 10 for nine is better."""
    filler = [(f"f{n}", (20 + n,), 1) for n in range(14)]
    for price, winner in ((9, "small"), (10, "large")):
        offers = bids(("small", (0,), 3), ("large", tuple(range(9)), price), *filler)
        terms = terms_of(FORWARD, (0,) * 40, 16)
        assert not terms.is_exact
        found = allot(terms, offers)
        assert found[0].bidder == winner
        assert found[0].payment == (3 if winner == "small" else isqrt(9 * 9) + 1)


def test_greedy_results_do_not_depend_on_the_order_given() -> None:
    offers = bids(*((f"b{n}", (n % 16, (n + 5) % 16), n % 3) for n in range(20)))
    terms = terms_of(FORWARD, (0,) * 16, 20)
    expected = allot(terms, offers)
    assert not terms.is_exact
    for first, last in permutations(range(0, 20, 5), 2):
        order = offers[first:] + offers[:first]
        order[last], order[0] = order[0], order[last]
        assert allot(terms, order) == expected


def test_by_the_greedy_rule_too_a_bidder_wins_one_of_its_bundles_at_most() -> None:
    filler = [(f"f{n}", (20 + n,), 1) for n in range(13)]
    offers = bids(("both", (0,), 9), ("both", (1,), 8), ("other", (1,), 3), *filler)
    terms = terms_of(FORWARD, (0,) * 40, 16)
    assert not terms.is_exact
    found = results(allot(terms, offers))
    assert [(who, items) for who, items, _ in found[:2]] == [("both", (0,)), ("other", (1,))]
