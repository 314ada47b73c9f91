"""The demo's side of its crew: four agents, each in a process of its own, and one that directs."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec

import mabeam_p2p
from mabeam_p2p.api.agent import Agent, Group
from mabeam_p2p.cli.demo.crew import GROUP
from mabeam_p2p.cli.demo.peers import Running
from mabeam_p2p.cli.demo.scene import STEP_SECONDS, Scene
from mabeam_p2p.cli.demo.stage import ClaimFailed

WORTHS = (40, 65, 52, 30)
"""What the item of the auction is worth to each member."""
SCORES = (0.6, 0.7, 0.9, 0.8)
"""What each publishes before there is an election."""


class Reply(msgspec.Struct):
    """What a member tells; as much of it as an order is about."""

    ready: str = ""
    token: int = 0
    refused_for: int = 0
    digest: str = ""
    parties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """One of the crew, as the demo knows it. id: of its agent."""

    id: str
    process: Running
    place: int
    worth: int
    score: float


class Crew:
    """Comes when it is wanted first, one member at each live peer."""

    def __init__(self, scene: Scene) -> None:
        self.members: list[Member] = []
        """Those that live."""
        self._scene = scene
        self._director: Agent | None = None

    @property
    def director(self) -> Agent:
        """An agent that holds no seat and does no work."""
        assert self._director is not None, "the crew was not called"
        return self._director

    @property
    def group(self) -> Group:
        return self.director.group(GROUP)

    @property
    def report(self) -> Path:
        """The file that the crew writes."""
        return self._scene.processes.folder / "report.txt"

    async def come(self) -> None:
        """Return once every member is there, and the director knows it."""
        scene, processes = self._scene, self._scene.processes
        scene.stage.progress("four agents start, each a process")
        hosts = sorted(scene.voices)
        starting = []
        for place, (host, worth, score) in enumerate(zip(hosts, WORTHS, SCORES, strict=True)):
            name, socket = f"crew-{host}", processes.socket(host)
            told = (name, processes.cluster, socket, str(place), str(worth), str(score))
            starting.append(await processes.start(name, "crew", *told, str(self.report)))
        self._director = await mabeam_p2p.connect(
            "director",
            cluster=processes.cluster,
            addr=processes.socket(hosts[0]),
            group=GROUP,
            participates_in_consensus=False,
            eligible=False,
        )
        for place, process in enumerate(starting):
            reply = await self._reply(process)
            self.members.append(Member(reply.ready, process, place, WORTHS[place], SCORES[place]))

        async def are_known() -> bool:
            known = [agent.id for agent in self.group.agents()]
            return all(member.id in known for member in self.members)

        if not await scene.until(are_known):
            raise ClaimFailed("the crew is not known to everybody")

    async def order(self, member: Member, topic: str, value: object = None) -> None:
        """Return once it lies in the member's mailbox, whether it can read it now or not."""
        await self.director.whisper(member.id, topic, value, timeout=STEP_SECONDS)

    async def reply(self, member: Member) -> Reply:
        return await self._reply(member.process)

    async def kill(self, member: Member) -> None:
        """With kill -9."""
        self.members.remove(member)
        await member.process.kill()

    async def go(self) -> None:
        """End them all. Idempotent."""
        if self._director is not None:
            await self._director.close()
        await asyncio.gather(*(member.process.kill() for member in self.members))
        self.members.clear()

    async def _reply(self, process: Running) -> Reply:
        async with asyncio.timeout(STEP_SECONDS):
            return msgspec.convert(await process.line(), Reply)
