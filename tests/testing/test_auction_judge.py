"""The judge of auctions: every rule is broken by hand once, and seen."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import AnyAuctionCommand, OpenAuction, PlaceBid, RevealBid
from mabeam_p2p.config import Limits
from mabeam_p2p.events import (
    AuctionClosed,
    AuctionOpened,
    AuctionRevealing,
    BidPlaced,
    MachineEvent,
)
from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import (
    Auction,
    AuctionRule,
    AuctionStatus,
    Award,
    Bid,
    BidStatus,
    Hold,
    Offer,
)
from mabeam_p2p.requests import Found, Outcome
from mabeam_p2p.testing.auctions import AuctionJudge
from mabeam_p2p.testing.checkers import Violation
from tests.machine.auctions.house import House

ENGLISH, DUTCH, FIRST_PRICE, VICKREY, COMBINATORIAL = AuctionRule
Change = Callable[[MachineEvent], MachineEvent | None]
Say = Callable[[AnyAuctionCommand], AnyAuctionCommand]


class Recorded(House):
    """A house that remembers what was said and told."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, AnyAuctionCommand, Outcome, int]] = []
        self.told_all: list[tuple[int, list[MachineEvent]]] = []

    def apply(
        self, who: str, command: AnyAuctionCommand | None, groups: tuple[str, ...] = ()
    ) -> Outcome:
        outcome = super().apply(who, command, groups)
        if command is not None:
            self.log.append((who, command, outcome, self.clock))
        self.told_all.append((len(self.log), list(self.events)))
        return outcome

    def judged(self, change: Change = lambda event: event, say: Say = lambda one: one) -> None:
        """Tell a judge, with every event changed, or left out for None, and every command."""
        judge = AuctionJudge()
        said = 0
        for count, events in self.told_all:
            for who, command, outcome, clock in self.log[said:count]:
                judge.took_effect(AgentId(f"{who}@p"), say(command), outcome, clock)
            said = count
            for event in events:
                changed = change(event)
                if changed is not None:
                    judge.happened(changed)


def closed(**changes: object) -> Change:
    """Changes of an auction that has ended."""

    def change(event: MachineEvent) -> MachineEvent:
        if isinstance(event, AuctionClosed):
            return AuctionClosed(replace(event.auction, **changes))
        return event

    return change


def sealed(rule: AuctionRule, reveals: str = "abc") -> Recorded:
    """Three sealed bids of 50, 70 and 90."""
    house = Recorded()
    house.open(rule, bond=2, items=(("x", 0),) if rule is COMBINATORIAL else ())
    items = (0,) if rule is COMBINATORIAL else ()
    offers = {
        who: Offer(price, items=items) for who, price in zip("abc", (50, 70, 90), strict=True)
    }
    for who, offer in offers.items():
        house.seal(who, offer)
    house.end_bidding()
    for who in reveals:
        house.reveal(who, offers[who])
    if house.auction().status < AuctionStatus.AWARDED:
        house.end_bidding()
    return house


def english() -> Recorded:
    house = Recorded()
    house.open(ENGLISH, increment=5, reserve=10)
    house.place("a", 10)
    house.place("b", 15)
    house.end_bidding()
    return house


def dutch() -> Recorded:
    house = Recorded()
    house.open(DUTCH, quantity=2)
    house.place("a", 100)
    house.end_bidding()
    return house


def seen(house: Recorded, change: Change = lambda event: event, say: Say = lambda one: one) -> str:
    house.judged()
    with pytest.raises(Violation, match="auctions: ") as caught:
        house.judged(change, say)
    return caught.value.detail


@pytest.mark.parametrize("rule", [FIRST_PRICE, VICKREY, COMBINATORIAL])
def test_another_winner_another_price_or_one_award_more_is_seen(rule: AuctionRule) -> None:
    house = sealed(rule)
    (award,) = house.auction().awards
    for awards in (
        (replace(award, payment=award.payment - 1),),
        (replace(award, payment=award.payment + 1),),
        (replace(award, bidder=AgentId("b@p")),),
        (replace(award, quantity=2),),
        (award, award),
    ):
        assert "the bids come to" in seen(house, closed(awards=awards))


@pytest.mark.parametrize("make", [english, dutch])
def test_other_ends_of_open_bids_are_seen(make: Callable[[], Recorded]) -> None:
    house = make()
    (award,) = house.auction().awards
    assert "the bids come to" in seen(house, closed(awards=(replace(award, payment=14),)))
    assert "disagree" in seen(house, closed(awards=()))
    assert "disagree" in seen(house, closed(status=AuctionStatus.UNSOLD))


def test_an_award_where_nobody_bid_is_seen() -> None:
    house = Recorded()
    house.open(ENGLISH)
    house.end_bidding()
    awards = (Award(AgentId("a@p"), 1, 1, 0),)
    change = closed(awards=awards, status=AuctionStatus.AWARDED)
    assert "the bids come to []" in seen(house, change)


def test_a_bond_that_is_not_forfeited_or_wrongly_so_is_seen() -> None:
    house = sealed(FIRST_PRICE, reveals="ab")

    def all_have(status: BidStatus) -> Change:
        bids = tuple(replace(bid, status=status) for bid in house.auction().bids)
        return closed(bids=bids)

    for status in (BidStatus.LOST, BidStatus.FORFEITED):
        assert "others forfeit" in seen(house, all_have(status))


def test_an_auction_that_opens_or_ends_twice_is_seen() -> None:
    house = english()
    first = house.told_all[0][1]
    house.told_all.insert(1, (1, first))
    with pytest.raises(Violation, match="opened twice"):
        house.judged()
    house = english()
    house.told_all.append(house.told_all[-1])
    with pytest.raises(Violation, match="ended twice"):
        house.judged()


def test_a_cancellation_with_bids_is_seen() -> None:
    change = closed(status=AuctionStatus.CANCELLED, awards=())
    assert "cancelled with bids" in seen(english(), change)


def test_an_auction_that_is_not_what_was_opened_is_seen() -> None:
    house = english()
    owned = replace(house.auction(), auctioneer=AgentId("b@p"))

    def other_owner(event: MachineEvent) -> MachineEvent:
        return AuctionOpened(owned) if isinstance(event, AuctionOpened) else event

    assert "opened by nobody" in seen(house, other_owner)

    def other_item(command: AnyAuctionCommand) -> AnyAuctionCommand:
        return replace(command, item="x") if isinstance(command, OpenAuction) else command

    assert "opened by" in seen(house, say=other_item)


def test_an_english_bid_that_beats_nobody_or_not_by_enough_is_seen() -> None:
    def priced(price: int) -> Say:
        def say(command: AnyAuctionCommand) -> AnyAuctionCommand:
            is_second = isinstance(command, PlaceBid) and command.price == 15
            return replace(command, price=price) if is_second else command

        return say

    assert "without the increment" in seen(english(), say=priced(14))
    assert "no better than what it had" in seen(english(), say=priced(10))
    assert "worse than the reserve" in seen(english(), say=priced(9))


def test_a_dutch_purchase_beyond_the_buyers_limit_is_seen() -> None:
    def cheaper(command: AnyAuctionCommand) -> AnyAuctionCommand:
        return replace(command, price=99) if isinstance(command, PlaceBid) else command

    assert "which it did not want" in seen(dutch(), say=cheaper)


def test_what_was_not_sealed_or_not_yet_to_be_revealed_is_seen() -> None:
    def other(command: AnyAuctionCommand) -> AnyAuctionCommand:
        return replace(command, offers=(Offer(99),)) if isinstance(command, RevealBid) else command

    assert "not what was sealed" in seen(sealed(FIRST_PRICE), say=other)

    def no_phase(event: MachineEvent) -> MachineEvent | None:
        return None if isinstance(event, AuctionRevealing) else event

    assert "while bidding went on" in seen(sealed(FIRST_PRICE), no_phase)


def test_a_bid_that_counts_for_another_agent_is_seen() -> None:
    def others(event: MachineEvent) -> MachineEvent:
        if isinstance(event, BidPlaced):
            bid: Bid = replace(event.bid, bidder=AgentId("h@p"))
            return replace(event, bid=bid)
        return event

    assert "counts for another" in seen(english(), others)


def test_money_that_is_held_for_an_auction_that_has_ended_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = english()
    auction: Auction = house.auction()
    judge = AuctionJudge()
    for who, command, outcome, clock in house.log:
        judge.took_effect(AgentId(f"{who}@p"), command, outcome, clock)
    for _, events in house.told_all:
        for event in events:
            judge.happened(event)
    name = f"auction/{auction.awards[0].bid}"
    hold = Hold(name, "b@p", "coin", 15, "", 0, 3, 3, escrow=True)
    found = Found(9, 0.0, False, holds=(hold,))
    machine = Machine(Limits())
    monkeypatch.setattr(machine, "find", lambda _: found)
    with pytest.raises(Violation, match="held for nothing"):
        judge.judge_holds(machine)
    judge.judge_holds(machine)
