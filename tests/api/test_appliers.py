"""Values that agents put into effect, and what they say of the guarded ones."""

import asyncio
from typing import Literal

import pytest
from msgspec import structs

from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results import Change
from mabeam_p2p.commands import ConfirmParameter
from mabeam_p2p.errors import DaemonNotRunning
from mabeam_p2p.events import Dropped, ParameterChanged
from mabeam_p2p.ids import AgentId
from mabeam_p2p.requests import Failed, Request, Submit
from tests.api.fakes import PEER, FakePeer, Reply, usual
from tests.api.test_view import agent_at, parameter
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.virtual_time import in_virtual_time


def guarded(version: int) -> ParameterChanged:
    record = parameter(version, version).parameter
    return ParameterChanged(structs.replace(record, awaited=(AgentId("a@ant"),)))


def confirmed(peer: FakePeer) -> list[int]:
    """The versions of which it was said that they hold."""
    said = peer.commands()
    return [one.version for one in said if isinstance(one, ConfirmParameter)]


@pytest.mark.parametrize("reason", ["no_quorum", "overloaded", "unknown"])
@in_virtual_time
async def test_a_version_that_is_in_effect_is_confirmed_until_the_cluster_has_heard_it(
    reason: Literal["no_quorum", "overloaded", "unknown"],
) -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent.session.open()
    agent.begin()
    peer.reply = lambda request: Failed(reason, "") if is_confirmation(request) else usual(request)
    peer.tell(guarded(2))
    await eventually(lambda: confirmed(peer))
    # Longer than a request may take.
    await asyncio.sleep(10)
    before = len(confirmed(peer))
    peer.reply = usual
    await asyncio.sleep(10)
    assert confirmed(peer) == [2] * (before + 1)
    await agent.close()


@pytest.mark.parametrize("news", [guarded(9), parameter(2, 9)])
@in_virtual_time
async def test_a_version_that_nobody_waits_for_any_more_is_not_confirmed(
    news: ParameterChanged,
) -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent.session.open()
    agent.begin()
    peer.reply = lambda request: (
        Failed("no_quorum", "") if is_confirmation(request) else usual(request)
    )
    peer.tell(guarded(2))
    await eventually(lambda: confirmed(peer))
    peer.tell(news)
    before = len(confirmed(peer))
    await asyncio.sleep(10)
    assert confirmed(peer)[before:].count(2) <= 1, "but for what was under way"
    await agent.close()


@pytest.mark.parametrize("fault", [None, ValueError("loss is NaN")])
@pytest.mark.parametrize("way", ["attached anew", "events lost"])
@in_virtual_time
async def test_a_guarded_version_that_was_answered_for_is_not_applied_at_a_reading_anew(
    way: str, fault: Exception | None
) -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent.session.open()
    agent.begin()
    applied = applying(agent, fault)
    peer.tell(guarded(2))
    await eventually(lambda: confirmed(peer) == [2])
    for _ in range(2):
        if way == "attached anew":
            await agent.session.renew()
        else:
            peer.tell(Dropped(PEER, "slow_listener", "", 1))
        await asyncio.sleep(10)
    peer.tell(guarded(3))
    await eventually(lambda: confirmed(peer)[-1] == 3)
    assert applied == confirmed(peer) == [2, 3]
    await agent.close()


@pytest.mark.parametrize("answer", [DaemonNotRunning("it hung up"), Failed("unknown", "")])
@in_virtual_time
async def test_a_guarded_version_is_applied_once_and_answered_for_though_the_way_is_lost_meanwhile(
    answer: Reply,
) -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent.session.open()
    agent.begin()
    applied = applying(agent)
    peer.reply = lambda request: answer if is_confirmation(request) else usual(request)
    peer.tell(guarded(2))
    await eventually(lambda: confirmed(peer))
    await agent.session.renew()
    await asyncio.sleep(10)
    before = len(confirmed(peer))
    peer.reply = usual
    await agent.session.renew()
    await asyncio.sleep(10)
    assert confirmed(peer) == [2] * (before + 1)
    assert applied == [2]
    await agent.close()


@in_virtual_time
async def test_a_guarded_version_that_was_there_before_its_agent_began_is_answered_for() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent.session.open()
    peer.tell(guarded(2))
    peer.tell(parameter(1, 1, name="size"))
    agent.begin()
    applied = applying(agent)
    await asyncio.sleep(10)
    assert applied == confirmed(peer) == [2]
    await agent.close()


def applying(agent: Agent, fault: Exception | None = None) -> list[int | str]:
    """The versions that its applier was called with. fault: what that raises each time."""
    applied: list[int | str] = []

    @agent.on_parameter("*")
    async def apply(change: Change) -> None:
        applied.append(change.version)
        if fault is not None:
            raise fault

    return applied


def is_confirmation(request: Request) -> bool:
    return isinstance(request, Submit) and isinstance(request.command, ConfirmParameter)


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@in_loop
async def test_an_applier_that_raises_what_has_no_text_has_failed_all_the_same() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent.session.open()
    agent.begin()

    @agent.on_parameter("*")
    async def apply(change: Change) -> None:
        raise Wordless

    guarded = structs.replace(parameter(2, 9).parameter, awaited=(AgentId("a@ant"),))
    peer.tell(ParameterChanged(guarded))
    await eventually(lambda: any(isinstance(one, ConfirmParameter) for one in peer.commands()))
    confirmed = peer.commands()[-1]
    assert isinstance(confirmed, ConfirmParameter)
    assert "Wordless" in confirmed.detail
    await agent.close()
