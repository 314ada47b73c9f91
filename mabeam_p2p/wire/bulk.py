"""The header of a message between bulk sockets as bytes: a CBOR array, decoded as strictly as a
frame between peers. The data itself is never encoded (docs/protocol.md, Bulk data)."""

from mabeam_p2p.config import BULK_VERSION, Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.messages import BulkHeader
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.codec import Kind, to_plain
from mabeam_p2p.wire.schema import Schema

HEADER_BYTES_MAX = 65_536
"""A BulkWant with all the ranges that it may have fits."""

_HEADER: Kind[BulkHeader] = Kind(BulkHeader)


class BulkCodec:
    """Headers to bytes and back."""

    def __init__(self, limits: Limits) -> None:
        self._schema = Schema(limits, (BulkHeader,))

    def encode(self, header: BulkHeader) -> bytes:
        return cbor.encode(to_plain(header))

    def decode(self, data: bytes) -> BulkHeader:
        """Raises RemoteProtocolError; never anything else, whatever the bytes."""
        plain = cbor.decode(data, size_max=HEADER_BYTES_MAX)
        header = _HEADER.of(plain)
        self._schema.check(header)
        if header.version != BULK_VERSION:
            raise RemoteProtocolError("version", f"a bulk header of protocol {header.version}")
        return header
