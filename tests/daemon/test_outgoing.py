import asyncio

from mabeam_p2p.daemon import outgoing
from mabeam_p2p.daemon.outgoing import Outgoing
from tests.in_loop import in_loop


def lost(count: int) -> bytes:
    return f"<{count} lost>".encode()


async def everything(queue: Outgoing) -> bytes:
    queue.close()
    taken = b""
    while part := await queue.take():
        taken += part
    return taken


@in_loop
async def test_answers_and_events_leave_in_the_order_in_which_they_came() -> None:
    queue = Outgoing(10, lost)
    queue.put_event(b"a")
    queue.put_answer(b"b")
    queue.put_answer(b"c")
    queue.put_event(b"d")
    assert await everything(queue) == b"abcd"


@in_loop
async def test_oldest_events_are_dropped_and_counted_and_answers_never_are() -> None:
    queue = Outgoing(2, lost)
    for number in range(5):
        queue.put_event(f"e{number}".encode())
        queue.put_answer(f"a{number}".encode())
    assert await everything(queue) == b"a0a1a2<3 lost>e3a3e4a4"


@in_loop
async def test_events_are_bounded_by_their_bytes_too() -> None:
    queue = Outgoing(1000, lost)
    size = outgoing.EVENT_BYTES_MAX // 4
    for letter in b"abcdef":
        queue.put_event(bytes([letter]) * size)
    taken = await everything(queue)
    assert taken.startswith(b"<2 lost>c")
    assert len(taken) == len(b"<2 lost>") + 4 * size


@in_loop
async def test_taking_waits_for_something_to_take() -> None:
    queue = Outgoing(2, lost)
    taking = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    assert not taking.done()
    queue.put_answer(b"x")
    assert await taking == b"x"


@in_loop
async def test_reading_waits_while_too_many_answers_are_not_taken() -> None:
    queue = Outgoing(2, lost)
    queue.put_answer(b"x")
    queue.put_answer(b"y")
    await queue.wait_below(3)
    waiting = asyncio.ensure_future(queue.wait_below(2))
    await asyncio.sleep(0)
    assert not waiting.done()
    await queue.take()
    await waiting


@in_loop
async def test_nothing_follows_the_last_word() -> None:
    queue = Outgoing(2, lost)
    queue.put_answer(b"bye")
    queue.close()
    queue.put_answer(b"x")
    queue.put_event(b"y")
    assert await queue.take() == b"bye"
    assert await queue.take() == b""
