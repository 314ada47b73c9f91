"""Waiting for a condition, with a deadline that only a failure reaches."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once `condition()` holds; fail after `seconds` of real time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"never came true within {seconds} s"
        await asyncio.sleep(0.002)
