"""Work under a seat: when it begins, when it is cancelled, and what is said at its end."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from mabeam_p2p import (
    ElectionTimeout,
    LeadershipLost,
    NotHolder,
    Timing,
)
from mabeam_p2p.api.leadership import Leadership
from mabeam_p2p.commands import Elect, Resign, Stand
from mabeam_p2p.events import AgentLeft, QuorumChanged
from mabeam_p2p.records import Seat
from mabeam_p2p.requests import (
    Failed,
    Refused,
)
from tests.api.seat_peer import ME, NOBODY, OTHER, SeatPeer, agent_at, record, seat
from tests.eventually import eventually
from tests.in_loop import in_loop


async def lead_until_lost(leadership: Leadership, happens: Callable[[], None]) -> None:
    """Do without end, under the seat, what `happens` puts an end to."""
    async with leadership:
        happens()
        await asyncio.Event().wait()


@pytest.mark.fault("U3")
@in_loop
async def test_the_body_runs_once_the_agent_holds_the_seat_and_gives_it_up_at_the_end() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    inside = asyncio.Event()

    async def lead() -> None:
        async with agent.leadership("lead") as held:
            assert (held.token, held.is_me) == (7, True)
            inside.set()

    work = asyncio.create_task(lead())
    await eventually(lambda: peer.said(Elect))
    peer.give(seat(OTHER, 5))
    await asyncio.sleep(0)
    assert not inside.is_set()
    peer.give(seat(ME, 7))
    await asyncio.wait_for(work, 10)
    assert inside.is_set()
    (farewell,) = peer.said(Stand)
    assert isinstance(farewell, Stand)
    assert not farewell.stands


@pytest.mark.parametrize(
    "lost",
    [
        seat(OTHER, 9),
        seat(ME, 9),
        seat(NOBODY, 7, reason="session closed", changed=8),
    ],
    ids=["given to another", "granted anew", "taken back"],
)
def test_the_body_is_cancelled_when_the_seat_is_lost(lost: Seat) -> None:
    @in_loop
    async def check() -> None:
        peer = SeatPeer()
        agent = await agent_at(peer)
        peer.give(seat(ME, 7))
        leadership = agent.leadership("lead")
        with pytest.raises(LeadershipLost, match=r"token 7.*enter `leadership` again"):
            await lead_until_lost(leadership, lambda: peer.give(lost))
        assert leadership.is_lost
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        # What follows is not cancelled.
        await asyncio.sleep(0)

    check()


@in_loop
async def test_a_body_that_ends_before_it_notices_is_told_all_the_same() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    peer.give(seat(ME, 7))
    leadership = agent.leadership("lead")

    async def lead() -> None:
        async with leadership:
            peer.give(seat(OTHER, 9))
            # What it waits for now comes in the same turn as the cancellation.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    with pytest.raises(LeadershipLost):
        await lead()
    await asyncio.sleep(0)


@in_loop
async def test_what_the_body_raises_is_what_comes_out() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    peer.give(seat(ME, 7))
    with pytest.raises(ZeroDivisionError):
        async with agent.leadership("lead"):
            _ = 1 // 0
    assert peer.said(Stand)


@in_loop
async def test_a_cancellation_from_outside_stays_one() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    peer.give(seat(ME, 7))
    inside = asyncio.Event()

    async def lead() -> None:
        async with agent.leadership("lead"):
            inside.set()
            await asyncio.Event().wait()

    work = asyncio.create_task(lead())
    await inside.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert peer.said(Stand)


@in_loop
async def test_who_waits_no_longer_stands_no_longer() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    with pytest.raises(ElectionTimeout):
        async with agent.leadership("lead", timeout=0.05):
            pytest.fail("nobody has given it the seat")
    assert [one.stands for one in peer.said(Stand) if isinstance(one, Stand)] == [False]


@in_loop
async def test_without_a_quorum_for_as_long_as_a_peer_may_be_silent_the_seat_is_lost() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer, timing=Timing(dead_seconds=0.3))
    peer.give(seat(ME, 7))
    with pytest.raises(LeadershipLost, match="no quorum"):
        await lead_until_lost(agent.leadership("lead"), lambda: peer.tell(QuorumChanged(False)))


@in_loop
async def test_a_short_time_without_a_quorum_is_sat_out() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer, timing=Timing(dead_seconds=30))
    peer.give(seat(ME, 7))
    async with agent.leadership("lead"):
        peer.tell(QuorumChanged(False))
        await asyncio.sleep(0.01)
        peer.tell(QuorumChanged(True))
        await asyncio.sleep(0.01)


@pytest.mark.fault("L13")
@in_loop
async def test_an_agent_with_another_session_has_lost_what_the_first_one_held() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    peer.give(seat(ME, 7))
    gone = AgentLeft(record(agent.session.id), "lease expired")
    with pytest.raises(LeadershipLost, match="session"):
        await lead_until_lost(agent.leadership("lead"), lambda: peer.tell(gone))


@in_loop
async def test_a_waiting_agent_sits_out_a_time_without_a_quorum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.leadership.RETRY_SECONDS", 0.01)
    peer = SeatPeer()
    peer.refuses[Elect] = Failed("no_quorum", "nobody leads")
    agent = await agent_at(peer)
    leadership = agent.leadership("lead")
    entering = asyncio.create_task(leadership.__aenter__())
    await eventually(lambda: len(peer.said(Elect)) > 2)
    peer.refuses.clear()
    peer.give(seat(ME, 7))
    assert (await asyncio.wait_for(entering, 10)).is_me
    await leadership.end()


@in_loop
async def test_resigning_from_a_seat_that_one_does_not_hold_is_refused() -> None:
    peer = SeatPeer()
    peer.refuses[Resign] = Refused("not_holder", "b@bee holds it")
    agent = await agent_at(peer)
    with pytest.raises(NotHolder, match="b@bee holds it"):
        await agent.resign("lead")


@in_loop
async def test_who_is_cancelled_while_it_leaves_gives_the_seat_up_and_stays_cancelled() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    peer.give(seat(ME, 7))

    async def lead() -> None:
        current = asyncio.current_task()
        assert current is not None
        async with agent.leadership("lead"):
            asyncio.get_running_loop().call_soon(current.cancel)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(lead())
    await eventually(lambda: peer.said(Stand))
