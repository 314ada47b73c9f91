"""What an agent has said of itself, and says again in its next session."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from mabeam_p2p import MabeamError, OutcomeUnknown, Rejected
from mabeam_p2p.api import agent as agent_module
from mabeam_p2p.api.sayings import Sayings
from mabeam_p2p.commands import Describe, PublishScore
from mabeam_p2p.events import AgentLeft
from mabeam_p2p.requests import Committed, Request, Submit
from tests.api.seat_peer import SeatPeer, agent_at, record
from tests.eventually import eventually
from tests.in_loop import in_loop


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "SAY_AGAIN_SECONDS", 0.001)


def holding_back(peer: SeatPeer, holds: Callable[[Request], bool]) -> None:
    """What `holds` is true of is not answered yet."""
    answer = peer.reply
    peer.reply = lambda request: None if holds(request) else answer(request)


def texts(peer: SeatPeer, key: str) -> list[str]:
    said = peer.said(Describe)
    return [one.text for one in said if isinstance(one, Describe) and one.key == key]


@in_loop
async def test_what_is_described_anew_while_it_is_said_again_stands() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    await agent.describe("k1", "one")
    await agent.describe("k2", "old")
    usual = peer.reply
    holding_back(peer, lambda request: described(request, "k1"))
    peer.tell(AgentLeft(record(agent.session.id), "lease expired"))
    await eventually(lambda: len(texts(peer, "k1")) == 2)
    await agent.describe("k2", "new")
    peer.reply = usual
    peer.waiting.pop().set_result(Committed(1, 1, 1))
    await eventually(lambda: len(texts(peer, "k2")) == 3)
    assert texts(peer, "k2") == ["old", "new", "new"]


@in_loop
async def test_what_is_described_anew_while_the_old_text_is_on_its_way_is_said_after_it() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    await agent.describe("k", "old")
    usual = peer.reply
    holding_back(peer, lambda request: described(request, "k", "old"))
    peer.tell(AgentLeft(record(agent.session.id), "lease expired"))
    await eventually(lambda: len(texts(peer, "k")) == 2)
    await agent.describe("k", "new")
    peer.reply = usual
    peer.waiting.pop().set_result(Committed(1, 1, 1))
    await eventually(lambda: len(texts(peer, "k")) == 4)
    assert texts(peer, "k") == ["old", "old", "new", "new"]


@in_loop
async def test_scores_that_are_being_published_are_those_that_are_said_again() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    await agent.describe("k", "one")
    await agent.publish_score({"performance": 0.25})
    usual = peer.reply
    holding_back(peer, lambda request: isinstance(request, Submit))
    peer.tell(AgentLeft(record(agent.session.id), "lease expired"))
    await eventually(lambda: peer.waiting)
    opening, done = peer.waiting.pop(), Committed(1, 1, 1)
    opening.set_result(done)
    await eventually(lambda: len(texts(peer, "k")) == 2)
    publishing = asyncio.create_task(agent.publish_score({"performance": 0.5}))
    await eventually(lambda: len(peer.said(PublishScore)) == 2)
    describing, first = peer.waiting
    peer.reply = usual
    describing.set_result(done)
    await eventually(lambda: len(peer.said(PublishScore)) == 3)
    first.set_result(done)
    await publishing
    said = [one.scores for one in peer.said(PublishScore) if isinstance(one, PublishScore)]
    assert said == [(("performance", amount),) for amount in (250, 500, 500)]


def described(request: Request, key: str, text: str = "") -> bool:
    match request:
        case Submit(command=Describe(key=said_key, text=said)):
            return said_key == key and text in ("", said)
        case _:
            return False


@pytest.mark.parametrize(
    ("error", "stands"), [(Rejected("no"), "old"), (OutcomeUnknown("?"), "new"), (None, "new")]
)
def test_what_was_certainly_not_taken_leaves_what_was_said_before(
    error: MabeamError | None, stands: str
) -> None:
    sayings: Sayings[str] = Sayings("")
    with sayings.saying("k", "old"):
        pass
    with suppress(MabeamError), sayings.saying("k", "new"):
        if error is not None:
            raise error
    assert said_again(sayings) == [("k", stands)]


def test_what_is_taken_back_is_not_said_again() -> None:
    sayings: Sayings[str] = Sayings("")
    for text in ("old", ""):
        with sayings.saying("k", text):
            pass
    assert said_again(sayings) == []


def test_what_a_later_word_has_replaced_does_not_come_back_by_a_refusal() -> None:
    sayings: Sayings[str] = Sayings("")
    with suppress(Rejected), sayings.saying("k", "first"):
        with sayings.saying("k", "second"):
            pass
        raise Rejected("no")
    assert said_again(sayings) == [("k", "second")]


def said_again(sayings: Sayings[str]) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []

    async def say(name: str, text: str) -> None:
        said.append((name, text))

    asyncio.run(sayings.say_again(say))
    return said
