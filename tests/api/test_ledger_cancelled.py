"""What is left behind when a wait for money or budgets is cancelled: nothing."""

import asyncio
from collections.abc import Coroutine

import pytest

from mabeam_p2p.commands import PlaceHold, ReleaseHold, Reserve, SpendReserved
from mabeam_p2p.requests import Committed, Failed, Refused, Submit
from tests.api.fakes import Reply, usual
from tests.api.test_ledger import Desk
from tests.eventually import eventually
from tests.in_loop import in_loop


async def cancelled_within(
    work: Coroutine[None, None, object], desk: Desk, *replies: Reply
) -> None:
    """Begin it, and cancel it while its command is under way. replies: to the next commands."""
    pending = list(replies)
    before = len(desk.peer.commands())
    desk.peer.reply = lambda request: None if isinstance(request, Submit) else usual(request)
    task = asyncio.create_task(work)
    await eventually(lambda: len(desk.peer.commands()) > before)
    desk.answer(lambda request: pending.pop(0) if pending and isinstance(request, Submit) else None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_loop
async def test_a_hold_of_which_nobody_has_heard_is_given_back() -> None:
    desk = Desk()
    await cancelled_within(desk.ledger.hold("gpu", 5), desk)
    await eventually(lambda: isinstance(desk.said(), ReleaseHold))
    placed, released = desk.peer.commands()
    assert isinstance(placed, PlaceHold)
    assert isinstance(released, ReleaseHold)
    assert released.hold == placed.operation
    # Who has named it can ask for it again.
    await cancelled_within(desk.ledger.hold("gpu", 5, operation="mine"), desk)
    await asyncio.sleep(0.01)
    assert isinstance(desk.said(), PlaceHold)


@in_loop
async def test_a_reservation_that_is_cancelled_while_it_is_entered_is_freed() -> None:
    desk = Desk()
    reservation = desk.budget("b").reserve(5)

    async def enter() -> None:
        async with reservation:
            raise AssertionError("it was cancelled before")

    await cancelled_within(enter(), desk, Failed("no_quorum", ""), Committed(7, 1, 42))
    await eventually(lambda: isinstance(desk.said(), SpendReserved))
    *asked, freed = desk.peer.commands()
    operations = [one.operation for one in asked if isinstance(one, Reserve)]
    assert len(operations) == 3
    assert len(dict.fromkeys(operations)) == 1
    assert isinstance(freed, SpendReserved)
    assert (freed.reservation, freed.amount) == (42, 0)


@in_loop
async def test_a_reservation_that_is_cancelled_while_it_is_opened_is_freed_and_can_be_opened() -> (
    None
):
    desk = Desk()
    reservation = desk.budget("b").reserve(5)
    await cancelled_within(reservation.open(), desk, Committed(7, 1, 42))
    await eventually(lambda: isinstance(desk.said(), SpendReserved))
    freed = desk.said()
    assert isinstance(freed, SpendReserved)
    assert (freed.reservation, freed.amount) == (42, 0)
    before = [one.operation for one in desk.peer.commands() if isinstance(one, Reserve)]
    desk.answer(lambda request: Committed(9, 1, 43) if isinstance(request, Submit) else None)
    await reservation.open()
    asked = desk.said()
    assert isinstance(asked, Reserve)
    assert asked.operation not in before, "the one before may have ended"
    assert reservation.token == 43


@in_loop
async def test_what_was_spent_is_said_though_the_end_of_the_block_is_cancelled() -> None:
    desk = Desk()

    async def spend() -> None:
        current = asyncio.current_task()
        assert current is not None
        async with desk.budget("b").reserve(5) as reservation:
            reservation.spend(3)
            asyncio.get_running_loop().call_soon(current.cancel)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(spend())
    await eventually(lambda: isinstance(desk.said(), SpendReserved))
    said = desk.said()
    assert isinstance(said, SpendReserved)
    assert said.amount == 3_000_000


@pytest.mark.parametrize("what", ["hold", "reservation"])
@in_loop
async def test_what_a_block_raises_is_not_hidden_by_the_trouble_at_its_end(what: str) -> None:
    desk = Desk()
    entered = desk.budget("b").reserve(5) if what == "reservation" else None

    async def fail() -> None:
        async with entered or await desk.ledger.hold("gpu", 5):
            desk.answer(lambda request: Refused("unknown_hold", "it has expired"))
            raise KeyError("loss")

    with pytest.raises(KeyError, match="loss"):
        await fail()
