import pytest
import zmq

from mabeam_p2p.config import Limits
from mabeam_p2p.transport import inbox, strikes
from mabeam_p2p.transport.inbox import Inbox
from mabeam_p2p.transport.options import router_options
from mabeam_p2p.transport.strikes import Strikes

ONE, TWO = b"one", b"two"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Inbox[str], Clock]:
    clock = Clock()
    return Inbox(clock), clock


def test_small_messages_of_all_are_delivered_in_one_turn_in_the_order_of_each() -> None:
    box, _ = made()
    for number in range(3):
        box.put(ONE, 100, f"one {number}")
        box.put(TWO, 100, f"two {number}")
    assert list(box.turn()) == ["one 0", "one 1", "one 2", "two 0", "two 1", "two 2"]
    assert box.rest() is None


def test_large_messages_of_one_do_not_keep_back_those_of_another() -> None:
    box, _ = made()
    for number in range(3):
        box.put(ONE, inbox.SHARE_BYTES * 2, f"large {number}")
    box.put(ONE, 10, "behind them")
    box.put(TWO, 10, "small")
    turns = []
    while box.rest() is not None:
        turns.append(list(box.turn()))
    assert turns == [["large 0", "small"], ["large 1"], ["large 2"], ["behind them"]]


def test_what_waits_of_one_party_is_bounded_and_frees_what_was_taken() -> None:
    box, _ = made()
    size = inbox.WAITING_BYTES_MAX // 4 - inbox.MESSAGE_BYTES
    for number in range(4):
        assert not box.is_full(ONE)
        box.put(ONE, size, str(number))
    assert box.is_full(ONE)
    assert not box.is_full(TWO)
    assert list(box.turn()) == ["0"]
    assert not box.is_full(ONE)


@pytest.mark.parametrize("seconds", [0.0001, 0.003, 0.1])
def test_a_party_has_its_share_of_the_loop_and_others_are_served_meanwhile(seconds: float) -> None:
    """Each message of one takes so long; the other says something every ten milliseconds."""
    box, clock = made()
    end, said_at, used, latest = clock.now + 20.0, clock.now, 0.0, 0.0
    for _ in range(1_000):
        box.put(ONE, 1, "heavy")
    while clock.now < end:
        if clock.now >= said_at:
            box.put(TWO, 1, "light")
        for item in box.turn():
            if item == "heavy":
                box.put(ONE, 1, "heavy")
                clock.now += seconds
                used += seconds
            else:
                latest = max(latest, clock.now - said_at)
                said_at = clock.now + 0.01
        rest = box.rest()
        assert rest is not None
        clock.now += min(rest, max(0.0, said_at - clock.now)) + 0.0001
    bound = inbox.LOOP_SHARE * 20.0 + inbox.BURST_SECONDS + seconds
    assert 0.8 * bound < used <= bound
    assert latest <= 2 * (inbox.SHARE_SECONDS + seconds) + 0.001


def test_in_one_turn_a_party_has_a_share_of_time_whatever_is_due_to_it() -> None:
    box, clock = made()
    for _ in range(100):
        box.put(ONE, 1, "heavy")
    box.put(TWO, 1, "light")
    heard = []
    for item in box.turn():
        heard.append(item)
        clock.now += 0.0015
    assert inbox.SHARE_SECONDS <= 0.0015 * heard.count("heavy") <= inbox.SHARE_SECONDS + 0.0015
    assert heard[-1] == "light"
    assert box.rest() == 0.0


def used_at_once(box: Inbox[str], clock: Clock) -> float:
    """Seconds until it has to rest."""
    for _ in range(5_000):
        box.put(ONE, 1, "heavy")
    used = 0.0
    while box.rest() == 0.0:
        for _ in box.turn():
            clock.now += 0.001
            used += 0.001
    return used


def test_who_was_silent_for_long_has_no_more_at_once_than_others() -> None:
    box, clock = made()
    burst = inbox.BURST_SECONDS / (1 / inbox.LOOP_SHARE - 1)
    assert used_at_once(box, clock) == pytest.approx(burst, rel=0.1)
    clock.now += 1_000.0
    while box.rest() is not None:
        for _ in box.turn():
            clock.now += 0.000001
    assert used_at_once(box, clock) == pytest.approx(burst, rel=0.1)


def test_what_waits_of_one_party_is_bounded_however_short_it_is() -> None:
    box, _ = made()
    count = 0
    while not box.is_full(ONE):
        box.put(ONE, 0, "")
        count += 1
    assert count * 256 <= inbox.WAITING_BYTES_MAX


def test_nobody_rests_for_long_whatever_a_message_took() -> None:
    """Or however long the process stood still."""
    box, clock = made()
    box.put(ONE, 1, "first")
    box.put(ONE, 1, "second")
    for item in box.turn():
        assert item == "first"
        clock.now += 8.0
    assert box.rest() == pytest.approx(inbox.REST_SECONDS_MAX)


def test_no_more_parties_are_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "PARTIES_MAX", 3)
    monkeypatch.setattr(inbox, "LOOP_SHARE", 0.001)
    box, clock = made()
    for number in range(5):
        box.put(b"%d" % number, 1, "heavy")
        for _ in box.turn():
            clock.now += 0.01
    for number in range(5):
        box.put(b"%d" % number, 1, str(number))
    assert list(box.turn()) == ["0", "1"]  # Who rests is remembered: the last three.


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
