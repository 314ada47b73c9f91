"""One member of the demo's crew: an agent in a process of its own that does what it is told.

It offers to count primes, bids what an hour of computing is worth to it, and can be elected. What
else it does it is told by whispers, and it tells what came of them as JSON lines on standard
output, for the demo to check.
"""

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any

import mabeam_p2p
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results.mail import Message
from mabeam_p2p.cli import output

GROUP = "crew"
ITEM = "gpu-hour"
LOCK = "report"
LEASE_SECONDS = 1.0
"""Of the lock: how long a holder that is paused keeps it from the others."""
SLOTS = 2
ARRAY = "gradients"
NUMBERS = 1_000_000
"""In each array, of four bytes each."""
WAIT_SECONDS = 20.0


def count_primes(block: list[int]) -> int:
    """How many primes there are from the first number on, up to but without the second."""
    first, end = block
    return sum(_is_prime(number) for number in range(max(first, 2), end))


def _is_prime(number: int) -> bool:
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True


def numbers_of(place: int) -> Any:
    """The array that party `place` brings, of numpy. Any: numpy may be missing."""
    import numpy

    return numpy.random.default_rng(place).standard_normal(NUMBERS, numpy.float32)


def bytes_of(place: int) -> bytes:
    """What party `place` brings where there is no numpy."""
    return random.Random(place).randbytes(4 * NUMBERS)


def digest_of(value: object) -> str:
    """Equal for equal bits. value: an array, or what was gathered, by agent."""
    hashed = hashlib.sha256()
    parts = value.items() if isinstance(value, dict) else [("", value)]
    for name, part in sorted(parts, key=lambda one: one[0]):
        hashed.update(name.encode())
        hashed.update(memoryview(part).cast("B"))
    return hashed.hexdigest()


async def exchange(agent: Agent, place: int, parties: int, reduces: bool) -> mabeam_p2p.BulkResult:
    """Take part in one exchange of arrays, as party `place`."""
    group = agent.group(GROUP)
    if reduces:
        mine = await asyncio.to_thread(numbers_of, place)
        return await group.all_reduce(mine, name=ARRAY, parties=parties, timeout=WAIT_SECONDS)
    mine = await asyncio.to_thread(bytes_of, place)
    return await group.gather(ARRAY, mine, parties=parties, timeout=WAIT_SECONDS)


class Member:
    """place: its number in the crew. worth: what it would pay for the item at most."""

    def __init__(self, agent: Agent, place: int, worth: int, report: Path) -> None:
        self._agent = agent
        self._group = agent.group(GROUP)
        self._place = place
        self._worth = worth
        self._guard = mabeam_p2p.Guard.file(report)
        self._token = 0

    async def begin(self, score: float) -> None:
        """Offer everything, then say that it is ready."""
        self._group.task(count_primes)
        self._group.bidder(ITEM)(lambda lot: mabeam_p2p.Bid(self._worth))
        self._agent.on_message("take")(self._take)
        self._agent.on_message("write")(self._write)
        self._agent.on_message("exchange")(self._exchange)
        await self._group.work(SLOTS)
        await self._group.publish_score({"performance": score})
        output.json_line({"ready": self._agent.id})

    async def _take(self, message: Message) -> None:
        lease = await self._group.lease(LOCK, LEASE_SECONDS, timeout=WAIT_SECONDS).acquire()
        self._token = lease.token
        output.json_line({"token": lease.token})

    async def _write(self, message: Message) -> None:
        """Under the token that it was granted last, whatever became of the lock since."""
        try:
            await asyncio.to_thread(self._guard.write, message.value, self._token)
        except mabeam_p2p.StaleToken as refusal:
            output.json_line({"token": refusal.token, "refused_for": refusal.highest})
        else:
            output.json_line({"token": self._token})

    async def _exchange(self, message: Message) -> None:
        asked = message.value
        result = await exchange(self._agent, self._place, asked["parties"], asked["reduces"])
        digest = await asyncio.to_thread(digest_of, result.value)
        output.json_line({"digest": digest, "parties": result.parties})


async def run(
    name: str, cluster: str, addr: str, place: int, worth: int, score: float, report: Path
) -> None:
    """Until the process ends."""
    async with mabeam_p2p.connect(
        name, cluster=cluster, addr=addr, group=GROUP, participates_in_consensus=False
    ) as agent:
        await Member(agent, place, worth, report).begin(score)
        await asyncio.Event().wait()


def main(arguments: list[str]) -> None:
    """Arguments: name, cluster, socket, place, worth, score, file of the report."""
    name, cluster, addr, place, worth, score, report = arguments
    with output.endings():
        asyncio.run(run(name, cluster, addr, int(place), int(worth), float(score), Path(report)))
