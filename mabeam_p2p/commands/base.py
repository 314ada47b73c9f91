"""What all commands share."""

from msgspec import Struct

from mabeam_p2p.ids import SessionId


class Command(Struct, frozen=True, gc=False, array_like=True):
    """What all commands begin with."""

    session: SessionId
    sequence: int
    """Counts from 1 in its session."""


class ClusterCommand(Command, frozen=True, gc=False, array_like=True):
    """What the leader writes for the cluster: session 0, not deduplicated."""


class SessionCommand(Command, frozen=True, gc=False, array_like=True):
    """What an agent says in its session: takes effect once."""
