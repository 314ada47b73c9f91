"""Whose keys are whose, as the log says."""

from msgspec import Struct

from mabeam_p2p.ids import PeerId


class Credential(Struct, frozen=True, gc=False, array_like=True):
    """The CURVE keys of one peer, 32 bytes each; two while one takes the other's place. Of a
    revoked peer: those that it had."""

    peer: PeerId
    keys: tuple[bytes, ...]


class Credentials(Struct, frozen=True, gc=False, array_like=True):
    """Who is let in, and who never again."""

    admitted: tuple[Credential, ...] = ()
    revoked: tuple[Credential, ...] = ()
    secret: bytes = b""
    """Label of the join secret that the cluster has rotated to; empty: still the first one."""
