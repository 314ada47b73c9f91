"""Frames and commands as bytes: what peers and logs hold (docs/protocol.md).

A struct is an array: its tag, if its class is one of several, then its fields in order. A field
may be missing at the end if it has a default; fields behind the known ones are ignored, so that a
later release may append some.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, get_args

import msgspec

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.config import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Limits
from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.messages import AppendEntries, Forward, Frame, Message, Offer, Relay, Relayed
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.rules import COMMAND_ITEM_COUNT_MAX
from mabeam_p2p.wire.schema import Schema

Decoded = TypeVar("Decoded")


class Kind(Generic[Decoded]):
    """A type that plain data become, looked through once: msgspec looks through a union at each
    conversion (of all commands that took 60 times as long as to convert one), but keeps what it
    has found of a struct. It does so when a struct is first used, and where two threads are the
    first at once, as two peers in one process, msgspec 0.19 ends the process."""

    def __init__(self, kind: Any) -> None:
        self._holder: Any = msgspec.defstruct(
            "Holder", [("held", kind)], array_like=True, frozen=True
        )
        msgspec.msgpack.Decoder(self._holder)

    def of(self, plain: object) -> Decoded:
        """Raises RemoteProtocolError with reason `type`."""
        try:
            held: Decoded = to_typed((plain,), self._holder).held
        except RemoteProtocolError as error:
            raise RemoteProtocolError("type", error.detail.replace("`$[0]", "`$", 1)) from None
        return held


_FRAME: Kind[Frame] = Kind(Frame)
_COMMANDS: Kind[tuple[AnyCommand, ...]] = Kind(tuple[AnyCommand, ...])

READ_AHEAD_BYTES_MAX = 8 * 1024 * 1024
"""Blobs whose commands are kept from when a frame came until the log applies them."""


class CborCodec:
    """Satisfies ports.Codec. All peers of a cluster need the same `limits`.

    The commands in a frame are read when it comes: what is appended can be applied. A peer that
    applies them soon after does not read them again.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._read: dict[tuple[int, bytes], tuple[AnyCommand, ...]] = {}
        self.read_ahead_bytes = 0
        """Of blobs whose commands are kept."""
        self._schema = Schema(limits, (Frame, *get_args(AnyCommand)))

    def encode_frame(self, frame: Frame) -> bytes:
        return cbor.encode(to_plain(frame))

    def fits(self, data: bytes) -> bool:
        return len(data) <= self._limits.frame_bytes_max and cbor.grows_little(data)

    def decode_frame(self, data: bytes) -> Frame:
        """Raises RemoteProtocolError: its reason is `size`, `cbor`, `type` or `schema`; `version`
        for what only another version of the protocol may understand."""
        plain = cbor.decode(data, size_max=self._limits.frame_bytes_max)
        try:
            frame = _FRAME.of(plain)
            self._schema.check(frame)
            for message in frame.messages:
                self._read_commands(message)
        except RemoteProtocolError:
            match plain:
                case [int(version), *_] if not PROTOCOL_VERSION_MIN <= version <= PROTOCOL_VERSION:
                    detail = f"a frame of protocol {version}, this peer speaks {PROTOCOL_VERSION}"
                    raise RemoteProtocolError("version", detail) from None
                case _:
                    raise
        return frame

    def encode_commands(self, commands: Sequence[AnyCommand]) -> bytes:
        """Raises InvalidValue for a command that decode_commands would refuse.

        What once stands in the log is read by every peer for ever: none of them may choke on it.
        """
        try:
            plain = to_plain(commands)
            # Fields are typed by convention only, and a float passes for an integer.
            for command, fields in zip(commands, plain, strict=True):
                self._schema.check(to_typed(fields, type(command)))
        except (RemoteProtocolError, TypeError) as error:
            fault = error.detail if isinstance(error, RemoteProtocolError) else str(error)
            raise InvalidValue(f"a command cannot travel: {fault}") from None
        blob = cbor.encode_sequence(plain)
        # Every item takes a byte or more, so that short blobs need no count.
        if len(blob) > COMMAND_ITEM_COUNT_MAX:
            for command, fields in zip(commands, plain, strict=True):
                _check_item_count(command, fields)
        return blob

    def decode_commands(self, count: int, blob: bytes) -> tuple[AnyCommand, ...]:
        """Raises RemoteProtocolError, as decode_frame does."""
        commands = self._read.pop((count, blob), None)
        if commands is None:
            return self._decode_commands(count, blob)
        self.read_ahead_bytes -= len(blob)
        return commands

    def _read_commands(self, message: Message) -> None:
        """Refuse a message whose commands cannot be read. Those that a log may take are kept."""
        match message:
            case (
                Forward(count=count, blob=blob)
                | Relay(count=count, blob=blob)
                | Relayed(count=count, blob=blob)
            ):
                self._read_ahead(count, blob)
            case Offer(first=first):
                self._decode_commands(first.count, first.blob)
            case AppendEntries(batches=batches):
                for batch in batches:
                    self._read_ahead(batch.count, batch.blob)
            case _:
                pass

    def _read_ahead(self, count: int, blob: bytes) -> None:
        if (count, blob) in self._read:
            return
        self._read[count, blob] = self._decode_commands(count, blob)
        self.read_ahead_bytes += len(blob)
        while self.read_ahead_bytes > READ_AHEAD_BYTES_MAX:
            oldest = next(iter(self._read))
            del self._read[oldest]
            self.read_ahead_bytes -= len(oldest[1])

    def _decode_commands(self, count: int, blob: bytes) -> tuple[AnyCommand, ...]:
        runs = cbor.decode_sequence(
            count,
            blob,
            size_max=self._limits.batch_bytes_max,
            item_count_max=COMMAND_ITEM_COUNT_MAX,
        )
        commands: list[AnyCommand] = []
        for plain in runs:
            run = _COMMANDS.of(plain)
            for command in run:
                self._schema.check(command)
            commands += run
        return tuple(commands)


def _check_item_count(command: AnyCommand, fields: Sequence[Any]) -> None:
    """Refuse a command of more items than `_decode_commands` reads of one."""
    count = _item_count(fields)
    if count > COMMAND_ITEM_COUNT_MAX:
        raise InvalidValue(
            f"a command cannot travel: {type(command).__name__} has {count} parts, and "
            f"{COMMAND_ITEM_COUNT_MAX} are allowed: name fewer at once"
        )


def _item_count(plain: Sequence[Any]) -> int:
    return 1 + sum(_item_count(one) if isinstance(one, list | tuple) else 1 for one in plain)


def to_plain(data: object) -> Any:
    """Structs to lists of what CBOR knows; bytes stay bytes, and of any kind of float there is one.
    Raises TypeError."""
    return msgspec.to_builtins(data, builtin_types=(bytes,), enc_hook=_plain_float)


def _plain_float(data: object) -> float:
    """As of numpy, whose doubles are floats."""
    if not isinstance(data, float):
        raise TypeError(f"{type(data).__qualname__} has no place in a message")
    return float(data)


def to_typed(plain: object, kind: type[Decoded]) -> Decoded:
    """Plain data to structs. Raises RemoteProtocolError with reason `type`."""
    try:
        # Without builtin_types text would be taken for bytes in base64.
        return msgspec.convert(plain, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RemoteProtocolError("type", str(error)[: cbor.DETAIL_LENGTH_MAX]) from None
