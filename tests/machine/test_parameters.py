"""Guarded values, declarations, and electorates that shrink."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import ConfirmParameter, DeclareParameter
from mabeam_p2p.config import Limits
from mabeam_p2p.events import ParameterChanged, ParameterConfirmed, ParameterDeclared
from mabeam_p2p.ids import SessionId
from mabeam_p2p.records import Choice, Parameter, Policy, ProposalStatus
from mabeam_p2p.requests import Outcome, ParameterQuery
from tests.machine.written_log import SECOND, WrittenLog, reason

ACCEPT = Choice.ACCEPT
SHRINK = Policy(shrink=True)


def agree(
    log: WrittenLog, sessions: list[SessionId], proposal: str, value: bytes, guard: int = 0
) -> Outcome:
    outcome = log.propose(sessions[0], proposal, value=value, guard=guard)
    for session in sessions:
        log.vote(session, ACCEPT, proposal)
    return outcome


def guarded(count: int = 3) -> tuple[WrittenLog, list[SessionId], Parameter]:
    """A log whose parameter `rate` has the guarded value `new` after `old`."""
    log = WrittenLog()
    sessions = log.attached(count)
    agree(log, sessions, "first", b"old")
    assert reason(agree(log, sessions, "second", b"new", guard=10 * SECOND)) == ""
    parameter = log.parameter()
    assert parameter is not None
    return log, sessions, parameter


def confirm(
    log: WrittenLog, session: SessionId, version: int, applied: bool = True, detail: str = ""
) -> Outcome:
    sequence = log.next(session)
    return log.apply(ConfirmParameter(session, sequence, "rate", version, applied, detail))


def value(log: WrittenLog) -> bytes:
    parameter = log.parameter()
    assert parameter is not None
    return parameter.value


# ---- guards ----------------------------------------------------------------------------------


def test_a_guarded_value_stands_when_everybody_has_confirmed_it() -> None:
    log, sessions, parameter = guarded()
    assert parameter.awaited == ("a1@p", "a2@p", "a3@p")
    for session in sessions:
        assert reason(confirm(log, session, parameter.version)) == ""
    stands = log.parameter()
    assert stands is not None
    assert (stands.value, stands.version) == (b"new", parameter.version)
    assert (stands.awaited, stands.guard_deadline) == ((), 0)
    assert stands.confirmed == ("a1@p", "a2@p", "a3@p")
    assert log.events == (ParameterConfirmed(stands),)
    log.pass_time(60 * SECOND)
    assert value(log) == b"new"


def test_one_failure_brings_back_the_value_before_as_a_version_of_its_own() -> None:
    log, (one, two, _), parameter = guarded()
    confirm(log, one, parameter.version)
    confirm(log, two, parameter.version, applied=False, detail="loss is NaN")
    back = log.parameter()
    assert back is not None
    assert back.value == b"old"
    assert back.version > parameter.version
    assert back.reverted == "a2@p: loss is NaN"
    assert log.events == (ParameterChanged(back),)
    assert reason(confirm(log, one, parameter.version)) == "stale_version"


def test_the_deadline_brings_back_the_value_before_and_names_who_was_silent() -> None:
    log, (one, *_), parameter = guarded()
    confirm(log, one, parameter.version)
    log.pass_time(10 * SECOND)
    back = log.parameter()
    assert back is not None
    assert back.value == b"old"
    assert back.reverted == "not confirmed in time by a2@p, a3@p"


def test_nobody_waits_for_the_confirmation_of_an_agent_that_departed() -> None:
    log, (one, two, _), parameter = guarded()
    confirm(log, one, parameter.version)
    confirm(log, two, parameter.version)
    log.depart(3)
    log.pass_time(60 * SECOND)
    assert value(log) == b"new"


def test_a_later_decision_takes_the_place_of_a_guarded_value() -> None:
    log, sessions, parameter = guarded()
    agree(log, sessions, "third", b"newest")
    assert value(log) == b"newest"
    assert reason(confirm(log, sessions[0], parameter.version, applied=False)) == "stale_version"
    log.pass_time(60 * SECOND)
    assert value(log) == b"newest"


def test_two_decisions_at_one_index_are_two_versions() -> None:
    """Whoever follows a parameter by its versions would keep the first value for ever."""
    log = WrittenLog()
    sessions = log.attached(4)
    for name in ("first", "second"):
        log.propose(sessions[0], name, value=name.encode(), policy=SHRINK)
        for session in sessions[:2]:
            log.vote(session, ACCEPT, name)
    log.depart(4)
    changes = [event.parameter for event in log.events if isinstance(event, ParameterChanged)]
    versions = [change.version for change in changes]
    assert [change.value for change in changes] == [b"first", b"second"]
    assert versions[0] < versions[1]
    agree(log, sessions[:3], "third", b"third")
    third = log.parameter()
    assert third is not None
    assert third.version > versions[1]


def test_a_decision_where_a_guard_ends_is_a_version_of_its_own() -> None:
    log, sessions, _ = guarded(7)
    log.propose(sessions[0], "third", value=b"newest", timeout=15 * SECOND)
    for session in sessions[:4]:
        log.vote(session, ACCEPT, "third")
    assert log.status("third") is ProposalStatus.OPEN, "the others could still reject it"
    log.pass_time(20 * SECOND)
    back, newest = [e.parameter for e in log.events if isinstance(e, ParameterChanged)]
    assert (back.value, newest.value) == (b"old", b"newest")
    assert back.version < newest.version


def test_confirming_twice_is_confirming_and_others_cannot() -> None:
    log, (one, *_), parameter = guarded()
    log.attach("late", session=9, peer=9)
    assert reason(confirm(log, one, parameter.version)) == ""
    assert reason(confirm(log, one, parameter.version)) == ""
    assert log.events == ()
    assert reason(confirm(log, SessionId(9), parameter.version)) == "not_eligible"
    unknown = ConfirmParameter(one, log.next(one), "unheard", 1, True, "")
    assert reason(log.apply(unknown)) == "unknown_parameter"
    assert reason(confirm(log, SessionId(2), parameter.version, detail="x" * 2049)) == "too_large"


def test_a_guard_needs_a_value_to_go_back_to_and_room() -> None:
    log = WrittenLog(Limits(guards_max=1))
    sessions = log.attached(3)
    assert reason(agree(log, sessions, "first", b"old", guard=SECOND)) == "invalid"
    agree(log, sessions, "second", b"old")
    assert reason(agree(log, sessions, "third", b"new", guard=SECOND)) == ""
    assert reason(log.propose(sessions[0], "fourth", guard=SECOND)) == "limit"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("cfdt")), max_size=12))
def test_a_guarded_value_either_stands_by_all_who_stayed_or_is_taken_back(
    steps: list[tuple[int, str]],
) -> None:
    log, _, parameter = guarded(4)
    confirmed: set[int] = set()
    gone: set[int] = set()
    end = ""
    for number, step in steps:
        if end:
            break
        if step == "t":
            log.pass_time(10 * SECOND)
            end = "back"
        elif step == "d":
            log.depart(number)
            gone.add(number)
        elif number not in gone:
            confirm(log, SessionId(number), parameter.version, applied=step == "c")
            if step == "c":
                confirmed.add(number)
            elif number not in confirmed:
                end = "back"
        if not end and confirmed | gone == {1, 2, 3, 4}:
            end = "stands"
    now = log.parameter()
    assert now is not None
    assert now.value == (b"old" if end == "back" else b"new")
    assert bool(now.guard_deadline) == (end == "")


# ---- declarations ----------------------------------------------------------------------------


def test_the_first_declaration_binds_and_an_equal_one_changes_nothing() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    assert reason(log.apply(DeclareParameter(one, log.next(one), "rate", b"float"))) == ""
    (declared,) = log.machine.find(ParameterQuery("rate")).schemas
    assert (declared.schema, declared.agent) == (b"float", "a1@p")
    told = log.events
    assert told == (ParameterDeclared(declared),)
    assert reason(log.apply(DeclareParameter(two, log.next(two), "rate", b"float"))) == ""
    assert log.events == ()
    other = DeclareParameter(two, log.next(two), "rate", b"int")
    assert reason(log.apply(other)) == "conflicting_schema"


def test_declarations_are_bounded_in_number_and_size() -> None:
    log = WrittenLog(Limits(schemas_max=1, metadata_bytes_max=4))
    (one,) = log.attached(1)
    assert reason(log.apply(DeclareParameter(one, log.next(one), "", b"x"))) == "invalid"
    assert reason(log.apply(DeclareParameter(one, log.next(one), "a", b"12345"))) == "too_large"
    assert reason(log.apply(DeclareParameter(one, log.next(one), "a", b"1234"))) == ""
    assert reason(log.apply(DeclareParameter(one, log.next(one), "b", b"1"))) == "limit"


# ---- electorates that shrink ------------------------------------------------------------------


@pytest.mark.fault("C23")
def test_an_electorate_shrinks_by_the_entry_of_a_departure_and_the_result_says_so() -> None:
    log = WrittenLog()
    one, two, three, _, _ = log.attached(5)
    log.propose(one, policy=SHRINK)
    log.vote(one, ACCEPT)
    log.vote(two, ACCEPT)
    log.depart(5)
    assert log.proposal().electorate == ("a1@p", "a2@p", "a3@p", "a4@p")
    assert log.status() is ProposalStatus.OPEN, "2 of 4 are no majority"
    log.vote(three, Choice.REJECT)
    log.depart(4)
    decided = log.proposal()
    assert decided.status is ProposalStatus.ACCEPTED
    assert decided.departed == ("a5@p", "a4@p")


def test_an_electorate_never_shrinks_below_a_majority_of_the_first_one() -> None:
    log = WrittenLog()
    one, *_ = log.attached(5)
    log.propose(one, policy=Policy(shrink=True, min_voters=1))
    for number in (2, 3, 4, 5):
        log.depart(number)
    assert log.proposal().electorate == ("a1@p", "a4@p", "a5@p")
    log.vote(one, ACCEPT)
    log.pass_time(30 * SECOND)
    assert log.status() is ProposalStatus.NO_QUORUM


def test_an_electorate_never_shrinks_below_the_least_number_of_voters() -> None:
    log = WrittenLog()
    one, *_ = log.attached(4)
    log.propose(one, policy=Policy(shrink=True, min_voters=4))
    log.depart(4)
    assert len(log.proposal().electorate) == 4


@pytest.mark.parametrize("policy", [Policy(), SHRINK])
def test_a_vote_that_was_cast_stays_whatever_the_policy(policy: Policy) -> None:
    log = WrittenLog()
    one, two, three = log.attached(3)
    log.propose(one, policy=policy)
    log.vote(three, ACCEPT)
    log.depart(3)
    assert len(log.proposal().electorate) == 3
    log.vote(one, ACCEPT)
    log.vote(two, ACCEPT)
    assert log.status() is ProposalStatus.ACCEPTED


def test_who_joins_under_a_name_that_has_left_the_electorate_has_no_vote() -> None:
    log = WrittenLog()
    one, *_ = log.attached(5)
    log.propose(one, policy=SHRINK)
    log.depart(5)
    log.attach("a5", session=55, peer=5, epoch=2)
    assert reason(log.vote(SessionId(55), ACCEPT)) == "not_eligible"
