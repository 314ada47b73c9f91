"""Who is here: SWIM with Lifeguard. `Membership` is the core; the other modules are its parts."""

from mabeam_p2p.protocol.membership.membership import Membership, own_record
from mabeam_p2p.protocol.membership.words import EPOCH_SHIFT

__all__ = ["EPOCH_SHIFT", "Membership", "own_record"]
