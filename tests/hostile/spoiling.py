"""The corpus of hostile input: each message by field and way, and what codecs have failed at.

A case is a name and bytes. Its name says where it goes in, what it was, and what was done to it:
`frame/Heartbeat/term/nan`. Everything is made from the samples, the same on every machine.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cbor2
import msgspec

from mabeam_p2p.commands import Noop
from mabeam_p2p.ids import CLUSTER_SESSION
from mabeam_p2p.messages import Forward, Frame, Message
from mabeam_p2p.requests import Submit
from mabeam_p2p.wire.local import Ask
from tests.hostile.local_samples import CLIENT_MESSAGES, label_of
from tests.wire.samples import BULK, COMMANDS, JOINING, MESSAGES, frame_of, plain_lists

Case = tuple[str, bytes]


class Raw:
    """Bytes that stand in the encoding as they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def encoded(data: Any) -> bytes:
    if isinstance(data, Raw):
        return data.data
    if isinstance(data, list):
        head = cbor2.dumps([0] * len(data))[: -len(data) or None]
        return head + b"".join(map(encoded, data))
    return cbor2.dumps(data)


# ---- one field at a time -----------------------------------------------------------------------

DEEP = Raw(b"\x81" * 40 + b"\x00")
WAYS: dict[str, Callable[[Any], Any]] = {
    "wrong-type": lambda value: 7 if isinstance(value, str | bytes | list | None) else "seven",
    "null": lambda value: None,
    "negative": lambda value: -1,
    "nan": lambda value: Raw(b"\xf9\x7e\x00"),
    "infinity": lambda value: Raw(b"\xf9\x7c\x00"),
    "2^64-1": lambda value: 2**64 - 1,
    "2^64": lambda value: 2**64,
    "deep": lambda value: DEEP,
    "duplicate-key": lambda value: Raw(b"\xa2\x61a" + encoded(value) + b"\x61a\x00"),
    "map": lambda value: Raw(b"\xa1\x61a" + encoded(value)),
    "tag": lambda value: Raw(b"\xc1" + encoded(value)),
    "shared-reference": lambda value: Raw(b"\xd8\x1c" + encoded(value)),
    "indefinite": lambda value: Raw(indefinite(value)),
    "huge": lambda value: Raw(huge(value)),
}
"""What is put in the place of a field. `missing` cuts it out, `last` cuts what is behind it off."""


def indefinite(value: Any) -> bytes:
    """The same without a length in front."""
    if isinstance(value, str):
        return b"\x7f" + encoded(value) + b"\xff"
    if isinstance(value, bytes):
        return b"\x5f" + encoded(value) + b"\xff"
    parts = value if isinstance(value, list) else [value]
    return b"\x9f" + b"".join(map(encoded, parts)) + b"\xff"


def huge(value: Any) -> bytes:
    """A length that is not there."""
    head = b"\x7b" if isinstance(value, str) else b"\x5b" if isinstance(value, bytes) else b"\x9b"
    return head + b"\x7f" + b"\xff" * 7


def fields(message: msgspec.Struct, plain: list[Any]) -> Iterator[tuple[str, list[Any], int]]:
    """Name, owner and position of every field, also of the structs within."""
    infos = msgspec.structs.fields(type(message))
    start = len(plain) - len(infos)
    if start:
        yield "tag", plain, 0
    for position, info in enumerate(infos, start):
        yield info.name, plain, position
        value = getattr(message, info.name)
        inner, place = value, plain[position]
        if isinstance(value, tuple) and value:
            yield f"{info.name}[0]", place, 0
            inner, place = value[0], place[0]
        if isinstance(inner, msgspec.Struct):
            for name, owner, at in fields(inner, place):
                yield f"{info.name}.{name}", owner, at


def spoiled(message: msgspec.Struct, wrap: Callable[[Any], bytes]) -> Iterator[Case]:
    """`FIELD/WAY` and the bytes, for every field and way; and `whole`, of which nothing is wrong.
    wrap: from the plain message to bytes."""
    plain = plain_lists(message)
    yield "whole", wrap(plain)
    for name, owner, position in list(fields(message, plain)):
        value = owner[position]
        for way, change in WAYS.items():
            owner[position] = change(value)
            yield f"{name}/{way}", wrap(plain)
        owner[position] = value
        behind = owner[position:]
        for way, rest in (("missing", behind[1:]), ("last", behind[:1])):
            owner[position:] = rest
            yield f"{name}/{way}", wrap(plain)
        owner[position:] = behind


# ---- faults that codecs have had ----------------------------------------------------------------

COLLIDING = (2**61 - 1, 2 * (2**61 - 1), 3 * (2**61 - 1))
"""Integers of one hash."""


def array(count: int) -> bytes:
    return b"\x9a" + count.to_bytes(4, "big")


FAULTS: dict[str, bytes] = {
    "empty": b"",
    "garbage": b"\xff" * 64,
    "zeros": bytes(64),
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "half-a-head": b"\x1b\x00\x00",
    "reserved-head": b"\x1c",
    "break": b"\xff",
    "deep-arrays": b"\x81" * 60_000 + b"\x00",
    "deep-maps": b"\xa1\x61a" * 20_000 + b"\x00",
    "deep-tags": b"\xc1" * 60_000 + b"\x00",
    "deep-indefinite": b"\x9f" * 60_000,
    "declared-array": b"\x9b" + b"\xff" * 8,
    "declared-array-2^31": b"\x9a\x7f\xff\xff\xff\x00",
    "declared-map": b"\xbb" + b"\x7f" * 8,
    "declared-bytes": b"\x5b" + b"\x7f" * 8,
    "declared-text": b"\x7b" + b"\xff" * 8,
    "declared-1-GB": b"\x5a\x40\x00\x00\x00abc",
    "many-empty-arrays": array(60_000) + b"\x80" * 60_000,
    "many-empty-maps": array(60_000) + b"\xa0" * 60_000,
    "many-pairs": array(30_000) + b"\x81\x00" * 30_000,
    "as-many-as-may-be": array(131_000) + b"\x00" * 131_000,
    "many-nested": array(4_000) + (b"\x81" * 13 + b"\x00") * 4_000,
    "many-texts": array(30_000) + b"\x61x" * 30_000,
    "many-floats": array(20_000) + b"\xf9\x3c\x01" * 20_000,
    "many-keys": b"\xb9\x40\x00" + b"".join(b"\x63%03x\x00" % n for n in range(4_096)) * 4,
    "colliding-keys": b"\xa3" + b"".join(cbor2.dumps(n) + b"\x00" for n in COLLIDING),
    "key-twice": b"\xa2\x61a\x00\x61a\x01",
    "key-is-null": b"\xa1\xf6\x00",
    "key-is-an-array": b"\xa1\x80\x00",
    "indefinite-map": b"\xbf\x61a\x00\xff",
    "indefinite-of-indefinite": b"\x9f" * 12 + b"\xff" * 12,
    "indefinite-text-of-bytes": b"\x7f\x41a\xff",
    "date": cbor2.dumps(cbor2.CBORTag(0, "2026-01-01T00:00:00Z")),
    "date-far": b"\xc1\x1b" + b"\xff" * 8,
    "bignum": b"\xc2\x59\x10\x00" + b"\xff" * 4_096,
    "negative-bignum": b"\xc3\x41\xff",
    "decimal-exponent": b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "bigfloat-exponent": b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "regex": b"\xd8\x23\x78\x1c(a+)+$(a+)+$(a+)+$(a+)+$(a+",
    "mime": b"\xd8\x24\x6bfrom: a\r\n\r\n",
    "uuid": b"\xd8\x25\x50" + bytes(16),
    "fraction": b"\xd8\x1e\x82\x01\x00",
    "address": b"\xd9\x01\x04\x44\x7f\x00\x00\x01",
    "shared-cycle": b"\xd8\x1c\x81\xd8\x1d\x00",
    "shared-nowhere": b"\xd8\x1d\x19\xff\xff",
    "string-reference": b"\xd9\x01\x00\x82\x63abc\xd8\x19\x00",
    "string-reference-nowhere": b"\xd9\x01\x00\xd8\x19\x19\xff\xff",
    "set": b"\xd9\x01\x02\x82\x01\x01",
    "self-described": b"\xd9\xd9\xf7\x80",
    "tag-2^64-1": b"\xdb" + b"\xff" * 8 + b"\x00",
    "undefined": b"\xf7",
    "simple": b"\xf8\xff",
    "simple-short": b"\xf8\x14",
    "nan": b"\xfb\x7f\xf8" + bytes(6),
    "nan-payload": b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x01",
    "infinity": b"\xfb\xff\xf0" + bytes(6),
    "bad-utf8": b"\x62\xc3\x28",
    "surrogate": b"\x63\xed\xa0\x80",
    "overlong-utf8": b"\x62\xc0\x80",
    "wide-text": b"\x7a\x00\x00\x40\x04" + b"a" * 16_384 + "\U0001f600".encode(),
    "bytes-over-4096": b"\x59\x13\x88" + bytes(5_000),
    "two-items": b"\x80\x80",
    "zlib-bomb": b"\x78\xda\xed\xc1\x01\x01" + bytes(996),
    "pickle": b"\x80\x04\x95\x1d" + bytes(7) + b"\x8c\x05posix\x94\x8c\x06system\x94\x93\x94"
    b"\x8c\x04true\x94\x85\x94R\x94.",
    "pickle-0": b"cos\nsystem\n(S'true'\ntR.",
    "marshal": b"\xe3" + bytes(24),
    "json": b'{"__class__": "os.system"}',
}
"""By what they were made of; rows 67, 82, 87, 88 and 89 of the catalogue of known faults, and what
each type that a strict reader refuses looks like."""

NOOP = encoded(plain_lists(Noop(CLUSTER_SESSION, 0)))
NESTED = b"\x81" * 13 + b"\x00"
BATCHES: dict[str, tuple[int, bytes]] = {
    "nested": (512, (b"\x98\x92" + NESTED * 146) * 512),
    "nested-short": (30, (b"\x98\x92" + NESTED * 146) * 30),
    "pairs": (8_192, b"\x81\x00" * 8_192),
    "numbers": (512, (b"\x99\x07\xf8" + bytes(2_040)) * 512),
    "one-of-numbers": (1, array(1_048_000) + bytes(1_048_000)),
    "one-nested": (1, array(70_000) + NESTED * 70_000),
    "one-behind-many": (8_192, NOOP * 8_191 + array(60_000) + NESTED * 60_000),
    "fewer": (8_192, NOOP * 8_191),
    "more": (1, NOOP * 8_192),
}
"""So many commands, and what is sent in their place: as much as fits into a batch."""


# ---- ways in ------------------------------------------------------------------------------------


def frame_cases(
    messages: Iterable[Message] = MESSAGES, like: Frame | None = None
) -> Iterator[Case]:
    """like: the frame whose head these have."""
    whole = plain_lists(like or frame_of())
    names = [field.name for field in msgspec.structs.fields(Frame)]

    def wrap(message: Any) -> bytes:
        whole[names.index("messages")] = [message]
        return encoded(whole)

    for message in messages:
        for name, data in spoiled(message, wrap):
            yield f"frame/{type(message).__name__}/{name}", data
    first = next(iter(messages), MESSAGES[0])
    frame = frame_of(first) if like is None else msgspec.structs.replace(like, messages=(first,))
    for name, data in spoiled(frame, encoded):
        if not name.startswith("messages."):
            yield f"frame/Frame/{name}", data
    for name, data in FAULTS.items():
        yield f"frame/faults/{name}", data
        yield f"frame/faults-within/{name}", wrap(Raw(data))
    for name, (count, blob) in BATCHES.items():
        forward = Forward(1, 1, count, blob)
        yield f"frame/batches/{name}", wrap(plain_lists(forward))


def command_cases() -> Iterator[Case]:
    for command in COMMANDS:
        for name, data in spoiled(command, encoded):
            yield f"command/{type(command).__name__}/{name}", data
    for name, data in FAULTS.items():
        yield f"command/faults/{name}", data


def bulk_cases() -> Iterator[Case]:
    for header in BULK:
        for name, data in spoiled(header, encoded):
            yield f"bulk/{type(header.message).__name__}/{name}", data
    for name, data in FAULTS.items():
        yield f"bulk/faults/{name}", data


def joining_cases() -> Iterator[Case]:
    for word in JOINING:
        for name, data in spoiled(word, encoded):
            yield f"joining/{type(word).__name__}/{name}", data
    for name, data in FAULTS.items():
        yield f"joining/faults/{name}", data


def local_cases() -> Iterator[Case]:
    """Without the length in front. The fields of commands stand in `command`."""
    labels: set[str] = set()
    for message in CLIENT_MESSAGES:
        request = getattr(message, "request", None)
        label = label_of(message)
        if label in labels:
            continue
        labels.add(label)
        is_command = isinstance(request, Submit)
        for name, data in spoiled(message, encoded):
            if not is_command or name == "whole" or name.startswith("request.command/"):
                yield f"local/{label}/{name}", data
    for name, data in spoiled(Ask(1, Submit(COMMANDS[0], 2.5)), encoded):
        yield f"local/Ask-Submit/{name}", data
    for name, data in FAULTS.items():
        yield f"local/faults/{name}", data


def value_cases() -> Iterator[Case]:
    for name, data in FAULTS.items():
        yield f"value/faults/{name}", data


def all_cases() -> Iterator[Case]:
    yield from frame_cases()
    yield from command_cases()
    yield from bulk_cases()
    yield from joining_cases()
    yield from local_cases()
    yield from value_cases()
