"""Whose word ends the start of an agent, and when: against a peer that answers as the test says."""

import asyncio

import pytest

from mabeam_p2p import PeerRefused
from mabeam_p2p.api import joining
from mabeam_p2p.api.joining import REFUSAL_SECONDS, joined
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.events import Refused
from mabeam_p2p.ids import PeerId
from mabeam_p2p.requests import Committed, Request, Submit
from tests.api.fakes import PEER, FakePeer, Reply, attachment, usual
from tests.virtual_time import in_virtual_time

ONE, TWO = PeerId("1" * 16), PeerId("2" * 16)


def unanswered(request: Request) -> Reply:
    """By a log that this peer has not been given yet."""
    return None if isinstance(request, Submit) else usual(request)


def refusal(source: PeerId, *, fatal: bool = True) -> Refused:
    return Refused(source, "name", f"said by {source}", fatal)


class Start:
    """Of one agent, under way."""

    def __init__(self, timeout: float | None = None) -> None:
        self.peer = FakePeer()
        self.peer.reply = unanswered
        self.task = asyncio.ensure_future(
            joined(attachment(self.peer), Profile("a"), timeout=timeout)
        )

    async def hear(self, *refusals: Refused) -> None:
        await asyncio.sleep(0.1)
        for one in refusals:
            self.peer.tell(one)

    async def ends_after(self) -> tuple[float, str]:
        began = asyncio.get_running_loop().time()
        with pytest.raises(PeerRefused) as caught:
            await self.task
        return asyncio.get_running_loop().time() - began, str(caught.value)


@in_virtual_time
async def test_the_word_of_one_peer_waits_for_that_of_others() -> None:
    start = Start()
    await start.hear(refusal(ONE))
    seconds, why = await start.ends_after()
    assert seconds == pytest.approx(REFUSAL_SECONDS)
    assert f"said by {ONE}" in why


@in_virtual_time
async def test_two_peers_that_say_the_same_are_believed_at_once() -> None:
    start = Start()
    await start.hear(refusal(ONE), refusal(ONE), refusal(TWO, fatal=False), refusal(TWO))
    seconds, why = await start.ends_after()
    assert seconds == pytest.approx(0.0)
    assert f"said by {TWO}" in why


@in_virtual_time
async def test_a_peer_that_refuses_to_go_on_itself_is_believed_at_once() -> None:
    start = Start()
    await start.hear(refusal(PEER))
    assert (await start.ends_after())[0] == pytest.approx(0.0)


@in_virtual_time
async def test_whom_one_refuses_and_others_let_in_has_joined() -> None:
    """Whoever has lied to it, or erred, does not keep it out."""
    start = Start()
    await start.hear(*[refusal(ONE)] * 3)
    start.peer.reply = usual
    for future in start.peer.waiting:
        future.set_result(Committed(1, 1, 1))
    agent = await start.task
    await asyncio.sleep(2 * REFUSAL_SECONDS)
    assert not agent.is_closed
    await agent.close()


@in_virtual_time
async def test_what_one_has_said_is_told_when_the_time_is_up_before() -> None:
    start = Start(timeout=REFUSAL_SECONDS / 2)
    await start.hear(refusal(ONE))
    seconds, why = await start.ends_after()
    assert seconds < REFUSAL_SECONDS
    assert f"said by {ONE}" in why


def test_it_is_shorter_than_a_start() -> None:
    assert joining.REFUSAL_SECONDS < joining.START_SECONDS
