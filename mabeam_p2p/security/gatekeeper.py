"""The guard and the introductions as the transport sees them: bytes in, bytes out."""

import logging

from mabeam_p2p import ports
from mabeam_p2p.errors import KeyFileError, RemoteProtocolError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import JoinRefusal
from mabeam_p2p.ports import JoinCodec
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.joining import Met, Reception, Visit
from mabeam_p2p.security.keyring import KeyPair
from mabeam_p2p.security.secrets import Secret

STORAGE = "storage"
"""The refusal of who cannot keep what it would have to; a later attempt may be lucky."""

REVOKED = "revoked"

_log = logging.getLogger(__name__)


class Gatekeeper:
    """Satisfies ports.Gatekeeper."""

    def __init__(self, guard: Guard, codec: JoinCodec) -> None:
        self.guard = guard
        self.undecodable_count = 0
        self._codec = codec
        self._reception = Reception(guard, guard.nonce)

    @property
    def version(self) -> int:
        return self.guard.version

    @property
    def pair(self) -> KeyPair:
        return self.guard.pair

    @property
    def lacks_secret(self) -> bool:
        return self.guard.lacks_secret

    def gate_pair(self) -> KeyPair:
        return self.guard.gate_pair()

    def speaker(self, key: bytes) -> PeerId | None:
        return self.guard.speaker(key)

    def is_revoked(self, key: bytes) -> bool:
        return self.guard.is_revoked(key)

    def answer(self, connection: bytes, key: bytes, data: bytes, port: int, now: float) -> bytes:
        try:
            message = self._codec.decode(data)
        except RemoteProtocolError:
            self.undecodable_count += 1
            return self._codec.encode(JoinRefusal("order"))
        try:
            answer = self._reception.receive(connection, key, message, port, now)
        except KeyFileError as error:  # Nobody is let in by what a crash would undo.
            _log.error("a peer was not let in: %s", error)
            answer = JoinRefusal(STORAGE)
        return self._codec.encode(answer)

    def visits(self, pair: ports.KeyPair | None = None) -> tuple["CodedVisit", ...]:
        key, nonce = (pair or self.pair).public, self.guard.nonce
        return tuple(
            CodedVisit(
                self.guard,
                self._codec,
                Visit(self.guard.peer, key, secret, nonce(), is_rehearsal=pair is not None),
                secret,
            )
            for secret in self.guard.provable()
        )


class CodedVisit:
    """Satisfies ports.Visit. Whoever is met, the guard knows from then on."""

    def __init__(self, guard: Guard, codec: JoinCodec, visit: Visit, proved: Secret) -> None:
        """proved: the secret that both prove in it."""
        self._proved = proved
        self._is_present = proved == guard.keyring.current
        self.found: tuple[bytes, int] | None = None
        self.refusal = ""
        self._guard = guard
        self._codec = codec
        self._visit = visit

    @property
    def first(self) -> bytes:
        return self._codec.encode(self._visit.ask)

    @property
    def has_ended(self) -> bool:
        return self.found is not None or bool(self.refusal)

    def receive(self, data: bytes) -> bytes | None:
        try:
            message = self._codec.decode(data)
        except RemoteProtocolError as error:
            self.refusal = self.refusal or error.reason
            return None
        answer = self._visit.receive(message)
        self.refusal = self._visit.refusal
        # Who knows an older secret alone may have been revoked itself, and say anything.
        if self.refusal == REVOKED and self._visit.is_with_member and self._is_present:
            self._guard.on_revoked()
        met = self._visit.met
        if met is not None and self.found is None and not self.refusal:
            self._know(met)
        return None if answer is None else self._codec.encode(answer)

    def _know(self, met: Met) -> None:
        try:
            is_believed = self._guard.met(met.peer, met.key, self._proved, met.handed)
        except KeyFileError as error:
            _log.error("the join secret cannot be kept, so that it is asked for again: %s", error)
            self.refusal = STORAGE
            return
        if is_believed:
            self.found = met.key, met.port
        else:
            self.refusal = "other_key"
