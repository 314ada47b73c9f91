"""Seals: a bid is first committed to by its hash, and revealed when nobody can bid any more.

The seal covers the auction and the bidder, so that a seal that was copied from somebody else can
never be revealed, and a salt that nobody can guess, so that it tells nothing of the bid.
"""

import hashlib

import msgspec

from mabeam_p2p.ids import AgentId, AuctionId
from mabeam_p2p.records import Offer

SEAL_BYTES = 32
SALT_BYTES_MIN = 16
SALT_BYTES_MAX = 64


def seal_of(auction: AuctionId, bidder: AgentId, offers: tuple[Offer, ...], salt: bytes) -> bytes:
    """BLAKE2b (RFC 7693), 32 bytes, of (auction, bidder, offers, salt) as MessagePack arrays."""
    text = msgspec.msgpack.encode((auction, bidder, offers, salt))
    return hashlib.blake2b(text, digest_size=SEAL_BYTES, person=b"mabeam bid").digest()
