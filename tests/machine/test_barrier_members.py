import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import SessionId
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import Committed, GenerationQuery
from tests.machine.written_log import WrittenLog, reason

BREAK, SHRINK, WAIT = OnDeparture
WAITING, RELEASED, BROKEN = BarrierStatus
ONE, TWO, THREE = "a1@p", "a2@p", "a3@p"


def current(log: WrittenLog, barrier: str = "b", generation: int = 0) -> Generation:
    found = log.generation(barrier, generation)
    assert found is not None
    return found


# ---- named members -----------------------------------------------------------------------------


def test_named_members_are_released_when_all_of_them_have_arrived() -> None:
    log = WrittenLog()
    one, two, _ = log.attached(3)
    log.arrive(one, members=(ONE, TWO))
    log.arrive(two, members=(ONE, TWO))
    assert (current(log).status, current(log).arrived) == (RELEASED, (ONE, TWO))
    assert current(log).members == (ONE, TWO)


@pytest.mark.fault("B11")
def test_nobody_but_the_members_may_arrive() -> None:
    log = WrittenLog()
    one, _, three = log.attached(3)
    assert reason(log.arrive(three, members=(ONE, TWO))) == "not_eligible"
    assert log.generation() is None
    log.arrive(one, members=(ONE, TWO))
    assert reason(log.arrive(three, members=(ONE, TWO))) == "not_eligible"
    assert current(log).arrived == (ONE,)


def test_arrivals_that_name_others_are_refused_and_both_are_told() -> None:
    log = WrittenLog()
    one, two, _ = log.attached(3)
    log.arrive(one, members=(ONE, TWO))
    refused = log.arrive(two, members=(TWO, THREE))
    assert reason(refused) == "barrier_mismatch"
    assert f"{ONE} and 1 others" in str(refused)
    assert reason(log.arrive(two, parties=2)) == "barrier_mismatch"
    assert reason(log.arrive(two, members=(ONE, TWO), since=1)) == "barrier_mismatch"


@pytest.mark.parametrize("departed", [1, 2], ids=["has arrived", "has not arrived"])
def test_the_departure_of_a_member_breaks_it_whether_or_not_it_has_arrived(departed: int) -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    log.arrive(one, members=(ONE, TWO, THREE))
    log.depart(departed)
    broken = current(log)
    assert (broken.status, broken.reason) == (BROKEN, f"departed: a{departed}@p")
    assert broken.departed == (f"a{departed}@p",)
    assert log.machine.next_deadline() is None


def test_who_is_no_member_breaks_nothing_by_departing() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    log.arrive(one, members=(ONE, TWO))
    log.depart(3)
    assert current(log).status is WAITING


def test_what_begins_with_members_that_are_gone_breaks_at_once_and_names_all() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    log.depart(2)
    log.depart(3)
    arrived = log.arrive(one, members=(ONE, TWO, THREE))
    assert isinstance(arrived, Committed)
    broken = current(log, generation=arrived.number)
    assert (broken.status, broken.departed) == (BROKEN, (TWO, THREE))
    assert (broken.arrived, broken.reason) == ((), f"departed: {TWO} and 1 more")


def test_what_has_shrunk_to_those_who_are_there_is_released() -> None:
    log = WrittenLog()
    one, two, _ = log.attached(3)
    log.arrive(one, members=(ONE, TWO, THREE), on_departure=SHRINK)
    log.arrive(two, members=(ONE, TWO, THREE), on_departure=SHRINK)
    log.depart(3)
    released = current(log)
    assert (released.status, released.arrived, released.parties) == (RELEASED, (ONE, TWO), 2)
    assert released.departed == (THREE,)


def test_what_shrinks_before_it_begins_is_released_by_the_rest() -> None:
    log = WrittenLog()
    one, two, _ = log.attached(3)
    log.depart(3)
    log.arrive(one, members=(ONE, TWO, THREE), on_departure=SHRINK)
    assert current(log).status is WAITING
    log.arrive(two, members=(ONE, TWO, THREE), on_departure=SHRINK)
    assert (current(log).status, current(log).arrived) == (RELEASED, (ONE, TWO))


def test_what_shrinks_to_nobody_is_broken() -> None:
    log = WrittenLog()
    log.attached(2)
    log.arrive(SessionId(1), members=(ONE, TWO), on_departure=SHRINK)
    log.depart(1)
    log.depart(2)
    assert (current(log).status, current(log).parties) == (BROKEN, 0)


def test_a_waiting_generation_takes_its_own_member_back_and_nobody_else() -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    log.arrive(one, members=(ONE, TWO), on_departure=WAIT)
    log.close(one)
    log.arrive(two, members=(ONE, TWO), on_departure=WAIT)
    assert current(log).status is WAITING
    assert reason(log.arrive(three, members=(ONE, TWO), on_departure=WAIT)) == "not_eligible"
    log.attach("a1", session=10)
    log.arrive(SessionId(10), members=(ONE, TWO), on_departure=WAIT)
    assert current(log).status is RELEASED


# ---- to begin without arriving -----------------------------------------------------------------


def test_who_is_not_present_begins_a_generation_and_does_not_count() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    begun = log.arrive(one, members=(ONE, TWO), present=False)
    assert begun == Committed(log.machine.applied_index, 1, 1)
    assert (current(log).status, current(log).arrived) == (WAITING, ())
    log.arrive(two, members=(ONE, TWO))
    log.arrive(one, members=(ONE, TWO), present=False)
    assert current(log).status is WAITING
    log.arrive(one, members=(ONE, TWO))
    assert current(log).status is RELEASED


def test_what_was_begun_without_arriving_breaks_by_a_departure_and_by_time() -> None:
    log = WrittenLog()
    one, _ = log.attached(2)
    log.arrive(one, members=(ONE, TWO), present=False, timeout=10)
    log.pass_time(10)
    assert (current(log).status, current(log).reason) == (BROKEN, "timeout")
    log.arrive(one, members=(ONE, TWO), present=False)
    log.depart(2)
    assert (current(log).generation, current(log).departed) == (2, (TWO,))


# ---- since -------------------------------------------------------------------------------------


def test_a_member_whose_session_is_younger_has_departed_and_may_not_arrive() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    since = log.machine.applied_index
    log.close(two)
    log.attach("a2", session=20, peer=2)
    members = (ONE, TWO)
    assert reason(log.arrive(SessionId(20), members=members, since=since)) == "not_eligible"
    log.arrive(one, members=members, since=since)
    assert (current(log).status, current(log).departed) == (BROKEN, (TWO,))
    # Named without an index, the same agents can meet.
    log.arrive(one, members=members)
    log.arrive(SessionId(20), members=members)
    assert current(log).status is RELEASED


@pytest.mark.parametrize("ends", ["all arrive", "one departs"])
def test_members_named_since_an_index_meet_once(ends: str) -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    since, members = log.machine.applied_index, (ONE, TWO, THREE)
    log.arrive(one, members=members, since=since)
    if ends == "one departs":
        log.depart(3)
    else:
        log.arrive(two, members=members, since=since)
        log.arrive(three, members=members, since=since)
    ended = current(log)
    assert ended.status is not WAITING
    for present in (True, False):
        late = log.arrive(two, members=members, since=since, present=present)
        assert isinstance(late, Committed)
        assert late.number == ended.generation
        assert (log.events, current(log)) == ((), ended)
    # Fewer of them, or since another index, meet anew, and the first meeting is still known.
    log.arrive(one, members=(ONE, TWO), since=since)
    assert current(log).generation == 2
    again = log.arrive(two, members=members, since=since)
    assert isinstance(again, Committed)
    assert again.number == 1
    log.arrive(two, members=(ONE, TWO), since=since)
    log.arrive(one, members=(ONE, TWO), since=since + 1)
    assert current(log).generation == 3


# ---- notes -------------------------------------------------------------------------------------


def test_everybody_reads_what_each_has_noted_and_the_last_note_stands() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.arrive(one, parties=2, note="old")
    log.arrive(one, parties=2, note="first")
    assert log.events == ()
    log.arrive(two, parties=2, note="second")
    assert (current(log).arrived, current(log).notes) == ((ONE, TWO), ("first", "second"))


def test_a_note_is_bounded() -> None:
    log = WrittenLog(Limits(barrier_note_bytes_max=4))
    (one,) = log.attached(1)
    assert reason(log.arrive(one, parties=2, note="é" * 3)) == "too_large"
    assert log.generation() is None
    assert reason(log.arrive(one, parties=2, note="éé")) == ""
    assert reason(log.arrive(one, parties=2, note="12345")) == "too_large"


# ---- malformed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "since", "present", "parties"),
    [
        ((TWO, ONE), 0, True, 2),
        ((ONE, ONE), 0, True, 2),
        ((ONE, TWO, THREE, "a4@p"), 0, True, 4),
        ((ONE, TWO), 99, True, 2),
        ((ONE, TWO), -1, True, 2),
        ((), 1, True, 2),
        ((), 0, False, 2),
    ],
    ids=["unsorted", "twice", "too many", "to come", "negative", "nobody since", "nobody absent"],
)
def test_malformed_members_do_not_begin(
    members: tuple[str, ...], since: int, present: bool, parties: int
) -> None:
    log = WrittenLog(Limits(barrier_members_max=3))
    one, *_ = log.attached(4)
    outcome = log.arrive(one, members=members, since=since, present=present, parties=parties)
    assert reason(outcome) == "invalid"
    assert log.machine.find(GenerationQuery("", 0)).generations == ()


# ---- in any order ------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["arrive", "begin", "leave"])), max_size=30
)


@settings(max_examples=80)
@given(STEPS, st.integers(2, 4), st.sampled_from([BREAK, SHRINK]))
def test_named_members_meet_once_and_only_those_who_were_there_all_along(
    steps: list[tuple[int, str]], count: int, on_departure: OnDeparture
) -> None:
    log = WrittenLog()
    live = dict(zip(range(1, 5), log.attached(4), strict=True))
    since = log.machine.applied_index
    members = tuple(f"a{number}@p" for number in range(1, count + 1))
    stayed, arrived, fresh, ends = dict.fromkeys(members), dict[str, None](), 100, 0
    for number, step in steps:
        name = f"a{number}@p"
        if step == "leave" and number in live:
            log.close(live.pop(number))
            stayed.pop(name, None)
        elif number in live:
            outcome = log.arrive(
                live[number],
                members=members,
                since=since,
                on_departure=on_departure,
                present=step == "arrive",
            )
            assert (reason(outcome) == "not_eligible") == (name not in stayed and not ends)
            if step == "arrive" and name in stayed:
                arrived[name] = None
        else:
            fresh += 1
            log.attach(f"a{number}", session=fresh, peer=number)
            live[number] = SessionId(fresh)
        for told in log.generations_told():
            if told.status is not WAITING:
                ends += 1
            if told.status is RELEASED:
                assert all(agent in stayed for agent in told.arrived)
                assert dict.fromkeys((*told.arrived, *told.departed)).keys() == set(members)
                assert on_departure is SHRINK or not told.departed
    assert ends <= 1
    assert ends or not (stayed and all(member in arrived for member in stayed))
