"""An agent on a host that adds up an array with others, and again once they have met with the test:
reducer.py NAME VALUE PARTIES STEPS. Prints the result of each step."""

import asyncio
import os
import sys

import numpy

from mabeam_p2p import connect

SECONDS = 90.0


async def work(name: str, value: float, parties: int, steps: int) -> None:
    array = numpy.full(10_000, value)
    async with connect(name) as agent:
        for step in range(steps):
            meeting = agent.barrier(f"before-{step}", parties=parties + 1)
            await meeting.wait(timeout=SECONDS)
            result = await agent.all_reduce(
                array, op="sum", name=f"step-{step}", parties=parties, timeout=SECONDS
            )
            os.write(1, f"{result.value.min()} {result.value.max()}\n".encode())


if __name__ == "__main__":
    _, own_name, number, count, turns = sys.argv
    asyncio.run(work(own_name, float(number), int(count), int(turns)))
