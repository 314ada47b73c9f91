"""Join codes and keys, without `await`."""

from mabeam_p2p.api import keys
from mabeam_p2p.api.keys import KeyFacts, KeyRotation
from mabeam_p2p.blocking.loop import LOOP
from mabeam_p2p.key_requests import INVITE_SECONDS


class Keys:
    def __init__(self, own: keys.Keys) -> None:
        self._own = own

    def invite(self, *, seconds: float = INVITE_SECONDS, once: bool = False) -> str:
        return LOOP.run(self._own.invite(seconds=seconds, once=once))

    def read(self) -> KeyFacts:
        return LOOP.run(self._own.read())

    def revoke(self, peer: str, *, timeout: float | None = None) -> None:
        LOOP.run(self._own.revoke(peer, timeout=timeout))

    def rotate(self, *, timeout: float | None = None) -> KeyRotation:
        return LOOP.run(self._own.rotate(timeout=timeout))

    def rotate_secret(self, *, timeout: float | None = None) -> str:
        return LOOP.run(self._own.rotate_secret(timeout=timeout))
