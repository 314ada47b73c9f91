"""The demo's processes: five daemons and their agents, in a folder and a cluster of their own.

Each process leads a session of its own, so that Ctrl-C reaches the demo alone, which then ends
them; each is tethered to the demo (`tethered`), so that they end even if it is killed.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

import mabeam_p2p
from mabeam_p2p.cli.demo.stage import ClaimFailed

NAMES = ("ada", "bela", "chen", "dora", "emil")

LINE_BYTES_MAX = 1024 * 1024
"""Longest line that is read from a process."""


@dataclass
class Running:
    """One process under way. `lines` are the JSON objects that it prints."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    async def line(self) -> dict[str, object]:
        """The next JSON object that the process prints. Raises ClaimFailed if it ends instead."""
        assert self.process.stdout is not None
        text = await self.process.stdout.readline()
        if not text:
            code = await self.process.wait()
            raise ClaimFailed(f"{self.name} ended with code {code}: {self.last_words()}")
        return msgspec.json.decode(text, type=dict[str, object])

    def last_words(self) -> str:
        """The last line that it wrote to standard error."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    async def kill(self) -> None:
        """kill -9 it and what it has started, and wait until it is gone."""
        if self.process.returncode is None:
            # Not process.kill(), which may reap the process before asyncio does.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await self.process.wait()


class Processes:
    """Everything that the demo starts. Leaving it ends them all and removes the folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mabeam-demo-"))
        self.cluster = f"demo-{os.urandom(4).hex()}"
        self.all: list[Running] = []
        self._runtime = self.folder / "run"
        self._runtime.mkdir(mode=0o700)

    async def __aenter__(self) -> "Processes":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(running.kill() for running in self.all))
        shutil.rmtree(self.folder, ignore_errors=True)

    def socket(self, peer: str) -> str:
        """Path of the local socket of the daemon `peer`."""
        return str(self._runtime / "mabeam" / self.cluster / f"{peer}.sock")

    async def peer(self, name: str, *flags: str) -> Running:
        """Start `mabeam up` for `name`, with the data that it left if it ran before."""
        arguments = ["--name", name, "--cluster", self.cluster, "--expect", str(len(NAMES))]
        return await self.start(name, "up", *arguments, "--json", *flags)

    async def mabeam(self, *arguments: str) -> tuple[int, bytes]:
        """Run the command line as a person would: its exit code and standard output."""
        running = await self.start("mabeam", *arguments)
        assert running.process.stdout is not None
        output = await running.process.stdout.read()
        return await running.process.wait(), output

    async def start(self, name: str, *arguments: str) -> Running:
        """Start the command line, tethered, in the demo's folder."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "mabeam_p2p.cli.demo.tethered",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=LINE_BYTES_MAX,
                cwd=self.folder,
                env=self._environment(),
                start_new_session=True,
            )
        running = Running(name, process, log)
        self.all.append(running)
        return running

    def _environment(self) -> dict[str, str]:
        """The user's own, without what would mix the demo with their clusters."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MABEAM_")}
        package = str(Path(mabeam_p2p.__file__).parent.parent)
        paths = [package, os.environ.get("PYTHONPATH", "")]
        return kept | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "XDG_RUNTIME_DIR": str(self._runtime),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }
