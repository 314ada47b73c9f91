"""Which evaluator speaks for a proposal, and that silence and errors never accept."""

import asyncio
import threading

import pytest

from mabeam_p2p.api import evaluators as module
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.results import Proposal, Vote
from mabeam_p2p.commands import CastVote
from mabeam_p2p.events import ProposalDecided, ProposalOpened, VoteRecorded
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Choice
from mabeam_p2p.records import Vote as VoteRecord
from tests.api.fakes import FakePeer, attachment, proposal
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.virtual_time import in_virtual_time


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLING_SECONDS", 0.02)


async def agent_at(peer: FakePeer, *, vote_manually: bool = False) -> Agent:
    agent = Agent(attachment(peer), Profile("a"), vote_manually=vote_manually)
    await agent.session.open()
    agent.begin()
    return agent


def votes(peer: FakePeer) -> list[CastVote]:
    return [command for command in peer.commands() if isinstance(command, CastVote)]


async def vote_on(peer: FakePeer, parameter: str = "rate", group: str = "all") -> CastVote:
    before = len(votes(peer))
    peer.tell(ProposalOpened(proposal(parameter, group=group)))
    await eventually(lambda: len(votes(peer)) > before)
    return votes(peer)[-1]


@in_loop
async def test_most_specific_pattern_speaks() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    for pattern in ("*", "model/rate", "model/*", "mod*"):
        agent.on_proposal(pattern)(lambda proposal, pattern=pattern: Vote.accept(pattern))
    assert (await vote_on(peer, "model/rate")).rationale == "model/rate"
    assert (await vote_on(peer, "model/size")).rationale == "model/*"
    assert (await vote_on(peer, "model")).rationale == "mod*"
    assert (await vote_on(peer, "rate")).rationale == "*"


@in_loop
async def test_evaluator_of_the_group_speaks_before_those_of_all() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    agent.on_proposal("rate")(lambda proposal: Vote.accept("all"))
    agent.group("vision").on_proposal("*")(lambda proposal: Vote.accept("vision"))
    assert (await vote_on(peer, "rate", "vision")).rationale == "vision"
    assert (await vote_on(peer, "rate", "sound")).rationale == "all"


@pytest.mark.fault("C18")
@in_loop
async def test_without_an_evaluator_the_agent_abstains() -> None:
    peer = FakePeer()
    await agent_at(peer)
    vote = await vote_on(peer)
    assert (vote.choice, vote.rationale) == (Choice.ABSTAIN, module.NO_EVALUATOR)


@in_loop
async def test_evaluator_declared_just_after_joining_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SETTLING_SECONDS", 2.0)
    peer = FakePeer()
    agent = await agent_at(peer)
    peer.tell(ProposalOpened(proposal()))
    await eventually(lambda: agent._evaluators._running)  # It has found none, and waits.
    agent.on_proposal("rate")(lambda proposal: Vote.accept("in time"))
    await eventually(lambda: votes(peer))
    assert votes(peer)[0].rationale == "in time"


@in_virtual_time
async def test_agent_says_nothing_while_it_joins_however_long_that_takes() -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    peer.tell(ProposalOpened(proposal()))
    # The cluster forms later than the agent has had time to settle, were it one already.
    await asyncio.sleep(3 * module.SETTLING_SECONDS)
    assert not votes(peer)
    agent.begin()

    @agent.on_proposal("rate")
    async def judge(proposal: Proposal) -> Vote:  # Not in a thread: virtual time waits for none.
        return Vote.accept("in time")

    await eventually(lambda: votes(peer))
    assert votes(peer)[0].rationale == "in time"


@in_loop
async def test_evaluator_that_raises_abstains_with_the_error() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)

    @agent.on_proposal("rate")
    async def judge(proposal: Proposal) -> Vote:
        raise ValueError("no run has finished")

    vote = await vote_on(peer)
    assert vote.choice is Choice.ABSTAIN
    assert vote.rationale == "the evaluator raised ValueError: no run has finished"


@in_loop
async def test_evaluator_that_awaits_what_was_cancelled_abstains_at_once() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)

    @agent.on_proposal("rate")
    async def judge(proposal: Proposal) -> Vote:
        raise asyncio.CancelledError

    vote = await vote_on(peer)
    assert vote.choice is Choice.ABSTAIN
    assert "cancelled itself" in vote.rationale


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("there are no words")


@in_loop
async def test_evaluator_that_raises_what_has_no_text_abstains_all_the_same() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)

    @agent.on_proposal("rate")
    async def judge(proposal: Proposal) -> Vote:
        raise Unspeakable

    vote = await vote_on(peer)
    assert vote.choice is Choice.ABSTAIN
    assert "Unspeakable: its text cannot be had" in vote.rationale


@in_loop
async def test_long_error_is_shortened_to_what_may_travel() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)

    @agent.on_proposal("rate")
    def judge(proposal: Proposal) -> Vote:
        raise ValueError("ü" * 5_000)

    vote = await vote_on(peer)
    assert len(vote.rationale.encode()) <= 2_048
    assert vote.rationale.endswith("…")


@in_loop
async def test_evaluator_that_overruns_its_time_abstains() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    release = threading.Event()

    @agent.on_proposal("slow", timeout=0.01)
    async def judge(proposal: Proposal) -> Vote:
        await asyncio.Event().wait()
        return Vote.accept()

    @agent.on_proposal("blocked", timeout=0.01)
    def block(proposal: Proposal) -> Vote:
        release.wait(10)
        return Vote.accept()

    for parameter in ("slow", "blocked"):
        vote = await vote_on(peer, parameter)
        assert (vote.choice, vote.rationale) == (
            Choice.ABSTAIN,
            "the evaluator took longer than 0.01 s",
        )
    release.set()


@in_virtual_time
async def test_evaluator_may_take_four_fifths_of_what_remains() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)

    @agent.on_proposal("rate")
    async def judge(proposal: Proposal) -> Vote:
        await asyncio.Event().wait()
        return Vote.accept()

    peer.tell(ProposalOpened(proposal(seconds=10.0)))
    await eventually(lambda: votes(peer))
    assert votes(peer)[0].rationale == "the evaluator took longer than 8 s"


@pytest.mark.parametrize("returned", [True, None, "accept"])
@in_loop
async def test_what_is_no_vote_abstains(returned: object) -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    agent.on_proposal("rate")(lambda proposal: returned)  # type: ignore[type-var]
    vote = await vote_on(peer)
    assert vote.choice is Choice.ABSTAIN
    assert type(returned).__name__ in vote.rationale


@in_loop
async def test_plain_evaluator_does_not_block_the_loop() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    threads: list[threading.Thread] = []
    release = threading.Event()

    @agent.on_proposal("rate")
    def judge(proposal: Proposal) -> Vote:
        threads.append(threading.current_thread())
        release.wait(10)
        return Vote.reject("thought about it", confidence=0.25)

    peer.tell(ProposalOpened(proposal()))
    await eventually(lambda: threads)
    assert threads[0] is not threading.current_thread()
    release.set()
    await eventually(lambda: votes(peer))
    assert (votes(peer)[0].choice, votes(peer)[0].confidence) == (Choice.REJECT, 250)


@in_loop
async def test_each_proposal_is_evaluated_once_at_a_time() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    calls: list[str] = []

    @agent.on_proposal("rate")
    async def judge(proposal: Proposal) -> Vote:
        calls.append(proposal.id)
        return Vote.accept()

    peer.tell(ProposalOpened(proposal()))
    agent.begin()
    await eventually(lambda: votes(peer))
    assert len(calls) == 1


@in_loop
async def test_open_proposal_is_judged_again_only_while_the_vote_is_missing() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    agent.on_proposal("rate")(lambda proposal: Vote.accept())
    await vote_on(peer)
    await eventually(lambda: not agent._evaluators._running)
    agent.begin()
    await eventually(lambda: len(votes(peer)) == 2)
    recorded = VoteRecord(AgentId("a@ant"), Choice.ACCEPT, 1000, "", 2, 1)
    peer.tell(VoteRecorded("on rate", recorded))
    await eventually(lambda: not agent._evaluators._running)
    agent.begin()
    assert not agent._evaluators._running


@in_loop
async def test_decided_proposal_needs_no_opinion_any_more() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    begun, ended = asyncio.Event(), asyncio.Event()

    @agent.on_proposal("rate")
    async def judge(proposal: Proposal) -> Vote:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Vote.accept()

    peer.tell(ProposalOpened(proposal()))
    await asyncio.wait_for(begun.wait(), 10)
    peer.tell(ProposalDecided(proposal()))
    await ended.wait()
    assert votes(peer) == []


@in_loop
async def test_agents_outside_the_electorate_are_not_asked() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    peer.tell(ProposalOpened(proposal(agent="b@ant")))
    assert not agent._evaluators._running


@in_loop
async def test_manual_voter_says_nothing_by_itself() -> None:
    peer = FakePeer()
    agent = await agent_at(peer, vote_manually=True)
    peer.tell(ProposalOpened(proposal()))
    await eventually(lambda: not agent._evaluators._running)
    assert votes(peer) == []
    agent.on_proposal("size")(lambda proposal: Vote.accept())
    assert (await vote_on(peer, "size")).choice is Choice.ACCEPT


@in_loop
async def test_hanging_evaluators_do_not_keep_closing_waiting() -> None:
    peer = FakePeer()
    agent = await agent_at(peer)
    release = threading.Event()

    @agent.on_proposal("rate")
    def judge(proposal: Proposal) -> Vote:
        release.wait(10)
        return Vote.accept()

    peer.tell(ProposalOpened(proposal()))
    await eventually(lambda: agent._evaluators._running)
    await asyncio.wait_for(agent.close(), 5)
    release.set()
    assert votes(peer) == []
