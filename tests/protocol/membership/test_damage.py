"""What a member says on a bad day of its own: flipped bits, wild numbers, frames of any size."""

from collections.abc import Iterator
from random import Random

import pytest

from mabeam_p2p.config import PROTOCOL_VERSION, Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.ids import INTEGER_MAX, ClusterId, PeerId
from mabeam_p2p.messages import (
    Frame,
    Gossip,
    MembershipMessage,
    Message,
    Probe,
    ProbeAck,
    ProbeReport,
    ProbeRequest,
    Rumour,
    Wanted,
)
from mabeam_p2p.records import Member, MemberState, Standing
from mabeam_p2p.testing.crowd import Conditions, Crowd
from mabeam_p2p.wire.codec import CborCodec
from tests.protocol.membership.members import ME, SUSPECT, THEIRS, A, B, C, Table, member

CODEC = CborCodec(Limits())
NEWS = (Rumour(real := Member(C, "c", "10.0.0.9:7000", 1, 1 << 16, SUSPECT), A),)
SPOKEN: tuple[MembershipMessage, ...] = (
    Probe(3, THEIRS, NEWS),
    ProbeAck(3, THEIRS, NEWS),
    Gossip((real,), Wanted.SOME),
    ProbeRequest(3, B, NEWS),
    ProbeReport(3, B, answered=True),
)


def framed(message: Message) -> bytes:
    frame = Frame(PROTOCOL_VERSION, A, 1, 1, 1, ClusterId("0" * 32), (message,))
    return CODEC.encode_frame(frame)


def flipped(data: bytes) -> Iterator[bytes]:
    for place in range(len(data) * 8):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


@pytest.mark.parametrize("message", SPOKEN, ids=lambda one: type(one).__name__)
def test_a_flipped_bit_is_refused_or_does_no_lasting_harm(message: MembershipMessage) -> None:
    """Whoever is slandered takes it back (catalogue: 68), but for a life that it never had: against
    that it needs what TCP and keys give, the integrity of frames."""
    refused = taken = 0
    for data in flipped(framed(message)):
        try:
            frame = CODEC.decode_frame(data)
        except RemoteProtocolError:
            refused += 1
            continue
        table = Table(member(A), member(B), member(C))
        for one in frame.messages:
            if isinstance(one, Probe | ProbeAck | Gossip | ProbeRequest | ProbeReport):
                table.hear(A, one)
                taken += 1
        for peer in (ME, A, B):
            found = table.core.find(peer)
            assert found is not None
            assert (found.peer, found.epoch) == (peer, 1)
        table.pass_time(1.0, A, B)
        found = table.core.find(C)
        assert found is not None
        if found.epoch == 1:
            table.hear(C, Gossip((Member(*_of(found, raised=1)),)))
            assert table.core.is_here(C)
    assert refused > 100
    assert taken > 50


def _of(found: Member, *, raised: int) -> tuple[PeerId, str, str, int, int, MemberState]:
    alive = MemberState.ALIVE
    incarnation = min(found.incarnation + raised, INTEGER_MAX)
    return found.peer, found.name, found.address, found.epoch, incarnation, alive


@pytest.mark.parametrize("seed", range(10))
def test_wild_numbers_change_nothing_that_a_member_cannot_take_back(seed: int) -> None:
    """Also versions of the future: they are shown, and decide nothing (catalogue: 67)."""
    random = Random(seed)
    table = Table(member(A), member(B), limits=Limits(members_max=8), seed=seed)
    numbers = (0, 1, 2**16, 2**32, INTEGER_MAX)
    for _ in range(300):
        peer = random.choice((ME, A, B, C, PeerId("f" * 16)))
        wild = Member(
            peer,
            random.choice("abc"),
            "10.0.0.1:1",
            random.choice(numbers),
            random.choice(numbers),
            random.choice(tuple(MemberState)),
            random.random() < 0.5,
            random.choice((0, 100)),
            random.choice(numbers),
        )
        source = random.choice((A, B, C))
        number = random.choice(numbers)
        standing = Standing(number, number, 100, number)
        table.hear(
            source,
            random.choice(
                (
                    Probe(number, standing, (Rumour(wild, source),)),
                    ProbeAck(number, standing, (Rumour(wild),)),
                    ProbeRequest(number, peer),
                    ProbeReport(number, peer, random.random() < 0.5),
                    Gossip((wild,), random.choice(tuple(Wanted))),
                )
            ),
        )
        table.pass_time(random.choice((0.0, 0.25)))
        for message in (Gossip(table.core.view()), Gossip((table.core.mine,))):
            CODEC.decode_frame(framed(message))
    assert table.core.mine.state is MemberState.ALIVE
    assert table.core.mine.epoch == 1
    assert len(table.core.view()) <= 9


def test_every_message_is_bounded_in_bytes_whatever_goes_on() -> None:
    """Under joins, deaths, goodbyes and loss (catalogue: 70)."""
    most: dict[str, int] = {}

    def size_of(message: Message) -> int:
        size = len(framed(message))
        name = type(message).__name__
        most[name] = max(size, most.get(name, 0))
        return size

    crowd = Crowd(80, voters=5, conditions=Conditions(loss=0.1), size_of=size_of, sample_every=1)
    crowd.run(3.0)
    for number in range(10):
        crowd.join(crowd.seats[number])
        crowd.crash(crowd.seats[20 + number])
        crowd.leave(crowd.seats[40 + number])
        crowd.run(1.0)
    limits = Limits()
    record, accuser, head = 80, 20, 110
    assert most["Gossip"] <= limits.sync_members_max * record + head
    for name in ("Probe", "ProbeAck", "ProbeRequest"):
        assert most[name] <= limits.rumours_per_message_max * (record + accuser) + head
    assert most["ProbeReport"] <= head
