"""Introductions: on the join port, apart from all else, so that their tags are their own, too.

The client is who dials. Both ends speak under CURVE: the client by its own key, the server by the
gate of its cluster (docs/security.md). A label names a secret and gives nothing of it away.
"""

from msgspec import Struct

from mabeam_p2p.ids import PeerId

NONCE_BYTES = 16
PROOF_BYTES = 32
LABEL_BYTES = 8
CURVE_KEY_BYTES = 32


class JoinAsk(Struct, frozen=True, gc=False, array_like=True, tag=70):
    """The client wants to be let in, and can prove the secret of this label."""

    version: int
    peer: PeerId
    label: bytes
    nonce: bytes


class JoinChallenge(Struct, frozen=True, gc=False, array_like=True, tag=71):
    """The server proves the secret first. key, port: where its data port is, and under which key
    that answers."""

    peer: PeerId
    key: bytes
    port: int
    nonce: bytes
    proof: bytes


class JoinProof(Struct, frozen=True, gc=False, array_like=True, tag=72):
    """The client proves it, over the key that it speaks under and that of the server."""

    proof: bytes


class JoinWelcome(Struct, frozen=True, gc=False, array_like=True, tag=73):
    """The client is let in. label, masked: the present join secret, under a pad of the one that was
    proved; empty if that is the present one."""

    label: bytes = b""
    masked: bytes = b""


class JoinRefusal(Struct, frozen=True, gc=False, array_like=True, tag=74):
    """It is not. `reason` is a stable word."""

    reason: str


JoinMessage = JoinAsk | JoinChallenge | JoinProof | JoinWelcome | JoinRefusal
