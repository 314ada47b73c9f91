"""Bugs of auctions and of allocation: who wins, what is paid, and where the money is meanwhile."""

from tools.planted.base import Edit, Mutant

UNITS = "mabeam_p2p/machine/mechanisms/units.py"
BUNDLES = "mabeam_p2p/machine/mechanisms/bundles.py"
SEALS = "mabeam_p2p/machine/mechanisms/seals.py"
ALLOCATION = "mabeam_p2p/machine/allocation.py"
LOT = "mabeam_p2p/machine/auctions/lot.py"
PURSE = "mabeam_p2p/machine/auctions/purse.py"

OF_UNITS = ("tests/machine/mechanisms/test_units.py",)
OF_BUNDLES = ("tests/machine/mechanisms/test_bundles.py",)
OF_ALLOCATION = ("tests/machine/test_allocation.py",)
OF_SEALED = ("tests/machine/auctions/test_sealed.py",)
OF_OPEN = ("tests/machine/auctions/test_english_and_dutch.py",)
OF_AUCTIONS = ("tests/machine/auctions/test_auctions.py",)

MUTANTS = (
    Mutant(
        "A1",
        "a bid below the reserve wins",
        (Edit(UNITS, "if terms.surplus(bid.price) >= 0]", "if bid.quantity]"),),
        OF_UNITS,
    ),
    Mutant(
        "A2",
        "of equal bids the later one wins",
        (
            Edit(
                UNITS,
                "(-terms.surplus(bid.price), bid.index)",
                "(-terms.surplus(bid.price), -bid.index)",
            ),
        ),
        OF_UNITS,
    ),
    Mutant(
        "A3",
        "whoever buys several units under Vickrey pays for what it was refused itself",
        (Edit(UNITS, "if bid.bidder != winner.bidder:", "if bid.price >= 0:"),),
        OF_UNITS,
    ),
    Mutant(
        "A4",
        "the only bidder pays nothing, whatever the reserve",
        (Edit(UNITS, "return payment + left * terms.reserve", "return payment"),),
        OF_UNITS,
    ),
    Mutant(
        "A5",
        "a bidder wins several of its bundles",
        (
            Edit(
                BUNDLES,
                "by_bidder.setdefault(offer.bid.bidder, [])",
                "by_bidder.setdefault(AgentId(str(position)), [])",
            ),
        ),
        OF_BUNDLES,
    ),
    Mutant(
        "A6",
        "the winner of a bundle pays as if its other bundles were another bidder's",
        (
            Edit(
                BUNDLES,
                "if each.bid.bidder != winner.bid.bidder])",
                "if each.bid.rank != winner.bid.rank])",
            ),
        ),
        OF_BUNDLES,
    ),
    Mutant(
        "A7",
        "who bids decides by one bid more which rule it is",
        (
            Edit(
                BUNDLES,
                "return _exact(terms, offers) if terms.is_exact else",
                "return _exact(terms, offers)"
                " if is_searchable(len(terms.reserves), len(offers)) else",
            ),
        ),
        OF_BUNDLES,
    ),
    Mutant(
        "A8",
        "an English bid takes units without the increment",
        (Edit(UNITS, "*(each.price + increment for each in beaten)", "*(1 for _ in beaten)"),),
        OF_UNITS,
    ),
    Mutant(
        "A9",
        "a Dutch price falls below the reserve",
        (Edit(UNITS, "return max(terms.reserve, start - moved)", "return max(0, start - moved)"),),
        OF_UNITS,
    ),
    Mutant(
        "A10",
        "a Dutch bid pays its limit instead of the price",
        (Edit(LOT, "price = self.price(entry.clock)", "price = offer.price"),),
        OF_OPEN,
    ),
    Mutant(
        "A11",
        "a seal can be copied from another bidder and revealed",
        (
            Edit(
                SEALS, "encode((auction, bidder, offers, salt))", "encode((auction, offers, salt))"
            ),
        ),
        OF_SEALED,
    ),
    Mutant(
        "A12",
        "bids are revealed while others can still bid",
        (
            Edit(
                LOT,
                "if self.status is not AuctionStatus.REVEALING:\n            sealed",
                "if self.terms.rule not in SEALED:\n            sealed",
            ),
        ),
        OF_SEALED,
    ),
    Mutant(
        "A13",
        "bids are sealed when others are revealed already",
        (
            Edit(
                LOT,
                "if self.status is not AuctionStatus.OPEN:\n            return",
                "if self.is_over:\n            return",
            ),
        ),
        OF_SEALED,
    ),
    Mutant(
        "A14",
        "not to reveal costs nothing",
        (Edit(LOT, "if self.terms.bond:\n", "if False:\n"),),
        OF_SEALED,
    ),
    Mutant(
        "A15",
        "a bid beyond what was set aside is revealed",
        (Edit(LOT, "* (most > own.deposit)", "* 0"),),
        OF_SEALED,
    ),
    Mutant(
        "A16",
        "the money of who has lost is kept",
        (Edit(LOT, "for bidder in tuple(self._purses):", "for bidder in ():"),),
        OF_SEALED,
    ),
    Mutant(
        "A17",
        "a bidder that is outbid gets its money back at the end only",
        (
            Edit(
                LOT,
                "self._lower(entry, bid.bidder, price * quantity)",
                "self._lower(entry, bid.bidder, price * (quantity + 1))",
            ),
        ),
        OF_OPEN,
    ),
    Mutant(
        "A18",
        "what an auctioneer who buys has set aside and not paid is kept",
        (Edit(LOT, "self._house.lower_to(entry, 0)", "pass"),),
        OF_AUCTIONS,
    ),
    Mutant(
        "A19",
        "whoever departs takes its bid with it although it has seen the others'",
        (
            Edit(
                LOT,
                "policy is OnBidderDeparture.WITHDRAW and self.status is AuctionStatus.OPEN",
                "policy is OnBidderDeparture.WITHDRAW",
            ),
        ),
        OF_SEALED,
    ),
    Mutant(
        "A20",
        "an auction with bids is cancelled",
        (
            Edit(
                LOT,
                "if self._awards or any(bid.status in _LIVE for bid in self._bids.values()):",
                "if self._awards:",
            ),
        ),
        OF_AUCTIONS,
    ),
    Mutant(
        "A21",
        "revealing ends when it would have without the log standing still",
        (
            Edit(
                LOT,
                "self.deadline = min(entry.clock + self.terms.reveal, INTEGER_MAX)",
                "self.deadline += self.terms.reveal",
            ),
        ),
        OF_SEALED,
    ),
    Mutant(
        "A22",
        "a raise sets the whole price aside once more",
        (Edit(PURSE, "missing = amount - self.held", "missing = amount"),),
        OF_OPEN,
    ),
    Mutant(
        "A23",
        "a task moves to make room although that costs more than it saves",
        (Edit(ALLOCATION, "if end is None or total < end[0]:", "if end is None:"),),
        OF_ALLOCATION,
    ),
    Mutant(
        "A24",
        "tasks are given out beyond the budget",
        (Edit(ALLOCATION, "cost + step > budget:", "cost > budget:"),),
        OF_ALLOCATION,
    ),
    Mutant(
        "A25",
        "an agent takes one task more than it has room for",
        (Edit(ALLOCATION, "if self._spare[agent] > 0:", "if self._spare[agent] >= 0:"),),
        OF_ALLOCATION,
    ),
)
