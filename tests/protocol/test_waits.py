"""Requests that wait: for a read to be confirmed, a proposal to be decided, a generation to end."""

from math import inf

import pytest

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Effects, Resolve
from mabeam_p2p.ids import AgentId, PeerId, ProposalId
from mabeam_p2p.machine.subjects import is_settled, subject_of
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.waits import Waits
from mabeam_p2p.records import (
    BarrierStatus,
    Generation,
    OnDeparture,
    Policy,
    Proposal,
    ProposalStatus,
)
from mabeam_p2p.requests import (
    Failed,
    Found,
    GenerationQuery,
    ParameterQuery,
    ProposalQuery,
    Query,
    Read,
)

A, B = PeerId("a" * 16), PeerId("b" * 16)
TIMING = Timing(forward_timeout_seconds=0.5, no_quorum_seconds=1.5, heartbeat_seconds=0.125)
READ = Read(ParameterQuery("lr"), True)
ONE = ProposalQuery(ProposalId("one"))


def proposal(name: str, status: ProposalStatus) -> Proposal:
    return Proposal(
        ProposalId(name),
        "lr",
        b"",
        AgentId("a@p"),
        "",
        b"",
        "all",
        Policy(),
        None,
        (),
        1,
        1,
        0,
        9,
        status=status,
    )


def generation(number: int, status: BarrierStatus) -> Generation:
    return Generation("epoch", number, 2, 9, OnDeparture.BREAK, (), status, 0)


class Desk:
    """Waits, the state that they read, and the questions that they asked."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.outbox = Outbox()
        self.waits = Waits(
            find=self.find,
            is_settled=is_settled,
            timing=TIMING,
            limits=limits or Limits(),
            outbox=self.outbox,
        )
        self.index = 0
        self.proposals: dict[str, ProposalStatus] = {}
        self.generations: dict[int, BarrierStatus] = {}
        self.asked: list[int] = []
        self.answers = True

    def find(self, query: Query, linearizable: bool) -> Found:
        found = Found(self.index, 0.0, linearizable)
        match query:
            case ProposalQuery(proposal=name) if name in self.proposals:
                proposals = (proposal(name, self.proposals[name]),)
                return Found(self.index, 0.0, linearizable, proposals=proposals)
            case GenerationQuery(generation=number) if number in self.generations:
                generations = (generation(number, self.generations[number]),)
                return Found(self.index, 0.0, linearizable, generations=generations)
            case _:
                return found

    def ask(self, number: int) -> bool:
        self.asked.append(number)
        return self.answers

    def wait(self, token: int, query: Query, deadline: float) -> None:
        subject = subject_of(query)
        assert subject is not None
        self.waits.wait(token, query, subject, deadline)

    def flush(self, now: float, leader: PeerId | None = A) -> None:
        self.waits.flush(leader, self.ask, now)

    def apply(self, index: int) -> list[int]:
        """The tokens of the reads that are answered now."""
        self.index = index
        self.waits.applied(index)
        return [token for token, _ in self.taken()]

    def taken(self) -> list[tuple[int, object]]:
        effects: Effects = self.outbox.take()
        return [(effect.token, effect.answer) for effect in effects if isinstance(effect, Resolve)]


def failures(desk: Desk) -> list[tuple[int, str]]:
    return [(token, answer.reason) for token, answer in desk.taken() if isinstance(answer, Failed)]


# ---- linearizable reads ----------------------------------------------------------------------


def test_a_read_is_answered_when_what_it_may_see_is_applied() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0)
    assert desk.asked == [1]
    assert desk.apply(9) == [], "not before the leader has confirmed"
    desk.waits.granted(1, 10, 0.0)
    assert desk.apply(9) == []
    desk.index = 10
    desk.waits.applied(10)
    assert desk.taken() == [(1, Found(10, 0.0, True))]
    assert len(desk.waits) == 0


def test_reads_of_a_turn_share_one_question() -> None:
    desk = Desk()
    for token in (1, 2, 3):
        desk.waits.read(token, READ, inf)
    desk.flush(0.0)
    desk.flush(0.0)
    assert desk.asked == [1]
    desk.waits.granted(1, 1, 0.0)
    assert desk.apply(1) == [1, 2, 3]


def test_a_later_read_is_not_answered_by_an_earlier_question() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0)
    desk.waits.read(2, READ, inf)
    desk.flush(0.0)
    desk.waits.granted(1, 1, 0.0)
    assert desk.apply(5) == [1]
    desk.waits.granted(2, 6, 0.0)
    assert desk.apply(6) == [2]


def test_a_copy_of_an_answer_and_an_unknown_one_change_nothing() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0)
    desk.waits.granted(1, 8, 0.0)
    desk.waits.granted(1, 2, 0.0)
    desk.waits.granted(7, 1, 0.0)
    assert desk.apply(5) == []
    assert desk.apply(8) == [1]


def test_a_question_without_answer_is_asked_again() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0)
    assert desk.waits.next_deadline() == 0.5
    desk.flush(0.4375)
    assert desk.asked == [1]
    desk.flush(0.5)
    assert desk.asked == [1, 2]
    desk.waits.granted(1, 1, 0.5)
    assert desk.apply(9) == [], "the first question is forgotten"
    desk.waits.granted(2, 1, 0.5)
    assert desk.apply(9) == [1]


def test_new_reads_do_not_put_off_the_asking_again_for_old_ones() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0)
    for step in range(1, 5):
        now = step / 8
        desk.waits.read(1 + step, READ, inf)
        desk.flush(now)
        number = desk.asked[-1]
        if step < 4:
            desk.waits.granted(number, step, now)
            assert desk.apply(step) == [1 + step]
    desk.waits.granted(desk.asked[-1], 9, 0.5)
    assert sorted(desk.apply(9)) == [1, 5]


def test_another_leader_is_asked_at_once() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0, A)
    desk.flush(0.0, None)
    assert desk.asked == [1]
    desk.flush(0.125, B)
    assert desk.asked == [1, 2]


def test_a_refusal_is_followed_by_a_pause_and_another_question() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0)
    desk.waits.granted(1, 0, 0.0)
    assert desk.apply(9) == []
    desk.flush(0.0)
    assert desk.asked == [1], "no storm of questions"
    assert desk.waits.next_deadline() == 0.125
    desk.flush(0.125)
    assert desk.asked == [1, 2]


def test_reads_wait_while_nobody_can_be_asked() -> None:
    desk = Desk()
    desk.answers = False
    desk.waits.read(1, READ, inf)
    desk.flush(0.0)
    desk.flush(0.0)
    assert desk.asked == [1, 2]
    desk.answers = True
    desk.flush(0.0)
    desk.waits.granted(3, 1, 0.0)
    assert desk.apply(1) == [1]


@pytest.mark.parametrize("start", [0.0, 100.0])
def test_reads_fail_when_nobody_leads_for_long(start: float) -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.wait(2, ONE, inf)
    desk.flush(start, None)
    desk.flush(start + 1.0, None)
    assert desk.waits.next_deadline() == start + 1.5
    desk.waits.tick(start + 1.4375)
    assert desk.taken() == []
    desk.waits.tick(start + 1.5)
    assert failures(desk) == [(1, "no_quorum")], "a proposal may be decided when somebody leads"


def test_a_leader_in_time_saves_the_reads() -> None:
    desk = Desk()
    desk.waits.read(1, READ, inf)
    desk.flush(0.0, None)
    desk.flush(1.0, A)
    desk.flush(1.25, None)
    desk.waits.tick(2.0)
    assert desk.taken() == []


def test_a_read_that_reaches_its_deadline_had_no_quorum() -> None:
    desk = Desk()
    desk.waits.read(1, READ, 5.0)
    desk.flush(0.0)
    desk.waits.tick(5.0)
    assert failures(desk) == [(1, "no_quorum")]
    desk.waits.granted(1, 1, 5.0)
    assert desk.apply(1) == []


def test_a_cancelled_read_is_neither_asked_for_nor_answered() -> None:
    desk = Desk()
    desk.waits.read(1, READ, 5.0)
    desk.waits.cancel(1)
    desk.flush(0.0)
    assert desk.asked == []
    desk.waits.read(2, READ, 5.0)
    desk.flush(0.0)
    desk.waits.granted(1, 1, 0.0)
    desk.waits.cancel(2)
    assert desk.apply(1) == []
    desk.waits.tick(5.0)
    assert desk.taken() == []


# ---- proposals and generations ---------------------------------------------------------------


@pytest.mark.fault("B3")
def test_what_has_ended_is_answered_at_once() -> None:
    desk = Desk()
    desk.proposals["one"] = ProposalStatus.REJECTED
    desk.generations[1] = BarrierStatus.BROKEN
    desk.wait(1, ONE, inf)
    desk.wait(2, GenerationQuery("epoch", 1), inf)
    answered = dict(desk.taken())
    assert sorted(answered) == [1, 2]
    assert all(isinstance(answer, Found) for answer in answered.values())
    assert len(desk.waits) == 0


@pytest.mark.fault("B13")
def test_what_runs_or_is_unknown_is_waited_for() -> None:
    desk = Desk()
    desk.proposals["one"] = ProposalStatus.OPEN
    desk.wait(1, ONE, inf)
    desk.wait(2, ProposalQuery(ProposalId("two")), inf)
    desk.wait(3, GenerationQuery("epoch", 1), inf)
    assert desk.taken() == []
    desk.proposals["one"] = ProposalStatus.ACCEPTED
    desk.waits.changed(("proposal", "one", 0))
    [(token, answer)] = desk.taken()
    assert token == 1
    assert isinstance(answer, Found)
    assert answer.proposals[0].status is ProposalStatus.ACCEPTED


@pytest.mark.fault("B10")
def test_an_end_is_told_to_all_who_wait_for_it_and_nobody_else() -> None:
    desk = Desk()
    for token, number in [(1, 1), (2, 1), (3, 2)]:
        desk.wait(token, GenerationQuery("epoch", number), inf)
    desk.wait(4, ProposalQuery(ProposalId("epoch")), inf)
    desk.generations[1] = BarrierStatus.RELEASED
    desk.waits.changed(("barrier", "epoch", 1))
    assert [token for token, _ in desk.taken()] == [1, 2]
    desk.waits.changed(("barrier", "epoch", 1))
    assert desk.taken() == []
    assert len(desk.waits) == 2


def test_a_wait_that_reaches_its_deadline_says_timeout() -> None:
    desk = Desk()
    desk.wait(1, ONE, 2.0)
    desk.wait(2, ONE, 3.0)
    assert desk.waits.next_deadline() == 2.0
    desk.waits.tick(2.0)
    assert failures(desk) == [(1, "timeout")]
    desk.waits.cancel(2)
    desk.waits.cancel(2)
    desk.waits.changed(("proposal", "one", 0))
    assert desk.taken() == []
    assert len(desk.waits) == 0


def test_a_full_desk_answers_overloaded_and_keeps_who_waits() -> None:
    desk = Desk(Limits(pending_requests_max=1))
    desk.wait(1, ProposalQuery(ProposalId("p")), 9.0)
    desk.wait(2, ProposalQuery(ProposalId("p")), 9.0)
    desk.waits.read(3, Read(ProposalQuery(ProposalId("p")), linearizable=True), 9.0)
    answers = [e for e in desk.outbox.take() if isinstance(e, Resolve)]
    assert [(e.token, e.answer.reason) for e in answers if isinstance(e.answer, Failed)] == [
        (2, "overloaded"),
        (3, "overloaded"),
    ]
    assert len(desk.waits) == 1


def test_reads_that_were_answered_are_kept_no_longer() -> None:
    desk = Desk()
    for number in range(1, 6):
        desk.waits.read(number, READ, 9.0)
        desk.flush(0.0)
        desk.waits.granted(desk.asked[-1], number, 0.0)
        assert desk.apply(number) == [number]
    assert desk.waits._granted == []
