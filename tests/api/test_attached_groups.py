"""Groups, messages and seats of agents in front of real daemons."""

import asyncio

import pytest

from mabeam_p2p import Agent, LeadershipLost, Message, NobodyThere, connect
from tests.api.test_attached import daemons
from tests.api.test_attached import places as places
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_each_agent_of_a_daemon_answers_for_itself_and_hears_only_what_is_for_it() -> None:
    async with (
        daemons(),
        connect("a", addr="d0") as a,
        connect("b", addr="d1") as b,
        connect("c", addr="d1") as c,
    ):
        heard: list[tuple[str, str]] = []

        def answer_as(agent: Agent) -> None:
            @agent.on_message("*")
            def handle(message: Message) -> object:
                heard.append((agent.id, message.topic))
                return agent.id

        for agent in (a, b, c):
            answer_as(agent)
        # Whom a's peer has not heard of yet is not asked.
        await eventually(lambda: {b.id, c.id} <= {one.id for one in a.agents()})
        answers = await a.query("who", None)
        assert answers.values == {b.id: b.id, c.id: c.id}
        assert answers.is_complete, "daemons' own agents are not asked"
        heard.clear()
        await c.whisper(b.id, "psst", 1)
        await c.whisper(a.id, "hey", 1)
        await eventually(lambda: sorted(heard) == [(a.id, "hey"), (b.id, "psst")])
        with pytest.raises(NobodyThere):
            await a.whisper("q@d1", "hello", 1)
        await b.join_group("vision")
        await eventually(lambda: [one.id for one in a.group("vision").agents()] == [b.id])
        assert (await a.group("vision").query("who", None)).values == {b.id: b.id}


@in_loop
async def test_a_seat_held_by_a_daemons_own_agent_goes_to_the_first_that_asks_for_it() -> None:
    async with daemons(), connect(None, addr="d1") as voice:
        first = await voice.elect("lead")
        assert first.holder in ("d0@d0", "d1@d1", "d2@d2")
        async with (
            connect("a", addr="d0") as a,
            asyncio.timeout(30),
            a.leadership("lead") as held,
        ):
            assert held.token > first.token


@in_loop
async def test_leadership_goes_on_at_another_daemon_when_a_client_ends() -> None:
    async with daemons(), connect("b", addr="d1") as b:
        a = await connect("a", addr="d0")
        leading = asyncio.create_task(lead_for_ever(a))
        await eventually(lambda: b.seat("lead").holder == a.id)
        first = b.seat("lead").token
        waiting = asyncio.create_task(token_of(b))
        await a.close()
        async with asyncio.timeout(30):
            assert await waiting > first
        with pytest.raises(LeadershipLost):
            await leading


async def lead_for_ever(agent: Agent) -> None:
    async with agent.leadership("lead", among="standing"):
        await asyncio.Event().wait()


async def token_of(agent: Agent) -> int:
    async with agent.leadership("lead", among="standing") as seat:
        return seat.token
