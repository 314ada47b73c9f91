import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, AppendJournal, CloseSession, OpenSession
from mabeam_p2p.config import Limits
from mabeam_p2p.events import AgentJoined, AgentLeft
from mabeam_p2p.ids import INTEGER_MAX, AgentId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import AgentQuery, Committed, JournalQuery, Outcome, Refused
from tests.machine.written_log import WrittenLog, peer_id, reason

OPEN = OpenSession(
    SessionId(7), 1, AgentId("a@p"), peer_id(1), 3, ("g",), True, True, (("gpu", 2),)
)


def agents(log: WrittenLog) -> list[tuple[str, int]]:
    """Live agents as (id, session)."""
    return [(agent.id, agent.session) for agent in log.machine.find(AgentQuery()).agents]


def append(sequence: int, item: bytes = b"x", session: int = 1) -> AppendJournal:
    return AppendJournal(SessionId(session), sequence, "j", item)


def items(log: WrittenLog) -> tuple[bytes, ...]:
    journals = log.machine.find(JournalQuery("j")).journals
    return journals[0].items if journals else ()


# ---- exactly once ----------------------------------------------------------------------------


def test_a_command_that_comes_again_gets_its_recorded_outcome_and_no_effect() -> None:
    log = WrittenLog()
    log.attached(1)
    first = log.apply(append(2, b"a"))
    log.apply(append(3, b"b"))
    assert log.apply(append(2, b"a")) == first
    assert log.events == ()
    assert items(log) == (b"a", b"b")


def test_copies_in_one_batch_take_effect_once() -> None:
    log = WrittenLog()
    log.attached(1)
    first, second, third = log.append(append(2), append(2), append(3))
    assert first == second == Committed(2, 1, 1)
    assert third == Committed(4, 1, 2)


def test_a_refusal_is_recorded_like_any_outcome() -> None:
    log = WrittenLog(Limits(journals_max=1))
    log.attached(1)
    refused = log.apply(AppendJournal(SessionId(1), 3, "", b"x"))
    assert reason(refused) == "invalid"
    assert log.apply(append(3)) == refused
    assert items(log) == ()


def test_numbers_may_leave_gaps_and_come_late_within_the_window() -> None:
    log = WrittenLog(Limits(session_window=4))
    log.attached(1)
    for sequence in (9, 8, 6, 7):
        assert reason(log.apply(append(sequence))) == ""
    assert len(items(log)) == 4


def test_a_number_at_or_below_the_floor_of_the_window_is_stale() -> None:
    log = WrittenLog(Limits(session_window=4))
    log.attached(1)
    log.apply(append(9))
    assert reason(log.apply(append(5))) == "stale_sequence"
    assert reason(log.apply(append(6))) == ""
    assert reason(log.apply(append(0))) == "stale_sequence"
    assert len(items(log)) == 2


def test_numbers_that_json_cannot_hold_are_invalid_and_move_no_window() -> None:
    log = WrittenLog()
    log.attached(1)
    assert reason(log.apply(append(INTEGER_MAX + 1))) == "invalid"
    assert reason(log.apply(append(2))) == ""


def test_a_leap_of_the_number_costs_no_more_than_the_window() -> None:
    log = WrittenLog(Limits(session_window=4))
    log.attached(1)
    log.apply(append(2))
    last = log.apply(append(INTEGER_MAX))
    assert reason(log.apply(append(2))) == "stale_sequence"
    assert log.apply(append(INTEGER_MAX)) == last


@settings(max_examples=60)
@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 8))
def test_whatever_order_and_copies_each_number_takes_effect_at_most_once(
    sequences: list[int], window: int
) -> None:
    log = WrittenLog(Limits(session_window=window))
    log.attached(1)
    outcomes: dict[int, Outcome] = {1: Committed(1, 1)}
    applied, last = [], 1
    for sequence in sequences:
        outcome = log.apply(append(sequence, bytes([sequence])))
        if sequence in outcomes and sequence > last - window:
            assert outcome == outcomes[sequence]
        elif sequence <= last - window:
            assert reason(outcome) == "stale_sequence"
        else:
            outcomes[sequence] = outcome
            applied.append(bytes([sequence]))
        last = max(last, sequence)
    assert items(log) == tuple(applied)


@pytest.mark.parametrize("session", [0, 2])
def test_a_command_of_an_unknown_session_is_refused(session: int) -> None:
    log = WrittenLog()
    log.attached(1)
    assert reason(log.apply(append(5, session=session))) == "unknown_session"
    assert items(log) == ()


# ---- attaching -------------------------------------------------------------------------------


def test_an_agent_is_there_from_its_session_on() -> None:
    log = WrittenLog()
    outcome = log.apply(OPEN)
    agent = Agent(
        OPEN.agent, OPEN.peer, 3, OPEN.session, ("g",), True, True, (("gpu", 2),), joined_index=1
    )
    assert outcome == Committed(1, 1)
    assert log.events == (AgentJoined(agent),)
    assert log.machine.find(AgentQuery()).agents == (agent,)
    assert log.machine.agents_of(peer_id(1)) == (agent,)
    assert log.machine.agents_of(peer_id(2)) == ()


def test_opening_the_same_session_again_is_the_same_session() -> None:
    log = WrittenLog()
    first = log.apply(OPEN)
    assert log.apply(OPEN) == first
    assert log.apply(replace(OPEN, sequence=5)) == first
    assert log.events == ()


def test_an_open_session_cannot_become_another_agent() -> None:
    log = WrittenLog()
    log.apply(OPEN)
    assert reason(log.apply(replace(OPEN, sequence=2, agent=AgentId("b@p")))) == "invalid"
    assert agents(log) == [("a@p", 7)]


def test_an_agents_name_is_taken_while_its_session_lives() -> None:
    log = WrittenLog()
    log.apply(OPEN)
    other = replace(OPEN, session=SessionId(8))
    for taken in (other, replace(other, epoch=2), replace(other, peer=peer_id(2), epoch=9)):
        assert reason(log.apply(replace(taken, session=SessionId(taken.epoch)))) == "name_taken"
    log.apply(CloseSession(OPEN.session, 2, "done"))
    assert reason(log.apply(other)) == ""


def test_an_agent_of_a_restarted_peer_takes_the_place_of_its_older_session() -> None:
    log = WrittenLog()
    log.apply(OPEN)
    older = log.machine.find(AgentQuery()).agents[0]
    outcome = log.apply(replace(OPEN, session=SessionId(8), epoch=4))
    newer = log.machine.find(AgentQuery()).agents[0]
    assert outcome == Committed(2, 1)
    assert log.events == (AgentLeft(older, "replaced"), AgentJoined(newer))
    assert agents(log) == [("a@p", 8)]
    assert reason(log.apply(append(2, session=7))) == "unknown_session"


def test_a_late_copy_of_an_open_session_leaves_no_agent_behind() -> None:
    log = WrittenLog()
    log.apply(OPEN)
    log.apply(CloseSession(OPEN.session, 2, "done"))
    again = log.apply(OPEN)
    assert isinstance(again, Refused)
    assert again.reason == "unknown_session"
    assert "open another" in again.detail
    assert agents(log) == []


def test_a_late_copy_of_a_refused_open_session_is_refused_alike() -> None:
    log = WrittenLog()
    log.apply(OPEN)
    rival = replace(OPEN, session=SessionId(8))
    refused = log.apply(rival)
    assert reason(refused) == "name_taken"
    log.apply(CloseSession(OPEN.session, 2, "done"))
    assert log.apply(rival) == refused
    assert reason(log.apply(CloseSession(SessionId(8), 2, "done"))) == "unknown_session"
    assert agents(log) == []


def test_ended_sessions_are_remembered_in_bounded_number() -> None:
    log = WrittenLog(Limits(sessions_max=2))
    for session in (1, 2, 3):
        log.attach("a", session=session)
        log.close(SessionId(session))
    assert reason(log.apply(replace(OPEN, session=SessionId(3)))) == "unknown_session"
    assert reason(log.apply(replace(OPEN, session=SessionId(1)))) == ""


# ---- ending ----------------------------------------------------------------------------------


def test_closing_twice_is_closing_once() -> None:
    log = WrittenLog()
    log.apply(OPEN)
    agent = log.machine.find(AgentQuery()).agents[0]
    closed = log.apply(CloseSession(OPEN.session, 2, "done"))
    assert log.events == (AgentLeft(agent, "done"),)
    assert closed == Committed(2, 1)
    assert log.append(CloseSession(OPEN.session, 2, "done"), OPEN)[0] == closed
    assert agents(log) == []


def test_an_oversized_reason_ends_nothing() -> None:
    log = WrittenLog()
    log.apply(OPEN)
    assert reason(log.apply(CloseSession(OPEN.session, 2, "x" * 257))) == "too_large"
    assert agents(log) == [("a@p", 7)]


def test_the_departure_of_a_peer_ends_its_sessions_up_to_the_epoch() -> None:
    log = WrittenLog()
    log.attach("a", session=1, peer=1, epoch=1)
    log.attach("b", session=2, peer=1, epoch=2)
    log.attach("c", session=3, peer=1, epoch=3)
    log.attach("d", session=4, peer=2, epoch=1)
    log.depart(1, epoch=2)
    assert agents(log) == [("c@p", 3), ("d@p", 4)]
    assert [event.agent.id for event in log.events if isinstance(event, AgentLeft)] == [
        "a@p",
        "b@p",
    ]
    log.depart(1, epoch=2)
    assert log.events == ()


def test_an_agent_can_come_back_after_its_peer_was_thought_gone() -> None:
    log = WrittenLog()
    log.attach("a", session=1)
    log.depart(1)
    assert reason(log.attach("a", session=2)) == ""
    assert agents(log) == [("a@p", 2)]


# ---- limits ----------------------------------------------------------------------------------


def test_sessions_are_bounded_in_all_and_for_each_peer() -> None:
    log = WrittenLog(Limits(sessions_max=3, agents_per_peer_max=2))
    assert reason(log.attach("a", session=1, peer=1)) == ""
    assert reason(log.attach("b", session=2, peer=1)) == ""
    assert reason(log.attach("c", session=3, peer=1)) == "limit"
    assert reason(log.attach("c", session=4, peer=2)) == ""
    assert reason(log.attach("d", session=5, peer=2)) == "limit"
    # Taking one's own place needs no room.
    assert reason(log.attach("b", session=6, peer=1, epoch=2)) == ""


@pytest.mark.parametrize(
    "malformed",
    [
        replace(OPEN, session=SessionId(0)),
        replace(OPEN, session=SessionId(INTEGER_MAX + 1)),
        replace(OPEN, sequence=0),
        replace(OPEN, sequence=INTEGER_MAX + 1),
        replace(OPEN, epoch=-1),
        replace(OPEN, epoch=INTEGER_MAX + 1),
        replace(OPEN, agent=AgentId("a")),
        replace(OPEN, agent=AgentId("@p")),
        replace(OPEN, agent=AgentId("a@")),
        replace(OPEN, agent=AgentId("a@p@q")),
        replace(OPEN, peer="short"),
        replace(OPEN, groups=("g", "g")),
        replace(OPEN, groups=("not a name",)),
        replace(OPEN, groups=tuple(f"g{n}" for n in range(65))),
        replace(OPEN, capabilities=(("gpu", 1), ("gpu", 2))),
        replace(OPEN, capabilities=(("", 1),)),
        replace(OPEN, capabilities=(("gpu", -1),)),
        replace(OPEN, capabilities=tuple((f"c{n}", 1) for n in range(65))),
    ],
)
def test_a_malformed_agent_does_not_attach(malformed: OpenSession) -> None:
    log = WrittenLog()
    assert reason(log.apply(malformed)) == "invalid"
    assert agents(log) == []
    assert reason(log.apply(OPEN)) == ""


@pytest.mark.parametrize(
    "extreme",
    [
        replace(OPEN, session=SessionId(INTEGER_MAX)),
        replace(OPEN, sequence=INTEGER_MAX),
        replace(OPEN, epoch=INTEGER_MAX),
        replace(OPEN, epoch=0),
        replace(OPEN, groups=tuple(f"g{n}" for n in range(64))),
        replace(OPEN, capabilities=tuple((f"c{n}", 0) for n in range(64))),
    ],
)
def test_an_agent_at_every_bound_attaches(extreme: OpenSession) -> None:
    assert reason(WrittenLog().apply(extreme)) == ""


# ---- what a snapshot can still tell --------------------------------------------------------------


def known(log: WrittenLog, command: AnyCommand) -> Outcome | None:
    """What a machine that was restored from a snapshot knows of the command."""
    machine = Machine(log.limits)
    machine.load(machine.decode(log.machine.encode()))
    return machine.known_outcome(command)


def test_a_snapshot_tells_what_a_command_has_come_to() -> None:
    log = WrittenLog(Limits(session_window=4))
    log.attached(1)
    done = log.apply(append(3))
    assert known(log, append(3)) == done
    for not_applied in (append(2), append(4)):
        with pytest.raises(LookupError):
            known(log, not_applied)


def test_what_lies_before_the_window_may_have_come_to_anything() -> None:
    log = WrittenLog(Limits(session_window=4))
    log.attached(1)
    log.apply(append(2))
    log.apply(append(9))
    assert known(log, append(2)) is None
    assert known(log, append(9)) is not None


def test_what_stands_in_a_session_that_has_ended_may_have_come_to_anything() -> None:
    log = WrittenLog()
    log.attached(1)
    log.apply(append(2))
    closed = log.apply(CloseSession(SessionId(1), 3, "closed"))
    assert known(log, append(2)) is None
    assert known(log, append(9)) is None
    assert known(log, CloseSession(SessionId(1), 4, "closed")) == closed
    assert known(log, append(2, session=99)) is None


def test_a_snapshot_tells_whether_a_session_was_opened() -> None:
    log = WrittenLog()
    with pytest.raises(LookupError):
        known(log, OPEN)
    opened = log.apply(OPEN)
    assert known(log, OPEN) == opened
    with pytest.raises(LookupError):
        known(log, replace(OPEN, epoch=OPEN.epoch + 1))
    taken = replace(OPEN, session=SessionId(8), peer=peer_id(2))
    refused = log.apply(taken)
    assert reason(refused) == "name_taken"
    assert known(log, taken) == refused
    assert reason(known(log, append(2, session=8)) or opened) == "unknown_session"
    log.apply(CloseSession(SessionId(7), 2, "closed"))
    assert known(log, OPEN) is None
