import zmq

from mabeam_p2p.config import Limits
from mabeam_p2p.transport import inbox, strikes
from mabeam_p2p.transport.inbox import Inbox
from mabeam_p2p.transport.options import router_options
from mabeam_p2p.transport.strikes import Strikes

ONE, TWO = b"one", b"two"


def test_small_messages_of_all_are_delivered_in_one_turn_in_the_order_of_each() -> None:
    box: Inbox[str] = Inbox()
    for number in range(3):
        box.put(ONE, 100, f"one {number}")
        box.put(TWO, 100, f"two {number}")
    assert list(box.turn()) == ["one 0", "one 1", "one 2", "two 0", "two 1", "two 2"]
    assert box.is_empty


def test_large_messages_of_one_do_not_keep_back_those_of_another() -> None:
    box: Inbox[str] = Inbox()
    for number in range(3):
        box.put(ONE, inbox.SHARE_BYTES * 2, f"large {number}")
    box.put(ONE, 10, "behind them")
    box.put(TWO, 10, "small")
    turns = []
    while not box.is_empty:
        turns.append(list(box.turn()))
    assert turns == [["large 0", "small"], ["large 1"], ["large 2"], ["behind them"]]


def test_what_waits_of_one_connection_is_bounded_and_frees_what_was_taken() -> None:
    box: Inbox[int] = Inbox()
    size = inbox.WAITING_BYTES_MAX // 4
    for number in range(4):
        assert not box.is_full(ONE)
        box.put(ONE, size, number)
    assert box.is_full(ONE)
    assert not box.is_full(TWO)
    assert list(box.turn()) == [0]
    assert not box.is_full(ONE)


def test_frames_of_one_connection_that_wait_in_the_socket_are_bounded() -> None:
    size = Limits().frame_bytes_max
    values = {option.name: option.value for option in router_options(size)}
    assert values[zmq.RCVHWM] * values[zmq.MAXMSGSIZE] <= 256 * 1024 * 1024


def test_a_little_nonsense_is_nobodys_fault() -> None:
    known = Strikes()
    now = 0.0
    for _ in range(1_000):
        known.blame(ONE, 2_000, now)
        now += strikes.SECONDS / 200
        assert not known.is_out(ONE, now)


def test_much_nonsense_is_not_listened_to_for_a_while() -> None:
    known = Strikes()
    known.blame(ONE, strikes.BROKEN_BYTES_MAX, 0.0)
    assert not known.is_out(ONE, 0.5)
    known.blame(ONE, 1, 0.5)
    assert known.is_out(ONE, 0.5)
    assert known.is_out(ONE, 0.4 + strikes.SECONDS)
    assert not known.is_out(ONE, 0.6 + strikes.SECONDS)
    assert not known.is_out(TWO, 0.5)
    # It has learnt nothing, and is out at once again.
    known.blame(ONE, strikes.BROKEN_BYTES_MAX + 1, 2.0)
    assert known.is_out(ONE, 2.0)


def test_short_nonsense_counts_too() -> None:
    known = Strikes()
    for _ in range(strikes.BROKEN_BYTES_MAX // strikes.MESSAGE_BYTES + 1):
        known.blame(ONE, 1, 0.0)
    assert known.is_out(ONE, 0.0)


def test_connections_that_are_told_apart_are_bounded() -> None:
    known = Strikes()
    for number in range(strikes.CONNECTIONS_MAX + 10):
        known.blame(number.to_bytes(4, "big"), strikes.BROKEN_BYTES_MAX + 1, 0.0)
    assert not known.is_out((0).to_bytes(4, "big"), 0.0)
    assert known.is_out((10).to_bytes(4, "big"), 0.0)
    assert len(known._known) == strikes.CONNECTIONS_MAX
