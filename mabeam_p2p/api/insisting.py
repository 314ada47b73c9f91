"""Saying what may be said twice until it gets through."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    InvalidValue,
    MabeamError,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
    Rejected,
)

T = TypeVar("T")

NOT_DONE = (NoQuorum, Overloaded, DaemonNotRunning)
"""What is certainly not done and may soon be: there is no quorum, or the agent is being attached
anew."""

PAUSE_SECONDS = 0.2
"""Before what did not get through is said again."""


async def insistently(say: Callable[[], Awaitable[T]], is_wanted: Callable[[], object]) -> T | None:
    """What `say` gives, asked again while it is not known to be done; None if it is not wanted any
    more. Raises what else it raises, as a refusal."""
    while is_wanted():
        try:
            return await say()
        except (*NOT_DONE, OutcomeUnknown):
            await asyncio.sleep(PAUSE_SECONDS)
    return None


async def until_heard(
    say: Callable[[], Awaitable[object]], is_wanted: Callable[[], object] = lambda: True
) -> None:
    """Say it until the log has heard it or certainly never will: it is refused, here or there, the
    agent has closed, or it is not wanted any more. Raises nothing: for what nobody waits for."""
    while is_wanted():
        try:
            await say()
        except (Closed, InvalidValue, Rejected):
            return
        except MabeamError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
