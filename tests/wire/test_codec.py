from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.commands import AnyCommand, AppendJournal, Arrive, CastVote, RevealBid
from mabeam_p2p.config import PROTOCOL_VERSION, Limits
from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.ids import AgentId, AuctionId, PeerId, ProposalId, SessionId
from mabeam_p2p.messages import (
    AppendEntries,
    Forward,
    Frame,
    Heartbeat,
    Message,
    Offer,
    Relay,
    Relayed,
    VariableAck,
)
from mabeam_p2p.records import Batch, Choice, OnDeparture
from mabeam_p2p.records import Offer as AuctionOffer
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.codec import READ_AHEAD_BYTES_MAX, CborCodec
from tests.wire.samples import CLUSTER, COMMANDS, MESSAGES, ONE, frame_of, plain_lists

CODEC = CborCodec(Limits())


def test_the_specimens_hold_every_message_and_command() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(Message))
    assert {type(command) for command in COMMANDS} == set(get_args(AnyCommand))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_frame_comes_back_as_it_was(message: Message) -> None:
    frame = frame_of(message)
    assert CODEC.decode_frame(CODEC.encode_frame(frame)) == frame


def test_messages_of_one_frame_keep_their_order() -> None:
    frame = frame_of(*MESSAGES)
    assert CODEC.decode_frame(CODEC.encode_frame(frame)).messages == MESSAGES


@pytest.mark.parametrize("repeat", [1, 3, 30, 400, 8192 // len(COMMANDS)])
def test_commands_come_back_by_their_count(repeat: int) -> None:
    commands = COMMANDS * repeat
    blob = CODEC.encode_commands(commands)
    assert CODEC.decode_commands(len(commands), blob) == commands


def test_encoded_commands_are_joined_by_concatenation() -> None:
    one, other = COMMANDS[:4], COMMANDS[4:]
    joined = CODEC.encode_commands(one) + CODEC.encode_commands(other)
    assert joined == CODEC.encode_commands(COMMANDS)
    assert CODEC.encode_commands(()) == b""
    assert CODEC.decode_commands(0, b"") == ()


@pytest.mark.parametrize("count", [-1, 0, 1, len(COMMANDS) - 1, len(COMMANDS) + 1, 2**32, 2**70])
def test_another_count_of_commands_is_refused(count: int) -> None:
    blob = CODEC.encode_commands(COMMANDS)
    with pytest.raises(RemoteProtocolError):
        CODEC.decode_commands(count, blob)


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
integers = st.integers(0, 2**53 - 1)
commands = st.one_of(
    st.builds(AppendJournal, integers.map(SessionId), integers, names, st.binary(max_size=100)),
    st.builds(
        CastVote,
        integers.map(SessionId),
        integers,
        names.map(ProposalId),
        st.sampled_from(Choice),
        st.integers(0, 1000),
        st.text(max_size=50),
    ),
    st.builds(
        Arrive,
        integers.map(SessionId),
        integers,
        names,
        st.integers(1, 2**53 - 1),
        integers,
        st.sampled_from(OnDeparture),
        integers,
    ),
)


@given(st.lists(commands, max_size=30))
def test_any_commands_come_back_as_they_were(listed: list[AnyCommand]) -> None:
    blob = CODEC.encode_commands(listed)
    assert CODEC.decode_commands(len(listed), blob) == tuple(listed)


@given(st.lists(st.lists(commands, min_size=1, max_size=4), max_size=9), integers)
def test_any_contiguous_batches_come_back_as_they_were(
    runs: list[list[AnyCommand]], term: int
) -> None:
    batches: list[Batch] = []
    index = 1
    for run in runs:
        batches.append(Batch(index, len(run), term, index * 7, CODEC.encode_commands(run)))
        index += len(run)
    frame = frame_of(AppendEntries(0, term, 0, 0, 0, tuple(batches)))
    assert CODEC.decode_frame(CODEC.encode_frame(frame)) == frame


def test_a_command_that_no_peer_would_read_is_not_encoded() -> None:
    vote = CastVote(SessionId(1), 1, ProposalId("p"), Choice.ACCEPT, 1001, "")
    with pytest.raises(InvalidValue, match=r"CastVote\.confidence"):
        CODEC.encode_commands([COMMANDS[0], vote])
    no_text = CastVote(SessionId(1), 1, ProposalId("p"), Choice.ACCEPT, 1, "\ud800")
    with pytest.raises(InvalidValue, match=r"CastVote\.rationale"):
        CODEC.encode_commands([no_text])


@pytest.mark.parametrize(
    "command",
    [
        Arrive(SessionId(1), 1, "gate", 2.5, 1, OnDeparture.BREAK),  # type: ignore[arg-type]
        Arrive(SessionId(1), 1, "gate", "2", 1, OnDeparture.BREAK),  # type: ignore[arg-type]
        Arrive(SessionId(1), 1, 7, 2, 1, OnDeparture.BREAK),  # type: ignore[arg-type]
        Arrive(SessionId(1), 1, object(), 2, 1, OnDeparture.BREAK),  # type: ignore[arg-type]
        CastVote(SessionId(1), 1, ProposalId("p"), Choice.ACCEPT, True, ""),
    ],
)
def test_a_command_with_a_field_of_another_type_is_not_encoded(command: AnyCommand) -> None:
    with pytest.raises(InvalidValue, match="cannot travel"):
        CODEC.encode_commands([COMMANDS[0], command])


BUNDLES = tuple(AuctionOffer(1, 1, tuple(range(64))) for _ in range(40))
CROWD = tuple(AgentId(f"a{number:04}@p") for number in range(3_000))


@pytest.mark.parametrize(
    "command",
    [
        RevealBid(SessionId(1), 1, AuctionId("lot"), BUNDLES, bytes(16)),
        Arrive(SessionId(1), 1, "gate", 3_000, 1, OnDeparture.BREAK, members=CROWD),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_command_of_more_parts_than_are_read_is_not_encoded(command: AnyCommand) -> None:
    # Among others it could be read; by itself it would stop every peer that applies it.
    with pytest.raises(InvalidValue, match=f"{type(command).__name__} has .* parts"):
        CODEC.encode_commands([*COMMANDS, command])
    with pytest.raises(InvalidValue, match="name fewer at once"):
        CODEC.encode_commands([command])


def test_the_largest_command_that_is_encoded_can_be_read_by_itself() -> None:
    crowd = Arrive(SessionId(1), 1, "gate", 2_000, 1, OnDeparture.BREAK, members=CROWD[:2_000])
    assert CODEC.decode_commands(1, CODEC.encode_commands([crowd])) == (crowd,)


NOT_COMMANDS = [b"", b"\x80", b"\xff", CODEC.encode_commands(COMMANDS[:2]), b"\x83\x01\x00\x20"]
"""No blob of one command: none, another thing, no CBOR, two of them, a negative number."""


@pytest.mark.parametrize("blob", NOT_COMMANDS)
def test_commands_that_cannot_be_read_are_refused_with_their_frame(blob: bytes) -> None:
    batch = Batch(1, 1, 1, 1, blob)
    messages: list[Message] = [
        AppendEntries(0, 1, 0, 0, 0, (batch,)),
        Forward(0, 1, 1, blob),
        Relay(0, 1, 1, blob),
        Relayed(0, 1, 1, blob),
        Offer(CLUSTER, (ONE,), batch),
    ]
    for message in messages:
        with pytest.raises(RemoteProtocolError):
            CODEC.decode_frame(CODEC.encode_frame(frame_of(message)))


def test_what_a_frame_brought_is_read_once_and_forgotten() -> None:
    codec = CborCodec(Limits())
    blob = codec.encode_commands(COMMANDS)
    frame = frame_of(AppendEntries(0, 1, 0, 0, 0, (Batch(1, len(COMMANDS), 1, 1, blob),)))
    for _ in range(2):  # Sent twice, as after a lost answer.
        codec.decode_frame(codec.encode_frame(frame))
    first = codec.decode_commands(len(COMMANDS), blob)
    again = codec.decode_commands(len(COMMANDS), blob)
    assert first == again == COMMANDS
    assert first is not again


def test_what_is_read_ahead_is_bounded() -> None:
    codec = CborCodec(Limits())
    size = 1_000_000
    read = []
    for number in range(20):
        commands = [AppendJournal(SessionId(number), 1, "j", bytes(size))]
        blob = codec.encode_commands(commands)
        batch = Batch(1, 1, 1, 1, blob)
        codec.decode_frame(codec.encode_frame(frame_of(AppendEntries(0, 1, 0, 0, 0, (batch,)))))
        read.append(blob)
    assert codec.read_ahead_bytes <= READ_AHEAD_BYTES_MAX
    for number, blob in enumerate(read):
        assert codec.decode_commands(1, blob)[0].session == number
    assert codec.read_ahead_bytes == 0


def test_fields_of_a_later_release_are_ignored() -> None:
    plain = plain_lists(frame_of(Heartbeat(0, 1, 2, 3)))
    plain[6][0] += ["later", [1, 2]]
    plain += [7]
    assert CODEC.decode_frame(cbor.encode(plain)) == frame_of(Heartbeat(0, 1, 2, 3))


def test_an_unknown_message_is_refused() -> None:
    plain = plain_lists(frame_of(Heartbeat(0, 1, 2, 3)))
    plain[6][0][0] = 9999
    with pytest.raises(RemoteProtocolError) as caught:
        CODEC.decode_frame(cbor.encode(plain))
    assert caught.value.reason == "type"


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_frame_of_another_protocol_version_is_read_if_it_can_be_and_else_named(
    spoiled: bool,
) -> None:
    plain = plain_lists(frame_of(Heartbeat(0, 1, 2, 3)))
    plain[0] = PROTOCOL_VERSION + 1
    if not spoiled:
        assert CODEC.decode_frame(cbor.encode(plain)).version == PROTOCOL_VERSION + 1
        return
    plain[6][0][0] = 9999
    with pytest.raises(RemoteProtocolError, match="protocol 2, this peer speaks 1") as caught:
        CODEC.decode_frame(cbor.encode(plain))
    assert caught.value.reason == "version"


def test_a_frame_over_the_limit_is_refused_by_its_size() -> None:
    codec = CborCodec(Limits(frame_bytes_max=100))
    data = codec.encode_frame(frame_of(Heartbeat(0, 1, 2, 3)))
    padded = codec.encode_frame(frame_of(*(Heartbeat(0, 1, 2, 3),) * 20))
    assert codec.fits(data)
    assert not codec.fits(padded)
    assert codec.decode_frame(data) == frame_of(Heartbeat(0, 1, 2, 3))
    with pytest.raises(RemoteProtocolError) as caught:
        codec.decode_frame(padded)
    assert caught.value.reason == "size"


def test_a_frame_of_too_many_items_does_not_fit_and_its_halves_do() -> None:
    outcomes = VariableAck(1, (0,) * 4_096)
    whole, half = (CODEC.encode_frame(frame_of(*(outcomes,) * count)) for count in (36, 18))
    assert len(whole) < Limits().frame_bytes_max
    assert not CODEC.fits(whole)
    with pytest.raises(RemoteProtocolError, match="items"):
        CODEC.decode_frame(whole)
    assert CODEC.fits(half)
    assert len(CODEC.decode_frame(half).messages) == 18


def test_an_address_that_stands_for_a_peer_never_travels() -> None:
    frame = Frame(1, PeerId("?127.0.0.1:7946"), 1, 0, 1, frame_of().cluster, ())
    with pytest.raises(RemoteProtocolError, match=r"Frame\.source"):
        CODEC.decode_frame(CODEC.encode_frame(frame))
