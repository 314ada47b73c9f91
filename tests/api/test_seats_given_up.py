"""Who does not ask for a seat any more gives it up, and who asks for it again does not."""

import asyncio
from collections.abc import Callable

import pytest

from mabeam_p2p import ElectionTimeout, InvalidName, NoCandidates, NoQuorum
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results.seats import Seat
from mabeam_p2p.commands import Elect, Stand
from mabeam_p2p.requests import Await, Committed, Failed, Found, Submit
from tests.api.fakes import Reply
from tests.api.seat_peer import ME, NOBODY, SeatPeer, agent_at, seat
from tests.eventually import eventually
from tests.in_loop import in_loop


async def cancelled_elect(agent: Agent, peer: SeatPeer, group: str = "all") -> None:
    """Ask for the seat, and be cancelled while the election runs."""
    asked = len(peer.asked)
    asking = asyncio.create_task(agent.group(group).elect("lead"))
    await eventually(lambda: any(isinstance(one, Await) for one in peer.asked[asked:]))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def farewells(peer: SeatPeer) -> list[tuple[str, bool]]:
    return [(one.seat, one.stands) for one in peer.said(Stand) if isinstance(one, Stand)]


@pytest.mark.parametrize("has_won", [False, True])
def test_who_is_cancelled_while_it_waits_for_an_election_stands_no_longer(has_won: bool) -> None:
    @in_loop
    async def check() -> None:
        peer = SeatPeer()
        peer.number = 5
        agent = await agent_at(peer)
        asking = asyncio.create_task(agent.elect("lead"))
        await eventually(lambda: any(isinstance(one, Await) for one in peer.asked))
        if has_won:
            peer.give(seat(ME, 9))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: farewells(peer) == [("lead", False)])
        await agent.close()

    check()


@in_loop
async def test_who_has_said_nothing_or_does_not_stand_or_holds_the_seat_gives_nothing_up() -> None:
    peer = SeatPeer()
    peer.number = 5
    agent = await agent_at(peer)
    await cancelled_elect(agent, peer, "vision")
    reply = peer.reply
    peer.reply = lambda request: None if isinstance(request, Submit) else reply(request)
    # It waits for its session, and has asked for nothing yet.
    renewing = agent.session.renew()
    await eventually(lambda: peer.waiting)
    asking = asyncio.create_task(agent.elect("lead"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    peer.reply = reply
    peer.waiting[-1].set_result(Committed(8, 1))
    await renewing
    assert not [one for one in peer.said(Elect) if isinstance(one, Elect) and one.stands]
    peer.give(seat(ME, 7))
    await cancelled_elect(agent, peer)
    # What is begun in the background comes before this.
    await agent.resign("lead")
    assert farewells(peer) == []


@in_loop
async def test_who_asks_again_is_not_undone_by_what_gave_the_seat_up() -> None:
    peer = SeatPeer()
    peer.number = 5
    agent = await agent_at(peer)
    reply, late = peer.reply, asyncio.Event()
    peer.reply = lambda request: (
        None
        if isinstance(request, Submit) and isinstance(request.command, Stand)
        else reply(request)
    )
    await cancelled_elect(agent, peer)
    await eventually(lambda: farewells(peer))
    asked = len(peer.said(Elect))
    again = asyncio.create_task(agent.elect("lead"))
    again.add_done_callback(lambda done: late.set())
    for _ in range(10):
        # As long as it would take to ask.
        await asyncio.sleep(0)
    assert len(peer.said(Elect)) == asked
    peer.found = [seat(ME, 9)]
    peer.waiting[-1].set_result(Committed(8, 1))
    assert (await again).token == 9
    assert len(farewells(peer)) == 1
    await agent.close()


async def unheard_farewell(agent: Agent, peer: SeatPeer) -> Callable[[], None]:
    """Be cancelled while an election runs; what gives the seat up is not answered until the
    result is called."""
    reply = peer.reply
    peer.reply = lambda request: (
        None
        if isinstance(request, Submit) and isinstance(request.command, Stand)
        else reply(request)
    )
    await cancelled_elect(agent, peer)
    await eventually(lambda: len(farewells(peer)) == 1)

    def heal() -> None:
        peer.reply = reply

    return heal


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_what_made_way_for_an_election_that_is_not_held_is_said_again(
    is_cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_loop
    async def check() -> None:
        monkeypatch.setattr("mabeam_p2p.api.seats.RESIGN_SECONDS", 0.01)
        peer = SeatPeer()
        peer.number = 5
        agent = await agent_at(peer)
        heal = await unheard_farewell(agent, peer)
        # So that it is not given up for having been won meanwhile.
        peer.give(seat(ME, 9))
        if is_cancelled:
            await cancelled_elect(agent, peer)
        else:
            peer.refuses[Elect] = Failed("no_quorum", "nobody leads")
            with pytest.raises(NoQuorum):
                await agent.elect("lead", timeout=0.01)
        heal()
        await eventually(lambda: len(farewells(peer)) == 2)
        await agent.close()

    check()


@in_loop
async def test_who_asks_twice_at_once_keeps_what_is_won_though_the_other_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.seats.RESIGN_SECONDS", 0.01)
    peer = SeatPeer()
    peer.number, peer.found = 5, []
    agent = await agent_at(peer)
    heal = await unheard_farewell(agent, peer)
    answers: list[Reply] = [Failed("no_quorum", "nobody leads"), Committed(3, 1, 5)]
    reply = peer.reply
    peer.reply = lambda request: (
        answers.pop(0)
        if isinstance(request, Submit) and isinstance(request.command, Elect) and answers
        else reply(request)
    )
    peer.found = [seat(ME, 9)]
    asking = (agent.elect("lead", timeout=1), agent.elect("lead", timeout=1))
    refused, won = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(refused, NoQuorum)
    assert isinstance(won, Seat)
    assert won.is_me
    heal()
    monkeypatch.undo()
    # It waits for what is said in the background.
    await agent.elect("lead")
    assert len(farewells(peer)) == 1
    await agent.close()


@in_loop
async def test_who_asks_twice_at_once_keeps_what_is_won_though_the_other_is_cancelled() -> None:
    peer = SeatPeer()
    peer.number = 5
    agent = await agent_at(peer)
    one, other = (asyncio.create_task(agent.elect("lead")) for _ in range(2))
    await eventually(lambda: len([ask for ask in peer.asked if isinstance(ask, Await)]) == 2)
    peer.waiting[-1].set_result(Found(9, 0.0, False, seats=(seat(ME, 9),)))
    assert (await other).is_me
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    peer.found = [seat(ME, 9)]
    # It waits for what is said in the background.
    await agent.elect("lead")
    assert farewells(peer) == []
    await agent.close()


@pytest.mark.parametrize("is_won", [True, False])
def test_a_leadership_that_ends_beside_an_election_gives_up_what_that_does_not_win(
    is_won: bool,
) -> None:
    @in_loop
    async def check() -> None:
        peer = SeatPeer()
        peer.number = 5
        agent = await agent_at(peer)
        peer.give(seat(ME, 7))
        async with agent.leadership("lead"):
            beside = asyncio.create_task(agent.elect("lead"))
            await eventually(lambda: any(isinstance(ask, Await) for ask in peer.asked))
        assert farewells(peer) == []
        holder, token = (ME, 7) if is_won else (NOBODY, 0)
        ended = Found(9, 0.0, False, seats=(seat(holder, token, changed=8),))
        peer.waiting[-1].set_result(ended)
        if is_won:
            assert (await beside).is_me
            peer.found = [seat(ME, 7)]
            # It waits for what is said in the background.
            await agent.elect("lead")
            assert farewells(peer) == []
        else:
            with pytest.raises(NoCandidates):
                await beside
            await eventually(lambda: len(farewells(peer)) == 1)
        await agent.close()

    check()


@in_loop
async def test_who_asks_while_it_gives_the_seat_up_and_is_cancelled_gives_it_up_again() -> None:
    peer = SeatPeer()
    peer.number = 5
    agent = await agent_at(peer)
    heal = await unheard_farewell(agent, peer)
    # As its peer has told: what gives the seat up is on its way.
    peer.give(seat(ME, 9))
    asked = len(peer.asked)
    asking = asyncio.create_task(agent.elect("lead"))
    # It has begun, and waits for what gives the seat up.
    await asyncio.sleep(0)
    heal()
    peer.give(seat(NOBODY, 9, changed=10))
    peer.waiting[-1].set_result(Committed(8, 1))
    await eventually(lambda: any(isinstance(one, Await) for one in peer.asked[asked:]))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: len(farewells(peer)) == 2)
    await agent.close()


@in_loop
async def test_a_seat_whose_name_is_too_long_with_its_group_is_no_seat() -> None:
    peer = SeatPeer()
    agent = await agent_at(peer)
    with pytest.raises(InvalidName, match="seat"):
        agent.group("g" * 60).leadership("s" * 250)
    await agent.close()


@in_loop
async def test_what_made_way_for_an_election_that_goes_on_stays_unsaid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.seats.RESIGN_SECONDS", 0.01)
    monkeypatch.setattr("mabeam_p2p.api.seats.END_GRACE_SECONDS", 0.05)
    monkeypatch.setattr("mabeam_p2p.api.attachment.ANSWER_GRACE_SECONDS", 0.05)
    peer = SeatPeer()
    peer.number = 5
    agent = await agent_at(peer)
    heal = await unheard_farewell(agent, peer)
    with pytest.raises(ElectionTimeout):
        await agent.elect("lead", timeout=0.05)
    heal()
    monkeypatch.undo()
    peer.found = [seat(ME, 9)]
    # It waits for what is said in the background.
    await agent.elect("lead")
    assert len(farewells(peer)) == 1
    await agent.close()
