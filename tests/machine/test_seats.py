from itertools import permutations

import pytest

from mabeam_p2p.commands import Resign
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import SessionId
from mabeam_p2p.machine.seats import CHALLENGE_DWELL
from mabeam_p2p.records import Among, ElectionStatus
from mabeam_p2p.requests import Committed
from tests.machine.seats_log import SEAT, SeatsLog, name_of
from tests.machine.written_log import SECOND, reason

STANDING = Among.STANDING


def held_by(log: SeatsLog, session: SessionId) -> int:
    """Have the agent hold the seat, alone at first; return its token."""
    log.elect(session, stands=True, among=STANDING)
    assert log.held(by=session)
    return log.seat().token


# ---- elections -------------------------------------------------------------------------------


def test_all_have_ranked_and_the_most_points_win() -> None:
    log = SeatsLog()
    one, two, three = log.attached(3)
    opened = log.elect(one)
    assert isinstance(opened, Committed)
    assert opened.number == opened.index
    assert log.told() == ["opened among 3"]
    log.rank(one, {1: 1000, 2: 300})
    log.rank(two, {2: 1000, 3: 200})
    assert log.told() == []
    last = log.rank(three, {2: 400, 3: 1000})
    assert log.told() == ["ended: decided", "held by a2@p"]
    assert isinstance(last, Committed)
    assert log.seat().token == last.index
    assert log.last().tally == ((name_of(2), 1700), (name_of(3), 1200), (name_of(1), 1000))


def test_an_empty_ballot_ranks_by_the_published_scores() -> None:
    log = SeatsLog()
    sessions = log.attached(3)
    log.publish(sessions[0], performance=500, reliability=500)
    log.publish(sessions[1], performance=900)
    log.publish(sessions[2], performance=1000, reliability=600)
    log.elect(sessions[0])
    for session in sessions:
        log.rank(session)
    assert log.last().tally == ((name_of(2), 2700), (name_of(3), 2400), (name_of(1), 1500))


def test_weights_say_what_each_score_counts_and_what_is_not_published_counts_nothing() -> None:
    log = SeatsLog()
    sessions = log.attached(2)
    log.publish(sessions[0], performance=400, reliability=900)
    log.publish(sessions[1], performance=1000)
    log.elect(sessions[0], weights=(("performance", 1), ("reliability", 3)))
    candidates = log.seat().election
    assert candidates is not None
    assert [one.score for one in candidates.candidates] == [775, 250]


def test_a_weight_may_be_called_by_a_single_letter() -> None:
    log = SeatsLog()
    sessions = log.attached(2)
    log.publish(sessions[0], q=400)
    assert reason(log.elect(sessions[0], weights=(("q", 1),))) == ""
    running = log.seat().election
    assert running is not None
    assert [one.score for one in running.candidates] == [400, 0]


def test_a_score_for_the_seat_goes_before_one_for_every_seat() -> None:
    log = SeatsLog()
    sessions = log.attached(2)
    log.publish(sessions[0], seat="", performance=300)
    log.publish(sessions[0], performance=700)
    log.publish(sessions[1], seat="", performance=200)
    log.elect(sessions[0])
    running = log.seat().election
    assert running is not None
    assert [one.score for one in running.candidates] == [700, 200]
    log.publish(sessions[0])
    log.elect(sessions[0], "other")
    other = log.seat("other").election
    assert other is not None
    assert [one.score for one in other.candidates] == [300, 200]


def test_it_ends_as_soon_as_no_missing_ballot_can_change_the_winner() -> None:
    log = SeatsLog()
    one, two, *_ = log.attached(3)
    log.elect(one)
    log.rank(one, {1: 1000})
    assert not log.seat().holder
    log.rank(two, {1: 1000})
    assert log.held(by=1), "2000 points, and the one ballot that is missing has 1000"
    assert log.last().reason == "decided"


def test_a_tie_that_a_missing_ballot_can_make_is_no_certainty() -> None:
    log = SeatsLog()
    one, two, three = log.attached(3)
    log.elect(one)
    log.rank(one, {2: 500})
    log.rank(two, {2: 500})
    assert not log.seat().holder, "a1 may get 1000 points, and of equals who came earlier wins"
    log.rank(three, {1: 1000})
    assert log.held(by=1)


def test_ballots_that_are_missing_at_the_deadline_are_empty_ones() -> None:
    log = SeatsLog()
    one, two, _ = log.attached(3)
    log.publish(two, performance=800)
    log.elect(one, timeout=SECOND)
    log.rank(one, {3: 1000})
    log.pass_time(SECOND - 3)
    assert not log.seat().holder
    log.pass_time(2)
    assert log.told() == ["ended: deadline", "held by a2@p"]
    assert log.last().tally[0] == (name_of(2), 1600)


def test_one_candidate_needs_no_ballot() -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    log.elect(one)
    assert log.told() == ["opened among 1", "ended: decided", "held by a1@p"]
    assert log.seat().token == log.machine.applied_index


def test_who_takes_no_part_in_consensus_is_not_asked_but_can_be_elected() -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    log.attach("a2", session=2, participates=False)
    log.publish(SessionId(2), performance=900)
    log.elect(one)
    running = log.seat().election
    assert running is not None
    assert running.electorate == (name_of(1),)
    assert [one.agent for one in running.candidates] == [name_of(1), name_of(2)]
    log.rank(one)
    assert log.held(by=2)


def test_where_nobody_takes_part_in_consensus_the_candidates_rank() -> None:
    log = SeatsLog()
    for number in (1, 2):
        log.attach(f"a{number}", session=number, participates=False)
    log.elect(SessionId(1))
    running = log.seat().election
    assert running is not None
    assert running.electorate == (name_of(1), name_of(2))


@pytest.mark.parametrize("order", tuple(permutations((1, 2, 3))))
def test_the_order_of_ballots_does_not_matter(order: tuple[int, ...]) -> None:
    log = SeatsLog()
    sessions = log.attached(3)
    log.elect(sessions[0])
    ballots = {1: {1: 600, 2: 599}, 2: {2: 600, 3: 10}, 3: {3: 700, 2: 1, 1: 600}}
    for number in order:
        log.rank(SessionId(number), ballots[number])
    assert log.last().tally[:2] == ((name_of(1), 1200), (name_of(2), 1200))


@pytest.mark.fault("L9")
def test_an_election_that_runs_is_joined_not_opened_again() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    first = log.elect(one)
    again = log.elect(two, timeout=SECOND)
    assert isinstance(first, Committed)
    assert isinstance(again, Committed)
    assert again.number == first.number
    assert log.told() == []


def test_who_comes_later_is_neither_candidate_nor_asked() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one)
    log.attach("a3", session=3)
    assert reason(log.rank(SessionId(3))) == "not_eligible"
    assert reason(log.rank(two, {3: 1000})) == "invalid"


def test_the_best_stand_where_there_are_too_many() -> None:
    log = SeatsLog(Limits(seat_candidates_max=2))
    sessions = log.attached(4)
    for session, performance in zip(sessions, (100, 900, 0, 500), strict=True):
        log.publish(session, performance=performance)
    log.elect(sessions[0])
    running = log.seat().election
    assert running is not None
    assert [one.agent for one in running.candidates] == [name_of(2), name_of(4)]


# ---- who departs -----------------------------------------------------------------------------


@pytest.mark.fault("L5")
def test_a_candidate_that_departs_cannot_win() -> None:
    log = SeatsLog()
    one, two, three = log.attached(3)
    log.elect(one)
    log.rank(two, {3: 1000})
    log.depart(3)
    log.rank(one, {3: 1000, 2: 10})
    assert log.held(by=2)
    assert log.last().struck == (name_of(3),)
    assert log.last().tally == ((name_of(2), 10), (name_of(1), 0))
    assert reason(log.rank(three)) == "unknown_session"


@pytest.mark.parametrize("how", ["depart", "close", "leave", "stand down"])
def test_an_election_ends_whenever_a_candidate_goes(how: str) -> None:
    """Whoever it is, and after whichever ballot: with a winner that is still there."""
    for victim in (1, 2, 3):
        for after in range(4):
            log = SeatsLog()
            sessions = log.attached(3, groups=("g",))
            log.elect(sessions[0], group="g")
            for step, session in enumerate((*sessions, None)):
                if step == after:
                    go(log, SessionId(victim), how)
                if session is not None and log.seat().election is not None:
                    log.rank(session, {2: 500})
            log.pass_time(15 * SECOND)
            for session in sessions:
                if log.seat().election is not None:
                    log.rank(session)
            holder = log.seat().holder
            assert holder, (victim, after)
            assert holder != name_of(victim)


def go(log: SeatsLog, session: SessionId, how: str) -> None:
    match how:
        case "depart":
            log.depart(session)
        case "close":
            log.close(session)
        case "leave":
            log.leave(session, "g")
        case _:
            log.stand(session, False)


def test_an_election_that_loses_its_last_candidate_ends_without_one() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.publish(one, performance=900)
    log.elect(one, timeout=SECOND)
    log.clock += SECOND
    log.append(Resign(one, log.next(one), SEAT))
    running = log.seat().election
    assert running is not None, "at the index of a grant the one candidate has to wait"
    assert [candidate.agent for candidate in running.candidates] == [name_of(2)]
    log.close(two)
    assert log.told() == ["ended: no candidates", "resigned"]
    assert log.last().status is ElectionStatus.NO_CANDIDATES
    assert (log.seat().holder, log.seat().election) == ("", None)
    log.stand(one)
    assert log.held(by=1)


def test_a_voter_that_departs_without_a_ballot_has_cast_an_empty_one() -> None:
    log = SeatsLog()
    one, two, _ = log.attached(3)
    log.publish(two, performance=400)
    log.elect(one)
    log.rank(one)
    log.rank(two)
    assert not log.seat().holder
    log.depart(3)
    assert log.held(by=2)
    assert log.last().tally[0] == (name_of(2), 1200)
    assert log.last().absent == (name_of(3),)


def test_the_ballot_of_a_voter_that_departs_stays() -> None:
    log = SeatsLog()
    one, two, three = log.attached(3)
    log.elect(one)
    log.rank(three, {2: 900})
    log.depart(3)
    log.rank(one)
    log.rank(two)
    assert log.last().tally[0] == (name_of(2), 900)


# ---- the holder ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["depart", "close", "leave", "stand down"])
def test_when_the_holder_goes_the_next_election_opens_at_that_index(how: str) -> None:
    log = SeatsLog()
    sessions = log.attached(3, groups=("g",))
    log.elect(sessions[0], group="g", stands=True, among=STANDING)
    token = log.seat().token
    for session in sessions[1:]:
        log.elect(session, group="g", stands=True)
    go(log, sessions[0], how)
    at = log.machine.applied_index
    seat = log.seat()
    assert not seat.holder
    assert seat.election is not None
    assert seat.election.opened_index == at
    assert [one.agent for one in seat.election.candidates] == [name_of(2), name_of(3)]
    for session in sessions:
        log.rank(session, {3: 900})
    assert log.held(by=3)
    assert log.seat().token > at > token


def test_the_only_other_one_holds_the_seat_at_the_index_where_the_holder_goes() -> None:
    log = SeatsLog()
    one, _ = log.attached(2)
    log.elect(one)
    log.rank(one, {1: 1000})
    log.rank(SessionId(2), {1: 1000})
    assert log.held(by=1)
    log.depart(1)
    assert log.told() == ["dead", "opened among 1", "ended: decided", "held by a2@p"]
    assert log.seat().token == log.machine.applied_index


def test_who_resigns_is_no_candidate_until_it_stands_again() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    token = held_by(log, one)
    log.stand(two)
    assert reason(log.resign(two)) == "not_holder"
    assert reason(log.resign(one, token + 1)) == "not_holder"
    log.resign(one, token)
    assert log.held(by=2)
    log.close(two)
    assert not log.seat().holder
    log.stand(one)
    assert log.held(by=1)


def test_a_vacant_seat_is_filled_by_the_next_one_that_can_hold_it() -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    log.elect(one)
    log.close(one)
    assert log.seat().reason == "closed"
    log.attach("a2", session=2)
    assert log.told() == ["opened among 1", "ended: decided", "held by a2@p"]


def test_a_vacant_seat_is_filled_by_who_joins_its_group() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.join(one, "g")
    log.elect(one, group="g")
    log.leave(one, "g")
    assert not log.seat().holder
    log.join(two, "g")
    assert log.held(by=2)


def test_another_group_that_an_agent_leaves_changes_nothing() -> None:
    log = SeatsLog()
    (one,) = log.attached(1, groups=("g", "h"))
    log.elect(one, group="g")
    log.leave(one, "h")
    assert log.held(by=1)


def test_a_holders_second_session_does_not_hold_what_the_first_one_held() -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    log.elect(one)
    token = log.seat().token
    log.attach("a1", session=9, epoch=2)
    assert log.held(by=1)
    assert log.seat().token > token, "elected anew: what runs under the old token must end"


def test_an_asker_learns_that_the_seat_is_held() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    token = held_by(log, one)
    asked = log.elect(two)
    assert isinstance(asked, Committed)
    assert asked.number == 0
    assert log.told() == []
    assert log.seat().token == token


def test_a_token_grows_also_where_a_seat_changes_hands_twice_at_one_index() -> None:
    """At the index where a deadline grants a seat, the same entry takes it away again: were the
    next one granted there too, both holders would have one token."""
    log = SeatsLog()
    one, two, _ = log.attached(3)
    log.publish(one, performance=900)
    log.elect(one, timeout=SECOND)
    log.clock += SECOND
    log.append(Resign(one, log.next(one), SEAT))
    granted_index = log.machine.applied_index
    assert log.told()[:2] == ["ended: deadline", "held by a1@p"]
    log.stand(two, False)
    assert log.held(by=3), "one candidate is left"
    assert log.seat().token > granted_index


# ---- challenges ------------------------------------------------------------------------------


def test_a_challenge_keeps_the_holder_until_another_one_has_won() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    token = held_by(log, one)
    log.publish(two, performance=900)
    log.clock += CHALLENGE_DWELL
    log.elect(two, challenge=True)
    assert (log.seat().holder, log.seat().token) == (name_of(1), token)
    log.rank(one)
    log.rank(two)
    assert log.held(by=2)
    assert log.seat().token == log.machine.applied_index


def test_the_incumbent_has_a_bonus_and_wins_a_tie_and_keeps_its_token() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.publish(one, performance=800)
    log.publish(two, performance=799)
    token = held_by(log, two)
    log.clock += CHALLENGE_DWELL
    log.elect(one, challenge=True)
    log.rank(one)
    log.rank(two)
    assert log.last().tally == ((name_of(2), 1798), (name_of(1), 1600))
    log.clock += CHALLENGE_DWELL
    log.publish(one, performance=899)
    log.elect(one, challenge=True)
    log.rank(one)
    log.rank(two)
    assert log.last().tally == ((name_of(2), 1798), (name_of(1), 1798))
    assert (log.seat().holder, log.seat().token) == (name_of(2), token)


def test_after_an_election_the_seat_has_peace_for_a_while() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    held_by(log, one)
    log.publish(two, performance=900)
    log.elect(two, challenge=True)
    assert log.told() == []
    assert log.seat().election is None


def test_a_challenger_does_not_need_the_holder_to_be_alive() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    held_by(log, one)
    log.clock += CHALLENGE_DWELL
    log.elect(two, challenge=True)
    log.depart(1)
    assert log.held(by=2)
