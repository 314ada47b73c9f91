"""What is said of auctions."""

from mabeam_p2p.commands.base import SessionCommand
from mabeam_p2p.ids import AuctionId
from mabeam_p2p.records import AuctionTerms, Offer


class AuctionCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what is said of auctions."""


class OpenAuction(AuctionCommand, frozen=True, gc=False, array_like=True, tag=60):
    auction: AuctionId
    item: str
    group: str
    terms: AuctionTerms
    metadata: bytes = b""


class PlaceBid(AuctionCommand, frozen=True, gc=False, array_like=True, tag=61):
    """English: to pay `price` for each of `quantity` units. Dutch: to take them now, at the present
    price if it has come to `price`."""

    auction: AuctionId
    price: int
    quantity: int = 1


class SealBid(AuctionCommand, frozen=True, gc=False, array_like=True, tag=62):
    """A bid that nobody can read yet (machine/mechanisms/seals.py)."""

    auction: AuctionId
    seal: bytes
    deposit: int = 0
    """Held at once: the most that the bid can come to. No less than the bond."""
    count: int = 1
    """Offers in it, at most."""


class RevealBid(AuctionCommand, frozen=True, gc=False, array_like=True, tag=63):
    auction: AuctionId
    offers: tuple[Offer, ...]
    salt: bytes


class CancelAuction(AuctionCommand, frozen=True, gc=False, array_like=True, tag=64):
    auction: AuctionId
    reason: str = ""


AnyAuctionCommand = OpenAuction | PlaceBid | SealBid | RevealBid | CancelAuction
