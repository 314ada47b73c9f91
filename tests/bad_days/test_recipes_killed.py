"""Daemons killed with SIGKILL under agents that use locks, counters and queues."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from random import Random

import pytest

from mabeam_p2p import connect
from mabeam_p2p.testing.recipes import Calls, model_of
from mabeam_p2p.testing.wing_gong import anomalies
from tests.bad_days.fleet import Fleet
from tests.bad_days.recipe_users import User
from tests.cli.daemons import house
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = 5
OPERATIONS_BETWEEN = 150
SECONDS = 60.0
"""Deadline of every wait: reached by a failure only."""


async def kill_and_start(fleet: Fleet, random: Random, users: list[User]) -> None:
    """One daemon after the other, the leader as well, with work between."""
    for _ in range(KILLS):
        done = sum(user.done for user in users)
        await eventually(
            lambda: sum(user.done for user in users) > done + OPERATIONS_BETWEEN,  # noqa: B023
            SECONDS,
        )
        name = random.choice(fleet.names)
        fleet.kill(name)
        await asyncio.to_thread(fleet.start, name)


@in_loop
async def test_what_agents_saw_of_locks_counters_and_queues_has_an_order_under_kills() -> None:
    random = Random("kills")
    calls = Calls(time.monotonic_ns)
    with house() as place:
        fleet = Fleet(place, "ant", "bee", "cow")
        await asyncio.to_thread(fleet.start, *fleet.names)
        async with AsyncExitStack() as stack:
            agents = [
                await stack.enter_async_context(connect(f"u{number}", addr=name))
                for number, name in enumerate(fleet.names * 2)
            ]
            users = [User(agent, calls, Random(agent.id)) for agent in agents]
            ends = asyncio.Event()
            working = [asyncio.create_task(user.run(ends)) for user in users]
            await kill_and_start(fleet, random, users)
            ends.set()
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*working)
        for user in users:
            user.has_ended()
    history = calls.history
    seen = Counter(call.action for call in history if not call.may)
    assert min(seen[action] for action in ("add", "acquire", "release", "put", "take")) > 10
    assert list(anomalies(history, model_of)) == []
