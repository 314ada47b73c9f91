"""Who wins an auction and what is paid: pure functions of the bids, in integers.

`units` sells or buys equal units, `bundles` different items together. The order in which bids are
given is nowhere in the result; where two bids are equally good, the one of the lower log index is.

The reserve is the auctioneer's own valuation of a unit or item: the floor of a price when it
sells (FORWARD), the ceiling when it buys (REVERSE). A bid's surplus is what it is better than the
reserve: price - reserve when selling, reserve - price when buying. A bid of negative surplus never
wins. Every rule picks the bids of the greatest surplus together, so that both sides are one rule.
"""
