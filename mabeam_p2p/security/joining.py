"""How two peers prove to each other that they know a secret, and learn each other's keys. Decides
what is said and believed; does no I/O, and draws nothing by itself.

    client                                             server
      | JoinAsk: my id, which secret, a nonce            |
      |------------------------------------------------->|  knows the client's key from CURVE
      | JoinChallenge: id, key, port, a nonce, a proof   |
      |<-------------------------------------------------|
      | JoinProof                                        |
      |------------------------------------------------->|
      | JoinWelcome, with the present secret if need be  |
      |<-------------------------------------------------|

Rules
1. A proof is a MAC under the secret over everything that both have said and both CURVE keys. So it
   is of no use over another connection, between other keys, or in the other direction: who stands
   between two connections has a key of its own in each.
2. The server proves first, and only for a secret that it knows the label of; the client believes
   nothing, and sends no proof, before.
3. The secret leaves the server only when the client has proved an older one, or a token, and never
   as it is: under a pad that only who knows that one can make, inside CURVE.
4. An Ask begins anew, whenever it comes. Any other word that is not in this order is refused, and
   the connection's state forgotten; what cannot be decoded is refused, and changes nothing. Refused
   is a proof, too, for a challenge under a key that the server has exchanged since: the client
   would have the former one.
5. A client that only asks whether a key to come is known, a *rehearsal*, says so by its proof,
   which counts for nothing else.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, assert_never

from mabeam_p2p.config import JOIN_VERSION
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    JoinAsk,
    JoinChallenge,
    JoinMessage,
    JoinProof,
    JoinRefusal,
    JoinWelcome,
)
from mabeam_p2p.security.secrets import Secret, is_mac, label, mac, masked

VISITORS_MAX = 256
"""Introductions under way at one server; the oldest give way."""
VISIT_SECONDS_MAX = 3.0
"""So long after its Ask a client may prove."""


class Book(Protocol):
    """Who keeps the keys, as introductions see it."""

    peer: PeerId

    @property
    def public_key(self) -> bytes: ...

    def secret_of(self, name: bytes) -> Secret | None:
        """What a client may prove under this label."""
        ...

    def let_in(self, peer: PeerId, key: bytes, name: bytes, *, is_rehearsal: bool) -> str:
        """The client has proved the secret of this label: remember it, unless it only asks whether
        this key is known. Empty, or why not."""
        ...

    def present(self) -> Secret:
        """The join secret."""
        ...


class Met(NamedTuple):
    """What a client has learned. handed: the present join secret, if it knew another one."""

    peer: PeerId
    key: bytes
    port: int
    handed: Secret | None


class _Visitor(NamedTuple):
    """key: the client's. told: the server's, as the challenge had it."""

    ask: JoinAsk
    key: bytes
    secret: Secret
    words: tuple[bytes, ...]
    told: bytes
    due: float


def _words(ask: JoinAsk, client_key: bytes, challenge: JoinChallenge) -> tuple[bytes, ...]:
    """All that a proof stands for. The challenge's own proof is not in it."""
    return (
        ask.version.to_bytes(4, "big"),
        ask.label,
        ask.nonce,
        challenge.nonce,
        client_key,
        challenge.key,
        ask.peer.encode(),
        challenge.peer.encode(),
        challenge.port.to_bytes(2, "big"),
    )


class Reception:
    """The server's side, for all connections."""

    def __init__(self, book: Book, nonce: Callable[[], bytes]) -> None:
        """nonce: draws bytes that are never drawn again."""
        self.refused_count = 0
        self._book = book
        self._nonce = nonce
        self._visitors: dict[bytes, _Visitor] = {}
        """By connection, the oldest first."""

    def receive(
        self, connection: bytes, key: bytes, message: JoinMessage, port: int, now: float
    ) -> JoinMessage:
        """The answer. key: that the connection has proved to have; port: of this peer's data."""
        visitor = self._visitors.pop(connection, None)
        match message:
            case JoinAsk():
                return self._on_ask(connection, key, message, port, now)
            case JoinProof():
                if visitor is None or visitor.key != key or now >= visitor.due:
                    return self._refuse("order")
                return self._on_proof(visitor, message)
            case JoinChallenge() | JoinWelcome() | JoinRefusal():
                return self._refuse("order")
            case _:
                assert_never(message)

    def _on_ask(
        self, connection: bytes, key: bytes, ask: JoinAsk, port: int, now: float
    ) -> JoinMessage:
        if ask.version != JOIN_VERSION:
            return self._refuse("version")
        secret = self._book.secret_of(ask.label)
        if secret is None:
            return self._refuse("unknown_secret")
        bare = JoinChallenge(self._book.peer, self._book.public_key, port, self._nonce(), b"")
        words = _words(ask, key, bare)
        if len(self._visitors) >= VISITORS_MAX:
            del self._visitors[next(iter(self._visitors))]
        due = now + VISIT_SECONDS_MAX
        self._visitors[connection] = _Visitor(ask, key, secret, words, bare.key, due)
        proof = mac(secret, "server", *words)
        return JoinChallenge(bare.peer, bare.key, port, bare.nonce, proof)

    def _on_proof(self, visitor: _Visitor, message: JoinProof) -> JoinMessage:
        is_rehearsal = is_mac(message.proof, visitor.secret, "rehearsal", *visitor.words)
        if not is_rehearsal and not is_mac(message.proof, visitor.secret, "client", *visitor.words):
            return self._refuse("proof")
        if visitor.told != self._book.public_key:
            return self._refuse("order")
        ask = visitor.ask
        reason = self._book.let_in(ask.peer, visitor.key, ask.label, is_rehearsal=is_rehearsal)
        if reason:
            return self._refuse(reason)
        present = self._book.present()
        if present == visitor.secret:
            return JoinWelcome()
        return JoinWelcome(label(present), masked(present, visitor.secret, *visitor.words))

    def _refuse(self, reason: str) -> JoinRefusal:
        self.refused_count += 1
        return JoinRefusal(reason)


class Visit:
    """The client's side, of one connection."""

    def __init__(
        self,
        peer: PeerId,
        key: bytes,
        secret: Secret,
        nonce: bytes,
        *,
        is_rehearsal: bool = False,
    ) -> None:
        """peer, key: this one's; in a rehearsal its key to come. secret: what it can prove."""
        self.ask = JoinAsk(JOIN_VERSION, peer, label(secret), nonce)
        self.met: Met | None = None
        """Once the server has said welcome."""
        self.refusal = ""
        """Why there will be no welcome."""
        self._key = key
        self._purpose = "rehearsal" if is_rehearsal else "client"
        self._secret = secret
        self._words: tuple[bytes, ...] = ()
        self._challenge: JoinChallenge | None = None

    @property
    def has_ended(self) -> bool:
        return self.met is not None or bool(self.refusal)

    @property
    def is_with_member(self) -> bool:
        """Whether the server has proved the secret: what it refuses then is the cluster's word,
        as far as that is any peer's."""
        return self._challenge is not None

    def receive(self, message: JoinMessage) -> JoinProof | None:
        """What to say next; None: nothing, it has ended."""
        match message:
            case JoinChallenge() if self._challenge is None and not self.has_ended:
                words = _words(self.ask, self._key, message)
                if not is_mac(message.proof, self._secret, "server", *words):
                    self.refusal = "proof"
                    return None
                self._challenge, self._words = message, words
                return JoinProof(mac(self._secret, self._purpose, *words))
            case JoinWelcome() if self._challenge is not None and not self.has_ended:
                self._on_welcome(self._challenge, message)
            case JoinRefusal(reason=reason) if not self.has_ended:
                self.refusal = reason or "refused"
            case _:
                self.refusal = self.refusal or "order"
        return None

    def _on_welcome(self, challenge: JoinChallenge, welcome: JoinWelcome) -> None:
        handed = None
        if welcome.masked:
            handed = masked(Secret(welcome.masked), self._secret, *self._words)
            if label(Secret(handed)) != welcome.label:
                self.refusal = "proof"
                return
        secret = None if handed is None else Secret(handed)
        self.met = Met(challenge.peer, challenge.key, challenge.port, secret)
