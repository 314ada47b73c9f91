"""Auctions without `await`."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from mabeam_p2p.api import auction_scope, market
from mabeam_p2p.api.amounts import Amount
from mabeam_p2p.api.bidders import Bidder
from mabeam_p2p.api.lots import Auction, Bid, DepartureWord, RuleWord, SideWord
from mabeam_p2p.api.market import Sealed
from mabeam_p2p.api.results import Level
from mabeam_p2p.blocking.loop import LOOP

X = TypeVar("X", bound=Bidder)


class Market:
    def __init__(self, own: market.Market) -> None:
        self._own = own

    def open(
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
        return LOOP.run(
            self._own.open(
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
        )

    def wait(self, auction: str, *, timeout: float | None = None) -> Auction:
        return LOOP.run(self._own.wait(auction, timeout=timeout))

    def cancel(self, auction: str, *, reason: str = "", timeout: float | None = None) -> Auction:
        return LOOP.run(self._own.cancel(auction, reason=reason, timeout=timeout))

    def bid(
        self, auction: str, price: Amount, quantity: int = 1, *, timeout: float | None = None
    ) -> int:
        return LOOP.run(self._own.bid(auction, price, quantity, timeout=timeout))

    def seal(
        self, auction: str, *bids: Bid, salt: bytes | None = None, timeout: float | None = None
    ) -> Sealed:
        return LOOP.run(self._own.seal(auction, *bids, salt=salt, timeout=timeout))

    def sealed(self, auction: str, *bids: Bid, salt: bytes) -> Sealed:
        return LOOP.run(self._own.sealed(auction, *bids, salt=salt))

    def wait_for_reveal(self, auction: str, *, timeout: float | None = None) -> bool:
        return LOOP.run(self._own.wait_for_reveal(auction, timeout=timeout))

    def reveal(self, sealed: Sealed, *, timeout: float | None = None) -> None:
        LOOP.run(self._own.reveal(sealed, timeout=timeout))

    def show(
        self, auction: str, *, level: Level = "linearizable", timeout: float | None = None
    ) -> Auction:
        return LOOP.run(self._own.show(auction, level=level, timeout=timeout))

    def auctions(
        self, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[Auction, ...]:
        return LOOP.run(self._own.auctions(level=level, timeout=timeout))


class AuctionScope:
    def __init__(self, own: auction_scope.AuctionScope) -> None:
        self._trade = own
        self.market = Market(own.market)

    def auction(
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
        return LOOP.run(
            self._trade.auction(
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
        )

    def auctions(self) -> tuple[Auction, ...]:
        return LOOP.run(self._trade.auctions())

    def bidder(self, pattern: str) -> Callable[[X], X]:
        return lambda bidder: LOOP.call(lambda: self._trade.bidder(pattern)(bidder))
