"""One peer of a soak: its parent's lines are requests, its own are answers.

Called by tools/soak_cluster.py with the peer's Config as JSON.
"""

import asyncio
import logging
import sys
from functools import partial

import msgspec

from mabeam_p2p import assembly
from mabeam_p2p.config import Config
from mabeam_p2p.errors import MabeamError
from mabeam_p2p.requests import Failed
from mabeam_p2p.runtime.driver import Driver, Reply
from mabeam_p2p.wire.local import Answered, Ask
from tools.children import hear


async def serve(config: Config) -> None:
    """Until the peer fails, which raises, or the parent ends."""
    loop = asyncio.get_running_loop()
    driver = assembly.build(config)
    await driver.start()
    # The parent may read slowly; the peer must not wait for it.
    output, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
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


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S"
    )
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config)))
