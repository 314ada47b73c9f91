"""A session with a lease says that it lives, no more often than it must."""

import asyncio
import math

import pytest

from mabeam_p2p.api.leases import Lease, lease_microseconds
from mabeam_p2p.api.profiles import Profile, profile_of
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import AppendJournal, KeepAlive, OpenSession
from mabeam_p2p.errors import InvalidValue, NoQuorum
from mabeam_p2p.events import QuorumChanged
from mabeam_p2p.ids import CLUSTER_SESSION
from mabeam_p2p.requests import Committed, Failed, Request, Submit
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.virtual_time import in_virtual_time

ITEM = AppendJournal(CLUSTER_SESSION, 0, "run", b"\x01")
LEASE = 30.0


class Said:
    """When KeepAlive was said; `fails` lets it come to nothing."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.fails = False
        self.lease = Lease(LEASE, self.say)

    async def say(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self.at.append(now)
        if self.fails:
            raise NoQuorum("nobody leads")
        self.lease.renewed(now)


@in_virtual_time
async def test_silence_is_broken_after_a_third_of_the_lease() -> None:
    said = Said()
    said.lease.renewed(0.0)
    said.lease.keep()
    said.lease.keep()
    await asyncio.sleep(35)
    assert said.at == pytest.approx([10, 20, 30])
    said.lease.end()
    said.lease.end()
    await asyncio.sleep(35)
    assert len(said.at) == 3


@in_virtual_time
async def test_whatever_else_is_applied_renews_the_lease_as_well() -> None:
    said = Said()
    said.lease.renewed(0.0)
    said.lease.keep()
    for second in range(0, 60, 6):
        said.lease.renewed(second)
        await asyncio.sleep(6)
    assert said.at == []
    await asyncio.sleep(5)
    assert said.at == pytest.approx([64])
    said.lease.renewed(2.0)
    await asyncio.sleep(10)
    assert said.at == pytest.approx([64, 74]), "an older renewal takes nothing back"
    said.lease.end()


@in_virtual_time
async def test_what_came_to_nothing_is_said_again_long_before_the_end() -> None:
    said = Said()
    said.lease.renewed(0.0)
    said.fails = True
    said.lease.keep()
    await asyncio.sleep(12.5)
    assert said.at == pytest.approx([10, 11, 12])
    said.lease.end()


async def opened(peer: FakePeer, lease: float | None) -> Session:
    async def renewed() -> None:
        pass

    session = Session(attachment(peer), profile_of("a", (), {}, True, True, lease), renewed)
    await session.open()
    return session


def keep_alives(peer: FakePeer) -> list[int]:
    return [command.sequence for command in peer.commands() if isinstance(command, KeepAlive)]


@in_virtual_time
async def test_a_session_tells_the_log_its_lease_and_keeps_it() -> None:
    peer = FakePeer()
    session = await opened(peer, LEASE)
    [opening] = peer.commands()
    assert isinstance(opening, OpenSession)
    assert opening.lease == 30_000_000
    await asyncio.sleep(25)
    assert keep_alives(peer) == [2, 3]
    await session.commit(ITEM, "item", 1)
    await asyncio.sleep(9)
    assert keep_alives(peer) == [2, 3], "the item was said at 25 s"
    await asyncio.sleep(2)
    assert keep_alives(peer) == [2, 3, 5]
    await session.close()
    await asyncio.sleep(100)
    assert keep_alives(peer) == [2, 3, 5]


@in_virtual_time
async def test_a_session_without_a_lease_says_nothing_by_itself() -> None:
    peer = FakePeer()
    session = await opened(peer, None)
    await asyncio.sleep(1_000)
    assert [type(command) for command in peer.commands()] == [OpenSession]
    await session.close()


@in_virtual_time
async def test_what_was_not_applied_renews_nothing() -> None:
    peer = FakePeer()
    session = await opened(peer, LEASE)

    def reply(request: Request) -> Reply:
        is_item = isinstance(request, Submit) and isinstance(request.command, AppendJournal)
        return Failed("no_quorum", "") if is_item else usual(request)

    peer.reply = reply
    await asyncio.sleep(9)
    with pytest.raises(NoQuorum):
        await session.commit(ITEM, "item", 1)
    await asyncio.sleep(1.5)
    assert len(keep_alives(peer)) == 1
    await session.close()


@in_virtual_time
async def test_a_late_answer_renews_from_when_the_command_was_sent() -> None:
    peer = FakePeer()
    session = await opened(peer, LEASE)
    peer.reply = lambda request: None if isinstance(request, Submit) else usual(request)
    asking = asyncio.create_task(session.ask(ITEM, 60))
    await asyncio.sleep(2.5)
    peer.waiting[0].set_result(Committed(2, 1, 1))
    peer.reply = usual
    await asking
    await asyncio.sleep(8)
    assert len(keep_alives(peer)) == 1, "10 s after the sending, not after the answer"
    peer.tell(QuorumChanged(False))
    await session.close()


@pytest.mark.parametrize("lease", [0, -1, 0.5, math.nan, math.inf, 1e12, True])
def test_a_lease_that_cannot_be_kept_is_refused(lease: float) -> None:
    with pytest.raises(InvalidValue, match="lease"):
        lease_microseconds(lease)


def test_no_lease_is_zero_in_the_log() -> None:
    assert lease_microseconds(None) == 0
    assert lease_microseconds(1) == 1_000_000
    assert profile_of("a", (), {}, True, True).lease == Profile("a").lease == 0
