"""One peer of a soak: its parent's lines are requests; its own are answers, and what it hears of
members and of its cluster.

Called by tools/soak_cluster.py with Orders as JSON.
"""

import asyncio
import ctypes
import logging
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import ClassVar
from unittest import mock

import msgspec

from mabeam_p2p import assembly
from mabeam_p2p.config import Config
from mabeam_p2p.errors import MabeamError
from mabeam_p2p.events import ClusterFormed, Event, MemberChanged
from mabeam_p2p.requests import Failed
from mabeam_p2p.runtime.driver import Driver, Reply
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from mabeam_p2p.wire.local import Answered, Ask, Told
from tools.children import hear

GIL_EVERY_SECONDS = 3.0

Words = Answered | Told


class Orders(msgspec.Struct, frozen=True):
    config: Config
    routes: dict[str, str]
    """What to dial in place of an address: a network that redirects. Empty: it does not."""
    gil_seconds: float = 0.0
    """How long of every GIL_EVERY_SECONDS a library holds the interpreter's lock."""


class RoutedTransport(ZeroMqTransport):
    """It dials what stands behind an address. Others are not dialled: all have to be known."""

    routes: ClassVar[Mapping[str, str]] = {}

    def connect(self, target: str, address: str) -> None:
        super().connect(target, self.routes[address])


def build(orders: Orders) -> Driver:
    """As assembly does, with a network that redirects if there are routes."""
    if not orders.routes:
        return assembly.build(orders.config)
    RoutedTransport.routes = orders.routes
    with mock.patch.object(assembly, "ZeroMqTransport", RoutedTransport):
        return assembly.build(orders.config)


def hold_interpreter(seconds: float) -> None:
    """As an extension does that computes for long and does not give the lock back."""
    library = ctypes.PyDLL(None)
    while True:
        time.sleep(GIL_EVERY_SECONDS - seconds)
        library.usleep(int(seconds * 1_000_000))


async def serve(orders: Orders) -> None:
    """Until the peer fails, which raises, or the parent ends."""
    loop = asyncio.get_running_loop()
    driver = build(orders)
    # The parent may read slowly; the peer must not wait for it.
    output, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    driver.listen(partial(_tell, output))
    await driver.start()
    if orders.gil_seconds:
        threading.Thread(target=hold_interpreter, args=(orders.gil_seconds,), daemon=True).start()
    asks = msgspec.json.Decoder(Ask)

    def receive(line: bytes) -> None:
        loop.call_soon_threadsafe(_ask, driver, output, asks.decode(line))

    hear(receive)
    await driver.wait_stopped()


def _ask(driver: Driver, output: asyncio.WriteTransport, ask: Ask) -> None:
    driver.ask(ask.request, partial(_answer, output, ask.number))


def _answer(output: asyncio.WriteTransport, number: int, reply: Reply) -> None:
    if isinstance(reply, MabeamError):
        # A peer that stops does not say how far the request has come.
        reply = Failed("unknown", str(reply))
    output.write(msgspec.json.encode(Answered(number, reply)) + b"\n")


def _tell(output: asyncio.WriteTransport, event: Event) -> None:
    if isinstance(event, MemberChanged | ClusterFormed):
        output.write(msgspec.json.encode(Told(event)) + b"\n")


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S"
    )
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Orders)))
