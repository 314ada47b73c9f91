"""What the leader writes for the cluster."""

from mabeam_p2p.commands.base import ClusterCommand
from mabeam_p2p.ids import ClusterId, PeerId


class Noop(ClusterCommand, frozen=True, gc=False, array_like=True, tag=1):
    """A new leader's first entry: commits what earlier terms left (Raft §8)."""


class Tick(ClusterCommand, frozen=True, gc=False, array_like=True, tag=2):
    """Moves the log's clock past a deadline."""


class Configure(ClusterCommand, frozen=True, gc=False, array_like=True, tag=3):
    """The voters from this index on, in a batch that names them too. The first entry of every log
    is one."""

    cluster_id: ClusterId
    voters: tuple[PeerId, ...]
    barred: tuple[PeerId, ...] = ()
    """Peers that do not vote until a command says so, in order of their barring."""
    repaired: ClusterId = ClusterId("")
    """The cluster whose log goes on here under another id; empty but in a repair."""
    version: int = 0
    """In the first entry of a log: the machine version by which it begins; 0: the first one."""
    rules: int = 0
    """In the first entry of a log, from version 2 on: a hash of the limits by which it is read."""


class DepartPeer(ClusterCommand, frozen=True, gc=False, array_like=True, tag=6):
    """The sessions of `peer` up to `epoch` end: its process is gone."""

    peer: PeerId
    epoch: int
    reason: str


class RaiseVersion(ClusterCommand, frozen=True, gc=False, array_like=True, tag=70):
    """The log is applied by machine version `version` from here on: all peers can."""

    version: int
    rules: int = 0
    """A hash of the limits that it is applied by."""


AnyClusterCommand = Noop | Tick | Configure | DepartPeer | RaiseVersion
