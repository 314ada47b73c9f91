import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX, AgentId, SessionId
from mabeam_p2p.records import Among, ElectionStatus
from tests.machine.seats_log import SeatsLog, name_of
from tests.machine.written_log import SECOND, reason

STANDING = Among.STANDING


def test_a_group_that_nobody_is_in_has_no_candidates_and_no_seat() -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    assert reason(log.elect(one, group="nobody")) == "no_candidates"
    assert log.seats() == []
    assert log.machine.next_deadline() is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"seat": ""},
        {"group": "no group"},
        {"timeout": 0},
        {"timeout": INTEGER_MAX},
        {"weights": (("performance", 1001),)},
        {"weights": (("performance", -1), ("other", 2))},
        {"weights": (("performance", 0),)},
        {"weights": (("performance", 1), ("performance", 1))},
        {"weights": tuple((f"w{n}", 1) for n in range(17))},
    ],
)
def test_a_malformed_election_is_refused(wrong: dict[str, object]) -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    assert reason(log.elect(one, **wrong)) == "invalid"  # type: ignore[arg-type]
    assert log.seats() == []


def test_a_seat_belongs_to_one_group() -> None:
    log = SeatsLog()
    (one,) = log.attached(1, groups=("g",))
    log.elect(one, group="g")
    assert reason(log.elect(one, group="all")) == "invalid"


def test_the_first_ranking_binds() -> None:
    log = SeatsLog()
    one, _, _ = log.attached(3)
    log.elect(one)
    log.rank(one, {1: 10, 2: 20})
    assert reason(log.rank(one, {2: 20, 1: 10})) == ""
    assert reason(log.rank(one, {2: 21})) == "conflicting_vote"
    assert reason(log.rank(one)) == "conflicting_vote"


def test_malformed_rankings_are_refused() -> None:
    log = SeatsLog()
    one, _, _ = log.attached(3)
    log.elect(one)
    assert reason(log.rank(one, {1: 1001})) == "invalid"
    assert reason(log.rank(one, {1: -1})) == "invalid"
    assert reason(log.rank(one, {9: 1})) == "invalid"
    assert reason(log.rank(one, election=1)) == "election_closed"


def test_a_ranking_for_an_election_that_has_ended_is_refused() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one)
    running = log.seat().election
    assert running is not None
    log.rank(one, {1: 1000})
    log.rank(two, {1: 1000})
    assert reason(log.rank(two, election=running.opened_index)) == "election_closed"


def test_malformed_scores_are_refused_and_published_ones_stay() -> None:
    log = SeatsLog(Limits(seat_scores_max=2, scored_seats_max=1))
    (one,) = log.attached(1)
    log.publish(one, performance=10)
    assert reason(log.publish(one, performance=1001)) == "invalid"
    assert reason(log.publish(one, a=1, b=1, c=1)) == "invalid"
    assert reason(log.publish(one, seat="other", performance=1)) == "limit"
    log.elect(one)
    assert log.last().candidates[0].scores == (("performance", 10),)
    log.publish(one)
    assert reason(log.publish(one, seat="other", performance=1)) == ""


def test_scores_go_with_their_agent() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.publish(two, performance=900)
    log.close(two)
    log.attach("a2", session=9)
    log.elect(one)
    running = log.seat().election
    assert running is not None
    assert [candidate.score for candidate in running.candidates] == [0, 0]


def test_an_idle_seat_gives_way_to_a_new_one_and_a_held_one_does_not() -> None:
    log = SeatsLog(Limits(seats_max=2))
    one, _ = log.attached(2)
    log.elect(one, "a", stands=True, among=STANDING)
    log.elect(one, "b", stands=True, among=STANDING)
    assert reason(log.elect(one, "c")) == "limit"
    log.close(one)
    assert log.seat("a").holder == log.seat("b").holder == ""
    assert reason(log.elect(SessionId(2), "c", group="nobody")) == "no_candidates"
    assert log.seats() == ["a", "b"], "what is refused makes no room"
    log.elect(SessionId(2), "c")
    assert log.seats() == ["b", "c"]


def test_an_election_late_in_the_logs_time_still_has_a_deadline() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one, timeout=30 * SECOND)
    log.rank(one, {1: 1000})
    log.rank(two, {1: 1000})
    log.attach("a3", session=3, peer=3)
    log.clock = INTEGER_MAX - SECOND
    log.depart(1)
    assert log.machine.next_deadline() == INTEGER_MAX


def test_ballots_are_told_to_those_alone_that_ask_for_them() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one)
    log.rank(one, {1: 900})
    running = log.seat().election
    assert running is not None
    assert running.rankings == ()
    assert running.electorate == (name_of(1), name_of(2))
    log.rank(two, {1: 1000})
    brief = log.seat().last
    assert brief is not None
    assert (brief.electorate, brief.rankings) == ((), ())
    assert [ranking.agent for ranking in log.last().rankings] == [name_of(1), name_of(2)]
    assert log.last().status is ElectionStatus.ELECTED
    assert log.last().winner == AgentId("a1@p")
