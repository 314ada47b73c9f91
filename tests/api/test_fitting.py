"""What a caller gives that cannot travel is refused at the call, and reaches no connection."""

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from mabeam_p2p import InvalidValue, Rejected
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.fitness import set_fitness
from mabeam_p2p.api.insisting import until_heard
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.values import check_request
from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.requests import SetVariables, Submit, VariableChange
from tests.api.fakes import PEER, FakePeer, attachment
from tests.in_loop import in_loop

Call = Callable[[Agent, Any], Coroutine[object, object, object]]
HUGE = INTEGER_MAX + 1
NO_TEXT = "\ud800"

INTEGERS: dict[str, tuple[Call, str]] = {
    "promote": (lambda agent, n: agent.promote_voter(PEER, index=n), "index"),
    "remove": (lambda agent, n: agent.remove_voter(PEER, index=n), "index"),
    "propose": (lambda agent, n: agent.propose("x", 1, base_version=n), "base_version"),
    "barrier": (lambda agent, n: agent.barrier("x", parties=n).wait(), "parties"),
    "semaphore": (lambda agent, n: agent.semaphore("x", n).acquire(), "limit|permits"),
    "journal": (lambda agent, n: agent.journal("x").read(n), "first|position"),
    "history": (lambda agent, n: agent.ledger.history(n), "first|movements"),
    "page": (lambda agent, n: agent.ledger.history(limit=n), "limit|movements"),
    "wait": (lambda agent, n: agent.variables.set("x", 1, wait=n), "wait"),
    "counter": (lambda agent, n: agent.counter("x").add(n), "counter"),
    "slots": (lambda agent, n: agent.work(slots=n), "slots"),
}

TEXTS: dict[str, tuple[Call, str]] = {
    "whisper": (lambda agent, text: agent.whisper(text, "x", 1), "targets"),
    "describe": (lambda agent, text: agent.describe("x", text), "text"),
    "vote": (lambda agent, text: agent.vote(text, "accept"), "proposal"),
    "explain": (lambda agent, text: agent.explain(text), "proposal"),
    "rationale": (lambda agent, text: agent.propose("x", 1, rationale=text), "rationale"),
    "note": (lambda agent, text: agent.ledger.mint("x", 1, note=text), "note"),
}


async def refused(call: Call, value: object, names: str) -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    before = len(peer.asked)
    with pytest.raises(InvalidValue, match=names):
        await call(agent, value)
    assert len(peer.asked) == before
    await agent.close()


@pytest.mark.parametrize("value", [-HUGE, HUGE, 1.5, "3", True], ids=repr)
@pytest.mark.parametrize("verb", INTEGERS)
@in_loop
async def test_a_number_that_cannot_travel_is_refused_before_anything_is_sent(
    verb: str, value: object
) -> None:
    await refused(INTEGERS[verb][0], value, INTEGERS[verb][1])


@in_loop
async def test_a_double_of_numpy_is_a_float() -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    await agent.journal("x").append(1, timeout=np.float64(2.0))
    said = [type(one.command) for one in peer.asked if isinstance(one, Submit)]
    assert said.count(AppendJournal) == 1
    await agent.close()


@in_loop
async def test_what_is_said_of_a_peer_is_refused_before_anything_is_sent() -> None:
    peer = FakePeer()
    with pytest.raises(InvalidValue, match=r"^unfit .*: take"):
        await set_fitness(attachment(peer), 50, NO_TEXT)
    assert peer.asked == []


@pytest.mark.parametrize("verb", TEXTS)
@in_loop
async def test_a_text_that_cannot_travel_is_refused_before_anything_is_sent(verb: str) -> None:
    await refused(TEXTS[verb][0], NO_TEXT, TEXTS[verb][1])


def test_what_cannot_travel_is_quoted_in_short_and_not_at_all_where_it_may_be_another() -> None:
    good, long = VariableChange("x", "lww", b"\x01"), VariableChange("y" * 9_999, "lww", b"\x01")
    with pytest.raises(InvalidValue, match=r"^name 'yy.*\.\.\..*: take") as alone:
        check_request(SetVariables((long,), 1, 2.0), Limits())
    assert len(str(alone.value)) < 200
    with pytest.raises(InvalidValue, match=r"VariableChange\.name: take"):
        check_request(SetVariables((good, long), 1, 2.0), Limits())


@in_loop
async def test_what_cannot_travel_is_not_said_again() -> None:
    said: list[int] = []

    async def say() -> None:
        said.append(1)
        raise InvalidValue("too long")

    await until_heard(say)
    assert said == [1]


@in_loop
async def test_an_offer_that_cannot_travel_is_refused_and_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = FakePeer()
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    asked: list[object] = []

    async def ask(command: object, _seconds: float) -> object:
        asked.append(command)
        raise InvalidValue("too long")

    monkeypatch.setattr(agent.session, "ask", ask)
    with pytest.raises(Rejected, match="too long"):
        await agent.work(slots=2)
    assert len(asked) == 1
    monkeypatch.undo()
    await agent.close()
