"""Who may speak to this peer, and who each one is. One table of keys: no socket is asked, and no
name that a stranger gives counts.

Rules
1. A key is let in if the log has admitted it, or if it has proved the join secret here (it is
   *pending*: the leader admits it). A key or a peer that was revoked is not, whatever it can prove.
2. A peer has the keys that the log says. Until then it has the first one that proved the secret
   under its id: a second one is refused, as somebody else's. Of a key to come, which a peer only
   asks about, the log alone knows: else who has not read that yet would refuse the present one.
3. Who can prove the previous secret alone is told the present one if the log has admitted it, and
   refused otherwise: a rotation shuts out those who were not members. Invitations are void from
   then on. Both hold also at a peer that does not have the new secret yet: to it the present one
   is that which all others know as the previous one. And both hold for whoever is dialled as for
   whoever comes, and for what was proved before the rotation.
4. A code is good for one thing: to be told the join secret once. Others may have had it, too.
5. A message counts as the peer's whose key its connection has proved to have.
"""

import logging
import os
import time
from collections.abc import Callable

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import NONCE_BYTES
from mabeam_p2p.records import Credentials
from mabeam_p2p.security.keyring import KeyPair, Keyring, gate_key_pair
from mabeam_p2p.security.secrets import Secret, label

PENDING_MAX = 1_024
"""Keys that have proved the secret and are not admitted; of more the oldest give way."""

DISBELIEVED_MAX = 64
"""Peers of which the log tells that they are not believed, as long as they are not."""

_log = logging.getLogger(__name__)


class Guard:
    """The keys of one peer and of those that it knows. Satisfies joining.Book and ports.Guard."""

    def __init__(
        self,
        peer: PeerId,
        keyring: Keyring,
        *,
        token: Secret | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """token: of the code by which this peer joins; it is of no use once it has done so."""
        self.peer = peer
        self.keyring = keyring
        self.version = 0
        """Grows when somebody who was let in may be no more."""
        self.on_pending: Callable[[PeerId, bytes], None] = lambda peer, key: None
        """Told of each peer that has proved the secret, and of this one; with an empty key of each
        whose proof counts no more."""
        self.on_revoked: Callable[[], None] = lambda: None
        """Told when a member has said that this peer was revoked."""
        self.on_visit: Callable[[PeerId], None] = lambda peer: None
        """Told of each peer that was let in here, and so knows this one's present key."""
        self._token = token
        self._wall = wall
        self._pending: dict[bytes, PeerId] = {}
        self._pending_keys: dict[PeerId, bytes] = {}
        self._proofs: dict[PeerId, bytes] = {}
        """Of each that is pending: the label of the join secret that it has proved, or was told."""
        self._admitted: dict[bytes, PeerId] = {}
        self._keys: dict[PeerId, tuple[bytes, ...]] = {}
        self._revoked: dict[bytes | PeerId, None] = {}
        self._disbelieved: dict[PeerId, bytes] = {}
        """Whose word the log has told of, and under which key it was."""
        self._wanted = b""
        """Label of the join secret that the cluster has agreed on; empty: of none."""
        self._has_missed = False
        """Whether it was heard to agree on one that this peer, a member, did not have. What the log
        says from before that, and what a disk holds, is older than the secret."""

    # ---- who may speak ---------------------------------------------------------------------------

    def speaker(self, key: bytes) -> PeerId | None:
        """Whose key it is; None: nobody's who may speak."""
        peer = self._admitted.get(key) or self._pending.get(key)
        return None if peer is None or peer in self._revoked or key in self._revoked else peer

    def is_revoked(self, key: bytes) -> bool:
        return key in self._revoked or self._pending.get(key) in self._revoked

    def update(self, credentials: Credentials) -> None:
        """What the log says now."""
        had_present = self.peer in self._keys and not self.lacks_secret
        self._keys = {one.peer: one.keys for one in credentials.admitted}
        self._admitted = {key: one.peer for one in credentials.admitted for key in one.keys}
        revoked: dict[bytes | PeerId, None] = {}
        for one in credentials.revoked:
            revoked[one.peer] = None
            revoked.update(dict.fromkeys(one.keys))
        self._revoked = revoked
        self.version += 1
        self._wanted = credentials.secret
        proposed = self.keyring.proposed
        if proposed is not None and label(proposed) == self._wanted:
            self.keyring.rotate(proposed)
        previous = self.keyring.previous
        is_ahead = previous is not None and label(previous) == self._wanted
        self._has_missed = self._has_missed or had_present
        self._has_missed = self._has_missed and self.lacks_secret and not is_ahead
        self._look_over_pending()

    def pending(self) -> tuple[tuple[PeerId, bytes], ...]:
        """Who has proved the join secret and is not admitted."""
        return tuple((p, k) for p, k in self._pending_keys.items() if k not in self._admitted)

    def met(self, peer: PeerId, key: bytes, proved: Secret, handed: Secret | None = None) -> bool:
        """A server has proved this secret, and told the present one if that is another. Whether it
        is believed to be that peer; what it has told is taken only then. Raises KeyFileError."""
        reason = self._objection(peer, key) or self._outdated(key) or self._unproved(key, proved)
        if reason:
            if handed is not None and proved == self._code() and reason == "other_key":
                # Whom it takes for somebody else may have another key since: the code is good.
                self._take(handed, proved, key)
            # Told once for each: it is dialled again and again, and says the same.
            if self._disbelieved.get(peer) != key and len(self._disbelieved) < DISBELIEVED_MAX:
                self._disbelieved[peer] = key
                _log.warning("a peer that says it is %s is not believed: %s", peer, reason)
            return False
        self._disbelieved.pop(peer, None)
        if handed is not None:
            self._take(handed, proved, key)
        self._remember(peer, key, label(handed or proved))
        return True

    @property
    def is_revoked_itself(self) -> bool:
        return self.peer in self._revoked

    # ---- as a client -----------------------------------------------------------------------------

    @property
    def pair(self) -> KeyPair:
        return self.keyring.pair

    def gate_pair(self) -> KeyPair:
        assert self.keyring.gate is not None, "a peer without a gate has nobody to ask"
        return gate_key_pair(self.keyring.gate)

    def provable(self) -> tuple[Secret, ...]:
        """What this peer can prove, the best first; nothing while it waits for its inviter."""
        known = (self.keyring.current, self.keyring.previous, self.keyring.proposed, self._code())
        return tuple(one for one in known if one is not None)

    @property
    def waits_for_inviter(self) -> bool:
        return not self.keyring.has_joined

    @property
    def lacks_secret(self) -> bool:
        """Whether the cluster has agreed on a join secret that this peer does not have."""
        current = self.keyring.current
        return bool(self._wanted) and (current is None or label(current) != self._wanted)

    def invite(self, *, seconds: float, once: bool, again: bool = False) -> Secret:
        """As Keyring.invite."""
        return self.keyring.invite(seconds=seconds, once=once, wall=self._wall(), again=again)

    def _code(self) -> Secret | None:
        """The token of this peer's code, until that has done its work."""
        token = self._token
        if token is None or self.waits_for_inviter:
            return token
        return None if label(token) == self.keyring.spent else token

    def _take(self, secret: Secret, proved: Secret, key: bytes) -> None:
        """A member has told the present join secret, under an older one or a code. The log may be
        older than it; but then a code has to say so, which counts once: of a member that may have
        been revoked since, the one before is not to be lost."""
        gate = self.keyring.gate
        is_by_code = proved == self._code()
        spent = label(proved) if is_by_code else self.keyring.spent
        is_agreed = not self._wanted or label(secret) == self._wanted
        if self.waits_for_inviter and gate is not None:
            self.keyring.join(gate, secret, spent)
        elif is_agreed or (is_by_code and key in self._admitted):
            self.keyring.rotate(secret)
            self.keyring.spend(spent)
        self._look_over_pending()

    # ---- as a server -----------------------------------------------------------------------------

    @property
    def public_key(self) -> bytes:
        return self.keyring.pair.public

    def nonce(self) -> bytes:
        return os.urandom(NONCE_BYTES)

    def secret_of(self, name: bytes) -> Secret | None:
        if self.keyring.current is None:
            return None
        for secret in (self.keyring.current, self.keyring.previous):
            if secret is not None and label(secret) == name:
                return secret
        return None if self.lacks_secret else self.keyring.invitation(name)

    def let_in(self, peer: PeerId, key: bytes, name: bytes, *, is_rehearsal: bool = False) -> str:
        reason = self._objection(peer, key) or self._outdated(key)
        if reason:
            return reason
        current, previous = self.keyring.current, self.keyring.previous
        is_member = key in self._admitted
        if is_rehearsal:
            return "" if is_member else "other_key"
        if previous is not None and label(previous) == name:
            if not is_member:
                return "rotated"
        elif current is None or label(current) != name:
            reason = self.keyring.use_invitation(name, key, self._wall())
            if reason:
                return reason
        self._remember(peer, key, label(self.present()))
        self.on_visit(peer)
        return ""

    def present(self) -> Secret:
        assert self.keyring.current is not None, "who has none lets nobody in"
        return self.keyring.current

    def _outdated(self, key: bytes) -> str:
        """What this peer knows is over, so that it says nothing of who can prove it (rule 3)."""
        is_over = self._has_missed and self.lacks_secret
        return "rotated" if is_over and key not in self._admitted else ""

    def _unproved(self, key: bytes, proved: Secret) -> str:
        """What a server has proved is known to others than members, too (rules 3 and 4)."""
        known = (self.keyring.current, self._code())
        is_good = proved in known or label(proved) == self._wanted
        return "" if is_good or key in self._admitted else "rotated"

    def _objection(self, peer: PeerId, key: bytes) -> str:
        if peer in self._revoked or key in self._revoked:
            return "revoked"
        if peer == self.peer or key == self.public_key:
            return "identity"
        known = self._keys.get(peer)
        if known is None and peer in self._pending_keys:
            known = (self._pending_keys[peer],)
        owner = self._admitted.get(key, self._pending.get(key, peer))
        return "other_key" if (known is not None and key not in known) or owner != peer else ""

    def _remember(self, peer: PeerId, key: bytes, name: bytes) -> None:
        """name: of the join secret that it knows."""
        if key in self._admitted:
            return
        if key in self._pending:
            self._proofs[peer] = name
            return
        if len(self._pending) >= PENDING_MAX:
            self._forget(next(iter(self._pending_keys)))
        self._pending[key] = peer
        self._pending_keys[peer] = key
        self._proofs[peer] = name
        self.on_pending(peer, key)

    def _look_over_pending(self) -> None:
        """What was proved before may count no more (rules 1, 2 and 3)."""
        present = {self._wanted}
        if self.keyring.current is not None and not (self._has_missed and self.lacks_secret):
            present.add(label(self.keyring.current))
        for peer, key in tuple(self._pending_keys.items()):
            known = self._keys.get(peer)
            is_anothers = peer in self._revoked or (known is not None and key not in known)
            if is_anothers or self._proofs[peer] not in present:
                self._forget(peer)

    def _forget(self, peer: PeerId) -> None:
        self._pending.pop(self._pending_keys.pop(peer), None)
        del self._proofs[peer]
        self.version += 1
        self.on_pending(peer, b"")
