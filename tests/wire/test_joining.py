"""Introductions as bytes: what is written is read, and nothing else is."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.messages import JoinMessage
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.joining import JOIN_BYTES_MAX, JoinCodec
from tests.wire.samples import JOINING, plain_lists

CODEC = JoinCodec()


@pytest.mark.parametrize("message", JOINING, ids=lambda message: type(message).__name__)
def test_a_word_comes_back_as_it_was(message: JoinMessage) -> None:
    assert CODEC.decode(CODEC.encode(message)) == message


@pytest.mark.parametrize("message", JOINING, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("wrong", [None, -1, 2**60, 1.5, b"", b"short", "text", [], [[]]])
def test_a_wrong_field_is_refused(message: JoinMessage, wrong: Any) -> None:
    for place in range(1, len(plain_lists(message))):
        plain = plain_lists(message)
        is_empty = wrong == b"" and plain[0] == 73
        is_text = isinstance(wrong, str) and plain[0] == 74
        plain[place] = wrong
        if is_empty or is_text:  # A welcome may bring nothing; a reason is any short text.
            continue
        with pytest.raises(RemoteProtocolError):
            CODEC.decode(cbor.encode(plain))


def test_a_word_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        CODEC.decode(cbor.encode([74, "x" * JOIN_BYTES_MAX]))
    assert caught.value.reason == "size"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_word_or_a_protocol_error(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        CODEC.decode(data)


@given(st.sampled_from(JOINING), st.integers(0, 200), st.integers(0, 255))
def test_a_word_with_one_garbled_byte_raises_nothing_else(
    message: JoinMessage, at: int, value: int
) -> None:
    data = bytearray(CODEC.encode(message))
    data[at % len(data)] = value
    with suppress(RemoteProtocolError):
        CODEC.decode(bytes(data))
