"""Peers of one cluster without folders: each has a key of its own, and all the join secret."""

from itertools import count

from mabeam_p2p.ids import PeerId
from mabeam_p2p.security.codes import new_gate
from mabeam_p2p.security.gatekeeper import Gatekeeper
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.keyring import Keyring, new_key_pair
from mabeam_p2p.security.secrets import Secret
from mabeam_p2p.wire.joining import JoinCodec


class Cluster:
    def __init__(self, secret: bytes = b"s" * 32) -> None:
        self.gate = new_gate()
        self.secret = Secret(secret)
        self._numbers = count(1)

    def gatekeeper(self, peer: PeerId | None = None) -> Gatekeeper:
        """Of a new peer."""
        keyring = Keyring(None, None, new_key_pair())
        keyring.gate, keyring.current = self.gate, self.secret
        peer = peer or PeerId(f"{next(self._numbers):016x}")
        return Gatekeeper(Guard(peer, keyring), JoinCodec())
