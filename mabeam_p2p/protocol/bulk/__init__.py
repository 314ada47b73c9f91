"""Which bytes go to whom when a few members exchange much data (docs/protocol.md, Bulk data)."""

from mabeam_p2p.protocol.bulk.exchange import Exchange, Parcel
from mabeam_p2p.protocol.bulk.plan import (
    PART,
    WHOLE,
    Plan,
    Slice,
    broadcast_plan,
    gather_plan,
    reduce_plan,
)

__all__ = [
    "PART",
    "WHOLE",
    "Exchange",
    "Parcel",
    "Plan",
    "Slice",
    "broadcast_plan",
    "gather_plan",
    "reduce_plan",
]
