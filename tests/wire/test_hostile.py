"""Whatever arrives: a message, or RemoteProtocolError. Never another exception.

The corpus is each message and command, with each place in it spoiled in each way; a search over
mutated bytes goes beyond it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.messages import Frame
from mabeam_p2p.requests import Submit
from mabeam_p2p.wire import local
from mabeam_p2p.wire.codec import CborCodec
from tests.wire.samples import COMMANDS, MESSAGES, ONE, SECOND, VARIABLE, frame_of, plain_lists

CODEC = CborCodec(Limits())


class Raw:
    """Bytes that stand in the encoding as they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


SPOILS: dict[str, Any] = {
    "null": None,
    "true": True,
    "negative": -1,
    "2^53": 2**53,
    "2^63": 2**63,
    "2^64 - 1": 2**64 - 1,
    "2^64": 2**64,
    "float": 1.5,
    "not a number": math.nan,
    "infinity": math.inf,
    "empty text": "",
    "text": "x",
    "question mark": "?127.0.0.1:1",
    "control characters": "a\x00b\n",
    "long text": "y" * 70_000,
    "bytes": b"\xff\x00",
    "empty array": [],
    "array": [1, "a", None],
    "long array": [0] * 5_000,
    "deep": nested(10),
    "too deep": nested(40),
    "map": {"a": 1},
    "a key twice": Raw(b"\xa2\x61a\x00\x61a\x01"),
    "a tag": Raw(b"\xc2\x41\x05"),
    "a shared reference": Raw(b"\xd8\x1d\x00"),
    "undefined": Raw(b"\xf7"),
    "a simple value": Raw(b"\xf8\xfe"),
    "indefinite array": Raw(b"\x9f\x00\xff"),
    "indefinite text": Raw(b"\x7f\x61a\xff"),
    "a break": Raw(b"\xff"),
    "a huge length": Raw(b"\x9b" + b"\x7f" * 8),
    "invalid UTF-8": Raw(b"\x62\xc3\x28"),
}


def encoded(data: Any) -> bytes:
    if isinstance(data, Raw):
        return data.data
    if isinstance(data, list):
        head = cbor2.dumps([0] * len(data))[: -len(data) or None]
        return head + b"".join(map(encoded, data))
    return cbor2.dumps(data)


def places(data: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The path of every element within lists."""
    if isinstance(data, list):
        for position, element in enumerate(data):
            yield (*path, position)
            yield from places(element, (*path, position))


def spoiled(data: Any, path: tuple[int, ...], spoil: Callable[[list[Any], int], None]) -> bytes:
    """`data` encoded, with what stands at `path` spoiled; `data` itself stays as it is."""

    def copy(part: Any) -> Any:
        return [copy(element) for element in part] if isinstance(part, list) else part

    whole = copy(data)
    owner = whole
    for position in path[:-1]:
        owner = owner[position]
    spoil(owner, path[-1])
    return encoded(whole)


def corpus(data: Any) -> Iterator[tuple[str, bytes]]:
    """Every place spoiled in every way, left out, doubled, or the last thing there is."""
    for path in places(data):
        for name, other in SPOILS.items():
            yield f"{path} {name}", spoiled(data, path, replace_by(other))
        yield f"{path} missing", spoiled(data, path, lambda owner, at: owner.pop(at))
        yield f"{path} twice", spoiled(data, path, lambda owner, at: owner.insert(at, owner[at]))
        yield f"{path} last", spoiled(data, path, cut_behind)


def replace_by(other: Any) -> Callable[[list[Any], int], None]:
    def spoil(owner: list[Any], position: int) -> None:
        owner[position] = other

    return spoil


def cut_behind(owner: list[Any], position: int) -> None:
    del owner[position + 1 :]


def refusals(
    decode: Callable[[bytes], object], encode: Callable[[Any], bytes], data: Any
) -> tuple[int, int]:
    """How many of the corpus were refused, and how many there were. What is decoded must be right:
    it encodes again, and decodes to the same."""
    refused = total = 0
    for name, hostile in corpus(data):
        total += 1
        try:
            result = decode(hostile)
        except RemoteProtocolError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"{name}: {hostile[:100].hex()}") from error
        else:
            assert decode(encode(result)) == result, name
    return refused, total


@pytest.mark.slow
@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_spoiled_frame_is_refused_or_another_right_frame(message: Any) -> None:
    data = plain_lists(frame_of(message))
    refused, total = refusals(CODEC.decode_frame, CODEC.encode_frame, data)
    # Most are wrong; what is right by chance, as a text in place of another, is no danger.
    assert total > 300
    assert refused > total * 0.8


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
def test_a_spoiled_command_is_refused_or_another_right_command(command: Any) -> None:
    def decode(blob: bytes) -> tuple[Any, ...]:
        return CODEC.decode_commands(1, blob)

    refused, total = refusals(decode, CODEC.encode_commands, plain_lists(command))
    assert refused > total * 0.7


@pytest.mark.slow
def test_a_spoiled_local_message_is_refused_or_another_right_one() -> None:
    def decode(data: bytes) -> list[local.ClientMessage]:
        reader = local.client_messages(Limits())
        return reader.feed(len(data).to_bytes(4, "big") + data)

    def encode(messages: list[local.ClientMessage]) -> bytes:
        return local.encode(messages[0])[local.LENGTH_BYTES :]

    for message in (local.Greet(1, "judge"), local.Ask(1, Submit(COMMANDS[6], 1.5))):
        refused, total = refusals(decode, encode, plain_lists(message))
        assert refused > total * 0.7


frames = [CODEC.encode_frame(frame_of(message)) for message in MESSAGES]


@pytest.mark.slow
@settings(max_examples=3_000)
@given(
    st.sampled_from(frames),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    st.integers(0, 300),
    st.binary(max_size=5),
)
def test_mutated_frames_are_decoded_or_refused(
    frame: bytes, changes: list[tuple[int, int]], cut: int, behind: bytes
) -> None:
    mutated = bytearray(frame)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    data = bytes(mutated[: max(len(mutated) - cut, 0)] if cut < 100 else mutated) + behind
    with suppress(RemoteProtocolError):
        assert isinstance(CODEC.decode_frame(data), Frame)


# ---- what no single field shows ------------------------------------------------------------------


def changed(data: Any, path: tuple[int, ...], other: Any) -> bytes:
    return spoiled(data, path, replace_by(other))


def message_named(name: str) -> Any:
    return next(plain_lists(frame_of(m)) for m in MESSAGES if type(m).__name__ == name)


BODY = (6, 0)
"""Where a frame's first message stands."""


@pytest.mark.parametrize(
    ("name", "path", "other", "what"),
    [
        ("AppendEntries", (3,), 1, "AppendEntries: batches are not contiguous"),
        ("AppendEntries", (6, 1, 0), 3, "AppendEntries: batches are not contiguous"),
        ("AppendEntries", (6, 0, 1), 2, "AppendEntries: batches are not contiguous"),
        ("AppendEntries", (6, 0, 1), 0, "Batch.count"),
        ("AppendEntries", (6, 0, 1), 8_193, "Batch.count"),
        ("AppendEntries", (6, 0, 0), 0, "Batch.index"),
        ("AppendEntries", (6, 0, 4), bytes(1024 * 1024 + 1), "Batch.blob"),
        ("AppendEntries", (6, 0, 5), [ONE, ONE], "Batch: voters are not sorted"),
        ("AppendEntries", (6,), [plain_lists(SECOND)] * 65, "AppendEntries.batches"),
        ("AppendEntries", (2,), 2**53, "AppendEntries.term"),
        ("Heartbeat", (4,), -1, "Heartbeat.round"),
        ("Offer", (3, 0), 2, "Offer: first is not the first of a log"),
        ("Offer", (2,), [], "Offer.voters"),
        ("Forward", (3,), 0, "Forward.count"),
        ("Relay", (3,), 0, "Relay.count"),
        ("Relayed", (3,), 8_193, "Relayed.count"),
        ("AckRelay", (1,), "nobody", "AckRelay.target"),
        ("AckRelay", (3,), [4], "AckRelay.outcomes"),
        ("AcksRelayed", (1, 0, 0), "nobody", "RelayedAck.source"),
        ("AcksRelayed", (1, 0, 2), [4], "RelayedAck.outcomes"),
        ("Hello", (1,), "no spaces", "Hello.cluster"),
        ("Hello", (3, 2), "nowhere", "Member.address"),
        ("Hello", (3, 0), "?1.2.3.4:5", "Member.peer"),
        ("Promise", (1,), "0" * 31, "Promise.cluster_id"),
        ("VariableAck", (2,), [4], "VariableAck.outcomes"),
        ("VariablePush", (2, 0, 1), "", "Variable.name"),
        ("VariablePush", (3,), -1, "VariablePush.base"),
        ("VariableWant", (2,), -1, "VariableWant.base"),
        ("VariableSpread", (2,), "nobody", "VariableSpread.writer"),
        ("VariableSpread", (6,), -1, "VariableSpread.base"),
        ("SpreadAcks", (3, 0, 0), [4], "PeerAcks.outcomes"),
        ("SpreadAcks", (3, 0, 1), [], "PeerAcks.peers"),
        ("TreeAsk", (2, 0, 0), 0, "TreeAsk.nodes"),
        ("TreeAsk", (2, 0, 0), 2**17, "TreeAsk.nodes"),
        ("TreeAsk", (5,), 2**63, "TreeAsk.clock"),
        ("TreeAnswer", (3, 0, 1), list(range(15)), "TreeAnswer.nodes"),
        ("TreeAnswer", (5, 0, 0), "", "TreeAnswer.entries"),
        ("TreeAnswer", (8, 0, 0), "nobody", "TreeAnswer.known"),
        ("TreeDone", (2, 0, 1), 2**63, "TreeDone.known"),
        ("VariablePush", (2, 0, 4, 0, 1), 2**62, "Variable: siblings and context"),
        ("VariablePush", (2,), [plain_lists(VARIABLE)] * 4_097, "VariablePush.variables"),
        ("Gossip", (1,), [], ""),
    ],
)
def test_ranges_and_relations_are_kept(
    name: str, path: tuple[int, ...], other: Any, what: str
) -> None:
    hostile = changed(message_named(name), (*BODY, *path), other)
    if not what:
        CODEC.decode_frame(hostile)
        return
    with pytest.raises(RemoteProtocolError) as caught:
        CODEC.decode_frame(hostile)
    assert caught.value.reason == "schema"
    assert what in caught.value.detail


def test_more_messages_than_a_frame_may_hold_are_refused() -> None:
    codec = CborCodec(Limits(frame_messages_max=3))
    message = MESSAGES[2]
    assert len(codec.decode_frame(codec.encode_frame(frame_of(*[message] * 3))).messages) == 3
    with pytest.raises(RemoteProtocolError, match=r"Frame\.messages"):
        codec.decode_frame(codec.encode_frame(frame_of(*[message] * 4)))
