"""Auctions: who may open, bid and cancel, and when each ends.

    OPEN       bids are placed or sealed, until the deadline or, DUTCH, until all is sold
    REVEALING  sealed rules, if there are bids: they are revealed, until the deadline or all are
    AWARDED    there are winners, and everything is paid, in the entry that ended it
    UNSOLD     nobody bid, or nobody well enough
    CANCELLED  by the auctioneer, while there was no bid

1. The same id with equal content is the same auction, whoever sends it, while it is remembered.
2. An agent of the auction's group bids, the auctioneer itself does not. Who may bid is looked at
   with each bid; what it has bid stands when it has left the group.
3. Which bids win and what they pay is mechanisms' word, a pure function of the bids that stand; at
   equal prices the earlier entry wins, for a sealed bid that in which it was sealed. Every award
   is a deal between auctioneer and winner, called `auction/` and the bid's index.
4. An auction goes on when its auctioneer departs, to its end; the money is that of its agent id.
5. How long it lasts is decided by the log's clock alone (core.py). Revealing begins with the entry
   that ends bidding.
"""

from collections import OrderedDict
from typing import assert_never

from msgspec import Struct

from mabeam_p2p.commands import (
    AnyAuctionCommand,
    CancelAuction,
    OpenAuction,
    PlaceBid,
    RevealBid,
    SealBid,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import AuctionClosed, AuctionOpened, AuctionRevealing, MachineEvent
from mabeam_p2p.ids import GROUP_ALL, AgentId, AuctionId, is_key, is_name
from mabeam_p2p.machine.auctions.lot import Lot, LotState
from mabeam_p2p.machine.auctions.terms import fault_of_terms
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Deals, Entry, Escrow
from mabeam_p2p.records import Agent, Auction, AuctionStatus
from mabeam_p2p.requests import Outcome, Refused


class AuctionsState(Struct, frozen=True, array_like=True):
    open: tuple[LotState, ...]
    closed: tuple[Auction, ...]


class Auctions:
    """Every auction that is open, and the last ones that have ended."""

    def __init__(
        self,
        limits: Limits,
        deadlines: Deadlines,
        events: list[MachineEvent],
        escrow: Escrow,
        deals: Deals,
    ) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._events = events
        self._escrow = escrow
        self._deals = deals
        self._open: dict[AuctionId, Lot] = {}
        self._closed: OrderedDict[AuctionId, Auction] = OrderedDict()
        """In order of their ends; the oldest leave first."""

    # ---- commands --------------------------------------------------------------------------

    def apply(self, entry: Entry, agent: Agent, command: AnyAuctionCommand) -> Outcome:
        match command:
            case OpenAuction():
                return self.open(entry, agent.id, command)
            case PlaceBid() | SealBid() | RevealBid():
                return self.bid(entry, agent, command)
            case CancelAuction():
                return self.cancel(entry, agent.id, command)
            case _:
                assert_never(command)

    def open(self, entry: Entry, auctioneer: AgentId, command: OpenAuction) -> Outcome:
        """Refused: auction_exists, invalid, too_large, limit, and what the ledger says of the
        money that an auction which buys sets aside."""
        existing = self.find(command.auction)
        if existing is not None:
            if _is_same(existing, command):
                return entry.committed()
            return Refused("auction_exists", f"opened by {existing.auctioneer} as another one")
        refusal = self._refusal(entry, command)
        if refusal is not None:
            return refusal
        auction = Auction(
            id=command.auction,
            item=command.item,
            auctioneer=auctioneer,
            group=command.group,
            terms=command.terms,
            metadata=command.metadata,
            opened_index=entry.index,
            opened_term=entry.term,
            opened_clock=entry.clock,
            deadline=entry.clock + command.terms.timeout,
        )
        lot = Lot(LotState(auction, (), ()), self._escrow, self._deals, self._events)
        refusal = lot.fund(entry)
        if refusal is not None:
            return refusal
        self._insert(lot)
        self._events.append(AuctionOpened(auction))
        return entry.committed()

    def bid(self, entry: Entry, agent: Agent, command: PlaceBid | SealBid | RevealBid) -> Outcome:
        """Refused: unknown_auction, auction_closed, not_bidder, and what Lot says."""
        lot = self._open.get(command.auction)
        if lot is None:
            return self._answer_closed(entry, agent.id, command)
        if agent.id == lot.auctioneer:
            return Refused("not_bidder", "it is your own auction")
        deadline = lot.deadline
        match command:
            case RevealBid():
                outcome = lot.reveal(entry, agent.id, command)
            case PlaceBid() | SealBid() if not _is_in(agent, lot.group):
                return Refused("not_bidder", f"{agent.id} is not in group {lot.group}")
            case PlaceBid():
                outcome = lot.place(entry, agent.id, command)
            case SealBid():
                outcome = lot.seal(entry, agent.id, command)
            case _:
                assert_never(command)
        self._look_again(lot, deadline)
        return outcome

    def cancel(self, entry: Entry, agent: AgentId, command: CancelAuction) -> Outcome:
        """Refused: unknown_auction, auction_closed, not_auctioneer, auction_has_bids, too_large.
        Cancelling twice is cancelling."""
        lot = self._open.get(command.auction)
        if lot is None:
            return self._answer_closed(entry, agent, command)
        if agent != lot.auctioneer:
            return Refused("not_auctioneer", f"only {lot.auctioneer} can cancel it")
        if len(command.reason.encode()) > self._limits.rationale_bytes_max:
            return Refused("too_large", f"a reason is {self._limits.rationale_bytes_max} B long")
        outcome = lot.cancel(entry, command.reason)
        self._look_again(lot, lot.deadline)
        return outcome

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """The agent's session has ended."""
        for lot in self._open.values():
            lot.withdraw(entry, agent)

    def expire(self, entry: Entry, auction: AuctionId) -> None:
        """End bidding, or revealing, of the open `auction`, whose deadline is past."""
        lot = self._open[auction]
        deadline = lot.deadline
        lot.expire(entry)
        if lot.status is AuctionStatus.REVEALING:
            self._events.append(AuctionRevealing(lot.record()))
        self._look_again(lot, deadline)

    # ---- queries ---------------------------------------------------------------------------

    def find(self, auction: AuctionId) -> Auction | None:
        lot = self._open.get(auction)
        return self._closed.get(auction) if lot is None else lot.record()

    def auctions(self, auction: AuctionId, open_only: bool = False) -> tuple[Auction, ...]:
        """The one of this id; with an empty id all: closed ones in order of their ends, then open
        ones in order of opening. open_only: no closed ones."""
        found = self._all() if not auction else (self.find(auction),)
        return tuple(
            one
            for one in found
            if one is not None and (not open_only or one.status < AuctionStatus.AWARDED)
        )

    def _all(self) -> tuple[Auction, ...]:
        return (*self._closed.values(), *(lot.record() for lot in self._open.values()))

    @property
    def count(self) -> int:
        """Auctions that are open."""
        return len(self._open)

    def state(self) -> AuctionsState:
        return AuctionsState(
            tuple(lot.state() for lot in self._open.values()), tuple(self._closed.values())
        )

    def load(self, state: AuctionsState) -> None:
        self._open = {}
        for stored in state.open:
            self._insert(Lot(stored, self._escrow, self._deals, self._events))
        self._closed = OrderedDict((auction.id, auction) for auction in state.closed)

    # ---- transitions -----------------------------------------------------------------------

    def _insert(self, lot: Lot) -> None:
        self._open[lot.id] = lot
        self._deadlines.add(DeadlineKind.AUCTION, lot.id, lot.deadline)

    def _look_again(self, lot: Lot, deadline: int) -> None:
        """Something was done to the lot, whose deadline was that before."""
        if not lot.is_over:
            if lot.deadline != deadline:
                self._deadlines.remove(DeadlineKind.AUCTION, lot.id)
                self._deadlines.add(DeadlineKind.AUCTION, lot.id, lot.deadline)
            return
        del self._open[lot.id]
        self._deadlines.remove(DeadlineKind.AUCTION, lot.id)
        closed = self._closed[lot.id] = lot.record()
        if len(self._closed) > self._limits.closed_auctions_max:
            self._closed.popitem(last=False)
        self._events.append(AuctionClosed(closed))

    # ---- refusals --------------------------------------------------------------------------

    def _refusal(self, entry: Entry, command: OpenAuction) -> Refused | None:
        limits = self._limits
        if not is_key(command.auction) or not is_key(command.item):
            return Refused("invalid", "the auction's id or its item is no usable name")
        if not is_name(command.group):
            return Refused("invalid", "the group has no usable name")
        fault = fault_of_terms(command.terms, entry, limits)
        if fault is not None:
            return Refused("invalid", fault)
        if len(command.metadata) > limits.metadata_bytes_max:
            detail = f"metadata has {len(command.metadata)} bytes, the limit is "
            return Refused("too_large", detail + str(limits.metadata_bytes_max))
        if len(self._open) >= limits.open_auctions_max:
            return Refused("limit", f"{limits.open_auctions_max} auctions are open already")
        return None

    def _answer_closed(
        self, entry: Entry, agent: AgentId, command: PlaceBid | SealBid | RevealBid | CancelAuction
    ) -> Outcome:
        closed = self._closed.get(command.auction)
        if closed is None:
            return Refused("unknown_auction", "no auction of this id is remembered")
        is_cancelled = closed.status is AuctionStatus.CANCELLED
        if isinstance(command, CancelAuction) and is_cancelled and agent == closed.auctioneer:
            return entry.committed()
        status = closed.status.name.lower()
        return Refused("auction_closed", f"{status} at index {closed.closed_index}")


def _is_in(agent: Agent, group: str) -> bool:
    return group == GROUP_ALL or group in agent.groups


def _is_same(existing: Auction, command: OpenAuction) -> bool:
    return (existing.item, existing.group, existing.terms, existing.metadata) == (
        command.item,
        command.group,
        command.terms,
        command.metadata,
    )
