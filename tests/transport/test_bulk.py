"""Sockets for much data, over loopback; without keys, but for those at the end."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from mabeam_p2p.addresses import split_address
from mabeam_p2p.errors import AddressError
from mabeam_p2p.transport import bulk, callers
from mabeam_p2p.transport.bulk import ZeroMqBulk
from tests.transport.ends import Talker, callers_at

SECONDS = 20.0
"""Deadline of every wait: reached by a failure only."""

MEBIBYTE = 1024 * 1024


@pytest.fixture
def make() -> Iterator[Callable[[], ZeroMqBulk]]:
    made: list[ZeroMqBulk] = []

    def one() -> ZeroMqBulk:
        made.append(ZeroMqBulk("127.0.0.1", message_bytes_max=MEBIBYTE, has_keys=False))
        return made[-1]

    yield one
    for transport in made:
        transport.close()
        transport.close()


def send(sender: ZeroMqBulk, address: str, header: bytes, payload: bytes) -> None:
    """As soon as the link takes it."""
    deadline = time.monotonic() + SECONDS
    while not sender.send(address, header, memoryview(payload)):
        assert time.monotonic() < deadline, "the link takes nothing"
        sender.wait(1.0, [address])


def receive(receiver: ZeroMqBulk) -> tuple[bytes, bytes]:
    deadline = time.monotonic() + SECONDS
    while (message := receiver.receive()) is None:
        assert time.monotonic() < deadline, "nothing comes"
        receiver.wait(1.0, ())
    return message[0], bytes(message[1])


def test_header_and_payload_arrive_as_they_were(make: Callable[[], ZeroMqBulk]) -> None:
    one, other = make(), make()
    payload = bytes(range(256)) * 4096
    for data in (payload, b"", b"x"):
        send(one, other.address, b"header", data)
        assert receive(other) == (b"header", data)
    assert (one.counters["sent"], other.counters["received"]) == (3, 3)


def test_nothing_waits_for_a_process_that_is_not_there(make: Callable[[], ZeroMqBulk]) -> None:
    one, gone = make(), make()
    address = gone.address
    gone.close()
    for _ in range(3):
        assert not one.send(address, b"h", memoryview(b"data"))
    assert one.counters["refused_link_down"] == 3


def test_a_link_that_is_full_says_so_and_takes_more_later(make: Callable[[], ZeroMqBulk]) -> None:
    one, slow = make(), make()
    payload = memoryview(bytes(MEBIBYTE))
    send(one, slow.address, b"0", bytes(payload))
    taken = 1
    while one.send(slow.address, b"h", payload):
        taken += 1
        assert taken < 1000, "there is no end to what it takes"
    for _ in range(taken):
        receive(slow)
    send(one, slow.address, b"more", b"")


@pytest.mark.parametrize(
    "address", ["10.1.2.3:7000", "localhost:7000", "127.0.0.1:0", "nonsense", "[::1%eth0]:x"]
)
def test_what_may_not_be_dialled_is_not(make: Callable[[], ZeroMqBulk], address: str) -> None:
    one = make()
    assert not one.send(address, b"h", memoryview(b""))
    assert one.counters["refused_address"] == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "localhost", ""])
def test_without_keys_it_listens_on_this_machine_alone(host: str) -> None:
    with pytest.raises(AddressError, match="stays on this machine"):
        ZeroMqBulk(host, message_bytes_max=MEBIBYTE, has_keys=False)


def test_an_address_of_another_machine_is_an_address_error() -> None:
    with pytest.raises(AddressError, match="cannot listen"):
        ZeroMqBulk("192.0.2.1", message_bytes_max=MEBIBYTE, has_keys=True)


@pytest.mark.parametrize("frames", [[b""], [b"header"], [b"a", b"b", b"c"]])
def test_a_message_of_another_form_is_counted_and_dropped(
    make: Callable[[], ZeroMqBulk], frames: list[bytes]
) -> None:
    one, sender = make(), make()
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.connect(f"tcp://{one.address}")
        stranger.send_multipart(frames)
        deadline = time.monotonic() + SECONDS
        while not one.counters["malformed"]:
            assert time.monotonic() < deadline
            one.wait(0.1, ())
            assert one.receive() is None
    send(sender, one.address, b"still", b"here")
    assert receive(one) == (b"still", b"here")


def test_a_stranger_cannot_send_more_than_a_chunk(make: Callable[[], ZeroMqBulk]) -> None:
    one, sender = make(), make()
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.connect(f"tcp://{one.address}")
        stranger.send_multipart([b"header", bytes(MEBIBYTE + 1)])
        send(sender, one.address, b"still", b"here")
        assert receive(one) == (b"still", b"here")
        one.wait(0.0, ())
        assert one.receive() is None


def test_a_wait_ends_when_it_is_woken_from_another_thread(make: Callable[[], ZeroMqBulk]) -> None:
    one = make()
    waits = threading.Event()

    def wake() -> None:
        assert waits.wait(SECONDS)
        one.wake()

    thread = threading.Thread(target=wake)
    thread.start()
    waits.set()
    one.wait(None, ())
    thread.join()
    one.close()
    one.wake()


def test_an_address_without_a_link_is_not_waited_for_but_tried_again(
    make: Callable[[], ZeroMqBulk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there were no descriptors left: no socket tells when there are."""
    monkeypatch.setattr(bulk, "DIAL_AGAIN_SECONDS", 0.01)
    transport = make()
    waiting = threading.Thread(target=transport.wait, args=(None, ["127.0.0.1:1"]), daemon=True)
    waiting.start()
    waiting.join(SECONDS / 4)
    is_over = not waiting.is_alive()
    transport.wake()
    waiting.join(SECONDS)
    assert is_over


def test_a_link_that_nobody_uses_closes(
    make: Callable[[], ZeroMqBulk], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make(), make()
    send(one, other.address, b"h", b"")
    monkeypatch.setattr(bulk, "IDLE_SECONDS_MAX", -1.0)
    one.wait(0.0, ())
    assert one._links == {}
    monkeypatch.setattr(bulk, "IDLE_SECONDS_MAX", 60.0)
    send(one, other.address, b"again", b"")


def test_links_are_bounded_and_the_oldest_leaves(
    make: Callable[[], ZeroMqBulk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "LINKS_MAX", 1)
    one, first, second = make(), make(), make()
    send(one, first.address, b"h", b"")
    send(one, second.address, b"h", b"")
    assert list(one._links) == [second.address]
    assert split_address(second.address)[0] == "127.0.0.1"


# ---- under keys --------------------------------------------------------------------------------


@pytest.fixture
def keyed() -> Iterator[Callable[[], ZeroMqBulk]]:
    made: list[ZeroMqBulk] = []

    def one() -> ZeroMqBulk:
        made.append(ZeroMqBulk("127.0.0.1", message_bytes_max=MEBIBYTE, has_keys=True))
        return made[-1]

    yield one
    for transport in made:
        transport.close()


def until(condition: Callable[[], object], *transports: ZeroMqBulk) -> None:
    """Let all of them turn until it holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        for transport in transports:
            transport.wait(0.001, ())


def test_those_that_dial_each_other_exchange_data_under_keys(
    keyed: Callable[[], ZeroMqBulk],
) -> None:
    one, other = keyed(), keyed()
    payload = memoryview(bytes(range(256)) * 4096)  # The largest.
    heard: list[tuple[bytes, bytes]] = []

    def take() -> bool:
        while (message := other.receive()) is not None:
            heard.append((message[0], bytes(message[1])))
        return bool(heard)

    one.send(other.address, b"early", payload[:0])
    until(lambda: other.send(one.address, b"hello", payload[:0]), one, other)
    until(lambda: one.send(other.address, b"data", payload), one, other)
    until(take, one, other)
    assert heard == [(b"data", bytes(payload))]


def test_who_was_not_dialled_is_not_heard_whatever_it_knows(
    keyed: Callable[[], ZeroMqBulk],
) -> None:
    one, friend, stranger = keyed(), keyed(), keyed()
    plain = ZeroMqBulk("127.0.0.1", message_bytes_max=MEBIBYTE, has_keys=False)
    where = one.address.partition("/")[0]
    nothing = memoryview(b"")
    one.send(friend.address, b"hello", nothing)
    assert one._zap is not None
    again = one._zap.counters
    stranger.send(one.address, b"stranger", nothing)
    plain.send(where, b"plain", nothing)
    until(lambda: again["again"] >= 2, one, friend, stranger, plain)
    until(lambda: friend.send(one.address, b"friend", nothing), one, friend, stranger)
    heard: list[bytes] = []

    def take() -> bool:
        while (message := one.receive()) is not None:
            heard.append(message[0])
        return bool(heard)

    until(take, one, friend, stranger, plain)
    assert heard == [b"friend"]
    assert stranger.counters["sent"] == plain.counters["sent"] == 0
    plain.close()


def test_nothing_is_sent_to_who_has_not_the_key_of_the_address(
    keyed: Callable[[], ZeroMqBulk],
) -> None:
    """Another process may have the port by now."""
    one, other, gone = keyed(), keyed(), keyed()
    false = other.address.partition("/")[0] + "/" + gone.address.partition("/")[2]
    other.send(one.address, b"hello", memoryview(b""))
    one.send(false, b"secret", memoryview(b"secret"))
    until(lambda: other.send(one.address, b"hello", memoryview(b"")) or True, one, other)
    for _ in range(50):
        assert not one.send(false, b"secret", memoryview(b"secret"))
        for transport in (one, other):
            transport.wait(0.002, ())
    assert other.receive() is None


@pytest.mark.parametrize("address", ["127.0.0.1:7000", "127.0.0.1:7000/00", "127.0.0.1:7000/xyz"])
def test_an_address_without_a_key_is_not_dialled(
    keyed: Callable[[], ZeroMqBulk], address: str
) -> None:
    one = keyed()
    assert not one.send(address, b"h", memoryview(b""))
    assert one.counters["refused_address"] == 1


def test_who_is_not_dialled_any_more_is_not_heard_any_more(
    keyed: Callable[[], ZeroMqBulk], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = keyed(), keyed()
    one.send(other.address, b"h", memoryview(b""))
    assert len(one._known) == 1
    monkeypatch.setattr(bulk, "IDLE_SECONDS_MAX", -1.0)
    one.wait(0.0, ())
    assert one._known == {}


def test_of_too_many_that_have_no_key_the_oldest_give_way_and_who_sends_stays(
    keyed: Callable[[], ZeroMqBulk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "callers_max", lambda: 8)
    one, other = keyed(), keyed()
    where = split_address(one.address.partition("/")[0])

    def has_heard() -> bool:
        other.send(one.address, b"h", memoryview(b""))
        return one.receive() is not None

    one.send(other.address, b"h", memoryview(b""))
    until(has_heard, one, other)
    (known,) = callers_at(where[1])
    silent = [socket.create_connection(where) for _ in range(40)]
    try:
        until(lambda: one.counters["callers_cut"] >= 32, one, other)
        until(lambda: len(callers_at(where[1])) <= 8 + 1, one, other)
        until(has_heard, one, other)
        assert known in callers_at(where[1])
        assert one.counters["callers_cut"] <= 40
    finally:
        for connection in silent:
            connection.close()


def test_what_never_comes_to_an_end_is_looked_at_and_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "WAITING_CHUNKS_MAX", 4)
    one = ZeroMqBulk("127.0.0.1", message_bytes_max=100_000, has_keys=False)
    poll, waited = zmq.zmq_poll, []

    def at_once(sockets: list[Any], milliseconds: int) -> object:
        waited.append(milliseconds)
        return poll(sockets, 0)

    monkeypatch.setattr(zmq, "zmq_poll", at_once)
    one.wait(None, ())
    assert waited == [-1], "nobody is there"
    talker = Talker(split_address(one.address)[1])
    try:
        until(lambda: one._callers is not None and one._callers.are_there, one)
        waited.clear()
        one.wait(None, ())
        assert waited == [100]
        until(lambda: not talker.say(bytes(50_000), more=True) or one.counters["callers_cut"], one)
        assert one.counters["callers_cut"] == 1
    finally:
        talker.close()
        one.close()
