"""Whom the faults of a soak meet, and which links."""

from random import Random

import pytest

from tools.soak_faults import (
    KILLS,
    PARTITIONS,
    PAUSE_SECONDS,
    WEATHERS,
    Weather,
    log_uniform,
    victims,
)
from tools.soak_links import Links

SHAPES = {weather.name: weather for weather in WEATHERS}


def cut(
    shape: str, count: int, seed: int, leader: int | None = None
) -> dict[tuple[int, int], bool]:
    """Whether each link is held in both directions of its bytes."""
    links = Links([f"127.0.0.1:{port}" for port in range(1, count + 1)])
    SHAPES[shape].begin(links, count, None, Random(seed))
    return {
        (source, target): links.between([source], [target])[0].words.is_held
        and links.between([source], [target])[0].answers.is_held
        for source in range(count)
        for target in range(count)
        if source != target
    }


def hearing(held: dict[tuple[int, int], bool], peer: int) -> list[int]:
    """Whom a peer hears and is heard by."""
    others = [other for pair in held for other in pair if other != peer]
    return sorted(
        other for other in dict.fromkeys(others) if not held[peer, other] and not held[other, peer]
    )


@pytest.mark.parametrize("kind", KILLS)
def test_only_a_strike_of_all_leaves_no_majority(kind: str) -> None:
    for count in (3, 4, 5, 7):
        for seed in range(20):
            met = victims(kind, range(count), 1, count, Random(seed))
            assert len(met) == len({*met}) > 0
            if kind == "all":
                assert met == list(range(count))
            else:
                assert count - len(met) > count // 2
            if kind == "leader":
                assert met == [1]


def test_a_leader_that_is_not_known_is_replaced_by_anybody() -> None:
    drawn = {victims("leader", [0, 2], None, 3, Random(seed))[0] for seed in range(20)}
    assert drawn == {0, 2}


def test_halves_leave_one_side_a_majority_and_nothing_between_the_sides() -> None:
    for count in (3, 5):
        for seed in range(20):
            held = cut("halves", count, seed)
            sides = {tuple(sorted([peer, *hearing(held, peer)])) for peer in range(count)}
            assert len(sides) == 2
            assert max(map(len, sides)) > count // 2
            assert sorted(sum(sides, ())) == list(range(count))


def test_nobody_hears_anybody() -> None:
    assert all(cut("nobody", 5, 0).values())


def test_in_a_ring_of_five_everybody_hears_two() -> None:
    held = cut("ring", 5, 3)
    assert [len(hearing(held, peer)) for peer in range(5)] == [2] * 5


def test_in_a_ring_of_three_one_link_is_missing() -> None:
    held = cut("ring", 3, 3)
    assert sorted(len(hearing(held, peer)) for peer in range(3)) == [1, 1, 2]


@pytest.mark.parametrize("count", [3, 5])
def test_over_a_bridge_one_hears_all_and_the_sides_do_not_hear_each_other(count: int) -> None:
    held = cut("bridge", count, 4)
    heard = sorted(len(hearing(held, peer)) for peer in range(count))
    half = (count - 1) // 2
    assert heard == [half] * (count - 1) + [count - 1]


@pytest.mark.parametrize(("shape", "end"), [("deaf", 1), ("mute", 0)])
def test_one_way_faults_leave_the_other_way(shape: str, end: int) -> None:
    held = cut(shape, 5, 0)
    ends = {link[end] for link, is_held in held.items() if is_held}
    assert len(ends) == 1
    assert sum(held.values()) == 4


@pytest.mark.parametrize("weather", WEATHERS, ids=lambda weather: weather.name)
def test_every_fault_heals(weather: Weather) -> None:
    links = Links(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"])
    for seed in range(5):
        weather.begin(links, 3, 0, Random(seed))
        links.heal()
        assert all(link.is_fair for link in links.all())


def test_every_partition_is_a_fault_of_links() -> None:
    assert [shape for shape in PARTITIONS if shape not in SHAPES] == []


def test_times_stay_in_their_bounds_and_short_ones_are_as_frequent_as_long_ones() -> None:
    random = Random(0)
    drawn = [log_uniform(random, PAUSE_SECONDS) for _ in range(2000)]
    low, high = PAUSE_SECONDS
    assert low <= min(drawn) <= max(drawn) <= high
    middle = (low * high) ** 0.5
    assert 900 < sum(seconds < middle for seconds in drawn) < 1100
