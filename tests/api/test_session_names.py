"""How long a name is waited for that the agent of a peer which is gone still holds in the log: that
of a peer whose folder was lost, and that begins anew under its name."""

import asyncio
from dataclasses import dataclass, field

import pytest

from mabeam_p2p.api import session as session_module
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.session import Session
from mabeam_p2p.config import Timing
from mabeam_p2p.errors import NameTaken
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.protocol.duties import Duties
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import Failed, Refused, Request, Submit
from tests.api.fakes import FakePeer, Reply, usual
from tests.virtual_time import in_virtual_time

TIMING = Timing()
FORMER = Agent(AgentId("a@ant"), PeerId("f" * 16), 1, SessionId(1), (), True, True, (), 1)
LOG_SECONDS = 1.0
"""From the leader's word of a departure until whoever asks can hear of it, on a busy machine."""


@dataclass
class Leader:
    """Has never seen the peer of the former agent since it began, and looks for it as leaders do.
    phase: of its looks, in seconds."""

    began_at: float
    phase: float
    duties: Duties = field(init=False)
    freed_at: float | None = None

    def __post_init__(self) -> None:
        self.duties = Duties(TIMING, self.began_at)
        self.look_at = self.began_at + self.phase

    def has_freed(self, now: float) -> bool:
        while self.look_at <= now and self.freed_at is None:
            if self.duties.departures((FORMER,), (), self.look_at):
                self.freed_at = self.look_at + LOG_SECONDS
            self.look_at += TIMING.probe_interval_seconds
        return self.freed_at is not None and now >= self.freed_at


def newcomer(*leaders: Leader, quorumless: float = 0.0) -> Session:
    """Of a peer that asks the latest of the leaders to have begun. quorumless: seconds before each
    of them in which there was none."""
    peer = FakePeer()

    def reply(request: Request) -> Reply:
        if not isinstance(request, Submit):
            return usual(request)
        now = asyncio.get_running_loop().time()
        if any(leader.began_at - quorumless <= now < leader.began_at for leader in leaders):
            return Failed("no_quorum", "")
        leader = max((one for one in leaders if one.began_at <= now), key=lambda one: one.began_at)
        return usual(request) if leader.has_freed(now) else Refused("name_taken", "a@ant is there")

    async def renewed() -> None:
        raise AssertionError("it is opened once")

    peer.reply = reply
    return Session(Attachment(peer, timing=TIMING), Profile("a"), renewed)


@pytest.mark.parametrize("phase", [0.0, 0.05, 0.1, 0.15, 0.2, 0.24])
@pytest.mark.parametrize("quorumless", [0.0, 1.3, 30.0])
@pytest.mark.parametrize("pause", [0.05, session_module.RETRY_SECONDS_MAX])
@in_virtual_time
async def test_a_cluster_that_starts_as_a_whole_gives_the_name_to_the_newcomer(
    pause: float, quorumless: float, phase: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leader has never seen the former peer, and can say so only after it has led for a
    while; the time until there is one is none of that."""
    monkeypatch.setattr(session_module, "RETRY_SECONDS_MAX", pause)
    leader = Leader(quorumless, phase)
    await newcomer(leader, quorumless=quorumless).open()
    assert leader.freed_at is not None


@in_virtual_time
async def test_who_leads_next_is_given_the_same_time() -> None:
    first, second = Leader(0.0, 0.0), Leader(34.0, 0.2)
    await newcomer(first, second, quorumless=30.0).open()
    assert first.freed_at is None


@in_virtual_time
async def test_a_name_that_is_not_given_up_is_not_waited_for_for_ever() -> None:
    lasting = Leader(
        0.0,
        0.0,
    )
    lasting.look_at = float("inf")
    with pytest.raises(NameTaken, match="a@ant is there"):
        await newcomer(lasting).open()
    assert asyncio.get_running_loop().time() < 10
