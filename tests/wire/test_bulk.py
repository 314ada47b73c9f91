"""Bulk headers: what is written is read, and nothing else is."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.messages import BulkHeader
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.bulk import BulkCodec
from tests.wire.samples import BULK, plain_lists

CODEC = BulkCodec(Limits())


@pytest.mark.parametrize("header", BULK, ids=lambda header: type(header.message).__name__)
def test_a_header_comes_back_as_it_was(header: BulkHeader) -> None:
    assert CODEC.decode(CODEC.encode(header)) == header


def spoiled(place: tuple[int, ...], value: Any) -> bytes:
    """The second sample with another value at this place."""
    plain = plain_lists(BULK[1])
    inner = plain
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return cbor.encode(plain)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((0,), 99),
        ((1,), b"short"),
        ((1,), "0123456789abcdef"),
        ((2,), -1),
        ((3,), 2**60),
        ((4, 0), 62),
        ((4, 1), 2),
        ((4, 3), 1.5),
        ((4, 4), 2**32),
    ],
)
def test_a_wrong_field_is_refused(place: tuple[int, ...], value: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        CODEC.decode(spoiled(place, value))


def test_too_many_ranges_are_refused() -> None:
    codec = BulkCodec(Limits(bulk_ranges_max=1))
    twice = replace(BULK[0].message, wanted=BULK[0].message.wanted * 2)  # type: ignore[union-attr]
    with pytest.raises(RemoteProtocolError):
        codec.decode(CODEC.encode(replace(BULK[0], message=twice)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_protocol_error(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        CODEC.decode(data)


@given(st.integers(0, 40), st.integers(0, 255))
def test_a_header_with_one_garbled_byte_raises_nothing_else(at: int, value: int) -> None:
    data = bytearray(CODEC.encode(BULK[1]))
    data[at % len(data)] = value
    with suppress(RemoteProtocolError):
        CODEC.decode(bytes(data))
