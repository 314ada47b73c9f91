"""What the measurement of scale measures, and that it is flat. Ratios within one run alone."""

import xml.etree.ElementTree as ElementTree

import pytest

from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.testing.crowd import Conditions, Crowd, Seat
from tools.plot import Series, plot
from tools.scale import Measured, drawn, measure, table


@pytest.fixture(scope="module")
def measured() -> list[Measured]:
    return [measure(16), measure(64)]


def test_what_one_member_sends_does_not_grow_with_the_cluster(measured: list[Measured]) -> None:
    few, many = measured
    assert many.messages <= few.messages
    assert many.bytes <= 1.2 * few.bytes


def test_news_takes_a_time_that_grows_with_the_logarithm_at_most(measured: list[Measured]) -> None:
    few, many = measured
    assert many.news_over_log <= 2 * few.news_over_log
    assert many.join_seconds <= 3.0


def test_nobody_is_taken_for_dead_or_suspect_at_one_percent_loss(measured: list[Measured]) -> None:
    for one in measured:
        assert (one.false_suspicions, one.false_deaths) == (0, 0)


def test_a_run_is_a_function_of_its_seed(measured: list[Measured]) -> None:
    again = measure(16)
    assert again[:-1] == measured[0][:-1]
    assert measure(16, seed="another")[:-1] != again[:-1]


def test_the_table_and_the_plot_show_every_size(measured: list[Measured]) -> None:
    assert len(table(measured).splitlines()) == 4
    picture = ElementTree.fromstring(drawn(measured))
    lines = [part for part in picture.iter() if part.tag.endswith("polyline")]
    assert len(lines) == 5
    assert all(len(line.attrib["points"].split()) == 2 for line in lines)


def test_a_plot_draws_greater_values_higher_and_later_places_further_right() -> None:
    picture = ElementTree.fromstring(plot([1, 10, 100], "x", [("t", [Series("s", [1, 3, 2])])]))
    (line,) = [part for part in picture.iter() if part.tag.endswith("polyline")]
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[1][1] < points[2][1] < points[0][1]


# ---- times and verdicts (goals G11, G12) -----------------------------------------------------


def seconds_until_dead(crowd: Crowd, victim: Seat) -> list[float]:
    """For each other member, sorted."""
    began = crowd.now
    seen: dict[int, float] = {}

    def on_change(now: float, seat: Seat, member: Member) -> None:
        if member.peer == victim.peer and member.state is MemberState.DEAD:
            seen.setdefault(seat.number, now - began)

    crowd.on_change = on_change
    crowd.crash(victim)
    assert crowd.run_until(lambda: len(seen) == len(crowd.running()), 60.0)
    return sorted(seen.values())


def p99(times: list[float]) -> float:
    return times[(len(times) - 1) * 99 // 100]


@pytest.mark.parametrize(
    ("peers", "voters", "loss", "bound", "runs"),
    [(5, 5, 0.0, 5.0, 20), (5, 3, 0.01, 5.0, 20), (100, 5, 0.01, 10.0, 2), (5, 5, 0.5, 15.0, 20)],
)
def test_a_death_is_known_to_all_in_time(
    peers: int, voters: int, loss: float, bound: float, runs: int
) -> None:
    times: list[float] = []
    for seed in range(runs):
        crowd = Crowd(peers, seed=seed, voters=voters, conditions=Conditions(loss=loss))
        crowd.run(2.0)
        times += seconds_until_dead(crowd, crowd.seats[seed % peers])
    assert p99(sorted(times)) <= bound


@pytest.mark.parametrize("peers", [3, 5, 20])
@pytest.mark.parametrize(("asleep", "every"), [(2.0, 3.0), (8.0, 20.0), (0.9, 1.0)])
def test_a_starved_member_takes_no_healthy_one_for_dead(
    peers: int, asleep: float, every: float
) -> None:
    """It gets no processor for most of the time; what is sent to it waits."""
    crowd = Crowd(peers, voters=min(peers, 5))
    starved = crowd.seats[0]
    wrong: list[str] = []

    def on_change(now: float, seat: Seat, member: Member) -> None:
        if member.state is MemberState.DEAD and member.peer != starved.peer:
            wrong.append(f"{now:.2f}: {seat.peer} takes {member.peer} for dead")

    crowd.on_change = on_change
    for number in range(int(120 / every)):
        crowd.at(1.0 + number * every, crowd.stall, starved, asleep)
    crowd.run(130.0)
    assert wrong == []
    assert all(seat.core.here_count() == peers for seat in crowd.seats)


def test_short_stalls_of_everybody_kill_nobody() -> None:
    """Two seconds each, now one member and now another."""
    crowd = Crowd(5, voters=5)
    deaths: list[Member] = []
    crowd.on_change = lambda now, seat, member: (
        deaths.append(member) if member.state is MemberState.DEAD else None
    )
    for number in range(100):
        crowd.at(3.0 * number, crowd.stall, crowd.seats[number % 5], 2.0)
    crowd.run(310.0)
    assert deaths == []


# ---- cost ------------------------------------------------------------------------------------


def test_no_input_makes_a_member_say_much_at_once() -> None:
    crowd = Crowd(200, voters=5, conditions=Conditions(loss=0.05))
    crowd.run(5.0)
    crowd.crash(crowd.seats[100])
    crowd.leave(crowd.seats[101])
    crowd.run(5.0)
    assert crowd.most_messages <= 32, "retries, requests, voters, one exchange, goodbyes"


def test_a_join_costs_the_others_no_more_messages_than_they_send_anyway() -> None:
    """Beside the contact, who tells the whole table, nobody says more than at rest."""
    crowd = Crowd(200, voters=5)
    crowd.run(5.0)
    before = crowd.messages
    crowd.run(5.0)
    at_rest = crowd.messages - before
    before = crowd.messages
    newcomers = [crowd.join(crowd.seats[number]) for number in range(5)]
    crowd.run(5.0)
    assert all(seat.core.here_count() == 205 for seat in crowd.seats)
    extra = crowd.messages - before - at_rest
    tables = 205 // 16 + 1
    assert extra <= len(newcomers) * (4 * tables + 100)
