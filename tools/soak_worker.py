"""One worker of a soak of tasks: a peer with an agent that offers `work`. Says `ready` once the
cluster knows that, and one line each time it begins a task.

Called by tools/soak_tasks.py with the peer's Config as JSON, and the number of slots.
"""

import asyncio
import logging
import sys

import msgspec

from mabeam_p2p import Config, Peer
from tools.children import hear, say

AGENT = "worker"


async def serve(config: Config, slots: int) -> None:
    """Until the parent ends or kills it."""
    async with Peer(config) as peer:
        # A process that was killed is still in the log; the next one takes its place.
        agent = await peer.agent(AGENT, timeout=120)

        @agent.task(name="work")
        async def work(item: tuple[int, float]) -> int:
            number, seconds = item
            say(b"%d" % number)
            await asyncio.sleep(seconds)
            return number * number

        await agent.work(slots)
        say(b"ready")
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S"
    )
    hear(lambda line: None)
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config), int(sys.argv[2])))
