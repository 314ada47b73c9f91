"""Sessions go on over a way to the peer that was lost, and are followed where they have ended."""

import asyncio

import pytest

from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import AppendJournal, OpenSession
from mabeam_p2p.errors import DaemonNotRunning, NameTaken, NoQuorum, Overloaded
from mabeam_p2p.events import AgentLeft
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import Committed, Failed, Refused, Request, Submit
from tests.api.fakes import PEER, FakePeer, Reply, attachment, usual
from tests.api.test_session import ITEM, failing, impatient
from tests.eventually import eventually
from tests.virtual_time import in_virtual_time

__all__ = ["impatient"]


class Daemon:
    """A daemon that is restarted: each greeting is remembered, and finds the epoch of its time."""

    def __init__(self, peer: FakePeer) -> None:
        self.peer = peer
        self.epoch = 1
        self.greetings: list[tuple[SessionId, int]] = []
        self.refusals: list[Exception] = []

    async def begin(self, session: SessionId) -> int:
        if self.refusals:
            raise self.refusals.pop(0)
        self.greetings.append((session, self.epoch))
        return self.epoch

    async def attached(self) -> Session:
        async def renewed() -> None:
            self.peer.asked.append(Submit(ITEM))

        tie = attachment(self.peer)
        tie.begin = self.begin
        session = Session(tie, Profile("a"), renewed)
        await session.open()
        return session

    def openings(self) -> list[tuple[SessionId, int, int]]:
        return [
            (command.session, command.sequence, command.epoch)
            for command in self.peer.commands()
            if isinstance(command, OpenSession)
        ]


@in_virtual_time
async def test_a_lost_way_is_found_again_with_the_same_session_at_the_new_epoch() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    await session.commit(ITEM, "item", 1)
    daemon.epoch = 2
    await session.renew()
    assert daemon.greetings == [(session.id, 1), (session.id, 2)]
    assert daemon.openings() == [(session.id, 1, 1), (session.id, 1, 2)]
    await session.commit(ITEM, "item", 1)
    assert peer.commands()[-1].sequence == 3, "numbers count on"


@in_virtual_time
async def test_what_was_under_way_is_sent_again_under_its_number() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    peer.reply = lambda request: None if isinstance(request, Submit) else usual(request)
    asking = asyncio.create_task(session.ask(ITEM, 5))
    await eventually(lambda: peer.waiting)
    peer.waiting[0].set_exception(DaemonNotRunning("killed"))
    peer.reply = usual
    daemon.epoch = 2
    session.renew()
    assert isinstance(await asking, Committed)
    items = [command for command in peer.commands() if isinstance(command, AppendJournal)]
    mine = [command.sequence for command in items if command.session == session.id]
    assert mine == [2, 2]


@in_virtual_time
async def test_a_session_that_has_ended_meanwhile_is_followed_by_another_one() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    first = session.id
    daemon.epoch = 2
    failing(peer, Refused("unknown_session", "it departed"))
    await session.renew()
    assert session.id != first
    assert daemon.greetings == [(first, 1), (first, 2), (session.id, 2)]
    assert daemon.openings()[-1] == (session.id, 1, 2)


@in_virtual_time
async def test_a_session_that_the_log_has_ended_is_not_asked_for_again() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    first = session.id
    agent = Agent(AgentId("a@ant"), PEER, 1, first, (), True, True, (), 1)
    peer.tell(AgentLeft(agent, "lease expired"))
    await eventually(lambda: Submit(ITEM) in peer.asked)
    assert [greeted for greeted, _ in daemon.greetings] == [first, session.id]
    assert session.id != first


@in_virtual_time
async def test_a_daemon_that_dies_while_the_session_is_opened_again_is_greeted_once_more() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    daemon.epoch = 2
    lives: list[str] = ["the second one dies, too"]

    def reply(request: Request) -> Reply:
        if isinstance(request, Submit) and len(daemon.greetings) == 2:
            if not lives:
                raise DaemonNotRunning("there is no connection")
            return Failed("unknown", lives.pop())
        return usual(request)

    peer.reply = reply
    await session.renew()
    assert daemon.greetings == [(session.id, 1), (session.id, 2), (session.id, 2)]
    await session.commit(ITEM, "item", 1)


@in_virtual_time
async def test_a_way_that_is_lost_again_during_the_renewal_is_looked_for_again() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    peer.reply = lambda request: None if isinstance(request, Submit) else usual(request)
    renewing = session.renew()
    await eventually(lambda: peer.waiting)
    assert session.renew() is renewing
    peer.reply = usual
    peer.waiting[0].set_result(Committed(1, 1))
    await renewing
    assert len(daemon.greetings) == 3, "it cannot be known which of the two ways was lost"


@in_virtual_time
async def test_a_name_that_the_daemon_still_holds_for_the_way_before_is_waited_for() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    first = session.id
    held = NameTaken("a is attached already", reason="name_taken")
    daemon.refusals = [held, held]
    await session.renew()
    assert session.id == first
    # The log has it no more, and the daemon has not noticed yet that the connection has ended.
    failing(peer, Refused("unknown_session", ""))
    reply, daemon.refusals = peer.reply, []

    def refuse_next(request: Request) -> Reply:
        if isinstance(request, Submit) and isinstance(request.command, OpenSession):
            daemon.refusals = [held]
            peer.reply = reply
        return reply(request)

    peer.reply = refuse_next
    await session.renew()
    assert session.id != first
    await session.commit(ITEM, "item", 1)


@in_virtual_time
async def test_a_daemon_that_has_as_many_clients_as_it_takes_is_asked_again() -> None:
    daemon = Daemon(FakePeer())
    session = await daemon.attached()
    first = session.id
    daemon.refusals = [Overloaded("as many clients as it takes")] * 2
    await session.renew()
    assert (session.id, daemon.refusals) == (first, [])
    await session.commit(ITEM, "item", 1)


@in_virtual_time
async def test_while_its_own_name_is_still_held_no_command_is_refused_for_that() -> None:
    peer = FakePeer()
    daemon = Daemon(peer)
    session = await daemon.attached()
    daemon.refusals = [NameTaken("a is attached already", reason="name_taken")] * 1_000
    session.renew()
    with pytest.raises(NoQuorum, match=r"a is attached already.*nothing was done"):
        await session.commit(ITEM, "item", 1)
    await session.close()
