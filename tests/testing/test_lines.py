"""Locks and queues: every rule is broken by hand once, and seen."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import PutItem
from mabeam_p2p.config import Limits
from mabeam_p2p.events import (
    AgentJoined,
    AgentLeft,
    ItemTaken,
    LockEnded,
    LockGranted,
    TakeEnded,
)
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Agent, Claim, Item, Lock, Queue
from mabeam_p2p.requests import Committed, Found, LockQuery, Query
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.lines import LineJudge

A, B = AgentId("a@p"), AgentId("b@p")
FIRST, SECOND = Claim(10, A, 2, token=10), Claim(11, B, 2, token=12)


def broken(rule: str) -> "pytest.RaisesExc[Violation]":
    return pytest.raises(Violation, match=rf"^{rule}:")


def agent(name: AgentId, joined_index: int = 1) -> Agent:
    return Agent(name, PeerId("0" * 16), 1, SessionId(7), (), True, True, (), joined_index)


@pytest.fixture
def judge() -> LineJudge:
    """Where a and b have joined."""
    made = LineJudge()
    for name in (A, B):
        made.happened(AgentJoined(agent(name)))
    return made


def put(judge: LineJudge, index: int) -> None:
    command = PutItem(SessionId(7), index, "q", b"%d" % index)
    judge.took_effect(command, Committed(index, 1, 1))


def taken(claim: Claim, position: int) -> ItemTaken:
    return ItemTaken("q", replace(claim, item=Item(position, b"%d" % position, 1)))


def test_a_lawful_life_passes(judge: LineJudge) -> None:
    judge.happened(LockGranted("l", 1, FIRST))
    judge.happened(LockEnded("l", FIRST, "released"))
    judge.happened(LockGranted("l", 1, SECOND))
    judge.happened(AgentLeft(agent(B), "closed"))
    judge.happened(LockEnded("l", SECOND, "departed"))
    put(judge, 3)
    put(judge, 4)
    put(judge, 3)
    for token, reason in ((20, "returned"), (21, "acknowledged")):
        claim = Claim(token, A, token, token=token)
        judge.happened(taken(claim, 3))
        judge.happened(TakeEnded("q", taken(claim, 3).claim, reason))
    judge.happened(taken(Claim(30, A, 30, token=30), 4))
    judge.happened(LockEnded("l", Claim(31, A, 31), "timeout"))
    judge.batch_ended()


def test_two_that_hold_one_lock_are_seen(judge: LineJudge) -> None:
    judge.happened(LockGranted("l", 2, FIRST))
    judge.happened(LockGranted("l", 2, SECOND))
    with broken("locks"):
        judge.happened(LockGranted("l", 2, Claim(13, A, 3, token=13)))


def test_who_passes_the_line_is_seen(judge: LineJudge) -> None:
    judge.happened(LockGranted("l", 9, replace(SECOND, token=3)))
    with broken("locks"):
        judge.happened(LockGranted("l", 9, FIRST))


def test_a_token_that_does_not_grow_is_seen(judge: LineJudge) -> None:
    judge.happened(LockGranted("l", 1, FIRST))
    for token in (9, 10):
        with broken("tokens"):
            judge.happened(LockGranted("other", 1, replace(SECOND, token=token)))


@pytest.mark.parametrize("claim", [SECOND, replace(FIRST, token=11), replace(FIRST, token=0)])
def test_an_end_of_what_was_not_granted_so_is_seen(judge: LineJudge, claim: Claim) -> None:
    judge.happened(LockGranted("l", 1, FIRST))
    with broken("locks"):
        judge.happened(LockEnded("l", claim, "released"))


def test_a_departed_holder_is_seen(judge: LineJudge) -> None:
    judge.happened(LockGranted("l", 1, FIRST))
    judge.happened(AgentLeft(agent(A), "dead"))
    with broken("owners"):
        judge.batch_ended()


def test_a_grant_to_somebody_who_is_not_there_or_was_not_then_is_seen(judge: LineJudge) -> None:
    judge.happened(AgentLeft(agent(A), "dead"))
    with broken("owners"):
        judge.happened(LockGranted("l", 1, FIRST))
    judge.happened(AgentJoined(agent(A, joined_index=11)))
    with broken("owners"):
        judge.happened(LockGranted("l2", 1, replace(FIRST, token=13)))


def test_an_item_that_two_hold_or_that_is_gone_is_seen(judge: LineJudge) -> None:
    put(judge, 3)
    judge.happened(taken(FIRST, 3))
    with broken("queues"):
        judge.happened(taken(SECOND, 3))
    judge.happened(TakeEnded("q", taken(FIRST, 3).claim, "acknowledged"))
    with broken("queues"):
        judge.happened(taken(Claim(14, B, 3, token=14), 3))


def test_an_item_that_nobody_put_or_out_of_turn_is_seen(judge: LineJudge) -> None:
    put(judge, 3)
    put(judge, 4)
    with broken("queues"):
        judge.happened(taken(FIRST, 4))
    with broken("queues"):
        judge.happened(taken(SECOND, 5))


class _Told(Machine):
    """Says what a test has it say."""

    def __init__(self, *, locks: tuple[Lock, ...] = (), queues: tuple[Queue, ...] = ()) -> None:
        super().__init__(Limits())
        self._locks_told, self._queues_told = locks, queues

    def find(self, query: Query) -> Found:
        is_lock = isinstance(query, LockQuery)
        return Found(
            1,
            0.0,
            True,
            locks=self._locks_told if is_lock else (),
            queues=() if is_lock else self._queues_told,
        )


def test_nobody_waits_for_permits_that_are_free(judge: LineJudge) -> None:
    judge.happened(LockGranted("l", 2, FIRST))
    waits = replace(SECOND, token=0)
    judge.judge_waiting(_Told(locks=(Lock("l", 2, (FIRST, replace(waits, permits=2))),)))
    judge.happened(LockGranted("m", 1, replace(FIRST, ticket=11, token=13)))
    with broken("waiting"):
        judge.judge_waiting(_Told(locks=(Lock("l", 2, (FIRST, waits)),)))


def test_nobody_waits_for_an_item_that_is_there(judge: LineJudge) -> None:
    put(judge, 3)
    judge.judge_waiting(_Told(queues=(Queue("q", 1, 0, 0),)))
    put(judge, 4)
    with broken("waiting"):
        judge.judge_waiting(_Told(queues=(Queue("q", 2, 0, 1),)))


def test_what_the_machine_says_is_what_it_told(judge: LineJudge) -> None:
    judge.happened(LockGranted("l", 1, FIRST))
    with broken("locks"):
        judge.judge_waiting(_Told(locks=(Lock("l", 1, ()),)))
    put(judge, 3)
    with broken("queues"):
        judge.judge_waiting(_Told(queues=(Queue("q", 0, 0, 0),)))
