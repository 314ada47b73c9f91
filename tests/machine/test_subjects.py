"""What waits for what: before a wait is settled it is not, then an event says to look again, and
looking shows that it is."""

from collections.abc import Callable

import pytest

from mabeam_p2p.commands import ConfirmParameter
from mabeam_p2p.ids import AgentId, AuctionId, ProposalId, SessionId, TaskId
from mabeam_p2p.machine.subjects import is_settled, settled_by, subject_of
from mabeam_p2p.records import Choice, OnDeparture
from mabeam_p2p.requests import (
    AgentQuery,
    AuctionQuery,
    ElectionQuery,
    GenerationQuery,
    LockQuery,
    LogQuery,
    ParameterQuery,
    ProposalQuery,
    Query,
    QueueQuery,
    SeatQuery,
    TaskQuery,
    WorkQuery,
)
from tests.machine.recipes_log import RecipesLog
from tests.machine.seats_log import SeatsLog
from tests.machine.tasks.task_log import TaskLog
from tests.machine.written_log import SECOND, WrittenLog, reason

ACCEPT = Choice.ACCEPT


def settles(log: WrittenLog, query: Query, act: Callable[[], object]) -> None:
    """`act` writes the batch that settles `query`, and not before."""
    subject = subject_of(query)
    assert subject is not None
    assert not isinstance(query, LogQuery)
    assert not is_settled(query, log.machine.find(query))
    act()
    assert subject in [settled_by(event) for event in log.events]
    assert is_settled(query, log.machine.find(query))


def test_a_proposal_is_waited_for_until_it_is_decided() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.propose(one)
    log.vote(one, ACCEPT)
    settles(log, ProposalQuery(ProposalId("p")), lambda: log.vote(two, ACCEPT))


def test_a_parameter_is_waited_for_until_it_has_a_newer_version() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    log.propose(one)
    settles(log, ParameterQuery("rate"), lambda: log.vote(one, ACCEPT))
    known = log.parameter()
    assert known is not None
    now = ParameterQuery("rate", known.version)
    assert is_settled(now, log.machine.find(now))
    later = ParameterQuery("rate", known.version + 1)
    assert not is_settled(later, log.machine.find(later))


def test_a_guarded_parameter_is_waited_for_until_its_guard_has_ended() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    for proposal, guard in (("first", 0), ("second", 10 * SECOND)):
        log.propose(one, proposal, guard=guard)
        log.vote(one, ACCEPT, proposal)
        log.vote(two, ACCEPT, proposal)
    guarded = log.parameter()
    assert guarded is not None
    assert guarded.guard_deadline
    query = ParameterQuery("rate", guarded.version)

    def confirm(session: SessionId) -> None:
        command = ConfirmParameter(session, log.next(session), "rate", guarded.version, True, "")
        assert reason(log.apply(command)) == ""

    confirm(one)
    settles(log, query, lambda: confirm(two))


@pytest.mark.parametrize("ends", ["released", "broken"])
def test_a_generation_is_waited_for_until_it_has_an_outcome(ends: str) -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.arrive(one, parties=2, on_departure=OnDeparture.BREAK)
    query = GenerationQuery("b", 1)
    if ends == "released":
        settles(log, query, lambda: log.arrive(two, parties=2))
    else:
        settles(log, query, lambda: log.close(one))


def test_a_seat_is_waited_for_until_it_is_held_under_a_greater_token() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one, stands=True)
    log.rank(one)
    query = SeatQuery("lead")
    settles(log, query, lambda: log.rank(two))
    token = log.seat().token
    assert not is_settled(SeatQuery("lead", token), log.machine.find(query))
    assert is_settled(SeatQuery("lead", token - 1), log.machine.find(query))


def test_an_election_is_waited_for_until_it_has_ended() -> None:
    log = SeatsLog()
    one, two = log.attached(2)
    log.elect(one, stands=True)
    running = log.seat().election
    assert running is not None
    log.rank(one)
    number = running.opened_index
    assert is_settled(ElectionQuery("lead", number - 1), log.machine.find(ElectionQuery("lead"))), (
        "only a later one runs"
    )
    settles(log, ElectionQuery("lead", number), lambda: log.rank(two))


def test_an_election_that_was_not_applied_yet_has_not_ended() -> None:
    log = SeatsLog()
    (one,) = log.attached(1)
    later = ElectionQuery("lead", log.machine.applied_index + 1)
    assert not is_settled(later, log.machine.find(later)), "nothing is known of the seat"
    settles(log, later, lambda: log.elect(one, stands=True))
    later = ElectionQuery("lead", log.machine.applied_index + 1)
    assert not is_settled(later, log.machine.find(later)), "the holder is that of an earlier one"


def test_a_lock_is_waited_for_until_it_is_granted_or_the_claim_has_ended() -> None:
    log = RecipesLog()
    one, two, three = log.attached(3)
    log.acquire(one)
    held = log.last
    log.acquire(two)
    waiting = log.machine.applied_index
    log.acquire(three)
    last = log.machine.applied_index
    settles(log, LockQuery("l", last), lambda: log.close(three))
    settles(log, LockQuery("l", waiting), lambda: log.release(one, held))
    assert not is_settled(LockQuery("l", 10**6), log.machine.find(LockQuery("l", 10**6)))


def test_an_item_is_waited_for_until_it_is_taken_or_the_claim_has_ended() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.take(one)
    first = log.machine.applied_index
    log.take(two)
    second = log.machine.applied_index
    settles(log, QueueQuery("q", first), lambda: log.put(two, b"item"))
    settles(log, QueueQuery("q", second), lambda: log.close(two))


def test_a_task_is_waited_for_until_it_is_finished_and_work_until_there_is_some() -> None:
    log = TaskLog()
    one = log.worker(1)
    seen = log.worker_record(1).changed_index
    work = WorkQuery(AgentId("a1@p"), seen)
    settles(log, work, lambda: log.submitted("t"))
    settles(log, TaskQuery(TaskId("t")), lambda: log.complete(one, "t"))
    later = TaskQuery(TaskId("not submitted yet"))
    assert not is_settled(later, log.machine.find(later)), "it may come"


def test_work_that_is_taken_back_is_news_to_who_had_it() -> None:
    log = TaskLog()
    log.worker(1)
    log.submitted("t")
    work = WorkQuery(AgentId("a1@p"), log.worker_record(1).changed_index)
    settles(log, work, lambda: log.cancel("t"))


@pytest.mark.parametrize(
    "query",
    [
        ProposalQuery(ProposalId("")),
        ParameterQuery(""),
        GenerationQuery("", 1),
        GenerationQuery("b", 0),
        AuctionQuery(AuctionId("")),
        SeatQuery(""),
        TaskQuery(TaskId("")),
        WorkQuery(AgentId(""), 0),
        ElectionQuery(""),
        LockQuery("l"),
        LockQuery("", 1),
        QueueQuery("q"),
        QueueQuery("", 1),
        AgentQuery(),
    ],
)
def test_what_names_nothing_cannot_be_waited_for(query: Query) -> None:
    assert subject_of(query) is None
    log = WrittenLog()
    log.attached(1)
    if isinstance(query, AgentQuery):
        assert not is_settled(query, log.machine.find(query))
