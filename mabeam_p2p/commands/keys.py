"""Whose keys are let in (machine/admissions.py)."""

from mabeam_p2p.commands.base import ClusterCommand, SessionCommand
from mabeam_p2p.ids import PeerId


class Admit(ClusterCommand, frozen=True, gc=False, array_like=True, tag=74):
    """`peer` has proved the join secret under `key` to the leader: it is let in from now on."""

    peer: PeerId
    key: bytes


class KeyCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """What an agent says of keys."""


class RevokePeer(KeyCommand, frozen=True, gc=False, array_like=True, tag=71):
    """`peer`, and whoever has its keys, is let in no more, whatever it can prove."""

    peer: PeerId


class SetKeys(KeyCommand, frozen=True, gc=False, array_like=True, tag=72):
    """The agent's own peer has these keys from now on, and uses the first: the one before and the
    one to come, the same the other way round, or the latter alone. It is named, so that a leader
    knows by the sender alone whether to take this: whose the session is may change until it is
    applied."""

    keys: tuple[bytes, ...]
    peer: PeerId = PeerId("")
    """Empty in logs from before it was named."""


class RotateSecret(KeyCommand, frozen=True, gc=False, array_like=True, tag=73):
    """The join secret of this label takes the place of the present one."""

    label: bytes


AnyKeyCommand = RevokePeer | SetKeys | RotateSecret
