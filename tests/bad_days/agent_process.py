"""A process whose agents are attached to one daemon and do as its parent says.

Arguments: the daemon's name, the lease in seconds, and the agents' names. Lines are JSON objects,
both ways. The first line names each agent's id and session. Then, for each order, one line of what
it came to for each agent:

sessions: their ids. append: the position of the item that was appended to the journal. arrive: the
order and the parties of a barrier, once it has let them pass, while other orders are obeyed. block:
the loop stands still for so many seconds; nothing is told.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from mabeam_p2p import Agent, MabeamError, Vote, connect
from tests.eventually import done_at_last
from tools.children import hear, say


class Order(msgspec.Struct):
    do: str
    name: str = ""
    parties: int = 0
    seconds: float = 0.0
    on_departure: str = "shrink"


def tell(**facts: object) -> None:
    say(msgspec.json.encode(facts))


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


async def arrive(agents: list[Agent], order: Order) -> None:
    async def pass_gate(agent: Agent) -> object:
        gate = agent.barrier(
            order.name,
            parties=order.parties,
            timeout=order.seconds,
            on_departure=order.on_departure,  # type: ignore[arg-type]
        )
        try:
            release = await gate.wait()
        except MabeamError as error:
            return {"error": str(error)}
        return {"order": release.order, "parties": release.parties}

    passed = await asyncio.gather(*map(pass_gate, agents))
    tell(passed=passed)


async def append(agents: list[Agent], order: Order) -> list[int]:
    async def append_one(agent: Agent) -> int:
        return await agent.journal(order.name).append(agent.id, timeout=60)

    return await asyncio.gather(*(done_at_last(partial(append_one, agent)) for agent in agents))


async def attached(stack: AsyncExitStack, name: str, daemon: str, lease: float) -> Agent:
    return await stack.enter_async_context(connect(name, addr=daemon, lease=lease))


async def serve(daemon: str, lease: float, names: list[str]) -> None:
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[bytes] = asyncio.Queue()

    def obey_soon(line: bytes) -> None:
        loop.call_soon_threadsafe(orders.put_nowait, line)

    hear(obey_soon)
    waiting: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        agents = [
            await done_at_last(partial(attached, stack, name, daemon, lease)) for name in names
        ]
        for agent in agents:
            agent.on_proposal("*")(lambda proposal: Vote.accept("as all do"))
        tell(agents=[agent.id for agent in agents], sessions=[a.session.id for a in agents])
        while True:
            order = msgspec.json.decode(await orders.get(), type=Order)
            match order.do:
                case "sessions":
                    tell(sessions=[agent.session.id for agent in agents])
                case "append":
                    tell(positions=await append(agents, order))
                case "arrive":
                    waiting.append(asyncio.create_task(arrive(agents, order)))
                case "block":
                    stand_still(order.seconds)
                case "close":
                    break
                case _:
                    raise ValueError(order.do)
    tell(closed=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
