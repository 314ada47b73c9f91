"""How agents of this process come to sockets for much data: one thread for each address of this
machine that they listen on, begun by the first that needs it and ended with the last."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import NamedTuple, TypeVar

from mabeam_p2p.addresses import split_address
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import Overloaded
from mabeam_p2p.runtime.bulk import BulkThread, Order

T = TypeVar("T")
Key = tuple[str, Limits]


class _Shared:
    """A thread, how many use it, and how many exchanges they have under way on it."""

    def __init__(self, thread: BulkThread) -> None:
        self.thread = thread
        self.users = 0
        self.exchange_count = 0


_threads: dict[Key, _Shared] = {}
_lock = Lock()


def _forget_all() -> None:
    """In a forked child, where none of the threads runs."""
    _threads.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_all)


class Endpoint(NamedTuple):
    """Where exchanges happen. address: where others reach it."""

    thread: BulkThread
    address: str
    shared: _Shared
    exchanges_max: int

    @contextmanager
    def place(self) -> Iterator[None]:
        """Room for one exchange, taken before others are made to wait for it. Raises Overloaded."""
        with _lock:
            if self.shared.exchange_count >= self.exchanges_max:
                raise Overloaded(
                    f"{self.exchanges_max} exchanges of bulk data are under way in this process; "
                    "nothing was done: wait until some are over"
                )
            self.shared.exchange_count += 1
        try:
            yield
        finally:
            with _lock:
                self.shared.exchange_count -= 1

    async def missing(self, token: bytes) -> tuple[int, ...]:
        """The places of those for whom the exchange waits."""
        told: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self.thread.missing(token, lambda places: settle(told, places))
        return await told

    def begin(self, order: Order) -> None:
        self.thread.begin(order)

    def end(self, token: bytes) -> None:
        self.thread.end(token)


class BulkAccess:
    """One user's way to them: of an attachment to a peer.

    peer_address: where that peer is reached at the moment; bulk data listens on the same interface.
    When that is another one, what is under way over the old one is given up: nobody reaches it.
    """

    def __init__(self, peer_address: Callable[[], Awaitable[str]], limits: Limits) -> None:
        self._peer_address = peer_address
        self._limits = limits
        self._shared: _Shared | None = None
        self._host = ""

    async def endpoint(self) -> Endpoint:
        """Begun if need be. Raises AddressError."""
        host, _ = split_address(await self._peer_address())
        shared = self._shared
        if shared is None or shared.thread.has_ended or host != self._host:
            self.close()
            shared = self._shared = _enter((host, self._limits))
            self._host = host
        address = await asyncio.shield(asyncio.wrap_future(shared.thread.started))
        return Endpoint(shared.thread, address, shared, self._limits.bulk_exchanges_max)

    def close(self) -> None:
        """Idempotent."""
        if self._shared is not None:
            shared, self._shared = self._shared, None
            _leave(shared)


def settle(future: "asyncio.Future[T]", result: T) -> None:
    """Resolve a future of another thread's loop, if that still runs and somebody waits."""

    def resolve() -> None:
        if not future.done():
            future.set_result(result)

    with suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(resolve)


def _enter(key: Key) -> _Shared:
    # Here: whoever attaches an agent for something else needs none of what this brings.
    from mabeam_p2p import assembly

    host, limits = key
    with _lock:
        shared = _threads.get(key)
        if shared is None or shared.thread.has_ended:
            thread = assembly.bulk_thread(host, limits)
            shared = _threads[key] = _Shared(thread)
            thread.start()
        shared.users += 1
        return shared


def _leave(shared: _Shared) -> None:
    with _lock:
        shared.users -= 1
        if not shared.users:
            for key, known in tuple(_threads.items()):
                if known is shared:
                    del _threads[key]
            shared.thread.close()
