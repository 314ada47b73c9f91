"""What `links` keeps of each peer, and of each address that it greets."""

from math import inf

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Able

SAYS_NOTHING = Able()
"""What a release could do before releases said what they can."""


class Link:
    """A peer that has been met or that a member has told of: where, and in which epoch."""

    __slots__ = ("able", "address", "epoch", "greeted_at", "is_open", "protocol", "used_at")

    def __init__(self, address: str, epoch: int, now: float, protocol: int) -> None:
        self.able: Able | None = None
        """What it said of its release; None: it was not met in this epoch."""
        self.protocol = protocol
        """The version of the frames that it is sent."""
        self.address = address
        self.epoch = epoch
        self.greeted_at = -inf
        self.is_open = False
        self.used_at = now


class Greeting:
    """An address that is being greeted."""

    __slots__ = ("due", "interval", "is_dialled", "target")

    def __init__(self, target: PeerId, due: float, interval: float) -> None:
        self.is_dialled = False
        self.target = target
        self.due = due
        self.interval = interval
