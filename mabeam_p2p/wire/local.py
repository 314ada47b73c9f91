"""The daemon's local socket: what clients and a daemon say to each other, and how it is framed.

A message is its length in four bytes, the highest first, and a CBOR array as in `codec`. The first
message of a connection is the client's Greet; the daemon answers Welcome or Goodbye. Then requests
and answers come in any order, tied by `number`; each Ask gets one Answered unless it is cancelled.

Both ends run as the same user. The daemon still checks all that a client says, as it does with
peers; a client checks the types of what its daemon says.

A daemon may be of a later release than its client. Fields that are appended are passed over, as
everywhere. An event that the client cannot read is passed over, too, and an answer that it cannot
read fails its question alone. Whatever else an end does not know ends the connection.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar, get_args

from msgspec import Struct

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.events import Dropped, Event
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.requests import Answer, Failed, Request
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.codec import Kind, to_plain
from mabeam_p2p.wire.schema import Schema

LOCAL_VERSION = 1
"""Version of this protocol. A daemon says Goodbye to a client with another one."""

CLOSED = "closed"
"""Why a client is dismissed: the daemon stops, and its peer has left the cluster."""

FULL = "full"
"""Reason of a Goodbye to who comes when there are as many clients as there may be."""

UNKNOWN_EVENT = "unknown_event"
"""Reason of the Dropped event that a client is told in the place of each that it cannot read."""

UNREAD_ANSWER = "the answer cannot be read: install the release of the daemon for this program"

LENGTH_BYTES = 4

CLIENT_BYTES_MAX = 8 * 1024 * 1024
"""One message of a client: several variables of the largest size fit."""

DAEMON_BYTES_MAX = 128 * 1024 * 1024
"""One message of a daemon: an answer may hold every remembered proposal. Its client trusts it not
to be at war with it, so that what becomes of it is not bounded further."""


# ---- what a client says ----------------------------------------------------------------------


class Greet(Struct, frozen=True, gc=False, array_like=True, tag=1):
    version: int
    name: str
    """Of the agent that this connection is for; empty: it only asks and listens. Not checked."""
    session: SessionId = SessionId(0)
    """The agent's session, which ends with the connection; 0 without an agent."""


class Ask(Struct, frozen=True, gc=False, array_like=True, tag=2):
    number: int
    """Chosen by the client, unique among its open ones."""
    request: Request


class Cancel(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Nobody waits for the answer to Ask `number` any more. Unknown numbers are ignored."""

    number: int


class Subscribe(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """Begin or end to tell this connection events."""

    on: bool


ClientMessage = Greet | Ask | Cancel | Subscribe


# ---- what a daemon says ----------------------------------------------------------------------


class Welcome(Struct, frozen=True, gc=False, array_like=True, tag=1):
    version: int
    peer: PeerId
    peer_name: str
    cluster: str
    epoch: int
    """Of the daemon's peer: another one after a reconnect means that it was restarted."""


class Answered(Struct, frozen=True, gc=False, array_like=True, tag=2):
    number: int
    answer: Answer


class Told(Struct, frozen=True, gc=False, array_like=True, tag=3):
    event: Event


class Goodbye(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """The last message of a connection. `reason` is a stable word: closed, version, name, protocol,
    slow, full."""

    reason: str
    detail: str = ""


DaemonMessage = Welcome | Answered | Told | Goodbye


# ---- bytes -----------------------------------------------------------------------------------


def encode(message: ClientMessage | DaemonMessage) -> bytes:
    """With its length in front. Raises InvalidValue if it is larger than the other end takes."""
    data = cbor.encode(to_plain(message))
    is_client = isinstance(message, Greet | Ask | Cancel | Subscribe)
    size_max = CLIENT_BYTES_MAX if is_client else DAEMON_BYTES_MAX
    if len(data) > size_max:
        raise InvalidValue(
            f"a message of {len(data)} bytes is too large for the local socket, which takes "
            f"{size_max}: ask for less at once"
        )
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


Message = TypeVar("Message")


class FrameReader(Generic[Message]):
    """Cuts a stream into messages. After an error the stream has no meaning: close it."""

    def __init__(self, size_max: int, decode: Callable[[bytes], Message]) -> None:
        self._size_max = size_max
        self._decode = decode
        self._buffer = bytearray()

    @property
    def held_bytes(self) -> int:
        """Of a message that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises RemoteProtocolError."""
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while len(self._buffer) - start >= LENGTH_BYTES:
            body = start + LENGTH_BYTES
            size = int.from_bytes(self._buffer[start:body], "big")
            # Judged before it is waited for: nothing is kept for a length that is too large.
            if size > self._size_max:
                raise RemoteProtocolError("size", f"{size} bytes, {self._size_max} are allowed")
            if len(self._buffer) < body + size:
                break
            messages.append(self._decode(bytes(self._buffer[body : body + size])))
            start = body + size
        del self._buffer[:start]
        return messages


def client_messages(limits: Limits) -> FrameReader[ClientMessage]:
    """What the daemon reads from one client."""
    return FrameReader(CLIENT_BYTES_MAX, _client_decoder(limits))


@lru_cache(maxsize=4)
def _client_decoder(limits: Limits) -> Callable[[bytes], ClientMessage]:
    """Kept, as its checks take milliseconds to make: whoever connects shall not cost as much."""
    schema = Schema(limits, get_args(ClientMessage))

    def decode(data: bytes) -> ClientMessage:
        plain = cbor.decode(data, size_max=CLIENT_BYTES_MAX)
        message = _CLIENT_MESSAGE.of(plain)
        schema.check(message)
        return message

    return decode


def daemon_messages() -> FrameReader[DaemonMessage]:
    """What a client reads from its daemon."""

    def decode(data: bytes) -> DaemonMessage:
        plain = cbor.decode(data, size_max=DAEMON_BYTES_MAX, is_trusted=True)
        try:
            return _DAEMON_MESSAGE.of(plain)
        except RemoteProtocolError as error:
            return _in_place_of(plain, error)

    return FrameReader(DAEMON_BYTES_MAX, decode)


def _in_place_of(plain: object, fault: RemoteProtocolError) -> DaemonMessage:
    """What a client hears where its daemon, of a later release, told or answered what it cannot
    read. Raises `fault` for anything else."""
    match plain:
        case [tag, [int(), *_], *_] if tag == _TOLD:
            return Told(Dropped("daemon", UNKNOWN_EVENT, str(fault), 1))
        case [tag, int(number), [int(), *_], *_] if tag == _ANSWERED:
            # A command may have been done: nothing is known but that there is an answer.
            return Answered(number, Failed("unknown", f"{UNREAD_ANSWER}; {fault}"))
        case _:
            raise fault


_CLIENT_MESSAGE: Kind[ClientMessage] = Kind(ClientMessage)
_DAEMON_MESSAGE: Kind[DaemonMessage] = Kind(DaemonMessage)
_TOLD, _ANSWERED = (kind.__struct_config__.tag for kind in (Told, Answered))
