"""1..9: acquaintance and membership."""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import NOBODY, ClusterId, PeerId
from mabeam_p2p.records import Able, Member, Standing


class Hello(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Who speaks. Sent to an address that was dialled, and in answer; `answer` ends the exchange.

    The only message that may come from an unknown peer or carry no target epoch.
    """

    cluster: str
    cluster_id: ClusterId
    member: Member
    answer: bool
    able: Able = Able()


class Refuse(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """The speaker will not talk to this peer: `reason` is cluster, version, name, identity,
    repaired, machine or limits."""

    reason: str
    detail: str
    final: bool = False
    """Nothing can come of it while all concerned run as they are: this peer is to give way."""
    peer: PeerId = NOBODY
    """Who is refused, in which epoch: what waited for a process that is gone concerns no other one,
    which may have come with another name."""
    epoch: int = 0


class Rumour(Struct, frozen=True, gc=False, array_like=True):
    """A member's record on its way through the cluster (SWIM §4.1)."""

    member: Member
    accuser: PeerId | None = None
    """Of a suspect: who suspects it on the evidence of its own probes (Lifeguard §IV-B)."""


class Probe(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Are you there? (SWIM §3.1). Carries where the speaker stands in the bully order."""

    number: int
    standing: Standing
    rumours: tuple[Rumour, ...] = ()


class ProbeAck(Struct, frozen=True, gc=False, array_like=True, tag=4):
    number: int
    standing: Standing
    rumours: tuple[Rumour, ...] = ()


class Wanted(IntEnum):
    """What the speaker asks for in return."""

    NOTHING = 0
    SOME = 1
    """As many records, and newer ones of those that were sent."""
    ALL = 2
    """The whole table."""


class Gossip(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Part of the speaker's table; or its own record alone: a refutation, or a goodbye."""

    members: tuple[Member, ...]
    wanted: Wanted = Wanted.NOTHING


class ProbeRequest(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Ask `target` for me, and tell me what came of it (SWIM §3.1, ping-req)."""

    number: int
    """The speaker's; of its oldest question that `target` has not answered."""
    target: PeerId
    rumours: tuple[Rumour, ...] = ()


class ProbeReport(Struct, frozen=True, gc=False, array_like=True, tag=7):
    """What came of a ProbeRequest. In vain: the nack of Lifeguard §IV-A, which tells the requester
    that at least its own ears are well."""

    number: int
    """That of the request."""
    target: PeerId
    answered: bool


MembershipMessage = Probe | ProbeAck | Gossip | ProbeRequest | ProbeReport
