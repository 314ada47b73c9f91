"""Locks, counters and queues, without `await`."""

import threading
from types import TracebackType

from mabeam_p2p.api import counters, grants, locks, queues
from mabeam_p2p.api.grants import OnLost
from mabeam_p2p.api.locks import LockFacts
from mabeam_p2p.api.queues import QueueFacts
from mabeam_p2p.api.results import Level
from mabeam_p2p.blocking.loop import LOOP


class Lease:
    def __init__(self, own: grants.Lease) -> None:
        self.name = own.name
        self.token = own.token
        self.ticket = own.ticket
        self._lease = own

    @property
    def is_lost(self) -> bool:
        return LOOP.call(lambda: self._lease.is_lost)

    def check(self) -> None:
        LOOP.call(self._lease.check)

    def on_lost(self, callback: OnLost) -> OnLost:
        return LOOP.call(lambda: self._lease.on_lost(callback))

    def renew(self) -> None:
        LOOP.run(self._lease.renew())

    def release(self) -> None:
        LOOP.run(self._lease.release())

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOOP.run(self._lease.__aexit__(kind, error, trace))


class Delivery(Lease):
    def __init__(self, own: queues.Delivery) -> None:
        super().__init__(own)
        self.value = own.value
        self.position = own.position
        self.deliveries = own.deliveries
        self._own = own

    def acknowledge(self) -> None:
        LOOP.run(self._own.acknowledge())

    def __enter__(self) -> "Delivery":
        return self


class Lock:
    def __init__(self, own: locks.Lock) -> None:
        self.name = own.name
        self.limit = own.limit
        self.permits = own.permits
        self.timeout = own.timeout
        self._own = own
        self._entered: dict[int, list[Lease]] = {}
        """By the thread that has entered."""

    def acquire(self, timeout: float | None = None) -> Lease:
        return Lease(LOOP.run(self._own.acquire(timeout)))

    def try_acquire(self) -> Lease | None:
        own = LOOP.run(self._own.try_acquire())
        return None if own is None else Lease(own)

    def facts(self) -> LockFacts:
        return LOOP.run(self._own.facts())

    def __enter__(self) -> Lease:
        lease = self.acquire()
        self._entered.setdefault(threading.get_ident(), []).append(lease)
        return lease

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        leases = self._entered[threading.get_ident()]
        lease = leases.pop()
        if not leases:
            del self._entered[threading.get_ident()]
        lease.__exit__(kind, error, trace)


class ReadWriteLock:
    def __init__(self, own: locks.ReadWriteLock) -> None:
        self.name = own.name
        self._own = own

    def read(self) -> Lock:
        return Lock(self._own.read())

    def write(self) -> Lock:
        return Lock(self._own.write())


class Counter:
    def __init__(self, own: counters.Counter) -> None:
        self.name = own.name
        self._own = own

    def add(self, amount: int = 1, *, timeout: float | None = None) -> int:
        return LOOP.run(self._own.add(amount, timeout=timeout))

    def set(self, value: int, *, timeout: float | None = None) -> None:
        LOOP.run(self._own.set(value, timeout=timeout))

    def compare_and_set(self, expected: int, value: int, *, timeout: float | None = None) -> bool:
        return LOOP.run(self._own.compare_and_set(expected, value, timeout=timeout))

    def get(self, *, level: Level = "linearizable", timeout: float | None = None) -> int:
        return LOOP.run(self._own.get(level=level, timeout=timeout))


class Queue:
    def __init__(self, own: queues.Queue) -> None:
        self.name = own.name
        self._own = own

    def put(self, value: object, *, timeout: float | None = None) -> int:
        return LOOP.run(self._own.put(value, timeout=timeout))

    def take(self, timeout: float | None = None) -> Delivery:
        return Delivery(LOOP.run(self._own.take(timeout)))

    def try_take(self) -> Delivery | None:
        own = LOOP.run(self._own.try_take())
        return None if own is None else Delivery(own)

    def facts(self) -> QueueFacts:
        return LOOP.run(self._own.facts())
