"""Whole exchanges in one process: every plan, any order, with losses and doubles."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.messages import ChunkRange
from mabeam_p2p.protocol.bulk import (
    PART,
    WHOLE,
    Exchange,
    Parcel,
    Plan,
    broadcast_plan,
    gather_plan,
    reduce_plan,
)
from mabeam_p2p.protocol.bulk.exchange import ASK_SECONDS, SILENT_SECONDS
from mabeam_p2p.protocol.bulk.plan import ALIGNMENT

CHUNK = 4
Letter = tuple[int, int, tuple[ChunkRange, ...] | Parcel, bytes]
"""From, to, a request or a chunk, its bytes."""


class Member:
    """One member with its bytes; what it combines it adds up, modulo 256."""

    def __init__(self, plan: Plan, me: int, contribution: bytes, base: int = 0) -> None:
        self.exchange = Exchange(plan, me, 0.0)
        self.result = bytearray(plan.size)
        self._plan = plan
        self._contribution = contribution
        self._base = base
        self._held: dict[Parcel, list[bytes]] = {}
        for parcel in self.exchange.ready():
            self._combine(parcel)

    def place(self, parcel: Parcel) -> slice:
        start = self._plan.chunk_offset(parcel.slice, parcel.chunk)
        return slice(start, start + self._plan.chunk_size(parcel.slice, parcel.chunk))

    def contribution(self, parcel: Parcel) -> bytes:
        place = self.place(parcel)
        return self._contribution[place.start - self._base : place.stop - self._base]

    def data(self, parcel: Parcel) -> bytes:
        if parcel.stage == PART:
            return self.contribution(parcel)
        return bytes(self.result[self.place(parcel)])

    def take(self, source: int, parcel: Parcel, data: bytes, now: float) -> bool:
        """Whether it was expected."""
        if not self.exchange.expects(source, parcel, len(data)):
            return False
        is_last = self.exchange.arrived(source, parcel, now)
        if parcel.stage == WHOLE:
            self.result[self.place(parcel)] = data
        else:
            self._held.setdefault(parcel, []).append(data)
            if is_last:
                self._combine(parcel)
        return True

    def _combine(self, parcel: Parcel) -> None:
        one = self._plan.slices[parcel.slice]
        parts = self._held.pop(parcel, [])
        if self.exchange.me in one.sources:
            parts.append(self.contribution(parcel))
        summed = bytes(sum(column) % 256 for column in zip(*parts, strict=True))
        self.result[self.place(parcel)] = summed
        self.exchange.combined(parcel)


def requests(
    exchange: Exchange, now: float, ranges_max: int = 16
) -> dict[int, tuple[ChunkRange, ...]]:
    """What it tells whom now."""
    found = {}
    for target in range(exchange.plan.count):
        if target != exchange.me:
            wanted = exchange.request(target, now, ranges_max)
            if wanted is not None:
                exchange.told(target, now)
                found[target] = wanted
    return found


def run(members: list[Member], draw: Random, loss: float) -> float:
    """Until all are complete; returns the time that it took. Letters come in any order."""
    now = 0.0
    post: list[Letter] = []
    while not all(member.exchange.is_complete for member in members):
        for me, member in enumerate(members):
            post += [
                (me, target, wanted, b"")
                for target, wanted in requests(member.exchange, now, 2).items()
            ]
        while post:
            letter = post.pop(draw.randrange(len(post)))
            if draw.random() < loss:
                continue
            if draw.random() < loss:
                post.append(letter)
            deliver(members, letter, now)
            for me, member in enumerate(members):
                send_all(members, me, member, post, now)
        now += ASK_SECONDS
        assert now < 1000, "it never ends"
    return now


def send_all(
    members: list[Member], me: int, member: Member, post: list[Letter], now: float
) -> None:
    for target in range(len(members)):
        while target != me and (parcel := member.exchange.next_parcel(target)) is not None:
            post.append((me, target, parcel, member.data(parcel)))
            member.exchange.sent(target, parcel, now)


def deliver(members: list[Member], letter: Letter, now: float) -> None:
    source, target, content, data = letter
    if isinstance(content, Parcel):
        members[target].take(source, content, data, now)
    else:
        assert members[target].exchange.asked(source, content, now)


def contributions(count: int, size: int, draw: Random) -> list[bytes]:
    return [draw.randbytes(size) for _ in range(count)]


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(0, 40), st.sampled_from([1, 2]), st.integers(), st.booleans())
def test_a_reduction_gives_everybody_the_same_sum(
    count: int, items: int, item_bytes: int, seed: int, is_lossy: bool
) -> None:
    draw = Random(seed)
    given_ = contributions(count, items * item_bytes, draw)
    plan = reduce_plan(count, items, item_bytes, CHUNK)
    members = [Member(plan, me, given_[me]) for me in range(count)]
    run(members, draw, 0.2 if is_lossy else 0.0)
    expected = bytes(sum(column) % 256 for column in zip(*given_, strict=True))
    assert [bytes(member.result) for member in members] == [expected] * count


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(0, 40), st.integers(), st.booleans(), st.booleans())
def test_a_broadcast_gives_everybody_what_the_root_has(
    count: int, size: int, seed: int, is_lossy: bool, is_split: bool
) -> None:
    draw = Random(seed)
    root = draw.randrange(count)
    data = draw.randbytes(size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mabeam_p2p.protocol.bulk.plan.SPLIT_BYTES_MIN", 0 if is_split else 100)
        plan = broadcast_plan(count, root, size, CHUNK)
    members = [Member(plan, me, data if me == root else b"") for me in range(count)]
    run(members, draw, 0.2 if is_lossy else 0.0)
    others = [member for me, member in enumerate(members) if me != root]
    assert all(bytes(member.result) == data for member in others)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(), st.booleans())
def test_a_gathering_brings_what_each_has(sizes: list[int], seed: int, is_lossy: bool) -> None:
    draw = Random(seed)
    target = draw.choice([None, draw.randrange(len(sizes))])
    plan = gather_plan(tuple(sizes), target, CHUNK)
    given_ = [draw.randbytes(size) for size in sizes]
    members = [
        Member(plan, me, given_[me], base=plan.slices[me].offset) for me in range(len(sizes))
    ]
    run(members, draw, 0.2 if is_lossy else 0.0)
    for me, member in enumerate(members):
        if target in (None, me):
            placed = [member.result[one.offset : one.offset + one.size] for one in plan.slices]
            assert placed == given_
    assert all(one.offset % ALIGNMENT == 0 for one in plan.slices)


def test_a_reduction_moves_as_much_as_a_ring() -> None:
    count, size = 4, 64
    plan = reduce_plan(count, size, 1, CHUNK)
    moved = sum(one.size * (len(one.sources) - 1 + len(one.targets)) for one in plan.slices)
    assert moved == 2 * (count - 1) * size
    assert max(one.size for one in plan.slices) == size // count


def test_the_root_of_a_large_broadcast_sends_its_data_once() -> None:
    plan = broadcast_plan(4, 1, 3_000_000, 1_000_000)
    assert sum(one.size for one in plan.slices) == 3_000_000
    assert [one.owner for one in plan.slices] == [0, 2, 3]
    assert all(one.sources == (1,) and 1 not in one.targets for one in plan.slices)


def test_chunks_hold_whole_items() -> None:
    plan = reduce_plan(2, 10, 3, CHUNK)
    assert plan.chunk_bytes == 3
    assert [plan.chunk_count(number) for number in (0, 1)] == [5, 5]
    assert reduce_plan(2, 10, 16, CHUNK).chunk_bytes == 16


# ---- one member --------------------------------------------------------------------------------

PLAN = reduce_plan(3, 24, 1, CHUNK)
"""Each owns 8 bytes, two chunks."""


def test_each_other_member_is_asked_at_once_for_all_that_it_sends() -> None:
    own, theirs = ChunkRange(PART, 0, 0, 2), ChunkRange(WHOLE, 2, 0, 2)
    assert requests(Exchange(PLAN, 0, 0.0), 0.0) == {
        1: (ChunkRange(PART, 0, 0, 2), ChunkRange(WHOLE, 1, 0, 2)),
        2: (own, theirs),
    }


def test_what_nobody_asked_for_is_not_sent() -> None:
    exchange = Exchange(PLAN, 0, 0.0)
    assert [exchange.next_parcel(place) for place in (1, 2)] == [None, None]
    assert exchange.asked(1, (ChunkRange(PART, 1, 1, 1),), 0.0)
    assert exchange.next_parcel(1) == Parcel(PART, 1, 1)
    exchange.sent(1, Parcel(PART, 1, 1), 0.0)
    assert exchange.next_parcel(1) is None


def test_a_chunk_is_sent_on_once_all_contributions_are_combined() -> None:
    exchange = Exchange(PLAN, 0, 0.0)
    exchange.asked(1, (ChunkRange(WHOLE, 0, 0, 2),), 0.0)
    parcel = Parcel(PART, 0, 1)
    assert not exchange.arrived(2, parcel, 0.0)
    assert exchange.arrived(1, parcel, 0.0)
    assert exchange.next_parcel(1) is None
    exchange.combined(parcel)
    assert exchange.next_parcel(1) == Parcel(WHOLE, 0, 1)
    assert exchange.next_parcel(2) is None
    exchange.asked(2, (ChunkRange(WHOLE, 0, 1, 1),), 0.0)
    assert exchange.next_parcel(2) == Parcel(WHOLE, 0, 1)


@pytest.mark.parametrize(
    ("source", "parcel", "size"),
    [
        (1, Parcel(PART, 0, 0), 3),
        (1, Parcel(PART, 0, 2), 4),
        (1, Parcel(PART, 1, 0), 4),
        (1, Parcel(WHOLE, 2, 0), 4),
        (1, Parcel(WHOLE, 0, 0), 4),
        (0, Parcel(PART, 0, 0), 4),
        (3, Parcel(PART, 0, 0), 4),
        (-1, Parcel(PART, 0, 0), 4),
    ],
    ids=[
        "short",
        "behind the end",
        "another's",
        "not its owner",
        "mine",
        "myself",
        "who",
        "no one",
    ],
)
def test_what_is_not_expected_is_known_for_it(source: int, parcel: Parcel, size: int) -> None:
    assert not Exchange(PLAN, 0, 0.0).expects(source, parcel, size)


def test_a_chunk_is_expected_once() -> None:
    exchange = Exchange(PLAN, 0, 0.0)
    parcel = Parcel(PART, 0, 0)
    assert exchange.expects(1, parcel, 4)
    exchange.arrived(1, parcel, 0.0)
    assert not exchange.expects(1, parcel, 4)
    assert exchange.expects(2, parcel, 4)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (1, ChunkRange(PART, 0, 0, 1)),
        (1, ChunkRange(PART, 2, 0, 1)),
        (1, ChunkRange(WHOLE, 2, 0, 1)),
        (1, ChunkRange(WHOLE, 0, 1, 2)),
        (1, ChunkRange(WHOLE, 3, 0, 0)),
        (0, ChunkRange(WHOLE, 0, 0, 1)),
        (9, ChunkRange(WHOLE, 0, 0, 1)),
    ],
    ids=["my slice", "a third's", "not mine", "too many", "no slice", "myself", "who"],
)
def test_what_is_not_its_business_is_not_taken_up(source: int, wanted: ChunkRange) -> None:
    exchange = Exchange(PLAN, 0, 0.0)
    right = ChunkRange(PART, 1, 0, 1)
    assert not exchange.asked(source, (right, wanted), 0.0)
    assert exchange.next_parcel(1) is None


def test_who_sends_nothing_for_a_while_is_asked_again_for_what_lacks() -> None:
    exchange = Exchange(PLAN, 0, 0.0)
    requests(exchange, 0.0)
    assert exchange.deadline(1) == ASK_SECONDS
    exchange.arrived(1, Parcel(PART, 0, 0), 0.5)
    exchange.arrived(2, Parcel(PART, 0, 0), 0.2)
    again = requests(exchange, 1.3)
    # The first one has just sent something, and hears that this member lives.
    assert again[1] == ()
    assert again[2] == (ChunkRange(PART, 0, 1, 1), ChunkRange(WHOLE, 2, 0, 2))
    assert requests(exchange, 1.6).keys() == {1}
    assert exchange.request(1, 1.7, 16) is None


def test_a_member_that_lacks_nothing_says_that_it_is_there() -> None:
    exchange = Exchange(reduce_plan(2, 0, 1, CHUNK), 0, 0.0)
    assert exchange.is_complete
    assert requests(exchange, 0.0) == {1: ()}
    assert requests(exchange, 0.5) == {}
    assert requests(exchange, ASK_SECONDS) == {1: ()}


def test_a_request_that_did_not_leave_is_made_again_at_once() -> None:
    exchange = Exchange(PLAN, 0, 0.0)
    first = exchange.request(1, 0.0, 16)
    assert first
    assert exchange.request(1, 0.1, 16) == first
    exchange.told(1, 0.2)
    assert exchange.request(1, 0.3, 16) is None


def arrive_all(exchange: Exchange, source: int, stage: int, now: float) -> None:
    number = 0 if stage == PART else source
    for chunk in range(2):
        if exchange.arrived(source, Parcel(stage, number, chunk), now):
            exchange.combined(Parcel(stage, number, chunk))


def _silent(exchange: Exchange) -> None:
    for now in (1.0, 2.0, 3.0, 4.0):
        exchange.asked(1, (), now)


def _lacks_parts(exchange: Exchange) -> None:
    exchange.asked(1, (), 4.0)
    exchange.asked(2, (), 4.0)
    arrive_all(exchange, 1, PART, 4.0)


def _lacks_wholes(exchange: Exchange) -> None:
    for source in (1, 2):
        arrive_all(exchange, source, PART, 4.0)
    arrive_all(exchange, 2, WHOLE, 4.0)


@pytest.mark.parametrize(
    ("happens", "missing"),
    [(_silent, (2,)), (_lacks_parts, (2,)), (_lacks_wholes, (1,))],
    ids=["silent", "has not contributed", "owes its slice"],
)
def test_who_is_waited_for_is_named(
    happens: Callable[[Exchange], None], missing: tuple[int, ...]
) -> None:
    exchange = Exchange(PLAN, 0, 0.0)
    happens(exchange)
    assert exchange.missing(SILENT_SECONDS + 0.5) == missing
