from mabeam_p2p.dashboard.allowance import Allowance


def taken(allowance: Allowance, now: float, count: int) -> int:
    return sum(allowance.take(now) for _ in range(count))


def test_so_many_are_allowed_at_once() -> None:
    assert taken(Allowance(10, 5), 100.0, 50) == 5


def test_what_was_taken_grows_again_at_the_rate() -> None:
    allowance = Allowance(10, 5)
    assert taken(allowance, 0.0, 5) == 5
    assert taken(allowance, 0.05, 5) == 0
    assert taken(allowance, 0.1, 5) == 1
    assert taken(allowance, 0.4, 9) == 3


def test_a_long_rest_allows_no_more_than_the_beginning_did() -> None:
    allowance = Allowance(10, 5)
    assert taken(allowance, 0.0, 5) == 5
    assert taken(allowance, 1_000.0, 50) == 5
