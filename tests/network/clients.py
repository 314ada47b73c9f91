"""Clients that append to lists and read them, each attached to one peer, and what they saw."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType

from mabeam_p2p import Agent, connect
from mabeam_p2p.errors import MabeamError, NoQuorum, Overloaded
from mabeam_p2p.testing.linearizability import Anomaly, Append, Operation, Read, Result, anomalies
from tests.network.lan import Host
from tests.network.peers import SECONDS, Cluster, Peer, until

SIDES = ("left", "right")
LIST_ITEMS = 1_000
"""Of both sides together, before lists are left for new ones: a journal keeps its last 4,096."""
READ_SHARE = 0.3
OPERATION_SECONDS = 2.0
PAUSE_SECONDS = 0.02


class Items:
    """What is appended, each once, and the lists that it is appended to."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> bytes:
        self._count += 1
        return b"%d" % self._count

    def lists(self) -> list[str]:
        """Those of now."""
        return self._lists(self._count // LIST_ITEMS)

    def all_lists(self) -> list[str]:
        generations = range(self._count // LIST_ITEMS + 1)
        return [key for generation in generations for key in self._lists(generation)]

    def _lists(self, generation: int) -> list[str]:
        return [f"{side}-{generation}" for side in SIDES]


class Client:
    """It works through the one peer that it is attached to."""

    def __init__(self, peer: Peer, agent: Agent, items: Items, pause: float) -> None:
        self.peer = peer
        self.agent = agent
        self.history: list[Operation] = []
        self._items = items
        self._pause = pause
        self._random = Random(agent.id)

    async def run(self, ends: asyncio.Event) -> None:
        while not ends.is_set():
            key = self._random.choice(self._items.lists())
            if self._random.random() < READ_SHARE:
                await self.read(key)
            else:
                await self._append(key)
            await asyncio.sleep(self._pause)

    async def _append(self, key: str) -> None:
        append = Append(self.peer.name, key, self._items.next(), time.monotonic_ns())
        self.history.append(append)
        try:
            append.position = await self.agent.journal(key).append(
                append.item, timeout=OPERATION_SECONDS
            )
        except (NoQuorum, Overloaded):
            append.result = Result.NOT_DONE
        except MabeamError:
            return  # It may have happened, or may still.
        else:
            append.result = Result.DONE
            append.returned = time.monotonic_ns()

    async def read(self, key: str) -> bool:
        """Whether there was an answer."""
        invoked = time.monotonic_ns()
        try:
            items = await self.agent.journal(key).read(timeout=OPERATION_SECONDS)
        except MabeamError:
            return False
        seen = tuple(bytes(item.value) for item in items)
        self.history.append(Read(self.peer.name, key, seen, invoked, time.monotonic_ns()))
        return True

    def acknowledged(self, since: int) -> list[Append]:
        """Appends that began later and are known to be done."""
        return [
            operation
            for operation in self.history
            if isinstance(operation, Append)
            and operation.result is Result.DONE
            and operation.invoked > since
        ]

    def is_refused(self, since: int) -> bool:
        """Whether it was told of an append that began later that it is certainly not done."""
        return any(
            isinstance(operation, Append)
            and operation.result is Result.NOT_DONE
            and operation.invoked > since
            for operation in self.history
        )


class Clients:
    """One at each of these peers, by default at all of a cluster. They work within the context,
    with a pause of so many seconds after each operation."""

    def __init__(
        self,
        cluster: Cluster,
        peers: Sequence[Peer] | None = None,
        *,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self.clients: list[Client] = []
        self._cluster = cluster
        self._peers = cluster.peers if peers is None else peers
        self._items = Items()
        self._pause = pause
        self._ends = asyncio.Event()
        self._stack = AsyncExitStack()
        self._working: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Clients":
        for peer in self._peers:
            joining = connect(
                f"client-{peer.name}", cluster=self._cluster.name, addr=peer.socket, lease=None
            )
            agent = await self._stack.enter_async_context(joining)
            self.clients.append(Client(peer, agent, self._items, self._pause))
        self._working = [asyncio.create_task(client.run(self._ends)) for client in self.clients]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop_working()
        await self._stack.aclose()

    def on(self, hosts: Iterable[Host]) -> list[Client]:
        wanted = list(hosts)
        return [client for client in self.clients if client.peer.host in wanted]

    async def progress(self, clients: Sequence[Client], what: str, *, of_all: bool) -> float:
        """Return once a write of each of these, or of one, that begins from now on is acknowledged;
        the seconds until then."""
        began = time.monotonic_ns()

        async def seen() -> bool:
            for task in self._working:
                if task.done():
                    task.result()
            return (all if of_all else any)(client.acknowledged(began) for client in clients)

        await until(seen, f"a write is acknowledged: {what}")
        return (time.monotonic_ns() - began) / 1e9

    async def refusals(self, clients: Sequence[Client]) -> None:
        """Return once each of these was told that a write which began from now on is not done."""
        began = time.monotonic_ns()

        async def seen() -> bool:
            return all(client.is_refused(began) for client in clients)

        await until(seen, f"{[client.peer for client in clients]} hear that there is no quorum")

    async def verdict(self) -> list[Anomaly]:
        """What no order of all that was seen explains. They stop working, and everything is read
        once more, at every peer."""
        await self._stop_working()
        for client in self.clients:
            for key in self._items.all_lists():
                await until(lambda c=client, k=key: c.read(k), f"{client.peer} reads", SECONDS)  # type: ignore[misc]
        return list(anomalies(op for client in self.clients for op in client.history))

    async def _stop_working(self) -> None:
        self._ends.set()
        working, self._working = self._working, []
        await asyncio.gather(*working)
