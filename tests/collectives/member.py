"""A process with one agent that takes part in reductions as it is told.

Argument: Setup as JSON. It says `ready`, then one Report for each Step that it hears.
"""

import asyncio
import hashlib
import sys
from contextlib import AsyncExitStack
from functools import partial

import msgspec
import numpy
from msgspec import Struct

from mabeam_p2p import Agent, BulkBroken, Config, Peer, connect
from mabeam_p2p.protocol.bulk import PART, Exchange, Parcel
from tests.eventually import done_at_last
from tools.children import hear, say

ITEMS = 3_000_000


class Setup(Struct, frozen=True):
    """config: of a peer of its own; without one the agent attaches to the daemon at `addr`."""

    name: str
    addr: str | None = None
    config: Config | None = None


class Step(Struct, frozen=True):
    """Reduce an array that holds `value` everywhere."""

    name: str
    parties: int
    value: float
    timeout: float = 60.0
    stall_after: int | None = None
    """Say `stalled` instead of sending more than so many chunks."""
    withhold: int | None = None
    """The place of a member that does not get what this one has combined."""


class Report(Struct, frozen=True):
    parties: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 0.0
    digest: str = ""
    """Of the result's bytes."""
    error: str = ""
    missing: tuple[str, ...] = ()
    leader: str = ""
    """Its peer's name, as far as this one knows."""


def stall_after(count: int) -> None:
    """Let this process send so many chunks, and no more."""
    send = Exchange.next_parcel
    sent = 0

    def next_parcel(self: Exchange, target: int) -> Parcel | None:
        nonlocal sent
        parcel = send(self, target)
        if parcel is None or sent > count:
            return None
        sent += 1
        if sent > count:
            say(b"stalled")
            return None
        return parcel

    Exchange.next_parcel = next_parcel  # type: ignore[method-assign]


def withhold(place: int) -> None:
    """Send this member no more than contributions."""
    send = Exchange.next_parcel

    def next_parcel(self: Exchange, target: int) -> Parcel | None:
        if target != place:
            return send(self, target)
        parts = (parcel for parcel in self._wanted[target] if parcel.stage == PART)
        return next(parts, None)

    Exchange.next_parcel = next_parcel  # type: ignore[method-assign]


async def take(agent: Agent, step: Step) -> Report:
    if step.stall_after is not None:
        stall_after(step.stall_after)
    if step.withhold is not None:
        withhold(step.withhold)
    array = numpy.full(ITEMS, step.value, "f4")
    try:
        result = await agent.all_reduce(
            array, name=step.name, parties=step.parties, timeout=step.timeout
        )
    except BulkBroken as error:
        return Report(error=str(error), missing=error.missing)
    value = result.value
    digest = hashlib.sha256(value.data).hexdigest()
    least, most = float(value.min()), float(value.max())
    leader = await agent.wait_for_leader()
    return Report(result.parties, result.left_out, least, most, digest, leader=leader.name)


async def obey(agent: Agent) -> None:
    loop = asyncio.get_running_loop()
    steps: asyncio.Queue[bytes] = asyncio.Queue()

    def receive(line: bytes) -> None:
        loop.call_soon_threadsafe(steps.put_nowait, line)

    hear(receive)
    say(b"ready")
    while True:
        step = msgspec.json.decode(await steps.get(), type=Step)
        say(msgspec.json.encode(await take(agent, step)))


async def attached(stack: AsyncExitStack, name: str, addr: str | None) -> Agent:
    return await stack.enter_async_context(connect(name, addr=addr))


async def serve(setup: Setup) -> None:
    """Until the parent ends."""
    if setup.config is None:
        async with AsyncExitStack() as stack:
            attach = partial(attached, stack, setup.name, setup.addr)
            await obey(await done_at_last(attach))
    else:
        async with Peer(setup.config) as peer:
            await obey(await peer.agent(setup.name))


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Setup)))
