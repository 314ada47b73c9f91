import math
import time
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from functools import partial
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.wire import cbor

SIZE_MAX = 4 * 1024 * 1024


def refused(data: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        cbor.decode(data, size_max=SIZE_MAX)
    with pytest.raises(RemoteProtocolError):
        cbor.decode_value(data)
    return caught.value


# ---- the strict decoder --------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [*range(60), 100, *range(250, 270), 1004, 43000, 55799, 2**64 - 1])
@pytest.mark.parametrize("content", ["00", "60", "40", "80", "a0", "820102"])
def test_every_tag_is_refused_before_its_content_means_anything(tag: int, content: str) -> None:
    tagged = cbor2.dumps(cbor2.CBORTag(tag, 0))[:-1] + bytes.fromhex(content)
    error = refused(tagged)
    assert error.detail == f"tag {tag} is not allowed"
    refused(b"\x81" + tagged)
    refused(b"\xa1\x61a" + tagged)
    refused(b"\xa1" + tagged + b"\x00")


@pytest.mark.parametrize(
    "foreign",
    [datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.5"), 2**64, -(2**64) - 1, Fraction(1, 2)],
    ids=lambda value: type(value).__name__,
)
def test_what_needs_a_tag_is_refused(foreign: object) -> None:
    refused(cbor2.dumps(foreign))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\x00", id="two items"),
        pytest.param(b"\x82\x00", id="an item too few"),
        pytest.param(b"\x18", id="half a head"),
        pytest.param(b"\x61", id="text cut off"),
        pytest.param(b"\x61\xff", id="text that is not UTF-8"),
        pytest.param(b"\x63\xed\xa0\x80", id="text with a surrogate"),
        pytest.param(b"\x9f\x00\xff", id="indefinite array"),
        pytest.param(b"\xbf\x61a\x00\xff", id="indefinite map"),
        pytest.param(b"\x5f\x41a\xff", id="indefinite bytes"),
        pytest.param(b"\x7f\x61a\xff", id="indefinite text"),
        pytest.param(b"\xff", id="break"),
        pytest.param(b"\x1c", id="reserved length"),
        pytest.param(b"\x9b" + b"\xff" * 8, id="array of 2^64"),
        pytest.param(b"\xbb" + b"\x7f" * 8, id="map of 2^63"),
        pytest.param(b"\x5b" + b"\x7f" * 8, id="bytes of 2^63"),
        pytest.param(b"\x7b" + b"\xff" * 8, id="text of 2^64"),
        pytest.param(b"\xa2\x61a\x00\x61a\x01", id="a key twice"),
        pytest.param(b"\xa1\x00\x01", id="a number as key"),
        pytest.param(b"\xa1\xf6\x01", id="null as key"),
        pytest.param(b"\xa1\x80\x01", id="an array as key"),
        pytest.param(b"\x81" * 17 + b"\x00", id="too deep"),
        pytest.param(b"\x81" * 100_000 + b"\x00", id="far too deep"),
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    assert refused(data).reason == ("size" if len(data) > cbor.UNWEIGHED_BYTES else "cbor")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xf7", id="undefined"),
        pytest.param(b"\xf8\xff", id="simple value"),
        pytest.param(b"\xe0", id="simple value 0"),
        pytest.param(b"\xf9\x7e\x00", id="not a number"),
        pytest.param(b"\xf9\x7c\x00", id="infinity"),
        pytest.param(b"\xfb\xff\xf0" + bytes(6), id="minus infinity"),
        pytest.param(b"\x3b\x80" + bytes(7), id="below -2^63"),
        pytest.param(b"\xa1\x41a\x00", id="bytes as key"),
        pytest.param(b"\xa1\x79\x01\x01" + b"k" * 257 + b"\x00", id="a long key"),
        pytest.param(b"\x81\x81\xa1\x61a\xf7", id="undefined within"),
    ],
)
def test_values_hold_no_other_types(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        cbor.decode_value(data)


def test_sixteen_levels_are_allowed() -> None:
    assert cbor.decode_value(b"\x81" * 15 + b"\x80") is not None
    cbor.encode_value(cbor.decode_value(b"\x81" * 15 + b"\x80"), 100)


def test_input_over_the_size_is_refused_unread() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        cbor.decode(b"\x43abc", size_max=3)
    assert caught.value.reason == "size"
    assert cbor.decode(b"\x43abc", size_max=4) == b"abc"


@pytest.mark.parametrize("empty", [b"\xa0", b"\xa1\x61a\x00", b"\x81\x81\xa0"])
def test_messages_have_no_maps_and_the_first_one_ends_them(empty: bytes) -> None:
    maps = b"\x99\x03\xe8" + empty * 1_000
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError, match="messages have no maps"):
        cbor.decode(maps, size_max=SIZE_MAX)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(maps) + 64 * 1024


NESTED = b"\x81" * 13 + b"\x00"


def sequence(count: int, data: bytes) -> list[object]:
    """All runs of it."""
    runs = cbor.decode_sequence(count, data, size_max=SIZE_MAX, item_count_max=2_048)
    return [member for run in runs for member in run]


@pytest.mark.parametrize("count", [1, 8_192])
def test_one_member_of_a_sequence_cannot_take_the_room_of_all(count: int) -> None:
    data = (b"\x99\x27\x10" + NESTED * 10_000) * 7
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError, match="one of more than 2048 items"):
        sequence(count, data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < cbor.GROWTH_FREE_BYTES


@pytest.mark.parametrize(("item_count", "is_read"), [(2_048, True), (2_049, False)])
def test_items_of_each_member_are_counted_with_itself(item_count: int, is_read: bool) -> None:
    member = (*(0,) * (item_count - 2), bytes(3_000))
    data = cbor.encode(member) * 40
    assert len(data) > 40 * cbor.UNWEIGHED_BYTES
    if is_read:
        assert sequence(40, data) == [member] * 40
        return
    with pytest.raises(RemoteProtocolError, match="one of more than 2048"):
        sequence(40, data)


@pytest.mark.parametrize("byte_count", [4_096, 4_097])
@pytest.mark.parametrize("beside", [b"", bytes(9), bytes(5_000), bytes(100_000)], ids=len)
def test_whether_a_member_is_read_does_not_depend_on_what_is_beside_it(
    byte_count: int, beside: bytes
) -> None:
    """Who appends it to a log beside others would else make a batch that nobody reads."""
    member = (*(0,) * 3_000, bytes(byte_count - 3_006))
    assert len(cbor.encode(member)) == byte_count
    for others in ([], [beside], [beside] * 40):
        for members in ([member, *others], [*others, member]):
            data = cbor.encode_sequence(members)
            if byte_count <= cbor.UNWEIGHED_BYTES:
                assert sequence(len(members), data) == members
                continue
            with pytest.raises(RemoteProtocolError, match="one of more than 2048 items"):
                sequence(len(members), data)


def test_of_a_sequence_little_is_read_before_it_is_judged() -> None:
    """Members of which each may be, and all together become far more than what is read at once."""
    data = (b"\x98\x92" + NESTED * 146) * 500
    tracemalloc.start()
    runs = cbor.decode_sequence(500, data, size_max=SIZE_MAX, item_count_max=2_048)
    first = next(runs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) <= 2
    assert peak < cbor.GROWTH_FREE_BYTES


@pytest.mark.parametrize("count", [-1, 2, 2**32])
def test_a_sequence_of_fewer_bytes_than_members_is_refused(count: int) -> None:
    with pytest.raises(RemoteProtocolError, match="items in 1 bytes") as caught:
        sequence(count, b"\x00")
    assert caught.value.reason == "size"


@pytest.mark.parametrize("cut", [1, 2, 3_000, 5_000])
def test_a_sequence_ends_with_its_last_member(cut: int) -> None:
    data = cbor.encode_sequence([["x" * 50, n] for n in range(200)])
    assert len(data) > 2 * cbor.UNWEIGHED_BYTES
    with pytest.raises(RemoteProtocolError) as caught:
        sequence(200, data[:-cut])
    assert caught.value.reason == "cbor"
    with pytest.raises(RemoteProtocolError, match="bytes too many"):
        sequence(199, data)


@given(
    st.lists(
        st.integers()
        | st.floats()
        | st.text(max_size=30)
        | st.tuples(st.text(), st.none())
        | st.integers(0, 9_000).map(bytes)
        | st.integers(0, 2_000).map(lambda count: (7,) * count),
        max_size=30,
    ),
    st.integers(1, 40),
)
def test_wherever_a_sequence_is_cut_to_be_read_it_is_what_was_sent(
    members: list[object], times: int
) -> None:
    members = [m for m in members if not isinstance(m, int) or -(2**63) <= m < 2**64] * times
    members = [m for m in members if not isinstance(m, float) or math.isfinite(m)]
    assert sequence(len(members), cbor.encode_sequence(members)) == members


SMALL_ITEMS = [
    NESTED,
    b"\x81\x00",
    b"\x62ab",
    b"\x41a",
    b"\x19\x10\x00",
    b"\xf9\x3c\x00",
    b"\x38\xff",
]


@pytest.mark.parametrize("item", SMALL_ITEMS, ids=bytes.hex)
@pytest.mark.parametrize("size", [4_000, 5_000, 40_000, 300_000])
def test_a_message_becomes_no_more_than_is_promised(item: bytes, size: int) -> None:
    count = size // len(item)
    data = b"\x9a" + count.to_bytes(4, "big") + item * count
    tracemalloc.start()
    with suppress(RemoteProtocolError):
        cbor.decode(data, size_max=SIZE_MAX)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Reading takes a copy and a buffer besides.
    assert peak < cbor.GROWTH_FACTOR * size + cbor.GROWTH_FREE_BYTES + size + 66_000


@pytest.mark.parametrize("item", [NESTED, b"\x81\x00", b"\x62ab"], ids=bytes.hex)
def test_a_message_that_would_become_more_is_refused_unread(item: bytes) -> None:
    count = 200_000 // len(item)
    data = b"\x9a" + count.to_bytes(4, "big") + item * count
    with pytest.raises(RemoteProtocolError, match="more than 16 times as many"):
        cbor.decode(data, size_max=SIZE_MAX)
    cbor.decode(data, size_max=SIZE_MAX, is_trusted=True)


def test_a_longer_message_of_too_many_items_takes_no_longer_to_refuse() -> None:
    def seconds(size: int) -> float:
        data = b"\x9a" + size.to_bytes(4, "big") + bytes(size)
        times = []
        for _ in range(3):
            began = time.process_time()
            assert not cbor.grows_little(data)
            times.append(time.process_time() - began)
        return min(times)

    # Of the longer one no more is looked at, and it is twenty times as long.
    assert seconds(4_000_000) < 5 * seconds(200_000)


def test_a_large_map_is_not_begun() -> None:
    keys = b"".join(b"\x65%05x\x00" % number for number in range(50_000))
    data = b"\xba" + (50_000).to_bytes(4, "big") + keys
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError):
        cbor.decode(data, size_max=SIZE_MAX)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024


def test_text_becomes_no_more_than_ten_times_its_bytes() -> None:
    # One wide letter makes all of them wide.
    data = cbor.encode("a" * 1_000_000 + "\U0001f600")
    tracemalloc.start()
    cbor.decode(data, size_max=SIZE_MAX)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * len(data)


KEY = b"k" * 65_536


@pytest.mark.parametrize(
    "data",
    [
        b"\xa2" + (b"\x5a\x00\x01\x00\x00" + KEY + b"\x00") * 2,
        b"\xa2" + (b"\x7a\x00\x01\x00\x00" + KEY + b"\x00") * 2,
        b"\xa1\x7a\x00\x01\x00\x00" + KEY + b"\xfb\x7f\xf8" + bytes(6),
    ],
    ids=["a key of bytes twice", "a key of text twice", "no number under a long key"],
)
def test_a_refusal_quotes_little_of_what_came(data: bytes) -> None:
    for decode in (partial(cbor.decode, size_max=SIZE_MAX), cbor.decode_value):
        with pytest.raises(RemoteProtocolError) as caught:
            decode(data)
        assert len(caught.value.detail) <= cbor.DETAIL_LENGTH_MAX


@pytest.mark.parametrize("item_count", [cbor.ITEM_COUNT_MAX, cbor.ITEM_COUNT_MAX + 1])
def test_what_has_few_items_is_what_is_read(item_count: int) -> None:
    data = cbor.encode([0] * (item_count - 1))
    is_read = item_count == cbor.ITEM_COUNT_MAX
    assert cbor.grows_little(data) is is_read
    with suppress(RemoteProtocolError):
        cbor.decode(data, size_max=SIZE_MAX)
        assert is_read


@pytest.mark.slow
@pytest.mark.parametrize("item", [b"\x80", b"\xa0", b"\x81\x00", b"\x60", b"\x19\x10\x00"])
def test_small_items_cannot_make_much_of_little(item: bytes) -> None:
    count = SIZE_MAX // len(item) - 5
    data = b"\x9a" + count.to_bytes(4, "big") + item * count
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError) as caught:
        cbor.decode(data, size_max=SIZE_MAX)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason == "size"
    assert peak < SIZE_MAX


def test_large_bytes_are_no_many_items() -> None:
    data = cbor.encode([b"x" * 1_000_000, 1, ["two"]])
    assert cbor.decode(data, size_max=SIZE_MAX) == (b"x" * 1_000_000, 1, ("two",))


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        cbor.decode(data, size_max=100)
    with suppress(RemoteProtocolError):
        cbor.decode_value(data)


@given(st.lists(st.integers(0, 2**53)), st.lists(st.integers(0, 2**53)))
def test_sequences_are_joined_by_concatenation(one: list[int], other: list[int]) -> None:
    joined = cbor.encode_sequence(one) + cbor.encode_sequence(other)
    assert sequence(len(one) + len(other), joined) == [*one, *other]


# ---- users' values -------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


@given(values)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    decoded = cbor.decode_value(cbor.encode_value(value, SIZE_MAX))
    assert decoded == value
    assert repr(decoded) == repr(value) or isinstance(value, dict | list)


@given(st.dictionaries(st.text(max_size=9), scalars))
def test_equal_maps_have_equal_bytes(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert cbor.encode_value([value], SIZE_MAX) == cbor.encode_value([turned], SIZE_MAX)


def test_a_tuple_travels_as_a_list() -> None:
    assert cbor.decode_value(cbor.encode_value((1, (2,)), 99)) == [1, [2]]


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    LOW = 1


class float32(float):
    """Like numpy's: a float to isinstance, another type to everybody else."""

    __module__ = "numpy"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, 2, {3}]}, r"value\['a'\]\[2\] is a set: take sorted\(\) of it"),
        (object(), r"value is a object: null, bool, int"),
        ([Colour.RED], r"value\[0\] is a Colour"),
        ([1, Level.LOW], r"value\[1\] is a Level"),
        (float32(1.5), r"value is a float32: take \.item\(\) of a number"),
        (bytearray(b"x"), r"take bytes\(\) of it"),
        ({1: 2}, r"value has the key 1: the keys of a map are text"),
        ({"a": {None: 2}}, r"value\['a'\] has the key None"),
        ({"k" * 300: 2}, r"value has the key 'k+'\.\.\.: a key is text of at most 256 bytes"),
        ([math.nan], r"value\[0\] is nan: only finite"),
        ((1, -math.inf), r"value\[1\] is -inf"),
        ([2**64], r"value\[0\] is an integer of more than 64 bits"),
        (-(2**63) - 1, r"value is an integer of more than 64 bits"),
        (["\ud800"], r"value\[0\] is text with half a surrogate pair"),
    ],
)
def test_what_cannot_travel_is_named_with_its_place(value: object, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        cbor.encode_value(value, SIZE_MAX)


def test_what_cannot_travel_is_named_though_it_is_gone_meanwhile() -> None:
    """As when another thread changes the list."""
    held: list[object] = [1]

    class Kind(type):
        def __getattribute__(cls, name: str) -> object:
            held.clear()
            return super().__getattribute__(name)

    held.append(Kind("Odd", (), {})())
    with pytest.raises(InvalidValue, match=r"value\[\?\] is a Odd"):
        cbor.encode_value(held, SIZE_MAX)


def test_a_value_that_holds_itself_is_too_deep() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidValue, match="nested deeper than 16 levels"):
        cbor.encode_value(value, SIZE_MAX)


def test_a_value_over_the_limit_is_told_its_size() -> None:
    with pytest.raises(InvalidValue, match="value takes 102 bytes, and 50 are allowed"):
        cbor.encode_value(b"x" * 100, 50)
