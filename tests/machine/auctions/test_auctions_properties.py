"""Whatever agents do, an auction comes to what its bids say, computed anew, and money goes nowhere
else. Every command is also applied to a freshly restored machine (house.py)."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import AnyAuctionCommand, CancelAuction, PlaceBid, RevealBid, SealBid
from mabeam_p2p.events import AuctionClosed
from mabeam_p2p.ids import AgentId, AuctionId, SessionId
from mabeam_p2p.machine.mechanisms.seals import seal_of
from mabeam_p2p.records import (
    AuctionRule,
    AuctionStatus,
    Offer,
    OnBidderDeparture,
    Side,
)
from mabeam_p2p.requests import Outcome
from mabeam_p2p.testing.auctions import AuctionJudge
from tests.machine.auctions.house import SALT, SEALED, SECOND, House, reason

AUCTION, SESSION = AuctionId("lot"), SessionId(1)
COMBINATORIAL = AuctionRule.COMBINATORIAL
BUNDLES = ((0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2))


class JudgedHouse(House):
    """A judge hears everything."""

    def __init__(self) -> None:
        super().__init__(money=200)
        self.judge = AuctionJudge()
        self.log: list[tuple[str, AnyAuctionCommand | None, int, Outcome]] = []

    def apply(
        self, who: str, command: AnyAuctionCommand | None, groups: tuple[str, ...] = ()
    ) -> Outcome:
        outcome = super().apply(who, command, groups)
        self.log.append((who, command, self.clock, outcome))
        if command is not None:
            self.judge.took_effect(AgentId(f"{who}@p"), command, outcome, self.clock)
        for event in self.events:
            self.judge.happened(event)
        return outcome


@st.composite
def terms(draw: st.DrawFn, rule: AuctionRule) -> dict[str, object]:
    side = draw(st.sampled_from(Side))
    small = st.integers(0, 12)
    reserve = draw(small) + (side is Side.REVERSE)
    given_terms: dict[str, object] = {
        "side": side,
        "timeout": 10 * SECOND,
        "on_departure": draw(st.sampled_from(OnBidderDeparture)),
        "currency": draw(st.sampled_from(("coin", "coin", ""))),
        "bids_max": draw(st.integers(2, 12)),
    }
    if rule is COMBINATORIAL:
        given_terms["items"] = tuple((name, reserve) for name in ("x", "y", "z"))
    else:
        given_terms |= {"quantity": draw(st.integers(1, 4)), "reserve": reserve}
    if rule in SEALED and given_terms["currency"]:
        given_terms["bond"] = draw(st.integers(0, 3))
    if rule is AuctionRule.ENGLISH:
        given_terms |= {"increment": draw(st.integers(1, 3)), "extension": draw(st.integers(0, 2))}
    if rule is AuctionRule.DUTCH:
        start = reserve + 9 if side is Side.FORWARD else max(0, reserve - 9)
        given_terms |= {"start": start, "step": draw(st.integers(1, 4)), "tick": 2 * SECOND}
    return given_terms


@st.composite
def offers(draw: st.DrawFn, rule: AuctionRule) -> tuple[Offer, ...]:
    price = st.integers(0, 15)
    if rule is not COMBINATORIAL:
        return (Offer(draw(price), draw(st.integers(1, 4))),)
    bundles = draw(st.lists(st.sampled_from(BUNDLES), min_size=1, max_size=3, unique=True))
    return tuple(Offer(draw(price), items=items) for items in bundles)


def play(data: st.DataObject, house: House, rule: AuctionRule) -> None:
    """Steps of four bidders, and of time."""
    sealed: dict[str, tuple[Offer, ...]] = {}
    acts = ["bid", "bid", "bid", "time", "leave", "cancel"]
    for _ in range(data.draw(st.integers(0, 12))):
        who = data.draw(st.sampled_from("abcd"))
        match data.draw(st.sampled_from(acts)):
            case "time":
                house.pass_time(data.draw(st.sampled_from((SECOND, 4 * SECOND, 9 * SECOND))))
            case "leave":
                house.leave(who)
            case "cancel":
                house.apply("house", CancelAuction(SESSION, 1, AUCTION))
            case _ if rule not in SEALED:
                (offer,) = data.draw(offers(rule))
                house.apply(who, PlaceBid(SESSION, 1, AUCTION, offer.price, offer.quantity))
            case _:
                said = data.draw(offers(rule))
                seal = seal_of(AUCTION, AgentId(f"{who}@p"), said, SALT)
                deposit = data.draw(st.sampled_from((60, 60, 10, 3, 0)))
                outcome = house.apply(who, SealBid(SESSION, 1, AUCTION, seal, deposit, len(said)))
                if not reason(outcome):
                    sealed.setdefault(who, said)
    if house.auction().status is AuctionStatus.OPEN:
        house.end_bidding()
    for who in data.draw(st.permutations(sorted(sealed))):
        if data.draw(st.integers(0, 4)):
            house.apply(who, RevealBid(SESSION, 1, AUCTION, sealed[who], SALT))
    if house.auction().status < AuctionStatus.AWARDED:
        house.end_bidding()


@pytest.mark.slow
@pytest.mark.parametrize("rule", AuctionRule)
@settings(max_examples=120)
@given(data=st.data())
def test_an_auction_comes_to_what_its_bids_say(rule: AuctionRule, data: st.DataObject) -> None:
    house = JudgedHouse()
    given_terms = data.draw(terms(rule))
    if reason(house.open(rule, **given_terms)):  # type: ignore[arg-type]  # side is among them
        assert house.auctions.state().open == ()
        return
    play(data, house, rule)
    ended = house.auction()
    assert list(house.judge.closed) == [AUCTION]
    assert house.bank.holds == {}, "all that was set aside is paid or given back"
    if ended.terms.currency == "":
        assert set(house.bank.balances.values()) == {200}
    deals = [deal for deal, _, _ in house.bank.deals]
    assert deals == [f"auction/{award.bid}" for award in ended.awards]
    replayed = House(money=200)
    for who, command, clock, outcome in house.log:
        replayed.clock = clock - 1
        assert replayed.apply(who, command) == outcome
    assert replayed.auctions.state() == house.auctions.state()
    assert replayed.bank.balances == house.bank.balances


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data())
def test_the_order_of_revealing_is_nowhere_in_the_result(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(SEALED))
    chosen = data.draw(terms(rule)) | {"bids_max": 12}
    if rule is not COMBINATORIAL:
        chosen["quantity"] = 4
    bids = {who: data.draw(offers(rule)) for who in "abcd"}
    results = []
    for order in ("abcd", "".join(data.draw(st.permutations("abcd")))):
        house = House(money=1_000)
        assert not reason(house.open(rule, **chosen))  # type: ignore[arg-type]  # side is there
        bond = chosen.get("bond", 0)
        assert isinstance(bond, int)
        for who in "abcd":
            is_seller = chosen["side"] is Side.REVERSE
            deposit = bond if is_seller else 100
            house.seal(who, *bids[who], deposit=deposit if chosen["currency"] else 0)
        house.end_bidding()
        for who in order:
            house.reveal(who, *bids[who])
        ended = house.auction()
        results.append((msgspec.to_builtins(ended.awards), house.bank.balances))
        assert isinstance(house.events[-1], AuctionClosed)
    assert results[0] == results[1]
