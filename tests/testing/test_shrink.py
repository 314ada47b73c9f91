"""A failing run is made short, and stays a run that breaks the same rule."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.testing.faults import Crash, Cut, Fault, Pause, Reset
from mabeam_p2p.testing.shrink import Shrinker, rule_of
from mabeam_p2p.testing.tape import Planned, Tape
from mabeam_p2p.testing.weather import SECOND, fair

LINKS = ((0, 1), (1, 0))
NEEDED = Planned(3 * SECOND, Crash((1,), (SECOND,)))
ALSO_NEEDED = Planned(4 * SECOND, Cut(LINKS, SECOND))


def noise(count: int) -> list[Planned]:
    kinds: tuple[Fault, ...] = (Pause(0, 5), Reset(LINKS), Crash((4,), (9,)), Cut(LINKS, 7))
    return [Planned(number * 250_000, kinds[number % 4]) for number in range(count)]


def tape() -> Tape:
    weather = fair(5)
    weather = replace(weather, network=replace(weather.network, loss=0.3, duplicate=0.2))
    faults = sorted([*noise(60), NEEDED, ALSO_NEEDED], key=lambda one: one.time)
    return Tape(7, 20 * SECOND, weather, tuple(faults), "I6: as it was seen first")


class Judge:
    """Breaks I6 where two faults meet duplicates, with three peers or more and five seconds."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, one: Tape) -> str | None:
        self.count += 1
        if one.storm < 5 * SECOND or one.weather.peers < 3 or not one.weather.network.duplicate:
            return None
        if NEEDED in one.faults and ALSO_NEEDED in one.faults:
            return f"I6: {len(one.faults)} faults"
        return "I7: another rule is no shorter form of this failure" if one.faults else None


def test_what_the_failure_needs_is_left_and_nothing_else() -> None:
    judge = Judge()
    short = Shrinker(tape(), judge).shrink()
    assert short.faults == (NEEDED, ALSO_NEEDED)
    assert short.violation == "I6: 2 faults"
    assert (short.weather.peers, short.weather.expect) == (3, 3)
    assert short.weather.network.loss == 0.0
    assert short.weather.network.duplicate == 0.2
    assert 5 * SECOND <= short.storm < 6 * SECOND
    assert judge.count < 150


def test_attempts_are_bounded_and_the_shortest_so_far_is_kept() -> None:
    judge = Judge()
    short = Shrinker(tape(), judge, attempts=5).shrink()
    assert judge.count == 5
    assert rule_of(judge(short)) == "I6"
    assert len(short.faults) < 62


def test_a_tape_that_breaks_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="breaks no rule"):
        Shrinker(replace(tape(), violation=""))


def test_the_rule_is_what_stands_before_the_detail() -> None:
    assert rule_of("I6: a: b") == "I6"
    assert rule_of(None) == ""
