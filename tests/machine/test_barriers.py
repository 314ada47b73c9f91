import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.events import AgentJoined, AgentLeft, BarrierChanged
from mabeam_p2p.ids import INTEGER_MAX, AgentId, SessionId
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import Committed, GenerationQuery, Refused
from tests.machine.written_log import SECOND, START, WrittenLog, reason

BREAK, SHRINK, WAIT = OnDeparture
WAITING, RELEASED, BROKEN = BarrierStatus


def told(log: WrittenLog) -> list[tuple[int, BarrierStatus, tuple[str, ...]]]:
    """What the last batch told of generations: (number, status, arrived)."""
    return [(one.generation, one.status, one.arrived) for one in log.generations_told()]


def current(log: WrittenLog, barrier: str = "b", generation: int = 0) -> Generation:
    found = log.generation(barrier, generation)
    assert found is not None
    return found


# ---- meeting ---------------------------------------------------------------------------------


@pytest.mark.fault("B9")
def test_the_first_arrival_makes_the_barrier_and_the_last_one_releases_it() -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    opened_clock = log.clock + 1
    log.arrive(one)
    assert told(log) == [(1, WAITING, ("a1@p",))]
    log.arrive(two)
    assert told(log) == [(1, WAITING, ("a1@p", "a2@p"))]
    last = log.arrive(three)
    released = Generation(
        barrier="b",
        generation=1,
        parties=3,
        timeout=30 * SECOND,
        on_departure=BREAK,
        arrived=(AgentId("a1@p"), AgentId("a2@p"), AgentId("a3@p")),
        status=RELEASED,
        opened_clock=opened_clock,
        closed_index=6,
        closed_clock=log.clock,
        reason="all arrived",
    )
    assert last == Committed(6, 1, 1)
    assert log.events == (BarrierChanged(released),)
    assert current(log) == current(log, generation=1) == released


@pytest.mark.fault("B1")
def test_an_agent_that_arrives_twice_counts_once() -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    log.arrive(one)
    assert isinstance(log.arrive(one), Committed)
    assert log.events == ()
    log.arrive(two)
    log.arrive(one)
    assert current(log).status is WAITING
    log.arrive(three)
    assert current(log).status is RELEASED


def test_an_agents_second_session_is_no_second_party() -> None:
    log = WrittenLog()
    log.attach("a", session=1)
    log.arrive(SessionId(1), parties=2, on_departure=WAIT)
    log.attach("a", session=2, epoch=2)
    log.arrive(SessionId(2), parties=2, on_departure=WAIT)
    assert current(log).status is WAITING
    assert current(log).arrived == ("a@p",)


def test_a_barrier_of_one_releases_at_once() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    log.arrive(one, parties=1)
    assert told(log) == [(1, RELEASED, ("a1@p",))]


@pytest.mark.fault("B7")
def test_generations_count_from_one_and_the_next_may_differ() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    for session in (one, two):
        log.arrive(session, parties=2)
    outcome = log.arrive(two, parties=1, on_departure=WAIT)
    assert isinstance(outcome, Committed)
    assert outcome.number == 2
    assert current(log).status is RELEASED
    assert current(log, generation=1).arrived == ("a1@p", "a2@p")


def test_barriers_of_different_names_do_not_meet() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.arrive(one, "left", parties=2)
    log.arrive(two, "right", parties=2)
    running = log.machine.find(GenerationQuery("", 0)).generations
    assert [(each.barrier, each.arrived) for each in running] == [
        ("left", ("a1@p",)),
        ("right", ("a2@p",)),
    ]
    assert log.generation("other") is None


@pytest.mark.parametrize(
    ("parties", "timeout", "on_departure", "difference"),
    [
        (4, SECOND, BREAK, "4 parties"),
        (3, 2 * SECOND, BREAK, "timeout 2000000 us"),
        (3, SECOND, WAIT, "on_departure wait"),
    ],
)
def test_an_arrival_with_other_parameters_is_refused_and_both_are_named(
    parties: int, timeout: int, on_departure: OnDeparture, difference: str
) -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.arrive(one, parties=3, timeout=SECOND)
    refused = log.arrive(two, parties=parties, timeout=timeout, on_departure=on_departure)
    assert isinstance(refused, Refused)
    assert refused.reason == "barrier_mismatch"
    assert "3 parties, timeout 1000000 us, on_departure break" in refused.detail
    assert difference in refused.detail
    assert current(log).arrived == ("a1@p",)


# ---- naming a generation ---------------------------------------------------------------------


@pytest.mark.fault("B6")
def test_an_arrival_at_a_finished_generation_answers_with_it_and_begins_none() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    for session in (one, two):
        log.arrive(session, parties=2)
    for session in (one, two):
        late = log.arrive(session, parties=2, generation=1)
        assert isinstance(late, Committed)
        assert late.number == 1
        assert log.events == ()
    assert current(log).status is RELEASED


def test_an_arrival_may_name_the_running_generation() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.arrive(one, parties=2)
    log.arrive(two, parties=2, generation=1)
    assert current(log).status is RELEASED


@pytest.mark.parametrize("generation", [-1, 2, INTEGER_MAX])
def test_an_arrival_at_a_generation_that_is_not_there_is_refused(generation: int) -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    assert reason(log.arrive(one, parties=1, generation=1)) == "unknown_generation"
    log.arrive(one, parties=1)
    assert reason(log.arrive(one, parties=1, generation=generation)) == "unknown_generation"
    log.arrive(one, parties=2)
    assert reason(log.arrive(one, parties=2, generation=3)) == "unknown_generation"


# ---- time ------------------------------------------------------------------------------------


@pytest.mark.fault("B4")
def test_a_generation_breaks_for_all_when_its_time_from_the_first_arrival_is_over() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.arrive(one, timeout=10)
    deadline = log.clock + 10
    assert log.machine.next_deadline() == deadline
    log.arrive(two, timeout=10)
    log.pass_time(8)
    assert current(log).status is WAITING
    index = log.machine.applied_index + 1
    log.pass_time(1)
    assert log.clock == deadline
    broken = current(log)
    assert (broken.status, broken.reason) == (BROKEN, "timeout")
    assert (broken.closed_index, broken.closed_clock) == (index, deadline)
    assert log.events == (BarrierChanged(broken),)
    assert log.machine.next_deadline() is None


def test_an_arrival_past_the_deadline_finds_the_generation_broken() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.arrive(one, parties=2, timeout=10)
    log.clock += 20
    late = log.arrive(two, parties=2, timeout=10)
    assert isinstance(late, Committed)
    assert late.number == 2
    assert told(log) == [(1, BROKEN, ("a1@p",)), (2, WAITING, ("a2@p",))]


def test_a_released_generation_has_no_timeout() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    log.arrive(one, parties=1, timeout=10)
    log.pass_time(SECOND)
    assert log.events == ()
    assert current(log).status is RELEASED


# ---- departures ------------------------------------------------------------------------------


@pytest.mark.fault("B5")
def test_the_departure_of_an_arrived_party_breaks_the_generation_by_default() -> None:
    log = WrittenLog()
    one, two, _ = log.attached(3)
    log.arrive(one)
    log.arrive(two)
    log.depart(1)
    assert [type(event) for event in log.events] == [AgentLeft, BarrierChanged]
    assert told(log) == [(1, BROKEN, ("a1@p", "a2@p"))]
    assert current(log).reason == "departed: a1@p"
    assert log.machine.next_deadline() is None


def test_who_has_not_arrived_breaks_nothing_by_departing() -> None:
    log = WrittenLog()
    one, _, _ = log.attached(3)
    log.arrive(one)
    log.depart(2)
    assert current(log).status is WAITING


def test_a_shrunk_generation_goes_on_without_the_departed_party() -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    for session in (one, two):
        log.arrive(session, on_departure=SHRINK)
    log.close(two)
    assert told(log) == [(1, WAITING, ("a1@p",))]
    assert current(log).parties == 2
    # What the rest asks for is still the same barrier.
    log.arrive(three, on_departure=SHRINK)
    released = current(log)
    assert (released.status, released.parties) == (RELEASED, 2)
    assert released.arrived == ("a1@p", "a3@p")


def test_a_departed_party_that_comes_back_stands_in_for_nobody() -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    for session in (one, two):
        log.arrive(session, on_departure=SHRINK)
    log.close(two)
    log.attach("a2", session=20, peer=2)
    log.arrive(SessionId(20), on_departure=SHRINK)
    assert (current(log).status, current(log).parties) == (WAITING, 3)
    log.arrive(three, on_departure=SHRINK)
    assert current(log).arrived == ("a1@p", "a2@p", "a3@p")


def test_a_waiting_generation_takes_another_in_place_of_the_departed_party() -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    log.arrive(one, parties=2, on_departure=WAIT)
    log.close(one)
    assert told(log) == [(1, WAITING, ())]
    log.arrive(two, parties=2, on_departure=WAIT)
    assert current(log).status is WAITING
    log.arrive(three, parties=2, on_departure=WAIT)
    assert (current(log).status, current(log).arrived) == (RELEASED, ("a2@p", "a3@p"))


def test_a_party_whose_peer_restarted_must_arrive_again() -> None:
    log = WrittenLog()
    log.attach("a", session=1)
    log.arrive(SessionId(1), parties=2)
    log.attach("a", session=2, epoch=2)
    assert [type(event) for event in log.events] == [AgentLeft, BarrierChanged, AgentJoined]
    assert current(log).status is BROKEN


def test_a_departure_does_not_touch_finished_generations() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    log.arrive(one, parties=1)
    log.close(one)
    assert current(log).status is RELEASED


# ---- limits ----------------------------------------------------------------------------------


def test_running_barriers_are_bounded_in_number() -> None:
    log = WrittenLog(Limits(open_barriers_max=1))
    one, two = log.attached(2)
    log.arrive(one, "b", parties=2)
    assert reason(log.arrive(one, "c", parties=1)) == "limit"
    log.arrive(two, "b", parties=2)
    assert reason(log.arrive(one, "c", parties=1)) == ""


@pytest.mark.fault("B12")
def test_finished_generations_and_idle_barriers_are_forgotten_oldest_first() -> None:
    log = WrittenLog(Limits(closed_generations_max=2, closed_barriers_max=2))
    (one,) = log.attached(1)
    for name in ("b", "b", "b", "c"):
        log.arrive(one, name, parties=1)
    assert log.generation("b", 1) is None
    assert current(log, generation=2).status is RELEASED
    assert reason(log.arrive(one, "b", parties=1, generation=1)) == "unknown_generation"
    log.arrive(one, "b", parties=1)
    log.arrive(one, "d", parties=1)
    assert log.generation("c") is None
    assert current(log).generation == 4


@pytest.mark.parametrize(
    ("barrier", "parties", "timeout"),
    [
        ("", 2, SECOND),
        ("b\n", 2, SECOND),
        ("x" * 257, 2, SECOND),
        ("b", 0, SECOND),
        ("b", 4097, SECOND),
        ("b", 2, 0),
        ("b", 2, INTEGER_MAX - START),
    ],
)
def test_a_malformed_barrier_does_not_begin(barrier: str, parties: int, timeout: int) -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    assert reason(log.arrive(one, barrier, parties=parties, timeout=timeout)) == "invalid"
    assert log.machine.find(GenerationQuery("", 0)).generations == ()
    assert log.machine.next_deadline() is None


# ---- in any order ----------------------------------------------------------------------------


@pytest.mark.fault("B8")
@settings(max_examples=60)
@given(st.lists(st.integers(1, 4), max_size=40), st.integers(1, 4))
def test_a_generation_is_released_exactly_when_enough_different_agents_have_arrived(
    arrivals: list[int], parties: int
) -> None:
    log = WrittenLog()
    log.attached(4)
    arrived: list[str] = []
    finished = 0
    for number in arrivals:
        log.arrive(SessionId(number), parties=parties)
        arrived = list(dict.fromkeys([*arrived, f"a{number}@p"]))
        if len(arrived) == parties:
            finished += 1
            assert told(log) == [(finished, RELEASED, tuple(arrived))]
            arrived = []
    running = log.machine.find(GenerationQuery("", 0)).generations
    assert [list(one.arrived) for one in running] == ([arrived] if arrived else [])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30),
    st.integers(2, 4),
    st.sampled_from([SHRINK, WAIT]),
)
def test_no_departure_releases_and_none_is_counted_as_there(
    steps: list[tuple[int, bool]], parties: int, on_departure: OnDeparture
) -> None:
    log = WrittenLog()
    live = dict(zip(range(1, 5), log.attached(4), strict=True))
    fresh = 100
    for number, departs in steps:
        if departs and number in live:
            log.close(live.pop(number))
            assert all(one.status is WAITING for one in log.generations_told())
        elif number in live:
            log.arrive(live[number], parties=parties, on_departure=on_departure)
        else:
            fresh += 1
            log.attach(f"a{number}", session=fresh, peer=number)
            live[number] = SessionId(fresh)
        for one in log.machine.find(GenerationQuery("", 0)).generations:
            assert len(one.arrived) < one.parties <= parties
            assert all(agent in {f"a{n}@p" for n in live} for agent in one.arrived)


@pytest.mark.parametrize("on_departure", OnDeparture)
def test_a_departure_counts_at_every_barrier_that_expects_the_agent(
    on_departure: OnDeparture,
) -> None:
    log = WrittenLog()
    one, two, _ = log.attached(3)
    log.arrive(two, "others", members=("a2@p", "a3@p"))
    for barrier in ("b", "c"):
        log.arrive(one, barrier, on_departure=on_departure)
        log.arrive(two, barrier, on_departure=on_departure)
    log.close(one)
    assert current(log, "others").status is WAITING
    for barrier in ("b", "c"):
        if on_departure is BREAK:
            assert current(log, barrier).status is BROKEN
        else:
            assert current(log, barrier).arrived == ("a2@p",)
