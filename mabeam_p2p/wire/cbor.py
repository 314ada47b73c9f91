"""CBOR as spoken here: the one place where bytes become objects, and back.

A subset of RFC 8949. Rules, for whatever the bytes are:

1. Types: null, bool, integers of 64 bits, finite floats, text, bytes, arrays, and maps whose keys
   are text, each key once. No tag, no undefined, no simple value, no indefinite length.
2. Exactly the expected items: nothing is missing and nothing follows.
3. Bounded: bytes by the caller, nesting by DEPTH_MAX, items by ITEM_COUNT_MAX; and what a message
   becomes, by GROWTH_FACTOR times its bytes and GROWTH_FREE_BYTES. Of a sequence a few members are
   read at a time, so that who asks for them has judged those before. A user's value is no message:
   who reads one has bounded it.
4. Total: decoding returns, or raises RemoteProtocolError. Its reason is `size` or `cbor`; its
   detail quotes no more than DETAIL_LENGTH_MAX of what came.

Messages are decoded to plain data here and get their types, and with them the rest of rule 1, in
`codec`; they have no maps. Values of users keep no other type, so they are walked (`decode_value`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, NoReturn

import cbor2

from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.ids import KEY_BYTES_MAX

Value = None | bool | int | float | str | bytes | list["Value"] | dict[str, "Value"]
"""What a user's value can be."""

DEPTH_MAX = 16
"""Containers in each other. The deepest message needs nine."""

ITEM_COUNT_MAX = 131_072
"""Items in one message: 15 to 44 ms of a fast processor's time, by what they are."""

GROWTH_FACTOR = 16
GROWTH_FREE_BYTES = 256 * 1024
"""What a message may become in memory: so many times its bytes, and this much besides. Of what
peers say, short names with a number each grow most: by 13."""

UNWEIGHED_BYTES = 4_096
"""Shorter messages cannot become more than GROWTH_FREE_BYTES."""

DETAIL_LENGTH_MAX = 200
"""Characters."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1
"""What int64 and uint64 hold together."""


class _NoTags(Mapping[int, "NoReturn"]):
    """Stands where cbor2 looks for the meaning of a tag; refuses before its content is read.

    A tag_hook would not do: cbor2 does not ask it about the tags that it knows itself.
    """

    def __getitem__(self, tag: int) -> NoReturn:
        raise ValueError(f"tag {tag} is not allowed")

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 0


_NO_TAGS = _NoTags()


def _no_map(decoder: object, found: object) -> NoReturn:
    """Called at the first map: frozen ones would cost twice as much as anything else."""
    raise ValueError("messages have no maps")


def encode(data: object) -> bytes:
    """Plain data to bytes. The caller knows that it holds nothing but what rule 1 allows."""
    return cbor2.dumps(data)


def decode(data: bytes, *, size_max: int, is_trusted: bool = False) -> object:
    """Bytes to plain data: tuples. Raises RemoteProtocolError.

    is_trusted: who has encoded it may have it become as much as it does.
    """
    _check_size(data, size_max)
    if not is_trusted and (fault := _overgrowth(data)):
        raise RemoteProtocolError("size", fault)
    return _decode(data, immutable=True)


def grows_little(data: bytes) -> bool:
    """Whether `decode` reads what was encoded here, as far as what it becomes goes."""
    return not _overgrowth(data)


def encode_sequence(items: Sequence[object]) -> bytes:
    """The items one behind the other, without a frame: results can be concatenated."""
    return cbor2.dumps(items)[len(_array_head(len(items))) :]


def decode_sequence(
    count: int, data: bytes, *, size_max: int, item_count_max: int
) -> Iterator[Sequence[object]]:
    """Exactly `count` items, one behind the other; in runs, each of which becomes no more than
    GROWTH_FREE_BYTES, or is one item. Raises RemoteProtocolError, perhaps behind some runs.

    item_count_max: of an item of more than UNWEIGHED_BYTES, nested ones included; whatever is
    beside it, so that what was read alone is read in any batch.
    """
    _check_size(data, size_max)
    end = len(data)
    if count < 0 or count > end:
        raise RemoteProtocolError("size", f"{count} items in {end} bytes")
    position = 0
    # About as many as take half of what is read at once.
    size = UNWEIGHED_BYTES * count // (2 * end + 1) + 1
    while count:
        size = min(size, count)
        stop = min(position + UNWEIGHED_BYTES, end)
        if size == 1 and stop < end:
            stop = _end_of_one(data, position, item_count_max)
        try:
            run, length = _decode_some(size, data[position:stop])
        except _CutOff:
            if stop == end or size == 1:
                raise
            size //= 2
            continue
        yield run
        position += length
        count -= size
    if position != end:
        raise RemoteProtocolError("cbor", f"{end - position} bytes too many")


def encode_value(value: object, limit: int) -> bytes:
    """A user's value to bytes. Raises InvalidValue, which names the element that cannot travel.

    limit: bytes. Equal values of equal types give equal bytes, whatever the order of their maps,
    but for 0.0 and -0.0, which stay apart; a tuple travels as a list.
    """
    if fault := _fault(value, 0):
        raise InvalidValue(f"value{fault}")
    data = cbor2.dumps(value, canonical=True)
    if len(data) > limit:
        raise InvalidValue(
            f"value takes {len(data)} bytes, and {limit} are allowed: make it smaller"
        )
    return data


def decode_value(data: bytes) -> Value:
    """Inverse of encode_value. Raises RemoteProtocolError. The caller has bounded the size."""
    value: Value = _decode(data, immutable=False)
    if fault := _fault(value, 0):
        raise RemoteProtocolError("cbor", f"value{fault}")
    return value


# ---- the strict decoder ----------------------------------------------------------------------


def _check_size(data: bytes, size_max: int) -> None:
    if len(data) > size_max:
        raise RemoteProtocolError("size", f"{len(data)} bytes, and {size_max} are allowed")


class _CutOff(RemoteProtocolError):
    """More was announced than there is."""


def _decode(data: bytes, *, immutable: bool) -> "Value":
    value, length = _decode_first(data, immutable=immutable)
    if length != len(data):
        raise RemoteProtocolError("cbor", f"{len(data) - length} bytes too many")
    return value


def _decode_some(count: int, data: bytes) -> tuple[Any, int]:
    """So many items at the beginning, and how many bytes they take."""
    head = _array_head(count)
    items, length = _decode_first(head + data, immutable=True)
    return items, length - len(head)


def _decode_first(data: bytes, *, immutable: bool) -> tuple["Value", int]:
    """The item at the beginning, and how many bytes it takes."""
    stream = BytesIO(data)
    decoder = cbor2.CBORDecoder(
        stream,
        semantic_decoders=_NO_TAGS,
        object_hook=_no_map if immutable else None,
        max_depth=DEPTH_MAX,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
    try:
        result: Value = decoder.decode(immutable=immutable)
    # Total by rule 4: whatever the decoder finds wrong, it is the sender who is wrong.
    except Exception as error:
        detail = str(error.__cause__ or error)
        kind = _CutOff if isinstance(error, cbor2.CBORDecodeEOF) else RemoteProtocolError
        raise kind("cbor", detail[:DETAIL_LENGTH_MAX]) from None
    return result, stream.tell()


_TOO_MUCH = 2**40


def _weight(head: int) -> int:
    """Bytes that an item takes in memory with its place in what holds it, without those of its
    text, in CPython: what is shared takes its place alone."""
    kind, argument = head >> 5, head & 31
    if kind == 4:
        return 8 if argument == 0 else 56
    if kind in (2, 3):
        return 8 if argument < 2 - (kind == 2) else 60
    if kind == 7:
        return 8 if argument < 25 else 40
    if kind in (0, 1):
        return 8 if argument < 25 - 20 * kind else 44
    # A map is refused once it was read, and takes more than its items do; so none is begun. At a
    # tag the decoder ends.
    return _TOO_MUCH if kind == 5 else 8


_WEIGHTS = tuple(map(_weight, range(256)))


def _overgrowth(data: bytes) -> str:
    """What a message has too much of; empty if nothing.

    Walks the heads of RFC 8949 §3 without making objects. Where a head is wrong this ends: the
    decoder ends there too.
    """
    end = len(data)
    if end <= UNWEIGHED_BYTES:
        return ""
    weights = _WEIGHTS
    position = count = 0
    room = GROWTH_FACTOR * end + GROWTH_FREE_BYTES
    while position < end and count <= ITEM_COUNT_MAX:
        head = data[position]
        position += 1
        count += 1
        room -= weights[head]
        if room < 0:
            return f"its {end} bytes would become more than {GROWTH_FACTOR} times as many"
        argument = head & 31
        if argument > 27:
            break
        if argument > 23:
            width = 1 << (argument - 24)
            argument = int.from_bytes(data[position : position + width], "big")
            position += width
        if head >> 5 in (2, 3):
            position += argument
            room -= argument
    return f"more than {ITEM_COUNT_MAX} items" if count > ITEM_COUNT_MAX else ""


def _end_of_one(data: bytes, position: int, item_count_max: int) -> int:
    """Where the item ends that begins at `position`; refused if it has too many within, all nested
    ones included, and is not short. Where a head is wrong, the end is that of all, as in
    `_overgrowth`."""
    short_until = position + UNWEIGHED_BYTES
    count = 0
    missing = 1
    end = len(data)
    while missing and position < end:
        head = data[position]
        position += 1
        count += 1
        argument = head & 31
        if argument > 27:
            return end
        if argument > 23:
            width = 1 << (argument - 24)
            argument = int.from_bytes(data[position : position + width], "big")
            position += width
        kind = head >> 5
        if kind == 4:
            missing += argument
        elif kind in (2, 3):
            position += argument
        if count > item_count_max and position > short_until:
            raise RemoteProtocolError("size", f"one of more than {item_count_max} items")
        missing -= 1
    return min(position, end)


def _array_head(count: int) -> bytes:
    if count < 24:
        return bytes((0x80 | count,))
    if count < 256:
        return bytes((0x98, count))
    if count < 65_536:
        return b"\x99" + count.to_bytes(2, "big")
    return b"\x9a" + count.to_bytes(4, "big")


# ---- users' values ---------------------------------------------------------------------------

_TOO_DEEP = f" is nested deeper than {DEPTH_MAX} levels"


def _fault(value: Any, depth: int) -> str:
    """Where `value` or something in it breaks rule 1 or 3, and how; empty if nowhere.

    The way there is put together from its end, so that what is right costs nothing for it.
    """
    # Exact types: a subclass, as of an enum, would come back as something else.
    kind = type(value)
    # Containers come first, and arrays are not counted: values of nothing else take longest.
    if kind is list or kind is tuple:
        if depth == DEPTH_MAX:
            return _TOO_DEEP
        depth += 1
        for element in value:
            if fault := _fault(element, depth):
                # Another thread may have changed the list meanwhile.
                position = next((str(n) for n, one in enumerate(value) if one is element), "?")
                return f"[{position}]{fault}"
        return ""
    if kind is dict:
        if depth == DEPTH_MAX:
            return _TOO_DEEP
        for key, element in value.items():
            if fault := _fault_of_key(key):
                return fault
            if fault := _fault(element, depth + 1):
                return f"[{key!r}]{fault}"
        return ""
    if kind is float:
        return "" if math.isfinite(value) else f" is {value}: only finite numbers can travel"
    if kind is str:
        if _is_unicode(value):
            return ""
        return " is text with half a surrogate pair, which has no UTF-8"
    if kind is int:
        if INTEGER_MIN <= value <= INTEGER_MAX:
            return ""
        return " is an integer of more than 64 bits: send it as text"
    if value is None or kind is bool or kind is bytes:
        return ""
    return f" is a {kind.__qualname__}: {_hint(kind)}"


def _fault_of_key(key: object) -> str:
    if type(key) is not str:
        return f" has the key {key!r}: the keys of a map are text"
    if not _is_unicode(key) or len(key.encode()) > KEY_BYTES_MAX:
        return f" has the key {key[:40]!r}...: a key is text of at most {KEY_BYTES_MAX} bytes"
    return ""


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hint(kind: type) -> str:
    """What to do with a value of a type that cannot travel."""
    if kind.__module__.partition(".")[0] in ("numpy", "torch"):
        return "take .item() of a number, .tolist() of an array"
    if issubclass(kind, set | frozenset):
        return "take sorted() of it"
    if issubclass(kind, bytearray | memoryview):
        return "take bytes() of it"
    return "null, bool, int, float, text, bytes, list and dict with text keys can travel"
