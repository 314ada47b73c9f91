"""Auctions with a ledger that is two dictionaries.

Every command is also applied to a second machine, freshly restored from a snapshot: outcomes,
events, money and deadlines must agree. After each, all money is where the rules say.
"""

from collections import Counter
from copy import deepcopy

import msgspec

from mabeam_p2p.commands import (
    AnyAuctionCommand,
    CancelAuction,
    OpenAuction,
    PlaceBid,
    RevealBid,
    SealBid,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import (
    AuctionClosed,
    AuctionOpened,
    AuctionRevealing,
    BidPlaced,
    MachineEvent,
)
from mabeam_p2p.ids import AgentId, AuctionId, PeerId, SessionId
from mabeam_p2p.machine.auctions import Auctions, AuctionsState
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.machine.mechanisms.seals import seal_of
from mabeam_p2p.records import (
    Agent,
    Auction,
    AuctionRule,
    AuctionStatus,
    AuctionTerms,
    Offer,
    Side,
)
from mabeam_p2p.requests import Outcome, Refused

SECOND = 1_000_000
START = 1_000 * SECOND
SALT = b"a salt of 16 or more"
SEALED = (AuctionRule.FIRST_PRICE, AuctionRule.VICKREY, AuctionRule.COMBINATORIAL)


class Bank:
    """An Escrow and Deals of one currency, `coin`."""

    def __init__(self, balances: dict[str, int]) -> None:
        self.balances = Counter(balances)
        self.holds: dict[str, tuple[str, int]] = {}
        """Owner and amount by operation."""
        self.deals: list[tuple[str, str, str]] = []
        self._used: list[str] = []

    def hold(
        self, entry: Entry, account: str, currency: str, amount: int, operation: str
    ) -> Refused | None:
        assert currency == "coin"
        assert amount >= 1
        assert operation not in self._used, "an operation names one hold"
        if self.balances[account] < amount:
            return Refused("insufficient_funds", f"{account} has {self.balances[account]}")
        self._used.append(operation)
        self.balances[account] -= amount
        self.holds[operation] = account, amount
        return None

    def release(self, entry: Entry, operation: str, amount: int) -> None:
        self._take(operation, amount, self.holds[operation][0])

    def capture(self, entry: Entry, operation: str, amount: int, account: str) -> None:
        self._take(operation, amount, account)

    def settled(self, entry: Entry, deal: str, one: AgentId, other: AgentId) -> None:
        assert one != other
        assert deal not in [known for known, _, _ in self.deals]
        self.deals.append((deal, one, other))

    def held(self, account: str) -> int:
        return sum(amount for owner, amount in self.holds.values() if owner == account)

    def total(self) -> int:
        return self.balances.total() + sum(amount for _, amount in self.holds.values())

    def _take(self, operation: str, amount: int, account: str) -> None:
        owner, held = self.holds[operation]
        assert 1 <= amount <= held
        self.balances[account] += amount
        self.holds[operation] = owner, held - amount
        if amount == held:
            del self.holds[operation]


class House:
    """The auctioneer is `house@p`, bidders are `a@p`, `b@p`, ...; `money` is everybody's."""

    def __init__(self, *, money: int = 1_000, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.money = money
        self.bank = Bank({f"{name}@p": money for name in ("house", *"abcdefgh")})
        self.events: list[MachineEvent] = []
        """Of the last command."""
        self.deadlines = Deadlines()
        self.auctions = self._machine(self.deadlines, self.events, self.bank)
        self.index = 0
        self.clock = START

    def _machine(self, deadlines: Deadlines, events: list[MachineEvent], bank: Bank) -> Auctions:
        return Auctions(self.limits, deadlines, events, bank, bank)

    # ---- writing ---------------------------------------------------------------------------

    def apply(
        self, who: str, command: AnyAuctionCommand | None, groups: tuple[str, ...] = ()
    ) -> Outcome:
        """One entry, a microsecond after the last one; None: the agent's session ends."""
        self.index += 1
        self.clock += 1
        entry = Entry(self.index, 1, self.clock)
        agent = Agent(
            id=AgentId(f"{who}@p"),
            peer=PeerId("0" * 16),
            epoch=1,
            session=SessionId(1),
            groups=groups,
            participates=True,
            eligible=True,
            capabilities=(),
            joined_index=1,
        )
        events: list[MachineEvent] = []
        deadlines, bank = Deadlines(), deepcopy(self.bank)
        replica = self._machine(deadlines, events, bank)
        replica.load(self._snapshot())
        self.events.clear()
        outcome = _apply(self.auctions, self.deadlines, entry, agent, command)
        assert _apply(replica, deadlines, entry, agent, command) == outcome
        assert replica.state() == self.auctions.state()
        assert events == self.events
        assert (bank.balances, bank.holds, bank.deals) == (
            self.bank.balances,
            self.bank.holds,
            self.bank.deals,
        )
        assert deadlines.first() == self.deadlines.first()
        self._check_money()
        return outcome

    def _snapshot(self) -> AuctionsState:
        """As it comes back from a disk."""
        plain = msgspec.to_builtins(self.auctions.state(), builtin_types=(bytes,))
        return msgspec.convert(plain, AuctionsState)

    def _check_money(self) -> None:
        state = self.auctions.state()
        assert self.bank.total() == 9 * self.money
        assert min(self.bank.balances.values()) >= 0
        held: Counter[str] = Counter()
        for lot in state.open:
            for owner, holds in ((lot.auction.auctioneer, lot.house), *lot.purses):
                assert holds == () or lot.auction.terms.currency
                for operation, amount in holds:
                    assert self.bank.holds[operation] == (owner, amount)
                    held[operation] += amount
        assert held.total() == sum(amount for _, amount in self.bank.holds.values())
        for auction in state.closed:
            assert auction.status >= AuctionStatus.AWARDED
            assert (auction.status is AuctionStatus.AWARDED) == bool(auction.awards)

    def pass_time(self, microseconds: int) -> None:
        self.clock += microseconds - 1
        self.apply("house", None)

    def leave(self, who: str) -> None:
        """The agent's session ends."""
        self.apply(who, None)

    # ---- commands --------------------------------------------------------------------------

    def open(
        self,
        rule: AuctionRule,
        side: Side = Side.FORWARD,
        auction: str = "lot",
        *,
        by: str = "house",
        group: str = "all",
        item: str = "gpu-hour",
        metadata: bytes = b"",
        **terms: object,
    ) -> Outcome:
        given: dict[str, object] = {"timeout": 10 * SECOND, "currency": "coin"}
        if rule in SEALED:
            given["reveal"] = 5 * SECOND
        if rule is AuctionRule.ENGLISH:
            given["increment"] = 1
        if rule is AuctionRule.DUTCH:
            given |= {"start": 100, "step": 10, "tick": SECOND}
        chosen = msgspec.convert(given | terms | {"rule": rule, "side": side}, _Terms)
        fields = {name: getattr(chosen, name) for name in AuctionTerms.__struct_fields__}
        opening = OpenAuction(
            SessionId(1), 1, AuctionId(auction), item, group, AuctionTerms(**fields), metadata
        )
        return self.apply(by, opening)

    def place(self, who: str, price: int, quantity: int = 1, auction: str = "lot") -> Outcome:
        return self.apply(who, PlaceBid(SessionId(1), 1, AuctionId(auction), price, quantity))

    def seal(
        self,
        who: str,
        *offers: Offer,
        deposit: int | None = None,
        auction: str = "lot",
        count: int | None = None,
    ) -> Outcome:
        """deposit: the most that the offers can come to, if it is not given."""
        most = max((offer.price * offer.quantity for offer in offers), default=0)
        seal = seal_of(AuctionId(auction), AgentId(f"{who}@p"), offers, SALT)
        return self.apply(
            who,
            SealBid(
                SessionId(1),
                1,
                AuctionId(auction),
                seal,
                most if deposit is None else deposit,
                len(offers) if count is None else count,
            ),
        )

    def reveal(self, who: str, *offers: Offer, auction: str = "lot", salt: bytes = SALT) -> Outcome:
        return self.apply(who, RevealBid(SessionId(1), 1, AuctionId(auction), offers, salt))

    def cancel(self, who: str = "house", auction: str = "lot", reason: str = "") -> Outcome:
        return self.apply(who, CancelAuction(SessionId(1), 1, AuctionId(auction), reason))

    def end_bidding(self, auction: str = "lot") -> None:
        self.pass_time(self.auction(auction).deadline - self.clock)

    # ---- questions -------------------------------------------------------------------------

    def auction(self, auction: str = "lot") -> Auction:
        (found,) = self.auctions.auctions(AuctionId(auction))
        return found

    def awards(self, auction: str = "lot") -> list[tuple[str, int, int]]:
        """(bidder, quantity, payment)."""
        return [
            (award.bidder.removesuffix("@p"), award.quantity, award.payment)
            for award in self.auction(auction).awards
        ]

    def balance(self, who: str) -> int:
        return self.bank.balances[f"{who}@p"]

    def told(self) -> list[str]:
        """What the last command told."""
        words = []
        for event in self.events:
            match event:
                case AuctionOpened():
                    words.append("opened")
                case BidPlaced(bid=bid):
                    words.append(f"{bid.bidder.removesuffix('@p')} {bid.status.name.lower()}")
                case AuctionRevealing():
                    words.append("revealing")
                case AuctionClosed(auction=auction):
                    words.append(auction.status.name.lower())
                case _:
                    raise AssertionError(event)
        return words


class _Terms(AuctionTerms, frozen=True, array_like=False):
    """By name."""


def _apply(
    auctions: Auctions,
    deadlines: Deadlines,
    entry: Entry,
    agent: Agent,
    command: AnyAuctionCommand | None,
) -> Outcome:
    """As machine.py does."""
    while (first := deadlines.first()) is not None and first[0] <= entry.clock:
        assert first[1] is DeadlineKind.AUCTION
        auctions.expire(entry, AuctionId(first[2]))
        assert deadlines.first() != first
    if command is None:
        auctions.depart(entry, agent.id)
        return entry.committed()
    return auctions.apply(entry, agent, command)


def reason(outcome: Outcome) -> str:
    """Why it was refused; empty if it was not."""
    return outcome.reason if isinstance(outcome, Refused) else ""


def detail(outcome: Outcome) -> str:
    return outcome.detail if isinstance(outcome, Refused) else ""
