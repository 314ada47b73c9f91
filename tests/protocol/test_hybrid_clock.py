"""The hybrid clock never goes back, follows what it saw, and is not carried away."""

from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.hybrid_clock import LEAD_MAX, HybridClock

A, B = PeerId("a" * 16), PeerId("b" * 16)
WALL = 1_700_000_000.0
WALL_MICROSECONDS = 1_700_000_000_000_000


def test_stamps_are_microseconds_of_the_wall_clock_that_was_given() -> None:
    clock = HybridClock(WALL, now=50.0)
    assert abs(clock.tick(50.0) - WALL_MICROSECONDS) <= 1
    assert abs(clock.tick(52.5) - WALL_MICROSECONDS - 2_500_000) <= 1


def test_stamps_grow_even_when_time_stands_still() -> None:
    clock = HybridClock(WALL, now=0.0)
    stamps = [clock.tick(0.0) for _ in range(100)]
    assert stamps == list(range(stamps[0], stamps[0] + 100))


def test_a_stamp_is_greater_than_what_was_observed() -> None:
    clock = HybridClock(WALL, now=0.0)
    ahead = WALL_MICROSECONDS + 5_000_000
    clock.observe(ahead, now=0.0)
    assert clock.tick(0.0) == ahead + 1


def test_an_older_observation_changes_nothing() -> None:
    clock = HybridClock(WALL, now=0.0)
    last = clock.tick(10.0)
    clock.observe(last - 1_000_000, now=10.0)
    assert clock.tick(10.0) == last + 1


def test_a_stamp_far_ahead_pulls_the_clock_by_a_day_at_most() -> None:
    clock = HybridClock(WALL, now=0.0)
    clock.observe(2**62 - 1, now=0.0)
    clock.observe(2**62 - 1, now=0.0)
    assert clock.tick(0.0) <= WALL_MICROSECONDS + LEAD_MAX + 2


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.one_of(st.none(), st.integers(0, 2**62)))),
    st.floats(0, 4e9),
)
def test_stamps_grow_whatever_is_observed(
    steps: list[tuple[float, int | None]], wall: float
) -> None:
    clock = HybridClock(wall, now=0.0)
    last = -1
    for now, observed in sorted(steps, key=lambda step: step[0]):
        if observed is not None:
            clock.observe(observed, now)
        stamp = clock.tick(now)
        assert last < stamp < 2**62
        last = stamp


def test_a_stamp_beyond_the_bound_is_not_admitted_until_the_time_has_come() -> None:
    clock = HybridClock(WALL, now=0.0)
    far = WALL_MICROSECONDS + LEAD_MAX + 5_000_000
    assert clock.admits(WALL_MICROSECONDS + LEAD_MAX, now=0.0)
    assert not clock.admits(far, now=0.0)
    assert clock.admits(far, now=6.0)


def test_one_peer_alone_moves_no_bound() -> None:
    clock = HybridClock(WALL, now=0.0)
    far = WALL_MICROSECONDS + 10 * LEAD_MAX
    clock.heard(A, far, now=0.0)
    assert not clock.admits(far, now=0.0)
    clock.heard(B, WALL_MICROSECONDS, now=0.0)
    assert not clock.admits(far, now=0.0)


def test_who_has_lost_its_clock_takes_the_writes_of_all_others() -> None:
    clock = HybridClock(0.0, now=0.0)
    assert not clock.admits(WALL_MICROSECONDS, now=0.0)
    for peer in (A, B):
        clock.heard(peer, WALL_MICROSECONDS, now=0.0)
    assert clock.admits(WALL_MICROSECONDS, now=0.0)
    clock.observe(WALL_MICROSECONDS, now=0.0)
    assert clock.tick(0.0) == WALL_MICROSECONDS + 1
    clock.forget(A)
    clock.forget(B)
    assert not clock.admits(2 * WALL_MICROSECONDS, now=0.0)
