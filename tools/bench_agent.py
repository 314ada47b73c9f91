"""A contender of the bench: an application that embeds a peer and awaits each append of its agent.

Argument: the peer's Config as JSON.
"""

import asyncio
import sys
import time
from typing import assert_never

import msgspec

from mabeam_p2p import Config, Journal, MabeamError, Peer
from tools.bench_load import (
    ITEM,
    Order,
    Processor,
    Recorder,
    Role,
    Run,
    hear_orders,
    processor_seconds,
    reply,
)


async def append_all(journal: Journal, recorder: Recorder) -> None:
    """One after the other, until the run is over."""
    goes_on = True
    while goes_on:
        began = time.perf_counter()
        try:
            await journal.append(ITEM)
        except MabeamError:
            goes_on = recorder.ended(began, is_done=False)
        else:
            goes_on = recorder.ended(began, is_done=True)


async def obey(peer: Peer, journal: Journal, order: Order) -> None:
    match order:
        case Role():
            reply((await peer.status()).role)
        case Processor():
            reply(processor_seconds())
        case Run():
            recorder = Recorder(order)
            async with asyncio.TaskGroup() as group:
                for _ in range(order.outstanding):
                    group.create_task(append_all(journal, recorder))
            reply(recorder.sample())
        case _:
            assert_never(order)


async def serve(config: Config) -> None:
    """Until the parent ends."""
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[Order] = asyncio.Queue()

    def receive(order: Order) -> None:
        loop.call_soon_threadsafe(orders.put_nowait, order)

    hear_orders(receive)
    async with Peer(config) as peer:
        agent = await peer.agent("bench")
        while True:
            await obey(peer, agent.journal("bench"), await orders.get())


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config)))
