"""The peers of a soak: real processes on loopback, each with a folder that outlives it."""

import asyncio
import itertools
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from mabeam_p2p.assembly import IN_MEMORY
from mabeam_p2p.config import Config
from mabeam_p2p.events import Event
from mabeam_p2p.records import Status
from mabeam_p2p.requests import Answer, ReadStatus, Request, StatusAnswer
from mabeam_p2p.wire.local import Answered, Ask
from tools.children import Child, free_ports
from tools.soak_links import Links
from tools.soak_peer import Orders, Words

STATUS_SECONDS = 2.0
"""How long a peer may take to tell its status before it counts as silent."""


class Gone(Exception):
    """The process has ended: what was asked of it may have happened, or not."""


class Process:
    """One peer over all its lives."""

    def __init__(self, config: Config, log: Path, *, gil_seconds: float = 0.0) -> None:
        """gil_seconds: for so long of every GIL_EVERY_SECONDS no Python code of it runs."""
        self.name = config.name
        self.address = config.listen
        self.log = log
        self.routes: Mapping[str, str] = {}
        """What it dials in place of an address, from its next start on."""
        self.on_event: Callable[[Event], None] = lambda _: None
        """Called with what it says of members and of its cluster."""
        self.failures: list[str] = []
        """Ends that nobody caused."""
        self.is_paused = False
        self._config = config
        self._gil_seconds = gil_seconds
        self._child: Child | None = None
        self._reader: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._is_struck = False

    @property
    def is_running(self) -> bool:
        return self._child is not None

    async def start(self) -> None:
        assert self._child is None, "started twice"
        self._is_struck = False
        orders = Orders(self._config, dict(self.routes), self._gil_seconds)
        arguments = msgspec.json.encode(orders).decode()
        self._child = await Child.start("tools.soak_peer", arguments, log=self.log)
        self._reader = asyncio.create_task(self._read(self._child), name=f"read {self.name}")

    def strike(self) -> None:
        """kill -9, now; `buried` waits for its end. Nothing happens if it has ended before."""
        if self._child is not None:
            self._is_struck = True
            self._child.strike()

    def pause(self) -> None:
        """SIGSTOP: it stands still in the middle of what it does."""
        if self._child is not None and not self._is_struck:
            self.is_paused = True
            self._child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT. Idempotent."""
        if self._child is not None and self.is_paused:
            self.is_paused = False
            self._child.signal(signal.SIGCONT)

    async def buried(self) -> None:
        """Return once a struck process is gone."""
        if self._reader is not None:
            # Whoever waits may be cancelled; the reader goes on, for who waits next.
            await asyncio.shield(self._reader)

    async def ask(self, request: Request, seconds: float) -> Answer:
        """Raises Gone, TimeoutError."""
        if self._child is None:
            raise Gone(f"{self.name} does not run")
        number = next(self._numbers)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        self._child.send(msgspec.json.encode(Ask(number, request)))
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        finally:
            self._waiting.pop(number, None)

    async def status(self) -> Status | None:
        """None: it does not run, or says nothing."""
        try:
            answer = await self.ask(ReadStatus(), STATUS_SECONDS)
        except (Gone, TimeoutError):
            return None
        assert isinstance(answer, StatusAnswer)
        return answer.status

    async def _read(self, child: Child) -> None:
        words = msgspec.json.Decoder(Words)
        while line := await child.receive():
            answered = words.decode(line)
            if not isinstance(answered, Answered):
                self.on_event(answered.event)
                continue
            waiting = self._waiting.get(answered.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(answered.answer)
        await child.gone()
        if not self._is_struck:
            self.failures.append(f"{self.name} ended by itself: {child.exit_code}, see {self.log}")
        self._child = None
        self.is_paused = False
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Gone(f"{self.name} has been killed"))


class Cluster:
    """All peers, running or not."""

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        in_memory: bool = False,
        keys: bool = False,
        gil_seconds: float = 0.0,
    ) -> None:
        """in_memory: the peers keep nothing, not even who they are. keys: they speak under them.
        gil_seconds: of the last."""
        addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        self.processes = [
            Process(
                Config(
                    name=f"p{number}",
                    cluster="soak",
                    listen=address,
                    data_dir=IN_MEMORY if in_memory else str(folder / f"p{number}"),
                    seeds=tuple(other for other in addresses if other != address),
                    mdns=False,
                    expect=count,
                    # Proxies stand between the peers, one for each port that they know of: with
                    # keys the data has a port of its own, which only introductions tell.
                    insecure_plaintext=not keys,
                ),
                folder / f"p{number}.log",
                gil_seconds=gil_seconds if number == count - 1 else 0.0,
            )
            for number, address in enumerate(addresses)
        ]
        self.links = Links(addresses)
        self._are_links_up = False

    async def raise_links(self) -> None:
        """From now on peers that start know each other by way of `links` alone."""
        await self.links.start()
        self._are_links_up = True
        for number, process in enumerate(self.processes):
            process.routes = self.links.routes(number)

    @property
    def running(self) -> list[Process]:
        return [process for process in self.processes if process.is_running]

    @property
    def failures(self) -> list[str]:
        return [failure for process in self.processes for failure in process.failures]

    async def statuses(self) -> list[tuple[Process, Status]]:
        """Of those that answer."""
        running = self.running
        told = await asyncio.gather(*(process.status() for process in running))
        return [(p, status) for p, status in zip(running, told, strict=True) if status is not None]

    async def leader(self) -> tuple[Process, Status] | None:
        """Who leads by its own word, in the newest term."""
        led = [(p, status) for p, status in await self.statuses() if status.role == "leader"]
        return max(led, key=lambda pair: pair[1].term, default=None)

    async def kill(self, victims: Sequence[Process]) -> None:
        """kill -9, all of them within the same moment."""
        for victim in victims:
            victim.strike()
        await asyncio.gather(*(victim.buried() for victim in victims))

    async def start(self, processes: Sequence[Process]) -> None:
        await asyncio.gather(*(process.start() for process in processes))

    async def settled(self) -> None:
        """Return once every peer runs, follows one leader and has applied what that one has
        committed. The caller bounds the time."""
        while True:
            statuses = [status for _, status in await self.statuses()]
            commits = [status.commit_index for status in statuses]
            if (
                len(statuses) == len(self.processes)
                and all(status.quorum for status in statuses)
                and len({status.leader for status in statuses}) == 1
                and {status.applied_index for status in statuses} == {max(commits)}
            ):
                return
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.kill(self.running)
        if self._are_links_up:
            await self.links.close()
