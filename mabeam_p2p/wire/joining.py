"""Introductions as bytes: a CBOR array with its tag, decoded as strictly as a frame between peers,
and much smaller (docs/protocol.md, Introductions)."""

from typing import get_args

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import JoinMessage
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.codec import Kind, to_plain
from mabeam_p2p.wire.schema import Schema

JOIN_BYTES_MAX = 1_024

_JOIN_MESSAGE: Kind[JoinMessage] = Kind(JoinMessage)


class JoinCodec:
    """Satisfies ports.JoinCodec."""

    def __init__(self) -> None:
        self._schema = Schema(Limits(), get_args(JoinMessage))

    def encode(self, message: JoinMessage) -> bytes:
        return cbor.encode(to_plain(message))

    def decode(self, data: bytes) -> JoinMessage:
        """Raises RemoteProtocolError; never anything else, whatever the bytes."""
        message = _JOIN_MESSAGE.of(cbor.decode(data, size_max=JOIN_BYTES_MAX))
        self._schema.check(message)
        return message
