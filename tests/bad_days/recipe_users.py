"""Agents that use locks, counters and queues of real daemons, and remember what they saw.

A call whose outcome nobody heard may have had its effect. A claim that was not released, as far as
its agent knows, is lost some time before its agent's end.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import msgspec

from mabeam_p2p import (
    Agent,
    DaemonNotRunning,
    InvalidValue,
    LeaseLost,
    LockTimeout,
    MabeamError,
    NoQuorum,
    Overloaded,
    Rejected,
)
from mabeam_p2p.testing.recipes import LIMITS, Calls

UNDONE = (Rejected, NoQuorum, Overloaded, InvalidValue, DaemonNotRunning)
"""Errors that say: certainly not done."""

WAIT_SECONDS = 2.0
HOLD_SECONDS = 0.01


class _Claim(msgspec.Struct):
    key: str
    call: int
    since: int
    is_granted: bool = False


class User:
    """One agent, with one operation at a time."""

    def __init__(self, agent: Agent, calls: Calls, random: Random) -> None:
        self.done = 0
        """Operations that are over."""
        self._agent = agent
        self._calls = calls
        self._random = random
        self._claims: dict[str, _Claim] = {}
        """Those that may hold something, by name."""
        self._count = 0

    async def run(self, ends: asyncio.Event) -> None:
        while not ends.is_set():
            draw = self._random.random()
            try:
                if draw < 0.4:
                    await self._count_one()
                elif draw < 0.75:
                    await self._lock()
                elif draw < 0.88:
                    await self._put()
                else:
                    await self._take()
            except MabeamError:
                # Whatever it says, it has been noted where it was raised.
                await asyncio.sleep(0.05)
            self.done += 1

    def has_ended(self) -> None:
        """The agent's session has ended, and with it what it held."""
        for claim in tuple(self._claims):
            self._lost(claim)

    # ---- counters ----------------------------------------------------------------------------

    async def _count_one(self) -> None:
        random = self._random
        key = f"counter-{random.randrange(2)}"
        counter = self._agent.counter(key)
        draw = random.random()
        if draw < 0.4:
            call = self._begin(key, "get")
            try:
                self._calls.finish(call, await counter.get(timeout=WAIT_SECONDS))
            except MabeamError:
                self._calls.drop(call)
                raise
        elif draw < 0.8:
            call = self._begin(key, "add", 1)
            with self._noting(call):
                self._calls.finish(call, await counter.add(1))
        else:
            expected, value = random.randrange(3), random.randrange(3)
            call = self._begin(key, "compare_and_set", expected, value)
            with self._noting(call):
                self._calls.finish(call, await counter.compare_and_set(expected, value))

    # ---- locks and queues --------------------------------------------------------------------

    async def _lock(self) -> None:
        kind = self._random.choice(tuple(LIMITS))
        key, limit = f"{kind}-0", LIMITS[kind]
        permits = self._random.choice((1, limit)) if kind == "table" else 1
        lock = self._agent.semaphore(key, limit, permits=permits, timeout=WAIT_SECONDS)
        claim = self._claim(key, "acquire", permits)
        try:
            lease = await lock.acquire()
        except (LockTimeout, LeaseLost):
            self._lost(claim)
            raise
        except UNDONE:
            self._undone(claim)
            raise
        self._granted(claim, lease.token)
        await asyncio.sleep(self._random.random() * HOLD_SECONDS)
        call = self._begin(key, "release", claim)
        try:
            await lease.release()
        except LeaseLost:
            # Since when is not known: it is lost by the agent's end at the latest.
            self._calls.drop(call)
            raise
        self._calls.finish(call, True)
        del self._claims[claim]

    async def _put(self) -> None:
        key = "queue-0"
        item = b"%d %d" % (id(self), self._count)
        call = self._begin(key, "put", item)
        self._count += 1
        with self._noting(call):
            await self._agent.queue(key).put(item)
            self._calls.finish(call, None)

    async def _take(self) -> None:
        key = "queue-0"
        claim = self._claim(key, "take")
        try:
            item = await self._agent.queue(key).take(WAIT_SECONDS)
        except LeaseLost:
            self._lost(claim)
            raise
        except UNDONE:
            self._undone(claim)
            raise
        self._granted(claim, (item.value, item.token))
        self._calls.seen(item.value, item.position)
        acknowledges = self._random.random() < 0.7
        call = self._begin(key, "acknowledge" if acknowledges else "return", claim)
        try:
            await (item.acknowledge() if acknowledges else item.release())
        except LeaseLost:
            self._calls.drop(call)
            raise
        self._calls.finish(call, True)
        del self._claims[claim]

    # ---- notes -------------------------------------------------------------------------------

    def _begin(self, key: str, action: str, *arguments: object) -> int:
        return self._calls.begin(self._agent.id, key, action, *arguments)

    @contextmanager
    def _noting(self, call: int) -> Iterator[None]:
        """A call that is over with its outcome; one that is unknown stays open."""
        try:
            yield
        except UNDONE:
            self._calls.drop(call)
            raise

    def _claim(self, key: str, action: str, *arguments: object) -> str:
        self._count += 1
        name = f"{self._agent.id}/{self._count}"
        call = self._begin(key, action, name, *arguments)
        self._claims[name] = _Claim(key, call, self._calls.now())
        return name

    def _granted(self, claim: str, result: object) -> None:
        made = self._claims[claim]
        made.is_granted = True
        self._calls.finish(made.call, result)

    def _undone(self, claim: str) -> None:
        self._calls.drop(self._claims.pop(claim).call)

    def _lost(self, claim: str) -> None:
        """It holds nothing now."""
        made = self._claims.pop(claim)
        if not made.is_granted:
            self._calls.expire(made.call)
        self._calls.add(self._agent.id, made.key, "lost", claim, since=made.since)
