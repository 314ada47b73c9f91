"""The ledger as other machines see it, with an auction that was made up for the purpose."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import CaptureHold, Mint, PlaceHold, ReleaseHold
from mabeam_p2p.config import Limits
from mabeam_p2p.events import LedgerChanged, MachineEvent
from mabeam_p2p.ids import INTEGER_MAX, AgentId, PeerId, SessionId
from mabeam_p2p.machine.core import Deadlines, Deals, Entry, Escrow
from mabeam_p2p.machine.ledger import Ledger
from mabeam_p2p.machine.reputations import Reputations
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import Outcome, Refused
from mabeam_p2p.testing.audits import Audit

SELLER = AgentId("seller@p")
BIDDERS = [AgentId(f"b{n}@p") for n in range(4)]


def agent(name: AgentId) -> Agent:
    return Agent(name, PeerId("0" * 16), 1, SessionId(1), (), True, True, (), 1)


class Books:
    """A ledger at a clock of its own, in which every bidder has a hundred."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.events: list[MachineEvent] = []
        self.reputations = Reputations(limits or Limits(), self.events)
        deadlines = Deadlines()
        self.ledger = Ledger(limits or Limits(), deadlines, self.events, self.reputations)
        self.index = 0
        for bidder in BIDDERS:
            self.ledger.apply(
                self.entry(), agent(SELLER), Mint(SessionId(1), 1, f"to {bidder}", bidder, "c", 100)
            )

    def entry(self) -> Entry:
        self.index += 1
        return Entry(self.index, 1, 1_000 + self.index)

    def has(self, account: str) -> tuple[int, int]:
        found = self.ledger.accounts(account, "c")
        return (found[0].balance, found[0].held) if found else (0, 0)


class FakeAuction:
    """Sealed bids, second price. It knows the ledger by Escrow and the deals by Deals alone."""

    def __init__(self, name: str, escrow: Escrow, deals: Deals) -> None:
        self.name = name
        self._escrow = escrow
        self._deals = deals
        self._bids: dict[AgentId, int] = {}

    def bid(self, entry: Entry, bidder: AgentId, amount: int) -> Refused | None:
        if bidder in self._bids:
            return Refused("invalid", "one bid each")
        hold = self._escrow.hold(entry, bidder, "c", amount, f"{self.name}/{bidder}")
        if hold is None:
            self._bids[bidder] = amount
        return hold

    def close(self, entry: Entry) -> AgentId | None:
        ranked = sorted(self._bids, key=lambda bidder: (-self._bids[bidder], bidder))
        for loser in ranked[1:]:
            self._escrow.release(entry, f"{self.name}/{loser}", self._bids[loser])
        if not ranked:
            return None
        winner, hold = ranked[0], f"{self.name}/{ranked[0]}"
        price = self._bids[ranked[1]] if len(ranked) > 1 else 1
        self._escrow.capture(entry, hold, price, SELLER)
        if price < self._bids[winner]:
            self._escrow.release(entry, hold, self._bids[winner] - price)
        self._deals.settled(entry, f"auction/{self.name}", SELLER, winner)
        return winner


def started(limits: Limits | None = None) -> tuple[Books, FakeAuction]:
    books = Books(limits)
    return books, FakeAuction("lot", books.ledger, books.reputations)


def reason(outcome: Outcome | None) -> str:
    return outcome.reason if isinstance(outcome, Refused) else ""


def test_a_bid_is_held_the_winner_pays_and_the_losers_have_all_back() -> None:
    books, auction = started()
    for bidder, amount in zip(BIDDERS, (30, 80, 50, 10), strict=True):
        assert auction.bid(books.entry(), bidder, amount) is None
    assert [books.has(bidder) for bidder in BIDDERS] == [(70, 30), (20, 80), (50, 50), (90, 10)]
    assert auction.close(books.entry()) == BIDDERS[1]
    assert [books.has(bidder) for bidder in BIDDERS] == [(100, 0), (50, 0), (100, 0), (100, 0)]
    assert books.has(SELLER) == (50, 0)
    (deal,) = books.reputations.deals("")
    assert (deal.name, deal.one, deal.other) == ("auction/lot", SELLER, BIDDERS[1])


def test_a_bid_without_funds_is_refused_and_holds_nothing() -> None:
    books, auction = started()
    assert reason(auction.bid(books.entry(), BIDDERS[0], 101)) == "insufficient_funds"
    assert reason(auction.bid(books.entry(), AgentId("poor@p"), 1)) == "insufficient_funds"
    assert books.ledger.holds("", "") == ()
    assert reason(books.ledger.hold(books.entry(), "b0@p", "gold", 1, "x")) == "unknown_currency"
    assert reason(books.ledger.hold(books.entry(), "b0@p", "c", 0, "x")) == "invalid"
    assert reason(books.ledger.hold(books.entry(), "b0@p", "c", -1, "x")) == "invalid"


def test_holds_of_machines_and_of_agents_are_bounded_together() -> None:
    books, auction = started(Limits(holds_max=1))
    auction.bid(books.entry(), BIDDERS[0], 1)
    assert reason(auction.bid(books.entry(), BIDDERS[1], 1)) == "limit"


def test_no_agent_reaches_what_an_auction_holds() -> None:
    books, auction = started()
    auction.bid(books.entry(), BIDDERS[0], 40)
    name, owner, one = f"lot/{BIDDERS[0]}", agent(BIDDERS[0]), SessionId(1)
    release = ReleaseHold(one, 2, "r", name)
    capture = CaptureHold(one, 3, "c", name, 1, BIDDERS[1])
    for command in (release, capture):
        assert reason(books.ledger.apply(books.entry(), owner, command)) == "unknown_hold"
    # A hold of the agent's own may have the same name.
    own = PlaceHold(one, 4, name, BIDDERS[0], "c", 60)
    assert reason(books.ledger.apply(books.entry(), owner, own)) == ""
    assert auction.close(books.entry()) == BIDDERS[0]
    assert books.has(BIDDERS[0]) == (39, 60)
    assert reason(books.ledger.apply(books.entry(), owner, release)) == ""


def test_more_than_is_held_is_never_paid_or_given_back() -> None:
    books, auction = started()
    auction.bid(books.entry(), BIDDERS[0], 40)
    name = f"lot/{BIDDERS[0]}"
    for amount in (0, -1, 41):
        with pytest.raises(AssertionError):
            books.ledger.capture(books.entry(), name, amount, SELLER)
        with pytest.raises(AssertionError):
            books.ledger.release(books.entry(), name, amount)
    assert books.has(BIDDERS[0]) == (60, 40)
    books.ledger.capture(books.entry(), name, 40, SELLER)
    with pytest.raises(KeyError):
        books.ledger.capture(books.entry(), name, 1, SELLER)


def test_all_that_an_account_can_have_can_be_set_aside() -> None:
    books = Books()
    rest = INTEGER_MAX - 100 * len(BIDDERS)
    mint = Mint(SessionId(1), 2, "the rest", BIDDERS[0], "c", rest)
    books.ledger.apply(books.entry(), agent(SELLER), mint)
    other = Mint(SessionId(1), 3, "another currency", BIDDERS[0], "d", INTEGER_MAX)
    books.ledger.apply(books.entry(), agent(SELLER), other)
    entry = books.entry()
    assert books.ledger.hold(entry, BIDDERS[0], "d", INTEGER_MAX, "all of it") is None
    (found,) = books.ledger.accounts(BIDDERS[0], "d")
    assert (found.balance, found.held) == (0, INTEGER_MAX)
    refusal = books.ledger.hold(entry, BIDDERS[0], "c", INTEGER_MAX + 1, "too much")
    assert reason(refusal) == "invalid"


def test_what_is_paid_out_of_escrow_finds_an_account_though_the_table_is_full() -> None:
    books, auction = started(Limits(accounts_max=len(BIDDERS)))
    auction.bid(books.entry(), BIDDERS[0], 40)
    auction.close(books.entry())
    assert books.has(SELLER) == (1, 0)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 120)), max_size=12))
def test_whatever_is_bid_no_money_is_made_or_lost(bids: list[tuple[int, int]]) -> None:
    books = Books()
    audit = Audit(10)
    for round_number in range(2):
        auction = FakeAuction(f"lot{round_number}", books.ledger, books.reputations)
        for bidder, amount in bids:
            auction.bid(books.entry(), BIDDERS[bidder], amount)
        auction.close(books.entry())
    for event in books.events:
        audit.happened(event)
    total = sum(sum(books.has(account)) for account in (*BIDDERS, SELLER))
    assert total == 100 * len(BIDDERS)
    assert books.ledger.holds("", "") == ()
    assert sum(isinstance(event, LedgerChanged) for event in books.events) >= len(BIDDERS)
