"""The steps about what agents give each other: money for an hour of computing, arrays, and work."""

import asyncio
import importlib.util
import os
import signal
from decimal import Decimal
from typing import Any

from mabeam_p2p.api.results.tasks import TaskResult
from mabeam_p2p.cli.demo import crew as program
from mabeam_p2p.cli.demo.crew import ITEM, NUMBERS, count_primes
from mabeam_p2p.cli.demo.director import Crew, Member
from mabeam_p2p.cli.demo.scene import POLL_SECONDS, Scene, alike
from mabeam_p2p.cli.demo.stage import ClaimFailed, Step

CURRENCY = "credit"
PURSE = 100
"""What each member has before the auction."""
RESERVE = 10
BIDDING_SECONDS = 1.0

BLOCK_COUNT = 24
BLOCK_NUMBERS = 10_000
"""So many that a task takes some hundredths of a second."""
DONE_BEFORE = 5
"""Results that have come before a worker is killed."""
ATTEMPTS_MAX = 40
"""How often it is looked whether a worker has something in its hands."""


async def auction(scene: Scene, step: Step, crew: Crew) -> None:
    stage, group = scene.stage, crew.group
    for member in crew.members:
        await group.ledger.mint(CURRENCY, PURSE, account=member.id)
    opened = await group.market.open(
        ITEM, rule="vickrey", reserve=RESERVE, currency=CURRENCY, timeout=BIDDING_SECONDS
    )
    stage.progress("sealed bids")

    async def have_bid() -> bool:
        seen = await group.market.show(opened.id)
        return seen.is_over or len(seen.bids) == len(crew.members)

    await scene.until(have_bid)
    _, escrow = await _money(crew)
    # On a machine that stood still it may have ended meanwhile, and nothing is held any more.
    was_open = not (await group.market.show(opened.id)).is_over
    ended = await group.market.wait(opened.id)
    # Who was too late with its bid is none of the bidders.
    bidders = [one for one in crew.members if ended.bid_of(one.id) is not None]
    ranked = sorted(bidders, key=lambda member: -member.worth)
    if len(ranked) < 2 or ended.award is None:
        raise ClaimFailed(f"the auction is {ended.status} with {len(ranked)} bids")
    winner, price = ranked[0], Decimal(ranked[1].worth)
    for member in ranked:
        stage.say(f"{member.id} bids {member.worth}")
    stage.check(
        step,
        f"{len(ranked)} sealed bids: {ended.award.bidder} wins with the highest and pays the "
        f"second highest, {ended.award.payment} (Vickrey)",
        (ended.award.bidder, ended.award.payment) == (winner.id, price),
    )
    seen = await scene.everywhere(lambda voice: voice.market.show(opened.id))
    stage.check(
        step, f"all {len(seen)} peers have the same award, at the same index of the log",
        alike(one.to_dict() for one in seen.values()),
    )  # fmt: skip
    balances, held = await _money(crew)
    expected = {member.id: Decimal(PURSE) for member in crew.members}
    expected[winner.id] -= price
    expected[crew.director.id] = price
    seen_held = f"the bids were covered by {escrow:.2f} {CURRENCY}s in escrow; now " * was_open
    stage.check(
        step,
        f"{seen_held}nothing is held, and not one of the {PURSE * len(crew.members)} {CURRENCY}s "
        f"was made or lost",
        (escrow >= price or not was_open) and held == 0 and balances == expected,
    )
    step.facts |= {
        "winner": winner.id,
        "price": float(price),
        "escrow": float(escrow),
        "index": ended.index,
    }


async def _money(crew: Crew) -> tuple[dict[str, Decimal], Decimal]:
    """What each can spend, and what is held of all of them together, by linearizable reads."""
    accounts = [crew.director.id, *(member.id for member in crew.members)]
    read = [await crew.group.ledger.read(CURRENCY, account=account) for account in accounts]
    return {one.account: one.balance for one in read}, sum((o.held for o in read), Decimal(0))


async def all_reduce(scene: Scene, step: Step, crew: Crew) -> None:
    """The director is the last of the parties."""
    stage = scene.stage
    reduces = importlib.util.find_spec("numpy") is not None
    if not reduces:
        stage.say("numpy is not installed: bytes are gathered instead of arrays reduced")
    place = len(crew.members)
    parties = place + 1
    for member in crew.members:
        await crew.order(member, "exchange", {"parties": parties, "reduces": reduces})
    result = await program.exchange(crew.director, place, parties, reduces)
    replies = [await crew.reply(member) for member in crew.members]
    digest = await asyncio.to_thread(program.digest_of, result.value)
    doing = "averaged arrays" if reduces else "gathered bytes"
    stage.check(
        step,
        f"{parties} processes have {doing}, {4 * NUMBERS / 1e6:g} MB of each, directly between "
        f"each other, in {result.seconds:.2f} s: all have the same bits",
        all((one.digest, one.parties) == (digest, result.parties) for one in replies)
        and len(result.parties) == parties,
    )
    check = _is_mean if reduces else _is_gathered
    places = [*crew.members, None]
    stage.check(
        step,
        "the result is what one process computes alone from all that was brought",
        await asyncio.to_thread(check, result.value, crew.director.id, places),
    )
    step.facts |= {
        "collective": "all_reduce" if reduces else "gather",
        "bytes": 4 * NUMBERS,
        "parties": list(result.parties),
        "exchange_seconds": round(result.seconds, 3),
    }


def _is_mean(value: Any, director: str, members: list[Member | None]) -> bool:
    import numpy

    brought = [program.numbers_of(place) for place in range(len(members))]
    exact = sum(numpy.asarray(one, numpy.float64) for one in brought) / len(brought)
    return bool(numpy.allclose(value, exact, rtol=0, atol=1e-6))


def _is_gathered(value: object, director: str, members: list[Member | None]) -> bool:
    expected = {
        director if member is None else member.id: program.bytes_of(place)
        for place, member in enumerate(members)
    }
    return value == expected


async def tasks(scene: Scene, step: Step, crew: Crew) -> None:
    stage, group = scene.stage, crew.group
    blocks = [[n * BLOCK_NUMBERS, (n + 1) * BLOCK_NUMBERS] for n in range(BLOCK_COUNT)]
    results: list[TaskResult] = []
    killed, lost = None, 0
    workers = len(crew.members)
    async with group.map(count_primes, blocks) as stream:
        async for result in stream:
            results.append(result)
            stage.progress(f"{stream.done} of {stream.total} tasks, the last by {result.agent}")
            if killed is None and len(results) >= DONE_BEFORE:
                # Not the one that is about to be elected.
                killed = min(crew.members, key=lambda member: member.score)
                lost = await _kill_at_work(crew, killed)
    if killed is None:
        raise ClaimFailed(f"{len(results)} results came")
    again = sum(result.attempts > 1 for result in results)
    stage.check(
        step,
        f"{workers} agents work on {BLOCK_COUNT} tasks; {killed.id} was killed by kill -9 with "
        f"{lost} of them in its hands, and others have done {again} anew",
        lost > 0 and again > 0,
    )
    done = await group.tasks("done", level="linearizable")
    stage.check(
        step,
        f"all {len(results)} results are there, and the log has accepted each once",
        sorted(result.index for result in results) == list(range(BLOCK_COUNT))
        and sorted(result.id for result in results) == sorted(task.id for task in done),
    )
    counted = sum(result.value for result in results)
    stage.check(
        step,
        f"together they have found the {counted} primes under {BLOCK_COUNT * BLOCK_NUMBERS}",
        counted == await asyncio.to_thread(count_below, BLOCK_COUNT * BLOCK_NUMBERS),
    )
    by_agent = [result.agent for result in results]
    step.facts |= {
        "tasks": len(results),
        "killed": killed.id,
        "in_its_hands": lost,
        "again": again,
        "by_agent": {agent: by_agent.count(agent) for agent in sorted(set(by_agent))},
    }


async def _kill_at_work(crew: Crew, member: Member) -> int:
    """Kill the member while it works; how many tasks it held then."""

    async def in_its_hands() -> set[str]:
        leased = await crew.group.tasks("leased", level="linearizable")
        return {task.id for task in leased if task.agent == member.id}

    for _ in range(ATTEMPTS_MAX):
        # Stopped, it cannot end a task between the look and the kill. What it had ended before is
        # on its way into the log, and not in its hands at the second look.
        os.killpg(member.process.pid, signal.SIGSTOP)
        held = await in_its_hands()
        await asyncio.sleep(POLL_SECONDS)
        held &= await in_its_hands()
        if held:
            await crew.kill(member)
            return len(held)
        os.killpg(member.process.pid, signal.SIGCONT)
        await asyncio.sleep(POLL_SECONDS)
    raise ClaimFailed(f"{member.id} was never seen at work")


def count_below(end: int) -> int:
    """How many primes there are below, counted in another way (Eratosthenes)."""
    flags = bytearray([1]) * end
    flags[:2] = b"\0\0"
    for number in range(2, int(end**0.5) + 1):
        if flags[number]:
            flags[number * number :: number] = bytes(len(range(number * number, end, number)))
    return sum(flags)
