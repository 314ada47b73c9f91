"""An agent whose daemon has gone: what it holds is lost before others have it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from mabeam_p2p import DaemonNotRunning, LeadershipLost
from mabeam_p2p.api import session as session_module
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.grants import Lease
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.commands import AcquireLock, ReleaseLock
from mabeam_p2p.events import QuorumChanged
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Claim
from mabeam_p2p.records import Lock as LockRecord
from mabeam_p2p.requests import Committed, Found, LockQuery, Read, Request, Submit
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.api.seat_peer import ME, SeatPeer, agent_at, seat
from tests.api.test_leadership import lead_until_lost
from tests.eventually import eventually
from tests.virtual_time import in_virtual_time

TOKEN = 7


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_SECONDS", "RETRY_SECONDS_MAX"):
        monkeypatch.setattr(session_module, name, 0.001)


@dataclass
class Holder:
    """An agent that holds a lock, at a daemon that grants everything while it is there."""

    agent: Agent
    peer: FakePeer
    is_there: bool = True
    told: list[str] = field(default_factory=list)

    @property
    def dead_seconds(self) -> float:
        return self.agent._attachment.timing.dead_seconds

    async def begin(self, session: SessionId) -> int:
        if not self.is_there:
            raise DaemonNotRunning("nobody answers")
        return 1

    async def acquire(self) -> Lease:
        lease = await self.agent.lock("x").acquire()
        lease.on_lost(self.told.append)
        return lease

    def lose(self, *, has_left: bool) -> None:
        self.is_there = False
        self.agent.lost(has_left=has_left)

    def reply(self, request: Request) -> Reply:
        match request:
            case _ if not self.is_there:
                return DaemonNotRunning("nobody answers")
            case Submit(command=AcquireLock()):
                return Committed(TOKEN, 1, TOKEN)
            case Read(query=LockQuery()):
                # Of the number that its command had.
                (*_, last) = (c for c in self.peer.commands() if isinstance(c, AcquireLock))
                claim = Claim(TOKEN, AgentId("a@ant"), last.sequence, 1, 0, TOKEN)
                return Found(9, 0.0, True, locks=(LockRecord("x", 1, (claim,)),))
            case _:
                return usual(request)


async def holder() -> Holder:
    peer = FakePeer()
    tie = attachment(peer)
    agent = Agent(tie, Profile("a"))
    made = Holder(agent, peer)
    tie.begin, peer.reply = made.begin, made.reply
    await agent.session.open()
    agent.begin()
    peer.tell(QuorumChanged(True))
    return made


@in_virtual_time
async def test_a_daemon_that_is_away_for_as_long_as_it_takes_to_count_as_dead_has_lost_it() -> None:
    one = await holder()
    lease = await one.acquire()
    began = asyncio.get_running_loop().time()
    one.lose(has_left=False)
    assert not lease.is_lost, "it may be back in a moment"
    assert not one.agent.info().quorum
    await eventually(lambda: one.told, 1.0)
    assert asyncio.get_running_loop().time() - began <= 1.1 * one.dead_seconds
    assert "no quorum" in one.told[0]
    # The cluster may still think that it is held.
    one.is_there = True
    await eventually(lambda: any(isinstance(c, ReleaseLock) for c in one.peer.commands()))
    await one.agent.close()


@in_virtual_time
async def test_a_daemon_that_is_back_in_time_takes_nothing() -> None:
    one = await holder()
    lease = await one.acquire()
    one.lose(has_left=False)
    one.is_there = True
    await eventually(lambda: one.agent.info().quorum)
    await asyncio.sleep(2 * one.dead_seconds)
    assert not lease.is_lost
    assert one.told == []
    await one.agent.close()


@in_virtual_time
async def test_what_is_held_at_a_peer_that_leaves_is_lost_at_once() -> None:
    one = await holder()
    await one.acquire()
    one.lose(has_left=True)
    assert one.told == ["its peer has left the cluster"]
    one.is_there = True
    await eventually(lambda: one.agent.info().quorum)
    lease = await one.acquire()
    await asyncio.sleep(2 * one.dead_seconds)
    assert not lease.is_lost, "it is there again"
    await one.agent.close()


@in_virtual_time
async def test_a_seat_at_a_peer_that_leaves_is_lost_at_once() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    peer.give(seat(ME, 7))
    began = asyncio.get_running_loop().time()
    with pytest.raises(LeadershipLost, match="its peer has left the cluster"):
        await lead_until_lost(agent.leadership("lead"), lambda: agent.lost(has_left=True))
    assert asyncio.get_running_loop().time() == began
    await agent.close()
