"""What is asked of a peer about keys, and the answers. All but `Introduced` are answered by its
gate (security/gate.py), not by its node; who speaks without keys refuses them."""

from msgspec import Struct

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Credential, Credentials

INVITE_SECONDS = 3600.0
"""How long a join code is good for if nothing else is said."""
INVITE_SECONDS_MAX = 30 * 86_400.0


class Invite(Struct, frozen=True, gc=False, array_like=True, tag=50):
    """A join code. Answer: Invited, Refused, or Failed (overloaded: too many are out)."""

    seconds: float = INVITE_SECONDS
    once: bool = False
    """For one peer alone."""
    again: bool = False
    """The one that was made in answer to such an Invite before, if half of its time is left."""


class ReadKeys(Struct, frozen=True, gc=False, array_like=True, tag=51):
    """Whose keys are known here. Answer: KeysAnswer, or Refused."""


class RenewKey(Struct, frozen=True, gc=False, array_like=True, tag=52):
    """Another key pair for this peer, or the one that it is about to take. Nobody knows of it until
    the log does. Answer: KeyRenewed, or Refused."""


class ProposeSecret(Struct, frozen=True, gc=False, array_like=True, tag=53):
    """Another join secret, which counts once the log names it. Answer: SecretProposed, or
    Refused."""


class Introduced(Struct, frozen=True, gc=False, array_like=True, tag=54):
    """A peer has proved the join secret under this key; if that is empty: what it has proved counts
    no more. Answer: Done."""

    peer: PeerId
    key: bytes


class Invited(Struct, frozen=True, gc=False, array_like=True, tag=50):
    code: str
    address: str
    """Of the inviter: on loopback the code is of use on its host alone."""

    def __repr__(self) -> str:
        return f"Invited(redacted, {self.address})"


class KeysAnswer(Struct, frozen=True, gc=False, array_like=True, tag=51):
    peer: PeerId
    key: bytes
    former: bytes
    """The key that `key` takes the place of; empty: of none."""
    label: bytes
    """Of the join secret that this peer has; empty: it waits for its inviter."""
    credentials: Credentials
    pending: tuple[Credential, ...]
    """Who has proved the join secret here and is not yet admitted by the log."""
    followers: tuple[PeerId, ...] = ()
    """While this peer's key is rotated: who lets it in under the key to come; once that is used:
    who was told it."""


class KeyRenewed(Struct, frozen=True, gc=False, array_like=True, tag=52):
    key: bytes
    former: bytes


class SecretProposed(Struct, frozen=True, gc=False, array_like=True, tag=53):
    label: bytes


GateRequest = Invite | ReadKeys | RenewKey | ProposeSecret
GateAnswer = Invited | KeysAnswer | KeyRenewed | SecretProposed
