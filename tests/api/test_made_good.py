"""What was lost of events is in the view before the answer to what has led to it."""

import asyncio
from collections.abc import Callable

import pytest

from mabeam_p2p import DaemonNotRunning
from mabeam_p2p.api import session as session_module
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.commands import Mint, OpenSession, RenewLock, RenewTasks
from mabeam_p2p.events import EVENTS_LOST, Dropped
from mabeam_p2p.ids import CLUSTER_SESSION, ProposalId
from mabeam_p2p.records import Account, Parameter
from mabeam_p2p.requests import (
    AccountQuery,
    Answer,
    Await,
    Found,
    ParameterQuery,
    ProposalQuery,
    Read,
    ReadStatus,
    Request,
    Submit,
)
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.eventually import eventually
from tests.virtual_time import in_virtual_time

LOST = Dropped("p", EVENTS_LOST, "", 1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_SECONDS", "RETRY_SECONDS_MAX"):
        monkeypatch.setattr(session_module, name, 0.001)


class Desk(FakePeer):
    """A peer that holds back the answers to what `holds` says, until `release`, and knows what
    mint and proposal have led to as soon as `has_come` is set, without an event."""

    def __init__(self) -> None:
        super().__init__()
        self.has_come = False
        self.holds: Callable[[Request], object] = lambda request: False
        self.held: list[tuple[Request, asyncio.Future[Answer]]] = []
        self.reply = self._reply

    def ask(self, request: Request) -> "asyncio.Future[Answer]":
        is_held = bool(self.holds(request))
        future = super().ask(request)
        assert isinstance(future, asyncio.Future)
        if is_held:
            self.held.append((request, future))
        return future

    def release(self) -> None:
        """Answer what was held back, and hold back nothing from here on."""
        self.holds = lambda request: False
        for request, future in self.held:
            if not future.done():
                answer = self._reply(request)
                assert answer is not None
                assert not isinstance(answer, Exception)
                future.set_result(answer)

    def _reply(self, request: Request) -> Reply:
        if self.holds(request):
            return None
        match request:
            case Read(query=AccountQuery()) if self.has_come:
                return Found(9, 0.0, False, accounts=(Account("a@ant", "gpu", 5_000_000, 0),))
            case Read(query=ParameterQuery()) if self.has_come:
                rate = Parameter("rate", encode_value(1, 100), 3, ProposalId("p"), 9)
                return Found(9, 0.0, False, parameters=(rate,))
            case Await():
                return Found(9, 0.0, False)
            case _:
                return usual(request)


def is_opening(request: Request) -> bool:
    return isinstance(request, Submit) and isinstance(request.command, OpenSession)


def is_mint(request: Request) -> bool:
    return isinstance(request, Submit) and isinstance(request.command, Mint)


async def agent_at(peer: FakePeer) -> Agent:
    agent = Agent(attachment(peer), Profile("a"))
    await agent.session.open()
    agent.begin()
    return agent


async def settle() -> None:
    """As long as whatever waits for nothing takes."""
    for _ in range(50):
        await asyncio.sleep(0)


async def waits(tie: Attachment, deadline: float) -> Found | None:
    return await tie.settled(ProposalQuery(ProposalId("p")), "proposal", deadline)


@in_virtual_time
async def test_what_was_done_before_the_daemon_died_is_known_with_the_repeated_answer() -> None:
    peer = Desk()
    agent = await agent_at(peer)
    peer.holds = is_mint
    minting = asyncio.create_task(agent.ledger.mint("gpu", 5))
    await eventually(lambda: peer.held)
    # It was done: the daemon that comes back has it on its disk, and tells no event of it.
    peer.has_come = True
    peer.held.pop()[1].set_exception(DaemonNotRunning("killed"))
    peer.holds = is_opening
    agent.lost(has_left=False)
    await eventually(lambda: sum(isinstance(one, Mint) for one in peer.commands()) == 2)
    await settle()
    assert not minting.done()
    peer.release()
    await minting
    assert agent.ledger.balance("gpu") == 5
    await agent.close()


@in_virtual_time
async def test_what_has_settled_while_the_way_was_lost_is_known_with_the_answer() -> None:
    peer = Desk()
    tie = attachment(peer)
    peer.has_come = True
    tie.lost()
    waiting = asyncio.create_task(waits(tie, 60.0))
    await eventually(lambda: any(isinstance(asked, Await) for asked in peer.asked))
    await settle()
    assert not waiting.done()
    await tie.read_anew()
    assert await waiting is not None
    assert tie.view.parameters.entries["rate"].version == 3


@in_virtual_time
async def test_events_that_were_dropped_are_made_good_before_younger_answers() -> None:
    peer = Desk()
    agent = await agent_at(peer)
    peer.has_come = True
    peer.holds = lambda request: isinstance(request, ReadStatus)
    peer.tell(LOST)
    minting = asyncio.create_task(agent.ledger.mint("gpu", 5))
    await eventually(lambda: peer.held)
    await settle()
    assert not minting.done()
    peer.release()
    await minting
    assert agent.ledger.balance("gpu") == 5
    await agent.close()


@in_virtual_time
async def test_what_keeps_a_lease_waits_for_no_reading() -> None:
    """It would be over meanwhile, and given up."""
    peer = Desk()
    agent = await agent_at(peer)
    peer.holds = lambda request: isinstance(request, ReadStatus)
    peer.tell(LOST)
    for command in (RenewLock(CLUSTER_SESSION, 0, "x", 1), RenewTasks(CLUSTER_SESSION, 0)):
        renewing = asyncio.create_task(agent.session.ask(command, 30.0))
        await settle()
        assert renewing.done(), command
    peer.release()
    await agent.close()


@in_virtual_time
async def test_what_is_dropped_later_is_not_waited_for() -> None:
    peer = Desk()
    agent = await agent_at(peer)
    peer.holds = lambda request: isinstance(request, ReadStatus)
    peer.tell(LOST)
    minting = asyncio.create_task(agent.ledger.mint("gpu", 5))
    await eventually(lambda: peer.held)
    peer.tell(LOST)
    [(status, first)] = peer.held
    answer = usual(status)
    assert answer is not None
    assert not isinstance(answer, Exception)
    first.set_result(answer)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await minting
    assert loop.time() - began < 1.0, "that is before its time is over"
    await eventually(lambda: len(peer.held) == 2)
    assert not peer.held[1][1].done(), "the second reading goes on"
    peer.release()
    await agent.close()


@pytest.mark.parametrize("closes", [False, True])
@in_virtual_time
async def test_no_answer_is_kept_back_for_longer_than_its_time_or_its_agent(closes: bool) -> None:
    peer = Desk()
    agent = await agent_at(peer)
    peer.holds = lambda request: isinstance(request, ReadStatus)
    peer.tell(LOST)
    loop = asyncio.get_running_loop()
    began = loop.time()
    minting = asyncio.create_task(agent.ledger.mint("gpu", 5, timeout=1.5))
    waiting = asyncio.create_task(waits(agent._attachment, began + 1.5))
    await eventually(lambda: peer.held)
    if closes:
        await agent._attachment.close()
    assert (await minting).index == 1
    assert await waiting is not None
    assert (loop.time() - began < 1.5) is closes
    await agent.close()


@in_virtual_time
async def test_an_opening_does_not_wait_for_what_is_read_behind_it() -> None:
    peer = Desk()
    agent = await agent_at(peer)
    agent.lost(has_left=False)
    began = asyncio.get_running_loop().time()
    await agent.session.renew()
    await agent.ledger.mint("gpu", 5)
    assert asyncio.get_running_loop().time() - began < 0.1
    await agent.close()
