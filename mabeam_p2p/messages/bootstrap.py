"""10..19: how a cluster begins."""

from msgspec import Struct

from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.records import Batch


class Offer(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """The lowest id offers to form a cluster of exactly `voters` whose log begins with `first`."""

    cluster_id: ClusterId
    voters: tuple[PeerId, ...]
    first: Batch


class Promise(Struct, frozen=True, gc=False, array_like=True, tag=11):
    """Answer to an offer. With `granted`, durable: no other offer is accepted until withdrawn."""

    cluster_id: ClusterId
    granted: bool


class Withdraw(Struct, frozen=True, gc=False, array_like=True, tag=12):
    """The coordinator gives the offer up, durably, before every voter promised."""

    cluster_id: ClusterId


class Form(Struct, frozen=True, gc=False, array_like=True, tag=13):
    """Every voter has promised: the cluster exists."""

    cluster_id: ClusterId


BootstrapMessage = Offer | Promise | Withdraw | Form
