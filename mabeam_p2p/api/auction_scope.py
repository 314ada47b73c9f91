"""Auctions in one group: opening them, bidding in them, looking at them."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from mabeam_p2p.api.amounts import Amount
from mabeam_p2p.api.bidders import Bidder
from mabeam_p2p.api.lots import Auction, DepartureWord, RuleWord, SideWord
from mabeam_p2p.api.market import Market
from mabeam_p2p.api.voice import Voice
from mabeam_p2p.ids import GROUP_ALL

B = TypeVar("B", bound=Bidder)


class AuctionScope:
    """The part of a Scope that is about auctions."""

    def __init__(self, group: str, voice: Voice) -> None:
        """Not for users."""
        self._trade_group = group
        self._trade_bidders = voice.bidders
        self.market = Market(group, voice.attachment, voice.session, voice.agent)
        """Auctions, step by step."""

    async def auction(
        self,
        item: str,
        *,
        quantity: int = 1,
        rule: RuleWord = "vickrey",
        side: SideWord = "forward",
        reserve: Amount = 0,
        currency: str | None = None,
        timeout: float | None = None,
        reveal: float | None = None,
        items: Mapping[str, Amount] | None = None,
        bond: Amount = 0,
        increment: Amount | None = None,
        extension: float = 0.0,
        start: Amount | None = None,
        step: Amount | None = None,
        tick: float = 1.0,
        bids_max: int | None = None,
        on_departure: DepartureWord = "bind",
        metadata: Mapping[str, object] | None = None,
        id: str | None = None,
    ) -> Auction:
        """Auction equal units, or `items` together, among the agents of the group; return how it
        ended: awarded, unsold, or cancelled.

        side: forward sells to the highest bids, reverse buys from the lowest. reserve: of one unit,
        the least price or the greatest. currency: of the group; None: no money moves. timeout:
        seconds for bids. Sealed rules (first_price, vickrey, combinatorial): reveal, seconds for
        revealing; bond, what it costs not to. combinatorial: items, with the reserve of each;
        bids_max, bundles of all bidders together, by default as many as can be searched.
        english: increment; extension, seconds that are left after each bid at least. dutch: the
        price goes from `start` by `step` every `tick` seconds to the reserve.
        on_departure: withdraw gives back the bids of agents that leave while bidding goes on.

        Raises AuctionTimeout if the end did not reach this agent, InsufficientFunds if an auction
        that buys is not covered, NoQuorum (it was certainly not opened), OutcomeUnknown.
        """
        opened = await self.market.open(
            item,
            quantity=quantity,
            rule=rule,
            side=side,
            reserve=reserve,
            currency=currency,
            timeout=timeout,
            reveal=reveal,
            items=items,
            bond=bond,
            increment=increment,
            extension=extension,
            start=start,
            step=step,
            tick=tick,
            bids_max=bids_max,
            on_departure=on_departure,
            metadata=metadata,
            id=id,
        )
        return await self.market.wait(opened.id)

    async def auctions(self) -> tuple[Auction, ...]:
        """Those of the group that are remembered, ended ones first."""
        return await self.market.auctions()

    def bidder(self, pattern: str) -> Callable[[B], B]:
        """Declare the decorated function as the bidder for the items that match.

        It gets an Auction and returns a Bid, several for bundles, or None; a plain function runs in
        a thread of its own. The most specific pattern speaks. Sealed bids are revealed by
        themselves; in an English auction it is asked again when it was outbid.
        """
        group = None if self._trade_group == GROUP_ALL else self._trade_group

        def declare(bidder: B) -> B:
            self._trade_bidders.declare(pattern, group, bidder)
            return bidder

        return declare
