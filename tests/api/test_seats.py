"""Elections as an agent asks for them, at a peer that answers as the test tells."""

import asyncio
from collections.abc import Mapping
from functools import partial

import pytest
from msgspec.structs import replace

from mabeam_p2p import (
    ElectionTimeout,
    InvalidValue,
    NoCandidates,
)
from mabeam_p2p.api import evaluators, rankings
from mabeam_p2p.api.results.seats import Election
from mabeam_p2p.commands import CastRanking, Elect, PublishScore
from mabeam_p2p.events import AgentLeft, ElectionEnded, ElectionOpened, VariableChanged
from mabeam_p2p.records import Among, ElectionStatus, Sibling, Variable
from mabeam_p2p.requests import (
    Await,
    ElectionQuery,
    Refused,
)
from tests.api.fakes import PEER
from tests.api.seat_peer import ME, NOBODY, OTHER, SeatPeer, agent_at, election, record, seat
from tests.eventually import eventually
from tests.in_loop import in_loop


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankings, "SETTLING_SECONDS", 0.02)
    monkeypatch.setattr(evaluators, "SETTLING_SECONDS", 0.02)


# ---- elect -----------------------------------------------------------------------------------


@in_loop
async def test_elect_waits_for_the_election_and_tells_the_winner() -> None:
    peer = SeatPeer()
    peer.number, peer.found = 5, [seat(OTHER, 9)]
    agent = await agent_at(peer)
    result = await agent.elect("lead", timeout=3, weights={"performance": 0.5})
    assert (result.holder, result.token, result.is_me) == ("b@bee", 9, False)
    (asked,) = peer.said(Elect)
    assert isinstance(asked, Elect)
    assert (asked.seat, asked.group, asked.timeout) == ("lead", "all", 3_000_000)
    assert (asked.stands, asked.challenge, asked.among) == (True, False, Among.ELIGIBLE)
    assert asked.weights == (("performance", 500),)
    waits = [request for request in peer.asked if isinstance(request, Await)]
    assert [wait.query for wait in waits] == [ElectionQuery("lead", 5)]


@in_loop
async def test_of_a_seat_that_is_held_elect_tells_the_holder() -> None:
    peer = SeatPeer()
    peer.found = [seat(ME, 9)]
    agent = await agent_at(peer)
    assert (await agent.elect("lead")).is_me
    assert not [request for request in peer.asked if isinstance(request, Await)]


@in_loop
async def test_a_winner_that_is_gone_already_leads_to_the_next_election() -> None:
    peer = SeatPeer()
    peer.number = 5
    between = replace(seat(NOBODY, 9), election=election(12))
    peer.found = [between, seat(OTHER, 14)]
    agent = await agent_at(peer)
    assert (await agent.elect("lead")).token == 14
    waits = [request.query for request in peer.asked if isinstance(request, Await)]
    assert waits == [ElectionQuery("lead", 5), ElectionQuery("lead", 12)]


@in_loop
async def test_an_election_that_ends_without_candidates_says_so() -> None:
    peer = SeatPeer()
    peer.number, peer.found = 5, [seat(NOBODY, 0, changed=8)]
    agent = await agent_at(peer)
    with pytest.raises(NoCandidates, match=r"lead.*'all'.*next one that joins"):
        await agent.elect("lead")


@in_loop
async def test_a_group_that_nobody_is_in_has_no_candidates() -> None:
    peer = SeatPeer()
    peer.refuses[Elect] = Refused("no_candidates", "no agent of 'vision' can be elected")
    agent = await agent_at(peer)
    with pytest.raises(NoCandidates, match=r"vision.*members"):
        await agent.group("vision").elect("lead")


@in_loop
async def test_an_end_that_does_not_come_is_an_election_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.seats.END_GRACE_SECONDS", 0.05)
    monkeypatch.setattr("mabeam_p2p.api.attachment.ANSWER_GRACE_SECONDS", 0.05)
    peer = SeatPeer()
    peer.number = 5
    agent = await agent_at(peer)
    with pytest.raises(ElectionTimeout, match="mabeam leader lead"):
        await agent.elect("lead", timeout=0.05)


@in_loop
async def test_in_a_group_that_the_agent_is_not_in_it_does_not_stand() -> None:
    peer = SeatPeer()
    peer.found = [seat(OTHER, 9, name="vision:lead")]
    agent = await agent_at(peer, groups=("sound",))
    await agent.group("vision").elect("lead")
    await agent.group("sound").elect("lead")
    asked = [(one.seat, one.stands) for one in peer.said(Elect) if isinstance(one, Elect)]
    assert asked == [("vision:lead", False), ("sound:lead", True)]


@in_loop
async def test_wrong_arguments_are_refused_before_anything_is_said() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    said = len(peer.asked)
    for wrong in (
        agent.elect("lead", among="nobody"),  # type: ignore[arg-type]
        agent.elect("lead", weights={"performance": 2}),
        agent.elect("lead", weights={"performance": 0}),
        agent.elect("lead", timeout=0),
        agent.publish_score({"performance": -0.1}),
        agent.publish_score({"performance": "good"}),  # type: ignore[dict-item]
    ):
        with pytest.raises(InvalidValue):
            await wrong
    with pytest.raises(InvalidValue):
        agent.leadership("lead", timeout=0)
    assert len(peer.asked) == said


# ---- the view --------------------------------------------------------------------------------


@in_loop
async def test_a_seat_is_told_from_what_the_peer_has_said() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    assert agent.seat("lead").holder is None
    events = agent.events("seat.*")
    peer.give(seat(OTHER, 7, reason="elected"))
    assert (agent.seat("lead").holder, agent.seat("lead").token) == ("b@bee", 7)
    peer.give(seat(NOBODY, 7, reason="resigned", changed=8))
    assert agent.seat("lead").reason == "resigned"
    assert [(await anext(events)).name for _ in range(2)] == ["seat.filled", "seat.vacant"]


@in_loop
async def test_an_older_word_about_a_seat_does_not_hide_a_newer_one() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    peer.give(seat(OTHER, 9))
    peer.give(seat(ME, 7))
    assert agent.seat("lead").token == 9


# ---- rankings --------------------------------------------------------------------------------


async def ballot(peer: SeatPeer) -> CastRanking:
    await eventually(lambda: peer.said(CastRanking))
    (cast,) = peer.said(CastRanking)
    assert isinstance(cast, CastRanking)
    return cast


@in_loop
async def test_without_a_function_the_ballot_is_empty() -> None:
    peer = SeatPeer()
    await agent_at(peer)
    peer.tell(ElectionOpened(election()))
    cast = await ballot(peer)
    assert (cast.seat, cast.election, cast.points) == ("lead", 5, ())


@in_loop
async def test_a_function_ranks_by_what_the_candidates_published() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    seen: list[Election] = []

    @agent.on_election("le*")
    def rank(one: Election) -> Mapping[str, float]:
        seen.append(one)
        return {candidate.agent: 1 - candidate.score for candidate in one.candidates}

    peer.tell(ElectionOpened(election()))
    cast = await ballot(peer)
    assert cast.points == ((ME, 700), (OTHER, 100))
    assert [one.is_incumbent for one in seen[0].candidates] == [False, True]
    assert seen[0].candidates[0].scores == {"performance": 0.3}


@pytest.mark.parametrize("wrong", [{"x@y": 1.0}, {"a@ant": 2.0}, None, {"a@ant": "good"}])
def test_a_function_that_goes_wrong_leaves_it_to_the_scores(wrong: object) -> None:
    @in_loop
    async def check() -> None:
        peer = SeatPeer()
        agent = await agent_at(peer)
        agent.on_election("lead")(lambda one: wrong)  # type: ignore[type-var]
        peer.tell(ElectionOpened(election()))
        assert (await ballot(peer)).points == ()

    check()


@in_loop
async def test_a_function_that_takes_too_long_leaves_it_to_the_scores() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)

    @agent.on_election("lead")
    async def rank(one: Election) -> Mapping[str, float]:
        await asyncio.Event().wait()
        return {}

    peer.tell(ElectionOpened(election(seconds=0.2)))
    assert (await ballot(peer)).points == ()


@in_loop
async def test_who_is_not_asked_says_nothing_and_an_election_that_ended_needs_no_ballot() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    stopped = asyncio.Event()

    @agent.on_election("lead")
    async def rank(one: Election) -> Mapping[str, float]:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return {}

    peer.tell(ElectionOpened(election(4, electorate=(OTHER,))))
    peer.tell(ElectionOpened(election(5)))
    await asyncio.sleep(0)
    ended = replace(election(5), status=ElectionStatus.ELECTED, winner=OTHER)
    await eventually(lambda: agent._rankings._running)
    await asyncio.sleep(0)
    peer.tell(ElectionEnded(ended))
    await asyncio.wait_for(stopped.wait(), 5)
    assert peer.said(CastRanking) == []


@in_loop
async def test_scores_are_published_anew_when_the_session_is() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    await agent.publish_score({"performance": 0.25}, seat="lead")
    await agent.publish_score({"performance": 0.5})
    await agent.publish_score({})
    before = agent.session.id
    peer.tell(AgentLeft(record(before), "lease expired"))
    await eventually(lambda: len(peer.said(PublishScore)) == 4)
    again = peer.said(PublishScore)[-1]
    assert isinstance(again, PublishScore)
    assert again.session != before
    assert (again.seat, again.scores) == ("lead", (("performance", 250),))


# ---- scores that follow what they measure ------------------------------------------------------


def variable(name: str, counter: int) -> VariableChanged:
    sibling = Sibling(PEER, counter, counter, b"\x01")
    return VariableChanged((Variable(name, "lww", ((PEER, counter),), (sibling,)),), PEER)


def published(peer: SeatPeer) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
    said = peer.said(PublishScore)
    return [(one.seat, one.scores) for one in said if isinstance(one, PublishScore)]


@in_loop
async def test_a_score_function_is_called_again_when_what_it_watches_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.scoring.PAUSE_SECONDS", 0.0)
    peer = SeatPeer()
    agent = await agent_at(peer)
    values = [0.5]
    calls: list[float] = []

    @agent.on_score("lead", watch="loss*")
    def score() -> Mapping[str, float]:
        value = values[-1]
        calls.append(value)
        return {"fit": value}

    await eventually(lambda: published(peer) == [("lead", (("fit", 500),))])
    peer.tell(variable("loss", 1))
    await eventually(lambda: len(calls) == 2)
    values.append(0.75)
    peer.tell(variable("other", 1))
    peer.tell(variable("loss", 2))
    await eventually(lambda: len(published(peer)) == 2)
    assert published(peer)[-1] == ("lead", (("fit", 750),))
    assert calls == [0.5, 0.5, 0.75], "what has not changed is not published again"
    await agent.close()
    peer.tell(variable("loss", 3))
    await asyncio.sleep(0)
    assert len(calls) == 3


@in_loop
async def test_a_score_function_that_goes_wrong_leaves_what_was_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.scoring.PAUSE_SECONDS", 0.0)
    peer = SeatPeer()
    agent = await agent_at(peer)
    given: list[object] = [{"fit": 2}, None, {"fit": 1}]
    calls = 0

    @agent.on_score()  # type: ignore[type-var]
    async def score() -> object:
        nonlocal calls
        calls += 1
        return given[min(calls, 3) - 1]

    def called(times: int) -> bool:
        return calls == times

    for counter in (1, 2):
        await eventually(partial(called, counter))
        assert published(peer) == []
        peer.tell(variable("x", counter))
    await eventually(lambda: published(peer) == [("", (("fit", 1000),))])
