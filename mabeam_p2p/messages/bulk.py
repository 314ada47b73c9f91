"""Bulk data: between agents, on sockets of its own, so that its tags are its own, too."""

from msgspec import Struct


class ChunkRange(Struct, frozen=True, gc=False, array_like=True):
    """A run of chunks of one slice in one stage (protocol/bulk/plan.py)."""

    stage: int
    slice: int
    first: int
    count: int


class BulkWant(Struct, frozen=True, gc=False, array_like=True, tag=60):
    """Send me these chunks, once you have them; nothing: a sign of life."""

    wanted: tuple[ChunkRange, ...]


class BulkChunk(Struct, frozen=True, gc=False, array_like=True, tag=61):
    """One chunk; its bytes are the next ZeroMQ frame of the same message."""

    stage: int
    slice: int
    chunk: int
    checksum: int
    """CRC-32 of the bytes."""


BulkMessage = BulkWant | BulkChunk

BULK_TOKEN_BYTES = 16


class BulkHeader(Struct, frozen=True, gc=False, array_like=True):
    """The first ZeroMQ frame of every message between the bulk sockets."""

    version: int
    token: bytes
    """What the receiver drew for this exchange and told its members alone, through the log."""
    round: int
    """How often members have been left out."""
    source: int
    """The sender's place among the members of the round."""
    message: BulkMessage
