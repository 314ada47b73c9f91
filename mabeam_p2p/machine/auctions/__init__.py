"""Auctions in the log: opened, bid on, revealed, closed by deadline, and settled in one entry."""

from mabeam_p2p.machine.auctions.auctions import Auctions, AuctionsState

__all__ = ["Auctions", "AuctionsState"]
