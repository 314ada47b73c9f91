"""Many agents spend one budget and one purse while their daemons are killed with SIGKILL: neither
is ever overspent, whatever each agent is told of what it did."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from decimal import Decimal

import pytest

from mabeam_p2p import (
    Agent,
    BudgetExceeded,
    InsufficientFunds,
    MabeamError,
    Rejected,
    connect,
)
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import house
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

NAMES = ("ant", "bee", "cow", "dog", "eel")
SPENT = Decimal("0.75")
"""Of each unit that is reserved."""
PATIENCE_SECONDS = 0.5
"""Of each operation: short, so that what a killed daemon had under way stays unknown."""


@pytest.fixture
def five() -> Iterator[Fleet]:
    with house() as place:
        cluster = Fleet(place, *NAMES)
        cluster.start(*NAMES)
        yield cluster


class Race:
    """What all agents know together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        """Acknowledged."""
        self.maybe_spent = 0
        """How often it was unknown at first."""
        self.paid = 0
        self.errors: dict[str, int] = {}

    async def run(self, agent: Agent) -> None:
        """Spend and pay until there is nothing left of either."""
        await asyncio.gather(self._spend(agent), self._pay(agent))

    async def _spend(self, agent: Agent) -> None:
        while True:
            reservation = agent.budget("sweep").reserve(1, timeout=PATIENCE_SECONDS)
            try:
                while not await self._is_done(reservation.open()):
                    pass
            except BudgetExceeded:
                if await self._seen(agent) + 1 > self.limit:
                    return
                await asyncio.sleep(0.05)
                continue
            try:
                while not await self._is_done(reservation.commit(SPENT)):
                    self.maybe_spent += 1
            except Rejected as error:
                # Its session has ended, and the reservation with it.
                if error.reason != "unknown_reservation":
                    raise
            else:
                self.spent += 1

    async def _is_done(self, step: Coroutine[object, object, object]) -> bool:
        """Whether it is certain that it was done; refusals are raised."""
        try:
            await step
        except MabeamError as error:
            # Its session has ended: certainly not done, and the next one does it.
            if isinstance(error, Rejected) and error.reason != "unknown_session":
                raise
            name = type(error).__name__
            self.errors[name] = self.errors.get(name, 0) + 1
            await asyncio.sleep(0.2)
            return False
        return True

    async def _seen(self, agent: Agent) -> Decimal:
        """What is spent as far as the agent's peer knows; nothing while it is away."""
        try:
            facts = await agent.budget("sweep").status(level="local")
        except MabeamError:
            return Decimal(0)
        assert facts.spent + facts.reserved <= facts.limit
        return facts.spent

    async def _pay(self, agent: Agent) -> None:
        for number in range(self.limit + 1):
            # Asked again under its id, also by another session, it is paid once.
            operation = f"{agent.id} {number}"
            try:
                while not await self._is_done(self._transfer(agent, operation)):
                    pass
            except InsufficientFunds:
                return
            self.paid += 1

    async def _transfer(self, agent: Agent, operation: str) -> None:
        await agent.ledger.transfer(
            agent.id,
            "unit",
            1,
            source="purse",
            operation=operation,
            timeout=PATIENCE_SECONDS,
        )


async def race(five: Fleet, agents_each: int, limit: int, kills: int) -> Race:
    """So many agents at each of five daemons spend a budget of `limit` and a purse of as much; as
    often as told, the leader and another daemon are killed meanwhile and started again."""
    result = Race(limit)
    async with AsyncExitStack() as stack:

        async def attached(name: str, number: int) -> Agent:
            return await stack.enter_async_context(connect(f"a{number}", addr=name))

        agents = await asyncio.gather(
            *(attached(name, n) for name in NAMES for n in range(agents_each))
        )
        await agents[0].budget("sweep").set(limit)
        await agents[0].ledger.mint("unit", limit, account="purse")
        runners = [asyncio.create_task(result.run(agent)) for agent in agents]
        for kill in range(kills):
            share = limit * (kill + 1) // (kills + 2)
            await eventually(lambda: result.spent >= share and result.paid >= share, 120)  # noqa: B023
            leader = await agents[0].wait_for_leader(timeout=60)
            assert not all(runner.done() for runner in runners), "nothing is left to race for"
            other = next(name for name in NAMES[kill:] if name != leader.name)
            five.kill(leader.name, other)
            await asyncio.sleep(0)
            await asyncio.to_thread(five.start, leader.name, other)
        await asyncio.wait_for(asyncio.gather(*runners), 240)
        await judge(result, list(agents))
    return result


async def judge(result: Race, agents: list[Agent]) -> None:
    limit = result.limit
    for agent in (agents[0], agents[-1]):
        budget = await agent.budget("sweep").status(timeout=30)
        assert budget.spent + budget.reserved <= limit
        # All that was acknowledged is there, and nothing that nobody did.
        assert result.spent * SPENT <= budget.spent
        assert budget.spent <= (result.spent + result.maybe_spent) * SPENT
        assert budget.spent > limit - 1
        purse = await agent.ledger.read("unit", account="purse", timeout=30)
        assert (purse.balance, purse.held) == (Decimal(0), Decimal(0))
        (unit,) = [one for one in await agent.ledger.currencies() if one.name == "unit"]
        assert unit.minted - unit.burned == limit
        balances = [
            (await agent.ledger.read("unit", account=owner.id, level="local")).balance
            for owner in agents
        ]
        assert sum(balances) == limit
    # Each operation was asked for until its outcome was known, so that all were acknowledged.
    assert result.paid == limit


@in_loop
async def test_a_budget_and_a_purse_are_never_overspent_though_daemons_are_killed(
    five: Fleet,
) -> None:
    await race(five, agents_each=4, limit=120, kills=1)
