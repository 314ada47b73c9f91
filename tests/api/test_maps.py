"""The results of a map and its items, without peers: who ends it, and how its reader hears it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

import pytest

from mabeam_p2p.api.results.tasks import TaskResult
from mabeam_p2p.api.tasks import TaskStream
from tests.virtual_time import in_virtual_time


def stream(items: Iterable[object] | AsyncIterable[object]) -> TaskStream:
    """Of tasks that give back what they were given."""

    async def one(item: object) -> TaskResult:
        return TaskResult("task", item, "a@ant", 0.0, 1)

    return TaskStream(one, items, window=8, on_error="raise")


async def cancelled() -> AsyncIterator[int]:
    """Awaits what nobody is going to do, as the work of a pool that was shut down."""
    yield 1
    given_up = asyncio.get_running_loop().create_future()
    given_up.cancel()
    yield await given_up


def cancelling() -> Iterator[int]:
    yield 1
    raise asyncio.CancelledError


@pytest.mark.parametrize("items", [cancelled, cancelling])
@in_virtual_time
async def test_a_cancellation_that_the_items_raise_is_heard_behind_the_results(
    items: Callable[[], Iterable[object] | AsyncIterable[object]],
) -> None:
    results = stream(items())
    assert (await anext(results)).value == 1
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(anext(results), 60)
    with pytest.raises(StopAsyncIteration):
        await anext(results)
    assert results.total == 1


@in_virtual_time
async def test_a_map_that_is_closed_while_its_items_wait_ends_without_an_error() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        await asyncio.get_running_loop().create_future()

    results = stream(items())
    assert (await anext(results)).value == 1
    results.close()
    await results.ending
    with pytest.raises(StopAsyncIteration):
        await anext(results)
