"""Processes of agents, seen by the test that leads them (`agent_process`)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tools.children import Child

SECONDS = 90.0
"""Deadline of every wait: reached by a failure only."""
STARTED_AT_ONCE = 5
"""More only fight for the processors."""


class Told(msgspec.Struct):
    """A line of a process."""

    agents: list[str] = []
    sessions: list[int] = []
    positions: list[int] = []
    passed: list[dict[str, object]] = []
    closed: bool = False


class Process:
    """One process of agents."""

    def __init__(self, child: Child) -> None:
        self.agents: list[str] = []
        self.sessions: list[int] = []
        self._child = child

    async def hear(self) -> Told:
        async with asyncio.timeout(SECONDS):
            line = await self._child.receive()
        assert line, f"a process of agents ended with {self._child.exit_code}"
        return msgspec.json.decode(line, type=Told)

    def order(self, do: str, **facts: object) -> None:
        self._child.send(msgspec.json.encode({"do": do, **facts}))

    async def ask(self, do: str, **facts: object) -> Told:
        self.order(do, **facts)
        return await self.hear()

    def kill(self) -> None:
        """SIGKILL."""
        self._child.strike()

    def stop(self) -> None:
        """SIGSTOP."""
        os.kill(self._child.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self._child.pid, signal.SIGCONT)

    async def gone(self) -> None:
        self.kill()
        await self._child.gone()


@asynccontextmanager
async def crowd(
    daemon: str, groups: Sequence[Sequence[str]], lease: float = 30.0
) -> AsyncIterator[list[Process]]:
    """For each group of names a process, whose agents have attached. Killed at the end."""
    room = asyncio.Semaphore(STARTED_AT_ONCE)
    started: list[Process] = []

    async def start(names: Sequence[str]) -> Process:
        async with room:
            log = Path("agents.log")
            arguments = (daemon, str(lease), *names)
            child = await Child.start("tests.bad_days.agent_process", *arguments, log=log)
            process = Process(child)
            started.append(process)
            told = await process.hear()
            process.agents, process.sessions = told.agents, told.sessions
            return process

    try:
        yield list(await asyncio.gather(*map(start, groups)))
    finally:
        await asyncio.gather(*(process.gone() for process in started))


async def ask_all(processes: Sequence[Process], do: str, **facts: object) -> list[Told]:
    return await asyncio.gather(*(process.ask(do, **facts) for process in processes))
