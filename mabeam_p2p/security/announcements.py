"""What a peer says of itself on the local network, and whom it believes there.

Multicast DNS is anybody's: an announcement counts only with a MAC under the join secret, over all
that it says and the very address that it is for. It holds no name, no role and no secret; the
instance is named by the key. Nobody is removed for what an announcement says, or does not.
"""

import hashlib
from collections.abc import Mapping

from mabeam_p2p.addresses import join_address
from mabeam_p2p.config import PROTOCOL_VERSION
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.secrets import Secret, is_mac, mac

INSTANCE_BYTES = 8
FIELD_BYTES_MAX = 128
"""Of one value; more is no announcement of ours."""


class Announcements:
    """Satisfies ports.Announcements."""

    def __init__(self, guard: Guard, cluster: str, epoch: int) -> None:
        self._guard = guard
        self._cluster = cluster
        self._epoch = epoch

    @property
    def instance(self) -> str:
        key = self._guard.public_key
        return hashlib.blake2b(key, digest_size=INSTANCE_BYTES, person=b"instance").hexdigest()

    def facts(self, host: str, port: int) -> dict[str, str]:
        secret = self._guard.keyring.current
        if secret is None:
            return {}
        facts = {
            "v": str(PROTOCOL_VERSION),
            "id": self._guard.peer,
            "pub": self._guard.public_key.hex(),
            "epoch": str(self._epoch),
        }
        return facts | {"mac": self._mac(secret, facts, host, port).hex()}

    def is_genuine(self, facts: Mapping[bytes, bytes | None], host: str, port: int) -> bool:
        try:
            given = {name: _text(facts, name) for name in ("v", "id", "pub", "epoch", "mac")}
            code = bytes.fromhex(given["mac"])
        except ValueError:
            return False
        keyring = self._guard.keyring
        known = [one for one in (keyring.current, keyring.previous) if one is not None]
        parts = self._parts(given, host, port)
        return any(is_mac(code, secret, "announcement", *parts) for secret in known)

    def _mac(self, secret: Secret, facts: Mapping[str, str], host: str, port: int) -> bytes:
        return mac(secret, "announcement", *self._parts(facts, host, port))

    def _parts(self, facts: Mapping[str, str], host: str, port: int) -> tuple[bytes, ...]:
        # The scope of an address is another one on each host.
        address = join_address(host.partition("%")[0], port)
        said = (facts["v"], facts["id"], facts["pub"], address, facts["epoch"])
        return (self._cluster.encode(), *(one.encode() for one in said))


def _text(facts: Mapping[bytes, bytes | None], name: str) -> str:
    """Raises ValueError if it is not there, or not a short ASCII text."""
    value = facts.get(name.encode())
    if value is None or len(value) > FIELD_BYTES_MAX:
        raise ValueError
    return value.decode("ascii")
