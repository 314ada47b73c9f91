"""Auctions beside the other machines: real money, sessions that end, and snapshots of everything
(written_log.py applies each batch to a restored machine as well)."""

from mabeam_p2p.commands import OpenAuction, PlaceBid, RevealBid, SealBid
from mabeam_p2p.commands.ledger import Mint, Rate
from mabeam_p2p.events import AuctionClosed, BidPlaced
from mabeam_p2p.ids import AgentId, AuctionId, SessionId
from mabeam_p2p.machine.mechanisms.seals import seal_of
from mabeam_p2p.machine.subjects import is_settled, settled_by, subject_of
from mabeam_p2p.records import (
    Auction,
    AuctionRule,
    AuctionStatus,
    AuctionTerms,
    Offer,
    OnBidderDeparture,
    Side,
)
from mabeam_p2p.requests import AccountQuery, AuctionQuery, Committed, HoldQuery, Outcome
from tests.machine.written_log import SECOND, WrittenLog, reason

LOT = AuctionId("lot")
SALT = b"a salt of 16 or more"


def market() -> tuple[WrittenLog, SessionId, SessionId, SessionId]:
    """Three agents with 1000 coins each, of which the first has minted them."""
    log = WrittenLog()
    one, two, three = log.attached(3)
    for number in (1, 2, 3):
        mint = Mint(one, log.next(one), f"mint-{number}", f"a{number}@p", "coin", 1_000)
        assert reason(log.apply(mint)) == ""
    return log, one, two, three


def open_lot(
    log: WrittenLog,
    session: SessionId,
    rule: AuctionRule = AuctionRule.ENGLISH,
    **changes: object,
) -> Outcome:
    fields: dict[str, object] = {
        "rule": rule,
        "side": Side.FORWARD,
        "timeout": 10 * SECOND,
        "currency": "coin",
        "reveal": 0 if rule is AuctionRule.ENGLISH else 5 * SECOND,
        "increment": 1 if rule is AuctionRule.ENGLISH else 0,
    }
    terms = AuctionTerms(**(fields | changes))  # type: ignore[arg-type]  # by name
    opening = OpenAuction(session, log.next(session), LOT, "gpu-hour", "all", terms)
    return log.apply(opening)


def place(log: WrittenLog, session: SessionId, price: int) -> Outcome:
    return log.apply(PlaceBid(session, log.next(session), LOT, price))


def found(log: WrittenLog) -> Auction:
    (auction,) = log.machine.find(AuctionQuery(LOT)).auctions
    return auction


def balances(log: WrittenLog) -> dict[str, tuple[int, int]]:
    accounts = log.machine.find(AccountQuery("", "coin")).accounts
    return {one.account: (one.balance, one.held) for one in accounts}


def test_an_award_is_paid_in_the_entry_that_ends_the_auction() -> None:
    log, one, two, three = market()
    open_lot(log, one)
    place(log, two, 100)
    place(log, three, 150)
    assert balances(log) == {"a1@p": (1_000, 0), "a2@p": (1_000, 0), "a3@p": (850, 150)}
    log.pass_time(10 * SECOND)
    assert found(log).status is AuctionStatus.AWARDED
    assert balances(log) == {"a1@p": (1_150, 0), "a2@p": (1_000, 0), "a3@p": (850, 0)}
    assert log.machine.find(HoldQuery("", "")).holds == ()
    assert log.machine.next_deadline() is None


def test_bids_without_funds_are_refused_and_change_nothing() -> None:
    log, one, two, _ = market()
    open_lot(log, one)
    before = found(log)
    assert reason(place(log, two, 1_001)) == "insufficient_funds"
    assert found(log) == before
    assert reason(place(log, two, 1_000)) == ""


def test_winner_and_auctioneer_each_rate_the_other_once() -> None:
    log, one, two, _ = market()
    open_lot(log, one)
    bid = place(log, two, 100)
    log.pass_time(10 * SECOND)
    assert isinstance(bid, Committed)
    deal = f"auction/{bid.index}"
    assert reason(log.apply(Rate(one, log.next(one), deal, "paying", 900))) == ""
    assert reason(log.apply(Rate(two, log.next(two), deal, "gpu-hour", 800))) == ""


def test_a_command_that_comes_twice_bids_once() -> None:
    log, one, two, _ = market()
    open_lot(log, one)
    bid = PlaceBid(two, log.next(two), LOT, 100)
    first = log.apply(bid)
    assert log.apply(bid) == first
    assert balances(log)["a2@p"] == (900, 100)


def test_a_peers_departure_withdraws_its_agents_bids_where_the_terms_say_so() -> None:
    log, one, two, three = market()
    open_lot(log, one, on_departure=OnBidderDeparture.WITHDRAW)
    place(log, three, 100)
    log.depart(3)
    assert any(isinstance(event, BidPlaced) for event in log.events)
    assert balances(log)["a3@p"] == (1_000, 0)
    place(log, two, 1)
    log.pass_time(10 * SECOND)
    assert [award.bidder for award in found(log).awards] == ["a2@p"]


def test_an_auction_goes_on_when_the_peer_of_its_auctioneer_is_gone() -> None:
    log, one, two, _ = market()
    open_lot(log, one)
    log.depart(1)
    place(log, two, 100)
    log.pass_time(10 * SECOND)
    assert balances(log)["a1@p"] == (1_100, 0)


def test_a_bid_that_was_sealed_in_one_session_is_revealed_in_the_next() -> None:
    log, one, _, _ = market()
    open_lot(log, one, AuctionRule.VICKREY)
    seal = seal_of(LOT, AgentId("a2@p"), (Offer(70),), SALT)
    two = SessionId(2)
    log.apply(SealBid(two, log.next(two), LOT, seal, 70))
    log.attach("a2", session=22, peer=2, epoch=2)
    log.pass_time(10 * SECOND)
    again = SessionId(22)
    outcome = log.apply(RevealBid(again, log.next(again), LOT, (Offer(70),), SALT))
    assert reason(outcome) == ""
    assert [(award.bidder, award.payment) for award in found(log).awards] == [("a2@p", 0)]


def test_the_end_of_an_auction_settles_who_waits_for_it_and_nothing_before_does() -> None:
    log, one, two, _ = market()
    query = AuctionQuery(LOT)
    assert subject_of(query) == ("auction", "lot", 0)
    assert subject_of(AuctionQuery(AuctionId(""))) is None
    assert not is_settled(query, log.machine.find(query))
    open_lot(log, one)
    place(log, two, 5)
    assert not is_settled(query, log.machine.find(query))
    assert all(settled_by(event) is None for event in log.events)
    log.pass_time(10 * SECOND)
    assert is_settled(query, log.machine.find(query))
    (closed,) = [event for event in log.events if isinstance(event, AuctionClosed)]
    assert settled_by(closed) == ("auction", "lot", 0)


def test_the_deadline_of_an_auction_is_that_of_the_machine() -> None:
    log, one, _, _ = market()
    open_lot(log, one)
    assert log.machine.next_deadline() == log.clock + 10 * SECOND


def test_who_asks_for_open_auctions_is_told_of_no_other() -> None:
    log, one, _, _ = market()
    open_lot(log, one)
    log.pass_time(10 * SECOND)
    assert log.machine.find(AuctionQuery(AuctionId(""), open_only=True)).auctions == ()
    assert [lot.id for lot in log.machine.find(AuctionQuery(AuctionId(""))).auctions] == [LOT]
    assert log.machine.find(AuctionQuery(LOT, open_only=True)).auctions == ()
