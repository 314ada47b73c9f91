"""A process of the bulk bench: a peer with one agent that reduces arrays, and commits.

Argument: the peer's Config as JSON.
"""

import asyncio
import sys
import time
from typing import assert_never

import msgspec
import numpy

from mabeam_p2p import Agent, Config, Peer
from tools.bench_bulk_load import (
    Commit,
    Enough,
    Order,
    Reduce,
    Role,
    Times,
    Word,
    decode_order,
    hear,
    reply,
)


class Member:
    def __init__(self, peer: Peer, agent: Agent, parties: int) -> None:
        self._peer = peer
        self._agent = agent
        self._parties = parties
        self._enough = asyncio.Event()

    async def obey(self, order: Order) -> None:
        match order:
            case Reduce():
                await self._reduce(order)
            case Commit():
                await self._commit(order)
            case Enough():
                self._enough.set()
            case Role():
                reply(Word((await self._peer.status()).role))
            case _:
                assert_never(order)

    async def _reduce(self, order: Reduce) -> None:
        array = numpy.ones(order.size // 4, "f4")
        taken: list[float] = []
        for _ in range(order.repeat):
            await self._agent.barrier(order.name, parties=self._parties).wait()
            began = time.perf_counter()
            result = await self._agent.all_reduce(array, name=order.name, parties=self._parties)
            taken.append(time.perf_counter() - began)
            assert len(result.parties) == self._parties
            assert result.value[0] == result.value[-1] == 1
        reply(Times(taken, "Reduce"))

    async def _commit(self, order: Commit) -> None:
        self._enough.clear()
        journal = self._agent.journal("bench")
        taken: list[float] = []
        end = None if order.seconds is None else time.perf_counter() + order.seconds
        while not self._enough.is_set():
            began = time.perf_counter()
            await journal.append(b"0123456789")
            taken.append(time.perf_counter() - began)
            if end is not None and time.perf_counter() > end and len(taken) > 1:
                break
        reply(Times(taken, "Commit"))


async def serve(config: Config) -> None:
    """Until the parent ends."""
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[bytes] = asyncio.Queue()

    def receive(line: bytes) -> None:
        loop.call_soon_threadsafe(orders.put_nowait, line)

    hear(receive)
    async with Peer(config) as peer, asyncio.TaskGroup() as group:
        agent = await peer.agent("bench")
        member = Member(peer, agent, config.expect)
        reply(Word("ready"))
        while True:
            group.create_task(member.obey(decode_order(await orders.get())))


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config)))
