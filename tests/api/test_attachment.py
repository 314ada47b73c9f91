"""What an agent asks its peer, and what a missing answer means."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine

import pytest

from mabeam_p2p import Closed, DaemonNotRunning, InvalidValue, OutcomeUnknown
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.requests import EFFECTS, Answer, Request
from mabeam_p2p.runtime.thread import PeerThread
from tests.api.fakes import PEER, FakePeer, attachment
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.runtime.fakes import FakeNode, make_driver

Ask = Callable[[Agent, float], Coroutine[object, object, object]]

ASKS: dict[str, Ask] = {
    "transfer": lambda agent, seconds: agent.transfer_leadership(timeout=seconds),
    "promote": lambda agent, seconds: agent.promote_voter(PEER, timeout=seconds),
    "remove": lambda agent, seconds: agent.remove_voter(PEER, timeout=seconds),
    "parameter": lambda agent, seconds: agent.parameters.read("x", timeout=seconds),
    "variable": lambda agent, seconds: agent.variables.read("x", timeout=seconds),
    "write": lambda agent, seconds: agent.variables.set("x", 1, timeout=seconds),
    "journal": lambda agent, seconds: agent.journal("x").read(timeout=seconds),
    "agents": lambda agent, seconds: agent.read_agents(timeout=seconds),
    "balance": lambda agent, seconds: agent.ledger.read("x", timeout=seconds),
    "counter": lambda agent, seconds: agent.counter("x").get(timeout=seconds),
    "whisper": lambda agent, seconds: agent.whisper("b@bee", "x", 1, timeout=seconds),
    "invite": lambda agent, seconds: agent.keys.invite(seconds=seconds),
}


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan, -1.0])
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@in_loop
async def test_a_time_that_cannot_travel_is_refused_before_anything_is_sent(
    ask: Ask, seconds: float
) -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    before = len(peer.asked)
    with pytest.raises(InvalidValue, match=rf"(timeout|seconds) {seconds!r}: take"):
        await asyncio.wait_for(ask(agent, seconds), 10)
    assert len(peer.asked) == before
    await agent.close()


@in_loop
async def test_a_command_of_the_daemons_own_agent_has_a_time_that_can_travel() -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), None)
    with pytest.raises(InvalidValue, match="timeout inf: take"):
        await agent.journal("x").append(1, timeout=math.inf)
    assert peer.asked == []


ONCE: dict[str, Ask] = {
    "write": lambda agent, seconds: agent.variables.set("x", 1, timeout=seconds),
    "whisper": lambda agent, seconds: agent.whisper("b@bee", "x", 1, timeout=seconds),
    "query": lambda agent, seconds: agent.query("x", 1, timeout=seconds),
}

VOTERS: dict[str, Ask] = {name: ASKS[name] for name in ("transfer", "promote", "remove")}


@pytest.mark.parametrize("ask", ONCE.values(), ids=ONCE)
@in_loop
async def test_what_a_daemon_may_have_done_before_it_died_is_not_said_to_be_undone(
    ask: Ask,
) -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    peer.reply = lambda request: None
    asking = asyncio.create_task(ask(agent, 60.0))
    await eventually(lambda: peer.waiting)
    peer.waiting.pop().set_exception(DaemonNotRunning("it hung up"))
    with pytest.raises(OutcomeUnknown, match="it hung up"):
        await asking


@pytest.mark.parametrize("ask", ONCE.values(), ids=ONCE)
@in_loop
async def test_what_was_not_handed_to_a_daemon_is_not_done(ask: Ask) -> None:
    class Away(FakePeer):
        def ask(self, request: Request) -> Awaitable[Answer]:
            raise DaemonNotRunning("none is there")

    agent = Agent(attachment(Away()), Profile("a"))
    with pytest.raises(DaemonNotRunning):
        await ask(agent, 60.0)


@in_loop
async def test_a_question_that_was_cut_off_may_be_asked_again() -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    peer.reply = lambda request: DaemonNotRunning("it hung up")
    with pytest.raises(DaemonNotRunning):
        await agent.variables.read("x")


@pytest.mark.parametrize("ask", [*ONCE.values(), *VOTERS.values()], ids=[*ONCE, *VOTERS])
@in_loop
async def test_what_an_embedded_peer_may_have_done_before_it_closed_is_not_said_to_be_undone(
    ask: Ask,
) -> None:
    node = FakeNode()
    thread = PeerThread(lambda: make_driver(node))
    await thread.start()
    agent = Agent(Attachment(thread.backend()), Profile("a"))
    asking = asyncio.create_task(ask(agent, 60.0))
    await eventually(lambda: any(isinstance(asked, EFFECTS) for _, asked in node.told))
    await thread.close()
    with pytest.raises(OutcomeUnknown, match="has been closed; it was under way"):
        await asking
    with pytest.raises(Closed):
        await ask(agent, 60.0)
