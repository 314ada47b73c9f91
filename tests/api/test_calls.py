"""Functions that users have declared, called in threads and in the loop."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from mabeam_p2p.api.calls import Calls, SelfCancelled
from tests.in_loop import in_loop


@pytest.mark.parametrize("error", [StopIteration("over"), SystemExit(3), KeyboardInterrupt()])
@in_loop
async def test_what_ends_a_program_or_an_iteration_ends_one_call_and_frees_its_thread(
    error: BaseException,
) -> None:
    calls = Calls("appliers", threads_max=1)

    def declared() -> None:
        raise error

    for _ in range(2):
        with pytest.raises(RuntimeError, match=type(error).__name__):
            async with asyncio.timeout(10):
                await calls.call(declared)


@in_loop
async def test_a_function_that_ends_as_cancelled_has_raised_and_its_caller_goes_on() -> None:
    calls = Calls("appliers")

    async def declared() -> int:
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other
        return 1

    function: Callable[[], Awaitable[int] | int] = declared
    with pytest.raises(SelfCancelled, match="cancelled itself"):
        await calls.call(function)


@in_loop
async def test_who_is_cancelled_or_late_while_a_function_runs_is() -> None:
    calls = Calls("appliers")
    begun = asyncio.Event()

    async def declared() -> int:
        begun.set()
        await asyncio.Event().wait()
        return 1

    function: Callable[[], Awaitable[int] | int] = declared
    calling = asyncio.create_task(calls.call(function))
    await begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await calls.call(function)


@in_loop
async def test_errors_and_results_come_back_as_they_are() -> None:
    calls = Calls("appliers")

    def wrong() -> None:
        raise ValueError("loss is NaN")

    async def number(value: int) -> int:
        return value

    def awaitable() -> Awaitable[int]:
        return number(3)

    with pytest.raises(ValueError, match="loss is NaN"):
        await calls.call(wrong)
    assert await calls.call(lambda: 1) == 1
    of_loop: Callable[[], int | Awaitable[int]] = partial(number, 2)
    of_thread: Callable[[], int | Awaitable[int]] = awaitable
    assert await calls.call(of_loop) == 2
    assert await calls.call(of_thread) == 3
