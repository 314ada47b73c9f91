"""What the steps of the demo share: the processes, and an agent's voice at each of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import mabeam_p2p
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.cli.demo.peers import Processes, Running
from mabeam_p2p.cli.demo.stage import ClaimFailed, Stage

T = TypeVar("T")

STEP_SECONDS = 20.0
"""What a step waits for at most; on an idle host none takes a third of it."""
POLL_SECONDS = 0.05


class Scene:
    """The five peers. `voices` speak for the daemons' own agents, by peer's name."""

    def __init__(self, stage: Stage, processes: Processes, *, uses_mdns: bool) -> None:
        self.stage = stage
        self.processes = processes
        self.uses_mdns = uses_mdns
        self.peers: dict[str, Running] = {}
        self.voices: dict[str, Agent] = {}
        self.agreed: dict[str, object] = {}
        """Parameters that were agreed so far, to be found again later."""
        self.shared: dict[str, object] = {}
        """Variables that all have shown so far."""
        self.remembered: list[object] = []
        """Journal items that were acknowledged, in order of their positions."""

    async def start(self, names: Iterable[str]) -> None:
        """Start daemons; return when all listen."""
        first, *rest = names
        flags: list[str] = [] if self.uses_mdns else ["--no-mdns"]
        self.peers[first] = await self.processes.peer(first, *flags)
        if not self.uses_mdns:
            # The first one that runs is where the others look.
            flags += ["--seed", await self._address(first)]
        for name in rest:
            self.peers[name] = await self.processes.peer(name, *flags)
        for name in (first, *rest) if self.uses_mdns else rest:
            await self._address(name)

    async def _address(self, name: str) -> str:
        """Where the daemon listens, once it does."""
        started = await self.peers[name].line()
        self.stage.say(f"{name:5} pid {self.peers[name].pid} on {started['address']}")
        return str(started["address"])

    async def attach(self, names: Iterable[str]) -> None:
        """Speak for the own agents of these daemons from now on."""
        for name in names:
            self.voices[name] = await mabeam_p2p.connect(
                None, cluster=self.processes.cluster, addr=self.processes.socket(name)
            )

    async def detach(self, names: Iterable[str]) -> None:
        for name in tuple(names):
            if (voice := self.voices.pop(name, None)) is not None:
                await voice.close()

    async def ready(self, names: Iterable[str]) -> None:
        """Wait until these daemons say that they can serve."""
        for name in names:
            async with asyncio.timeout(STEP_SECONDS):
                await self.peers[name].line()

    async def leader(self) -> tuple[str, int]:
        """Name and term of the leader once all voices name the same, and it is one of them."""
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            seen = {(v.leader.name, v.leader.term) for v in self.voices.values() if v.leader}
            named = all(voice.leader for voice in self.voices.values())
            if named and len(seen) == 1 and (only := next(iter(seen)))[0] in self.voices:
                return only
            if time.monotonic() > deadline:
                raise ClaimFailed(f"no leader that all name within {STEP_SECONDS:g} s: {seen}")
            await asyncio.sleep(POLL_SECONDS)

    async def everywhere(self, question: Callable[[Agent], Awaitable[T]]) -> dict[str, T]:
        """The answer of each voice, by peer's name."""
        answers = await asyncio.gather(*(question(voice) for voice in self.voices.values()))
        return dict(zip(self.voices, answers, strict=True))

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> bool:
        """Whether it came true in time."""
        deadline = time.monotonic() + STEP_SECONDS
        while not await holds():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True


def alike(values: Iterable[object]) -> bool:
    """Whether all are equal, and there are some."""
    known = list(values)
    return bool(known) and all(value == known[0] for value in known)
