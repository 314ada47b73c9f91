"""A contender of the bench: PySyncObj with its own replicated list, loaded by callbacks.

Arguments: its address, the others' joined by commas, and SyncObjConf's settings as JSON.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import assert_never

import msgspec
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.batteries import ReplList

from tools.bench_load import (
    ITEM,
    Order,
    Processor,
    Recorder,
    Role,
    Run,
    drive,
    hear_orders,
    processor_seconds,
    reply,
)

ROLES = ("follower", "candidate", "leader")
"""By the number of PySyncObj's state."""


class Contender:
    """Ticks PySyncObj on the main thread, as its own thread would: that spares it the contest of
    two threads for the interpreter."""

    def __init__(self, address: str, others: list[str], settings: dict[str, object]) -> None:
        configuration = SyncObjConf(autoTick=False, **settings)
        self._items = ReplList()
        self._peer = SyncObj(address, others, configuration, consumers=[self._items])
        self._tick_seconds = configuration.autoTickPeriod
        self._orders: SimpleQueue[Order] = SimpleQueue()

    def serve(self) -> None:
        """Until the parent ends."""
        hear_orders(self._orders.put)
        while True:
            self._peer.doTick(self._tick_seconds)
            with suppress(Empty):
                self._obey(self._orders.get_nowait())

    def _obey(self, order: Order) -> None:
        match order:
            case Role():
                reply(ROLES[self._peer.getStatus()["state"]])
            case Processor():
                reply(processor_seconds())
            case Run():
                drive(Recorder(order), self._submit, reply)
            case _:
                assert_never(order)

    def _submit(self, end: Callable[[bool], None]) -> None:
        self._items.append(ITEM, callback=lambda _, error: end(error == FAIL_REASON.SUCCESS))


if __name__ == "__main__":
    Contender(sys.argv[1], sys.argv[2].split(","), msgspec.json.decode(sys.argv[3])).serve()
