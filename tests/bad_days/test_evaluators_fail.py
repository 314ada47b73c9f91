"""Evaluators that raise, sleep or hang, on real peers: nobody waits for them, and nothing is
accepted in their name."""

import asyncio
import threading

import pytest

from mabeam_p2p import Proposal, Vote
from tests.api.clusters import agents
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_evaluators_that_raise_and_sleep_abstain_with_the_reason_and_the_decision_comes() -> (
    None
):
    async with agents(3) as (a, b, c):

        @a.on_proposal("rate")
        def approve(proposal: Proposal) -> Vote:
            return Vote.accept("fine")

        @b.on_proposal("rate")
        def divide(proposal: Proposal) -> Vote:
            raise ZeroDivisionError("no trials yet")

        @c.on_proposal("rate", timeout=2)
        async def sleep(proposal: Proposal) -> Vote:
            await asyncio.sleep(3_600)
            return Vote.accept("too late")

        decision = await a.propose("rate", 0.5, timeout=20)
        said = {vote.agent: (vote.choice, vote.rationale) for vote in decision.votes}
        assert said == {
            a.id: ("accept", "fine"),
            b.id: ("abstain", "the evaluator raised ZeroDivisionError: no trials yet"),
            c.id: ("abstain", "the evaluator took longer than 2 s"),
        }
        assert decision.status == "no_clear_majority"
        assert "rate" not in a.parameters


@in_loop
async def test_evaluator_that_hangs_in_its_thread_does_not_keep_the_others_from_deciding() -> None:
    hangs = threading.Event()
    try:
        async with agents(5) as everyone:
            for agent in everyone[:4]:
                agent.on_proposal("rate")(lambda proposal: Vote.accept("fine"))

            @everyone[4].on_proposal("rate")
            def hang(proposal: Proposal) -> Vote:
                hangs.wait()
                return Vote.reject("too late")

            decision = await everyone[4].propose("rate", 0.5, timeout=20)
            assert decision.accepted
            assert everyone[4].id not in {vote.agent for vote in decision.votes}
            # Its peer and its agent go on, too.
            assert await everyone[4].journal("run").append(1) == 1
    finally:
        hangs.set()
