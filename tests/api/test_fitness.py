"""How fit a peer is to lead, as its program says, and having another one lead."""

import itertools
import math
import os
import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from mabeam_p2p import (
    Closed,
    InvalidValue,
    MabeamTimeout,
    NoQuorum,
    OutcomeUnknown,
    TransferFailed,
    load_score,
    uptime_score,
)
from mabeam_p2p.api.fitness import (
    LATENCY_BEST_SECONDS,
    LATENCY_WORST_SECONDS,
    LatencyScore,
    Score,
    ScoreWatch,
    latency_points,
    points,
    ready,
    set_fitness,
    transferred,
)
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.requests import (
    Answer,
    Done,
    Failed,
    Found,
    HandedOver,
    Members,
    ReadMembers,
    ReadStatus,
    Refused,
    Request,
    SetFitness,
    StatusAnswer,
    TransferLeadership,
)
from tests.api.fakes import PEER, FakePeer, attachment, status, usual
from tests.in_loop import in_loop
from tests.virtual_time import in_virtual_time

BEE, OLD_BEE, COW = (PeerId(f"{number:016x}") for number in (0xB, 0xC, 0xD))

WRONG: tuple[object, ...] = (-1, 100.5, math.nan, math.inf, -math.inf, "50", None, True, [50])


def member(peer: PeerId, name: str, state: MemberState = MemberState.ALIVE) -> Member:
    return Member(peer, name, "127.0.0.1:1", 1, 1, state)


class Boss(FakePeer):
    """One that takes every score, and answers a hand-over as it is told."""

    def __init__(self, handed: Answer | None = None) -> None:
        super().__init__()
        self.reply = self.answer
        self.handed = handed
        self.fitness = SetFitness(99)
        self.said_meanwhile: SetFitness | None = None
        """By somebody else, behind the next answer that tells the score."""

    def answer(self, request: Request) -> Answer | Exception | None:
        match request:
            case SetFitness():
                unfit = self.fitness.unfit if request.unfit is None else request.unfit
                self.fitness = SetFitness(request.score, unfit)
                return Done()
            case ReadStatus():
                said = self.fitness
                self.fitness, self.said_meanwhile = self.said_meanwhile or said, None
                return StatusAnswer(replace(status(), score=said.score, unfit=said.unfit))
            case TransferLeadership():
                return self.handed
            case ReadMembers():
                members = (
                    member(PEER, "ant"),
                    member(OLD_BEE, "bee", MemberState.DEAD),
                    member(BEE, "bee"),
                    member(COW, "cow"),
                )
                return Members(members, ())
            case _:
                return usual(request)

    @property
    def scores(self) -> list[SetFitness]:
        return [request for request in self.asked if isinstance(request, SetFitness)]


# ---- scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("score", WRONG)
def test_what_is_no_score_is_named_with_what_is(score: object) -> None:
    with pytest.raises(InvalidValue, match="take a number from 0 to 100"):
        points(score)


@pytest.mark.parametrize(("score", "travels"), [(0, 0), (100, 100), (49.6, 50), (0.0, 0)])
def test_a_score_travels_as_a_whole_number(score: float, travels: int) -> None:
    assert points(score) == travels


@in_loop
async def test_a_wrong_score_is_refused_before_it_is_sent() -> None:
    peer = Boss()
    with pytest.raises(InvalidValue):
        await set_fitness(attachment(peer), 101)
    assert peer.scores == []
    await set_fitness(attachment(peer), 80, "disk full")
    assert peer.scores == [SetFitness(80, "disk full")]


@in_virtual_time
async def test_a_function_is_asked_at_an_interval_and_told_of_when_it_changes() -> None:
    peer, given = Boss(), iter([50, 50.2, 70, 70, 30])
    watch = ScoreWatch(attachment(peer), asynchronous(given))
    for _ in range(5):
        await watch.look()
    assert [request.score for request in peer.scores] == [50, 70, 30]
    assert watch.fault_count == 0


@in_loop
async def test_a_function_goes_on_giving_the_score_when_somebody_has_said_another_one() -> None:
    peer = Boss()
    watch = ScoreWatch(attachment(peer), asynchronous(iter([80, 80, 80])))
    await watch.look()
    await set_fitness(attachment(peer), 10)
    await watch.look()
    await watch.look()
    assert [request.score for request in peer.scores] == [80, 10, 80]


@in_loop
async def test_a_function_that_gives_the_score_leaves_what_keeps_the_peer_from_leading() -> None:
    peer = Boss()
    watch = ScoreWatch(attachment(peer), asynchronous(iter([80, 70])))
    await watch.look()
    await set_fitness(attachment(peer), 50, "maintenance")
    await watch.look()
    assert peer.fitness == SetFitness(70, "maintenance")


@in_loop
async def test_what_keeps_the_peer_from_leading_stays_if_said_while_it_is_measured() -> None:
    peer = Boss()
    watch = ScoreWatch(attachment(peer), asynchronous(iter([80])))
    peer.said_meanwhile = SetFitness(50, "maintenance")
    await watch.look()
    assert peer.fitness == SetFitness(80, "maintenance")


def asynchronous(given: Iterator[object]) -> Score:
    """A function that gives one after the other, and raises what is an error."""

    async def score() -> float:
        value = next(given)
        if isinstance(value, Exception):
            raise value
        return value  # type: ignore[return-value]

    return score


@in_loop
async def test_what_raises_or_is_no_score_is_counted_and_the_last_good_one_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Boss()
    wrong = [*WRONG, ZeroDivisionError("division by zero")]
    watch = ScoreWatch(attachment(peer), asynchronous(iter([60, *wrong, 60, 61])))
    for _ in range(len(wrong) + 3):
        await watch.look()
    assert [request.score for request in peer.scores] == [60, 61]
    assert watch.fault_count == len(wrong)
    assert watch.fault == "ZeroDivisionError: division by zero"
    assert "peer ant keeps its score: InvalidValue: the score is nan" in caplog.text


@in_loop
async def test_a_plain_function_is_called_in_a_thread() -> None:
    peer = Boss()
    watch = ScoreWatch(attachment(peer), lambda: 42)
    await watch.look()
    assert [request.score for request in peer.scores] == [42]


@in_loop
async def test_a_score_that_was_not_taken_is_said_again() -> None:
    peer = Boss()
    watch = ScoreWatch(attachment(peer), asynchronous(iter([42, 42])))
    peer.reply = lambda request: (
        Failed("overloaded", "") if isinstance(request, SetFitness) else usual(request)
    )
    await watch.look()
    peer.reply = peer.answer
    await watch.look()
    assert [request.score for request in peer.scores] == [42, 42]
    assert watch.fault_count == 1


@in_virtual_time
async def test_watching_ends_with_the_peer() -> None:
    peer = Boss()
    peer.reply = lambda request: Closed("gone")
    watch = ScoreWatch(attachment(peer), asynchronous(iter([1])))
    with pytest.raises(Closed):
        await watch.look()
    watch = ScoreWatch(attachment(peer), asynchronous(iter([1])))
    watch.begin()
    await watch.close()


# ---- ready functions -------------------------------------------------------------------------


@pytest.mark.parametrize(("load", "score"), [(0.0, 100), (1.0, 75), (4.0, 0), (9.0, 0)])
def test_the_load_of_the_host_makes_a_score(
    load: float, score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert load_score() == score


def test_uptime_makes_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    score = uptime_score(200)
    seen = []
    for now[0] in (1000.0, 1050.0, 1200.0, 9999.0):
        seen.append(score())
    assert seen == [0, 25, 100, 100]


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_uptime_needs_a_length_of_time(seconds: float) -> None:
    with pytest.raises(InvalidValue, match="seconds above 0"):
        uptime_score(seconds)


def test_each_doubling_of_the_latency_costs_as_much() -> None:
    assert latency_points(0.0) == latency_points(LATENCY_BEST_SECONDS) == 100
    assert latency_points(LATENCY_WORST_SECONDS) == latency_points(60) == pytest.approx(0)
    steps = [latency_points(LATENCY_BEST_SECONDS * 2**n) for n in range(6)]
    assert [round(a - b, 6) for a, b in itertools.pairwise(steps)] == [15.051500] * 5


@in_loop
async def test_the_latency_of_linearizable_reads_makes_a_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer, now = Boss(), [0.0]
    score = LatencyScore(attachment(peer))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def read(request: Request) -> Answer:
        now[0] += 0.002 if len(peer.asked) < 2 else 0.02
        return Found(1, 0.0, True)

    peer.reply = read
    assert await score() == 100
    first = await score()
    assert isinstance(first, float)
    assert 50 < first < 100, "one slow read is no slow link"
    for _ in range(50):
        last = await score()
    assert last == pytest.approx(50, abs=0.1)
    peer.reply = lambda request: Failed("no_quorum", "")
    for _ in range(50):
        last = await score()
    assert last == pytest.approx(0, abs=0.1)


@in_loop
async def test_ready_functions_have_names() -> None:
    near = attachment(Boss())
    assert ready("load", near) is load_score
    assert isinstance(ready("latency", near), LatencyScore)
    assert ready("uptime", near) is not None
    assert ready("", near) is None


# ---- handing over ----------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["bee", str(BEE)])
@in_loop
async def test_a_peer_is_found_by_its_name_or_id_before_one_that_is_gone(wanted: str) -> None:
    peer = Boss(HandedOver(BEE, 7))
    near = attachment(peer)
    await near.read_anew()
    leader = await transferred(near, wanted, 3.0)
    assert (leader.id, leader.name, leader.term) == (BEE, "bee", 7)
    assert peer.asked[-1] == TransferLeadership(BEE, 3.0)


@in_loop
async def test_nobody_in_particular_is_left_to_the_leader() -> None:
    peer = Boss(HandedOver(COW, 7))
    near = attachment(peer)
    await near.read_anew()
    assert (await transferred(near, None, None)).name == "cow"
    assert peer.asked[-1] == TransferLeadership(PeerId(""), near.timing.request_timeout_seconds)


@in_loop
async def test_a_peer_that_nobody_knows_is_named_with_those_that_are_known() -> None:
    peer = Boss()
    near = attachment(peer)
    await near.read_anew()
    with pytest.raises(TransferFailed, match="knows no peer 'bat': take one of ") as caught:
        await transferred(near, "bat", None)
    assert caught.value.reason == "unknown_peer"
    assert not any(isinstance(request, TransferLeadership) for request in peer.asked)


@pytest.mark.parametrize(
    ("answer", "error", "advice"),
    [
        (Refused("unfit", "cow may not lead"), TransferFailed, "take another peer"),
        (Refused("unanswered", "cow"), TransferFailed, "the same peer leads on"),
        (Refused("behind", "cow"), TransferFailed, "did not catch up"),
        (Refused("another_leads", "bee was elected"), TransferFailed, "mabeam leader"),
        (Failed("no_quorum", "nobody leads"), NoQuorum, "certainly not done"),
        (Failed("timeout", ""), MabeamTimeout, "wait again"),
        (Failed("unknown", ""), OutcomeUnknown, "look before asking again"),
    ],
)
@in_loop
async def test_what_became_of_it_is_told(
    answer: Answer, error: type[Exception], advice: str
) -> None:
    near = attachment(Boss(answer))
    await near.read_anew()
    with pytest.raises(error, match=advice):
        await transferred(near, "cow", None)


@in_loop
async def test_of_a_hand_over_that_nobody_answers_for_the_outcome_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.attachment.ANSWER_GRACE_SECONDS", 0.0)
    near = attachment(Boss())
    await near.read_anew()
    with pytest.raises(OutcomeUnknown, match="look before asking again"):
        await transferred(near, "cow", 0.0)
