"""Agents that do little but trade, under crashes and partitions: each auction is judged from the
committed log, and every peer's machine must equal the judge's (mabeam_p2p/testing/auctions.py)."""

from collections import Counter

import pytest
from msgspec.structs import replace

from mabeam_p2p.records import AuctionRule, AuctionStatus, BidStatus
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import Agents, draw

STORM = 10.0
TRADERS = Agents(per_peer=1, think=20_000, outstanding=3, traders=2)


def traded(seed: str) -> Trial:
    weather = replace(draw(Simulator.stream_of(seed, "weather")), agents=TRADERS)
    trial = Trial(seed, weather)
    trial.run(STORM)
    return trial


@pytest.mark.slow
def test_every_auction_ends_as_its_bids_say_whatever_fails() -> None:
    ends: Counter[tuple[AuctionRule, AuctionStatus]] = Counter()
    bids: Counter[BidStatus] = Counter()
    crashes = 0
    for number in range(8):
        trial = traded(f"auctions {number}")
        crashes += trial.crashes
        for auction in trial.outcomes.auctions.closed.values():
            ends[auction.terms.rule, auction.status] += 1
            bids.update(bid.status for bid in auction.bids)
    # A market where nothing happens proves nothing.
    assert crashes > 0
    assert all(ends[rule, AuctionStatus.AWARDED] > 0 for rule in AuctionRule), ends
    assert all(ends[rule, AuctionStatus.UNSOLD] > 0 for rule in AuctionRule), ends
    ended = (BidStatus.WON, BidStatus.LOST, BidStatus.FORFEITED, BidStatus.WITHDRAWN)
    assert all(bids[status] > 0 for status in ended), bids
