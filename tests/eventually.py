"""Waiting for a condition, with a deadline that only a failure reaches."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mabeam_p2p import DaemonNotRunning, NoQuorum

T = TypeVar("T")


async def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once `condition()` holds; fail after `seconds` of real time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"never came true within {seconds} s"
        await asyncio.sleep(0.002)


async def in_one_of(tries: int, scene: Callable[[], Awaitable[bool]]) -> None:
    """Fail unless `scene()` is true once: for what a machine that stands still for a while spoils
    now and then, and a fault each time."""
    for _ in range(tries):
        if await scene():
            return
    raise AssertionError(f"not once in {tries} tries")


async def done_at_last(act: Callable[[], Awaitable[T]], seconds: float = 60.0) -> T:
    """What `act()` gives, tried again while it was certainly not done: what an agent asks for waits
    for its session to be opened again, but not for as long as a busy machine takes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await act()
        except (NoQuorum, DaemonNotRunning):
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(0.01)
