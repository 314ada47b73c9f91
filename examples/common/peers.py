"""The processes of an example, seen by the one that started them: each is a peer of one cluster.

They find each other by addresses on the loopback, speak to the example in lines of JSON, and end
with it, however it ends. A peer that is started again finds the data that it left.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from examples.common.peer import Setup
from tools.children import Child, disk_folder, free_ports

NAMES = ("ada", "bela", "chen", "dora", "emil", "fay", "gus", "hana")

LOG_LINES = 20
"""Of what a peer said last, when it failed."""

Told = dict[str, object]


class PeerFailed(Exception):
    """A process ended that should not have."""


class Peers:
    """So many peers that run `module`. Leaving it ends them all and removes what they wrote."""

    def __init__(self, module: str, count: int, task: Mapping[str, object]) -> None:
        """task: plain data for the peers, see `Setup`."""
        named = [NAMES[n] if n < len(NAMES) else f"peer-{n}" for n in range(count)]
        self.names = tuple(named)
        self._module = module
        self._task = dict(task)
        self._cluster = f"example-{os.urandom(4).hex()}"
        self._folder = Path()
        self._addresses: dict[str, str] = {}
        self._children: dict[str, Child] = {}
        self._struck: list[Child] = []
        self._readers: list[asyncio.Task[None]] = []
        self._told: asyncio.Queue[tuple[str, Told] | PeerFailed | None] = asyncio.Queue()
        """None: somebody has ended as it should."""
        self._running: list[Child] = []
        self._done: list[Child] = []
        """Those that have done their part, and wait until all have."""

    async def __aenter__(self) -> "Peers":
        # Numpy takes all cores by itself, and here every process would.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        self._folder = disk_folder("mabeam-example-")
        ports = free_ports(len(self.names))
        self._addresses = {
            name: f"127.0.0.1:{port}" for name, port in zip(self.names, ports, strict=True)
        }
        for name in self.names:
            await self.start(name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children.values():
            child.strike()
        await asyncio.gather(*(child.gone() for child in self._children.values()))
        await asyncio.gather(*self._readers, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def start(self, name: str, **more: object) -> None:
        """Start a peer, for the first time or again. more: of its task alone."""
        setup = Setup(
            name=name,
            names=self.names,
            cluster=self._cluster,
            listen=self._addresses[name],
            seeds=tuple(self._addresses.values()),
            folder=str(self._folder / name),
            task=self._task | more,
        )
        child = await Child.start(
            self._module, msgspec.json.encode(setup).decode(), log=self._log(name)
        )
        self._children[name] = child
        self._running.append(child)
        self._readers.append(asyncio.create_task(self._read(name, child), name=f"read {name}"))

    async def kill(self, name: str) -> None:
        """End a peer with SIGKILL; return when it is gone."""
        child = self._children[name]
        self._struck.append(child)
        child.strike()
        await child.gone()

    async def told(self) -> AsyncIterator[tuple[str, Told]]:
        """What the peers say, and who said it, until all have ended. Raises PeerFailed."""
        while self._running:
            said = await self._told.get()
            if isinstance(said, PeerFailed):
                raise said
            if said is not None:
                yield said

    async def _read(self, name: str, child: Child) -> None:
        while line := await child.receive():
            said = msgspec.json.decode(line, type=Told)
            if said["event"] == "done":
                self._done.append(child)
                self._let_go()
            else:
                self._told.put_nowait((name, said))
        await child.gone()
        self._running.remove(child)
        is_well = child in self._struck or child.exit_code == 0
        self._told.put_nowait(None if is_well else self._fault(name, child))
        self._let_go()

    def _let_go(self) -> None:
        """Once all that run are done, tell them to leave."""
        if all(child in self._done for child in self._running):
            for child in self._running:
                child.send(b"leave")

    def _fault(self, name: str, child: Child) -> PeerFailed:
        said = self._log(name).read_text(errors="replace").splitlines()[-LOG_LINES:]
        return PeerFailed("\n".join([f"peer {name} ended with {child.exit_code}:", *said]))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
