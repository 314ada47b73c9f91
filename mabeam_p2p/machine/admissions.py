"""Whose keys are let in, who never is again, and which join secret counts.

Rules
1. A key is one peer's for good. A peer keeps the keys that it was admitted with until an agent on
   it says which ones it has: nobody else can give it another.
2. Of a rotation one key at least stays: nobody is to lose the way back between two commands.
3. Who was revoked is not admitted again, nor is anybody under a key that it had then.
4. Whoever was admitted longest ago gives way when the table is full: it has to prove the join
   secret again. Of the revoked likewise: by then the secret that they knew has been rotated.
"""

from msgspec.structs import replace

from mabeam_p2p.commands import AnyKeyCommand, RevokePeer, RotateSecret, SetKeys
from mabeam_p2p.events import KeysChanged, MachineEvent
from mabeam_p2p.ids import PeerId, is_peer_id
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.records import Agent, Credential, Credentials
from mabeam_p2p.requests import Outcome, Refused

KEY_BYTES = 32
LABEL_BYTES = 8
KEYS_MAX = 2
"""Of one peer: the one before, and the one to come."""
ADMITTED_MAX = 4_096
REVOKED_MAX = 1_024


class Admissions:
    """The committed credentials."""

    def __init__(self, events: list[MachineEvent]) -> None:
        self.credentials = Credentials()
        """Another object after each change."""
        self._events = events

    def is_revoked(self, peer: PeerId) -> bool:
        return any(one.peer == peer for one in self.credentials.revoked)

    def admit(self, entry: Entry, peer: PeerId, key: bytes) -> Outcome:
        if not is_peer_id(peer) or len(key) != KEY_BYTES:
            return Refused("invalid", "the peer or its key is malformed")
        known = self._keys_of(peer)
        if known is not None and key in known:
            return entry.committed()
        if known is not None:
            return Refused("other_key", f"peer {peer} has another key")
        refusal = self._objection(peer, (key,))
        if refusal is not None:
            return refusal
        admitted = (*self.credentials.admitted, Credential(peer, (key,)))[-ADMITTED_MAX:]
        return self._change(entry, peer, "admitted", replace(self.credentials, admitted=admitted))

    def apply(self, entry: Entry, agent: Agent, command: AnyKeyCommand) -> Outcome:
        match command:
            case RevokePeer(peer=peer):
                return self._revoke(entry, peer)
            case SetKeys(keys=keys, peer=peer):
                if peer and peer != agent.peer:
                    return Refused("not_owner", f"{agent.id} is not on peer {peer}")
                return self._set_keys(entry, agent.peer, keys)
            case RotateSecret(label=label):
                if len(label) != LABEL_BYTES:
                    return Refused("invalid", "the label is malformed")
                rotated = replace(self.credentials, secret=label)
                return self._change(entry, agent.peer, "secret", rotated)

    def _revoke(self, entry: Entry, peer: PeerId) -> Outcome:
        if not is_peer_id(peer):
            return Refused("invalid", "the peer is malformed")
        if self.is_revoked(peer):
            return entry.committed()
        keys = self._keys_of(peer) or ()
        admitted = tuple(one for one in self.credentials.admitted if one.peer != peer)
        revoked = (*self.credentials.revoked, Credential(peer, keys))[-REVOKED_MAX:]
        changed = replace(self.credentials, admitted=admitted, revoked=revoked)
        return self._change(entry, peer, "revoked", changed)

    def _set_keys(self, entry: Entry, peer: PeerId, keys: tuple[bytes, ...]) -> Outcome:
        known = self._keys_of(peer)
        if known is None:
            return Refused("not_admitted", f"peer {peer} has not been admitted")
        unique = len(dict.fromkeys(keys)) == len(keys)
        if not (1 <= len(keys) <= KEYS_MAX and unique) or any(len(k) != KEY_BYTES for k in keys):
            return Refused("invalid", f"a peer has one or {KEYS_MAX} keys of {KEY_BYTES} bytes")
        if not any(key in known for key in keys):
            return Refused("other_key", "one of the keys before has to stay for a while")
        if keys == known:
            return entry.committed()
        refusal = self._objection(peer, keys)
        if refusal is not None:
            return refusal
        admitted = tuple(
            Credential(peer, keys) if one.peer == peer else one for one in self.credentials.admitted
        )
        return self._change(entry, peer, "renewed", replace(self.credentials, admitted=admitted))

    def _objection(self, peer: PeerId, keys: tuple[bytes, ...]) -> Refused | None:
        for one in self.credentials.revoked:
            if one.peer == peer or any(key in one.keys for key in keys):
                return Refused("revoked", f"peer {one.peer} was revoked")
        for one in self.credentials.admitted:
            if one.peer != peer and any(key in one.keys for key in keys):
                return Refused("other_key", f"peer {one.peer} has this key")
        return None

    def _keys_of(self, peer: PeerId) -> tuple[bytes, ...] | None:
        return next((one.keys for one in self.credentials.admitted if one.peer == peer), None)

    def _change(self, entry: Entry, peer: PeerId, what: str, changed: Credentials) -> Outcome:
        self.credentials = changed
        self._events.append(KeysChanged(entry.index, peer, what))
        return entry.committed()
