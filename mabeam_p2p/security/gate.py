"""Where the keys of one running peer are asked about and changed: by its agents, by the log, and by
the transport. Lives on the peer's loop.

1. What the log says goes to the guard first; then the transport is told whose links to look at.
2. A code by which this peer joins is tried until its inviter answers. If that refuses, the peer
   stops and says why: it would wait for ever.
3. So does a peer that was revoked, once its log says so, or somebody who has proved the present
   join secret: most hear it from others, as nobody tells them the log any more.
4. A key to come is in the log before it is used. Whoever has read that there lets this peer in
   under it, which is asked of everybody; when the log names it first, it is used.
"""

import logging
from collections.abc import Callable
from typing import Protocol, assert_never

from mabeam_p2p.addresses import is_loopback, split_address
from mabeam_p2p.errors import AuthenticationError, Overloaded
from mabeam_p2p.ids import PeerId
from mabeam_p2p.key_requests import (
    INVITE_SECONDS_MAX,
    GateAnswer,
    GateRequest,
    Invite,
    Invited,
    KeyRenewed,
    KeysAnswer,
    ProposeSecret,
    ReadKeys,
    RenewKey,
    SecretProposed,
)
from mabeam_p2p.records import Credential, Credentials
from mabeam_p2p.requests import Failed, Refused
from mabeam_p2p.security.codes import JoinCode, encode
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.keyring import KeyPair
from mabeam_p2p.security.secrets import label

ADVICE = {
    "used": "the join code has let in another peer already, and was for one: ask for a new one "
    "(`mabeam keys invite`)",
    "expired": "the join code has expired: ask for a new one (`mabeam keys invite`)",
    "unknown_secret": "the join code is not known there any more: ask for a new one (`mabeam keys "
    "invite`)",
    "revoked": "this peer was revoked: join as a new one, with an empty data folder",
    "other_key": "this peer is known under another key: put its key file back, or join as a new "
    "one, with an empty data folder",
    "identity": "it is this peer itself, or a copy of its data folder: give each its own",
    "version": "it speaks another version of the protocol: install the same release on both",
}

UNREACHED = "unreached"
"""The transport's word for nobody's answer."""

_log = logging.getLogger(__name__)


class Doors(Protocol):
    """The transport, as the gate sees it."""

    address: str

    def refresh(self) -> None:
        """Ask every target anew where it is, and under which key."""
        ...

    def rekey(self) -> None:
        """Speak and listen under this peer's present key, too."""
        ...

    def rehearse(self, pair: KeyPair, heard: Callable[[bytes], None]) -> None:
        """Ask every target whether it lets this peer in under the key to come, until `rekey`.
        heard: told the key of each that does."""
        ...

    def retire(self) -> None:
        """Speak and listen under the present key alone."""
        ...


class Gate:
    """Satisfies what `runtime.driver` asks of it."""

    def __init__(
        self,
        guard: Guard,
        doors: Doors,
        *,
        cluster: str,
        inviter: str = "",
    ) -> None:
        """inviter: the address in the code by which this peer joins; empty: there is none."""
        self.tell: Callable[[PeerId, bytes], None] = lambda peer, key: None
        """Told of each peer that has proved the join secret."""
        self.fail: Callable[[BaseException], None] = lambda error: None
        self.revoked: Callable[[], None] = lambda: None
        """Told once that the cluster has revoked this peer."""
        self._guard = guard
        self._doors = doors
        self._cluster = cluster
        self._inviter = inviter
        self._credentials = Credentials()
        self._has_missed_inviter = False
        self._rehearsed: KeyPair | None = None
        self._followers: dict[PeerId, None] = {}
        """Who lets this peer in under its key to come; once that is used: who was told it."""

    def start(
        self,
        tell: Callable[[PeerId, bytes], None],
        fail: Callable[[BaseException], None],
        revoked: Callable[[], None],
    ) -> None:
        self.tell, self.fail, self.revoked = tell, fail, revoked
        self._guard.on_pending = tell
        self._guard.on_revoked = self._end
        self._guard.on_visit = self._on_visit
        tell(self._guard.peer, self._guard.public_key)
        self._end_if_revoked()

    def on_refusal(self, address: str, reason: str) -> None:
        """A peer does not let this one in."""
        if address != self._inviter or not self._guard.waits_for_inviter:
            return
        if reason == UNREACHED and not self._has_missed_inviter:
            # Told once: it may be about to start.
            self._has_missed_inviter = True
            where = "this host alone" if is_loopback(split_address(address)[0]) else address
            _log.warning(
                "the peer that gave out the join code does not answer, and is tried on: it listens "
                "at %s, where the port in the code and the two behind it have to let others in",
                where,
            )
        if reason not in ADVICE:
            return
        self.fail(
            AuthenticationError(
                f"the peer at {address} does not let this one in: {ADVICE[reason]}", reason=reason
            )
        )

    def update(self, credentials: Credentials) -> None:
        """What the log says now. Raises KeyFileError."""
        before, self._credentials = self._credentials, credentials
        self._guard.update(credentials)
        mine = [one.keys for one in credentials.admitted if one.peer == self._guard.peer]
        keyring = self._guard.keyring
        keys = mine[0] if mine else ()
        if keyring.next is not None and keyring.next.public in keys:
            self._go_over(keyring.next, is_used=keys[0] == keyring.next.public)
        if keyring.former is not None and keys and keyring.former.public not in keys:
            keyring.retire_key()
            self._followers.clear()
            self._doors.retire()
        has_changed = (before.admitted, before.secret) != (credentials.admitted, credentials.secret)
        if has_changed or self._guard.lacks_secret:
            self._doors.refresh()
        self._end_if_revoked()

    def _go_over(self, pair: KeyPair, *, is_used: bool) -> None:
        """To a key that the log has admitted."""
        if is_used:
            self._followers.clear()
            self._guard.keyring.take_next()
            self._doors.rekey()
        elif self._rehearsed != pair:
            self._rehearsed = pair
            self._followers.clear()
            self._doors.rehearse(pair, self._on_heard)

    def _on_heard(self, key: bytes) -> None:
        peer = self._guard.speaker(key)
        if peer is not None and self._guard.keyring.next is not None:
            self._followers[peer] = None

    def _on_visit(self, peer: PeerId) -> None:
        if self._guard.keyring.former is not None:
            self._followers[peer] = None

    def _end_if_revoked(self) -> None:
        if self._guard.is_revoked_itself:
            self._end()

    def _end(self) -> None:
        revoked, self.revoked = self.revoked, lambda: None
        revoked()

    def ask(self, request: GateRequest) -> GateAnswer | Refused | Failed:
        """Raises KeyFileError."""
        guard, keyring = self._guard, self._guard.keyring
        if guard.waits_for_inviter and not isinstance(request, ReadKeys):
            return Refused("not_joined", "this peer has not been let in by its inviter yet")
        match request:
            case Invite():
                return self._invite(request)
            case ReadKeys():
                former = b"" if keyring.former is None else keyring.former.public
                name = b"" if keyring.current is None else label(keyring.current)
                pending = tuple(Credential(peer, (key,)) for peer, key in guard.pending())
                return KeysAnswer(
                    guard.peer,
                    keyring.pair.public,
                    former,
                    name,
                    self._credentials,
                    pending,
                    tuple(self._followers),
                )
            case RenewKey():
                if keyring.former is not None:  # The one before is not yet over.
                    return KeyRenewed(keyring.pair.public, keyring.former.public)
                return KeyRenewed(keyring.renew_key().public, keyring.pair.public)
            case ProposeSecret():
                return SecretProposed(label(keyring.propose()))
            case _:
                assert_never(request)

    def _invite(self, request: Invite) -> Invited | Refused | Failed:
        keyring = self._guard.keyring
        assert keyring.gate is not None, "asked of who has joined"
        if not 0 < request.seconds <= INVITE_SECONDS_MAX:
            return Refused("invalid", f"a code is good for 1 to {INVITE_SECONDS_MAX:g} seconds")
        try:
            token = self._guard.invite(
                seconds=request.seconds, once=request.once, again=request.again
            )
        except Overloaded as error:
            return Failed("overloaded", str(error))
        address = self._doors.address
        return Invited(encode(JoinCode(address, keyring.gate, token, self._cluster)), address)
