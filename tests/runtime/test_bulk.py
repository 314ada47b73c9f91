"""The thread that exchanges data, over a network in memory that loses and garbles."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import BULK_VERSION, Limits
from mabeam_p2p.errors import AddressError, Closed, Overloaded
from mabeam_p2p.messages import BulkChunk, BulkHeader, BulkWant, ChunkRange
from mabeam_p2p.protocol.bulk import Plan, exchange, reduce_plan
from mabeam_p2p.runtime.bulk import BulkThread, Combine, Order, Party, Run
from mabeam_p2p.wire.bulk import BulkCodec

LIMITS = Limits(bulk_chunk_bytes=8)
CODEC = BulkCodec(LIMITS)
SECONDS = 20.0
"""Deadline of every wait: reached by a failure only."""

Mail = tuple[bytes, bytes]


class Network:
    """Where transports find each other. spoil: what becomes of a message; nothing: it is lost."""

    def __init__(self) -> None:
        self.boxes: dict[str, FakeTransport] = {}
        self.spoil: Callable[[Mail], list[Mail]] = lambda mail: [mail]

    def build(self, name: str) -> "FakeTransport":
        self.boxes[name] = FakeTransport(self, name)
        return self.boxes[name]


class FakeTransport:
    """A BulkTransport in memory."""

    def __init__(self, network: Network, name: str) -> None:
        self.address = name
        self.counters = {"fake": 1}
        self._network = network
        self._mail: deque[Mail] = deque()
        self._woken = threading.Event()

    def send(self, address: str, header: bytes, payload: memoryview) -> bool:
        target = self._network.boxes.get(address)
        if target is None:
            return False
        for mail in self._network.spoil((header, bytes(payload))):
            target.put(*mail)
        return True

    def put(self, header: bytes, payload: bytes) -> None:
        self._mail.append((header, payload))
        self.wake()

    def receive(self) -> tuple[bytes, memoryview] | None:
        if not self._mail:
            return None
        header, payload = self._mail.popleft()
        return header, memoryview(payload)

    def wait(self, seconds: float | None, blocked: Iterable[str]) -> None:
        if not self._mail:
            self._woken.wait(0.01 if list(blocked) else seconds)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._network.boxes.pop(self.address, None)


class Member:
    """One thread, and its part in one reduction of 1-byte items."""

    def __init__(self, network: Network, name: str, limits: Limits = LIMITS) -> None:
        self.thread = BulkThread(lambda: network.build(name), limits)
        self.thread.start()
        self.party = Party(self.thread.started.result(SECONDS), name.encode() * 16)
        self.transport = network.boxes[name]

    def begin(
        self,
        parties: tuple[Party, ...],
        plan: Plan,
        data: bytes,
        number: int = 0,
        token: bytes | None = None,
        combine: Combine | None = None,
    ) -> "tuple[Future[None], bytearray]":
        if token is not None:
            parties = tuple(
                one._replace(token=token) if one is self.party else one for one in parties
            )
        result, end = bytearray(plan.size), Future[None]()

        def ended(error: BaseException | None) -> None:
            end.set_result(None) if error is None else end.set_exception(error)

        me = [party.address for party in parties].index(self.party.address)
        view = memoryview(result)
        self.thread.begin(
            Order(
                number, me, parties, plan, Run(memoryview(data)), Run(view), combine or add, ended
            )
        )
        return end, result

    def counter(self, name: str) -> int:
        told: Future[dict[str, int]] = Future()
        self.thread.counters(told.set_result)
        return told.result(SECONDS).get(name, 0)

    def wait_for_counter(self, name: str) -> None:
        for _ in range(10_000):
            if self.counter(name):
                return
        raise AssertionError(f"{name} was never counted")


def add(parts: Sequence[memoryview], into: memoryview) -> None:
    into[:] = bytes(sum(column) for column in zip(*parts, strict=True))


Make = Callable[..., Member]


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def make(network: Network) -> Iterator[Make]:
    made: list[Member] = []

    def one(name: str, limits: Limits = LIMITS) -> Member:
        made.append(Member(network, name, limits))
        return made[-1]

    yield one
    for member in made:
        member.thread.close()
        member.thread.ended.result(SECONDS)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What got lost is asked for again soon."""
    monkeypatch.setattr(exchange, "ASK_SECONDS", 0.02)


PLAN = reduce_plan(3, 60, 1, LIMITS.bulk_chunk_bytes)
DATA = [bytes(range(60)), bytes(60), b"\x01" * 60]
SUM = bytes(number + 1 for number in range(60))


def reduced(members: list[Member]) -> list[bytes]:
    """What each has in the end."""
    parties = tuple(member.party for member in members)
    begun = [member.begin(parties, PLAN, data) for member, data in zip(members, DATA, strict=True)]
    for end, _ in begun:
        end.result(SECONDS)
    return [bytes(result) for _, result in begun]


def test_all_get_what_is_combined_of_all(make: Make) -> None:
    assert reduced([make("a"), make("b"), make("c")]) == [SUM] * 3


def test_what_gets_lost_is_asked_for_again(make: Make, network: Network, impatient: None) -> None:
    count = 0

    def lose_every_third(mail: Mail) -> list[Mail]:
        nonlocal count
        count += 1
        return [] if count % 3 == 0 else [mail, mail]

    network.spoil = lose_every_third
    members = [make("a"), make("b"), make("c")]
    assert reduced(members) == [SUM] * 3
    assert sum(member.counter("unexpected") for member in members) > 0


def test_garbled_data_is_dropped_and_asked_for_again(
    make: Make, network: Network, impatient: None
) -> None:
    seen: dict[bytes, None] = {}

    def garble_once(mail: Mail) -> list[Mail]:
        header, payload = mail
        if not payload or mail[0] in seen:
            return [mail]
        seen[header] = None
        return [(header, bytes([payload[0] ^ 1]) + payload[1:])]

    network.spoil = garble_once
    members = [make("a"), make("b"), make("c")]
    assert reduced(members) == [SUM] * 3
    assert sum(member.counter("checksum") for member in members) == len(seen) > 0


def test_garbled_headers_raise_nothing(make: Make, network: Network, impatient: None) -> None:
    count = 0

    def garble_some(mail: Mail) -> list[Mail]:
        nonlocal count
        count += 1
        header = bytearray(mail[0])
        header[count % len(header)] ^= 1 << (count % 8)
        return [(bytes(header), mail[1]), (b"", mail[1]), (mail[0][:-1], b""), mail]

    network.spoil = garble_some
    assert reduced([make("a"), make("b"), make("c")]) == [SUM] * 3


def header(party: Party, **changes: object) -> BulkHeader:
    chunk = BulkChunk(0, 0, 0, 0)
    return replace(BulkHeader(BULK_VERSION, party.token, 0, 1, chunk), **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"token": bytes(16)}, "stranger"),
        ({"round": 0}, "stale_round"),
        ({"source": 7}, "unexpected"),
        ({"message": BulkChunk(0, 0, 99, 0)}, "unexpected"),
        ({"message": BulkChunk(0, 0, 0, 1)}, "checksum"),
        ({"message": BulkWant((ChunkRange(0, 0, 0, 1),))}, "not_its_business"),
        ({"version": 99}, "header_version"),
    ],
)
def test_what_does_not_belong_is_counted_and_dropped(
    make: Make, changes: dict[str, object], reason: str
) -> None:
    one = make("a")
    others = (Party("nobody", bytes(16)), Party("no one", bytes(16)))
    end, result = one.begin((one.party, *others), PLAN, DATA[0], number=1)
    assert one.counter("chunks") == 0  # It has begun.
    one.transport.put(CODEC.encode(header(one.party, **{"round": 1} | changes)), b"\x01" * 8)
    one.wait_for_counter(reason)
    assert one.counter("chunks") == 0
    assert not end.done()
    assert bytes(result) == bytes(60)
    one.thread.end(one.party.token)


def test_what_others_want_before_this_member_begins_is_kept(make: Make) -> None:
    """Else it would take until they ask again."""
    early, late = make("a"), make("b")
    parties = (early.party, late.party)
    plan = reduce_plan(2, 16, 1, LIMITS.bulk_chunk_bytes)
    first, _ = early.begin(parties, plan, bytes(16))
    late.wait_for_counter("early")
    second, result = late.begin(parties, plan, b"\x02" * 16)
    first.result(SECONDS)
    second.result(SECONDS)
    assert bytes(result) == b"\x02" * 16


def test_early_wants_of_strangers_are_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mabeam_p2p.runtime.bulk.EARLY_WANTS_MAX", 2)
    one = make("a")
    want = BulkWant(())
    for number in range(5):
        stranger = header(one.party, token=bytes([number]) * 16, message=want)
        one.transport.put(CODEC.encode(stranger), b"")
    many = BulkWant((ChunkRange(0, 0, 0, 1),) * 17)
    one.transport.put(CODEC.encode(header(one.party, message=many)), b"")
    one.wait_for_counter("stranger")
    desks: Future[object] = Future()
    one.thread._cross(desks.set_result)
    assert len(desks.result(SECONDS)._early) == 2  # type: ignore[attr-defined]


def test_a_later_round_takes_the_place_of_an_earlier_one(make: Make) -> None:
    members = [make("a"), make("b"), make("c")]
    parties = tuple(member.party for member in members)
    stalled, _ = members[0].begin((*parties[:2], Party("gone", bytes(16))), PLAN, DATA[0])
    plan = reduce_plan(2, 60, 1, LIMITS.bulk_chunk_bytes)
    begun = [
        member.begin(parties[:2], plan, data, number=1)
        for member, data in zip(members[:2], DATA, strict=False)
    ]
    for end, result in begun:
        end.result(SECONDS)
        assert bytes(result) == DATA[0]
    assert not stalled.done()


def test_as_many_exchanges_as_the_limit_says_are_under_way(make: Make) -> None:
    one = make("a", Limits(bulk_chunk_bytes=8, bulk_exchanges_max=1))
    parties = (one.party, Party("gone", bytes(16)))
    plan = reduce_plan(2, 60, 1, 8)
    one.begin(parties, plan, DATA[0])
    refused, _ = one.begin(parties, plan, DATA[0], token=b"another token ..")
    with pytest.raises(Overloaded, match="1 exchanges"):
        refused.result(SECONDS)
    again, _ = one.begin(parties, plan, DATA[0], number=1)
    one.thread.end(one.party.token)
    alone, _ = one.begin((one.party,), reduce_plan(1, 60, 1, 8), DATA[0], token=b"a third token ..")
    alone.result(SECONDS)
    assert not again.done()


def test_who_cannot_combine_hears_why_and_the_thread_goes_on(make: Make) -> None:
    one = make("a")

    def fail(parts: object, into: object) -> None:
        raise ZeroDivisionError("of mine")

    plan = reduce_plan(1, 60, 1, 8)
    failed, _ = one.begin((one.party,), plan, DATA[0], combine=fail)
    with pytest.raises(ZeroDivisionError, match="of mine"):
        failed.result(SECONDS)
    fine, result = one.begin((one.party,), plan, DATA[0])
    fine.result(SECONDS)
    assert bytes(result) == DATA[0]


def test_what_is_under_way_when_it_closes_ends_and_nothing_begins_after(make: Make) -> None:
    one = make("a")
    parties = (one.party, Party("gone", bytes(16)))
    under_way, _ = one.begin(parties, PLAN, DATA[0])
    one.thread.close()
    one.thread.close()
    late, _ = one.begin(parties, PLAN, DATA[0])
    for end in (under_way, late):
        with pytest.raises(Closed):
            end.result(SECONDS)
    places: Future[tuple[int, ...]] = Future()
    one.thread.missing(one.party.token, places.set_result)
    assert places.result(SECONDS) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="only there has a thread its own niceness")
def test_the_thread_stands_back_and_is_not_starved(network: Network) -> None:
    """Linux gives ten more of niceness a tenth of what it gives others, nineteen a seventieth:
    beside two processes that computed no reduction of 100 MB ended in time."""
    niceness: Future[int] = Future()

    def build() -> FakeTransport:
        niceness.set_result(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return network.build("a")

    mine = os.getpriority(os.PRIO_PROCESS, 0)
    thread = BulkThread(build, LIMITS)
    thread.start()
    try:
        assert niceness.result(SECONDS) == min(19, mine + 10)
    finally:
        thread.close()
        thread.ended.result(SECONDS)


def test_a_thread_that_cannot_begin_says_why() -> None:
    def build() -> FakeTransport:
        raise AddressError("taken")

    thread = BulkThread(build, LIMITS)
    thread.start()
    with pytest.raises(AddressError, match="taken"):
        thread.started.result(SECONDS)
    thread.ended.result(SECONDS)


def test_a_thread_that_fails_tells_whoever_waits(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = make("a")
    end, _ = one.begin((one.party, Party("gone", bytes(16))), PLAN, DATA[0])

    assert one.counter("chunks") == 0  # It has begun.

    def receive() -> None:
        raise OSError("the system is out of order")

    monkeypatch.setattr(one.transport, "receive", receive)
    one.transport.wake()
    with pytest.raises(OSError, match="out of order"):
        end.result(SECONDS)
    one.thread.ended.result(SECONDS)
    assert "the thread has failed" in caplog.text


def test_in_a_forked_child_the_thread_has_ended_and_its_transport_is_left_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make("a")
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(one.transport, "wake", lambda: os._exit(2))
        one.thread.close()
        os._exit(42 if one.thread.ended.done() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert not one.thread.ended.done()
