from mabeam_p2p.ids import SessionId
from mabeam_p2p.machine.seats import CHALLENGE_DWELL
from mabeam_p2p.records import Among
from tests.machine.seats_log import SeatsLog, name_of
from tests.machine.written_log import SECOND, reason

STANDING = Among.STANDING


# ---- who stands ------------------------------------------------------------------------------


def test_among_those_that_stand_nobody_else_is_elected() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one, stands=True, among=STANDING)
    log.close(one)
    assert not log.seat().holder
    assert log.seat().election is None
    log.stand(two)
    assert log.held(by=2)


def test_who_cannot_hold_a_seat_cannot_stand_for_it() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.join(one, "g")
    assert reason(log.elect(two, group="g", stands=True)) == "not_eligible"
    assert log.seats() == []
    log.elect(one, group="g")
    assert reason(log.stand(two)) == "not_eligible"


def test_standing_for_a_seat_that_nobody_asked_for_is_refused() -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    assert reason(log.stand(one)) == "unknown_seat"


# ---- who yields ------------------------------------------------------------------------------


def test_an_agent_that_yields_holds_a_seat_only_while_no_other_can() -> None:
    log = SeatsLog()
    log.attach("daemon", session=7, yields=True)
    log.elect(SessionId(7))
    assert log.seat().holder == "daemon@p"
    one, two = log.attached(2)
    log.elect(one)
    assert log.seat().holder == "daemon@p", "nobody has asked for it"
    log.elect(SessionId(7), stands=True)
    assert log.told() == []
    log.elect(one, stands=True)
    running = log.seat().election
    assert running is not None
    assert [candidate.agent for candidate in running.candidates] == [name_of(1), name_of(2)]
    for session in (SessionId(7), one, two):
        log.rank(session, {2: 900})
    assert log.held(by=2)


def test_a_holder_that_never_asked_for_the_seat_gives_way_to_those_that_stand() -> None:
    log = SeatsLog()
    idle, one, two = log.attached(3)
    log.publish(idle, performance=1000)
    log.elect(one, timeout=SECOND, stands=True)
    log.elect(two, stands=True)
    log.pass_time(SECOND)
    assert log.held(by=1), "the best score wins, whoever wants the seat"
    log.elect(one, stands=True)
    assert log.told() == [], "it may be about to ask for it itself"
    log.clock += CHALLENGE_DWELL
    log.elect(one)
    assert log.told() == [], "only who wants the seat itself ends its peace"
    log.elect(one, stands=True)
    running = log.seat().election
    assert running is not None
    assert [candidate.agent for candidate in running.candidates] == [name_of(2), name_of(3)]
    assert log.held(by=1)
    for session in (idle, one, two):
        log.rank(session, {3: 900})
    assert log.held(by=3)
    log.clock += CHALLENGE_DWELL
    log.elect(one, stands=True)
    assert log.told() == [], "this one has asked for it"


def test_an_agent_that_comes_back_has_neither_stood_nor_declined() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one, stands=True)
    log.stand(two, False)
    assert log.held(by=1)
    log.close(two)
    log.attach("a2", session=12, peer=2)
    log.close(one)
    assert log.held(by=2), "who has declined in another life is a candidate again"


def test_who_has_declined_is_no_candidate_while_it_stays() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one, stands=True)
    log.stand(two, False)
    log.close(one)
    assert not log.seat().holder


def test_a_seat_for_which_nobody_was_left_says_why() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one)
    log.stand(two, False)
    log.stand(one, False)
    seat = log.seat()
    assert (seat.holder, seat.election) == ("", None)
    assert seat.reason == "stood down"
