"""Processes that end with the one that started them, and speak in lines.

The child's standard input is a pipe that its parent alone holds: when it ends, however the parent
ended, the child kills itself. Lines go both ways; what they mean is between the two.
"""

import asyncio
import atexit
import os
import random
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

LINE_BYTES_MAX = 64 * 1024 * 1024
EXIT_SECONDS_MAX = 5.0
"""From the end of its output, or from a kill, to the end of a process."""
EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Child:
    """One Python process, seen by its parent. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._process = process
        self._is_struck = False
        self._input = process.stdin
        self._output = process.stdout

    @classmethod
    async def start(cls, module: str, *arguments: str, log: Path) -> "Child":
        """Run `python -m module`; what it says on standard error is appended to `log`."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=LINE_BYTES_MAX,
            )
        return cls(process)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    def send(self, line: bytes) -> None:
        """Nothing happens if the process has ended: its parent hears that from `receive`."""
        self._input.write(line + b"\n")

    async def receive(self) -> bytes:
        """The next line; empty once the process has ended."""
        try:
            return (await self._output.readline()).rstrip(b"\n")
        except ConnectionError:
            return b""

    def strike(self) -> None:
        """SIGKILL, at once. Idempotent."""
        # Not twice: to look whether it still runs would take its exit code from asyncio.
        if not self._is_struck and self._process.returncode is None:
            self._is_struck = True
            self._process.kill()

    def signal(self, number: int) -> None:
        """Nothing happens if the process has ended."""
        if not self._is_struck and self._process.returncode is None:
            self._process.send_signal(number)

    async def gone(self) -> None:
        """Wait until the process has ended; one that does not end by itself is struck."""
        try:
            async with asyncio.timeout(EXIT_SECONDS_MAX):
                await self._process.wait()
        except TimeoutError:
            self.strike()
            await self._process.wait()
        self._input.close()


def hear(receive: Callable[[bytes], None]) -> None:
    """In a child: call `receive` with every line of the parent, on a thread of its own; die with
    the parent."""

    def listen() -> None:
        for line in sys.stdin.buffer:
            receive(line.rstrip(b"\n"))
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=listen, name="parent", daemon=True).start()


def say(line: bytes) -> None:
    """In a child: one line to the parent. Blocks while the parent does not read."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free, as are the next two above each, where a peer that
    listens there has its data port. They are outside the range that the system gives to outgoing
    connections, and kept from other callers, also of other processes, until this one ends: nobody
    takes one while its owner is being restarted."""
    try:
        top = int(EPHEMERAL_PORTS.read_text().split()[0])
    except (OSError, ValueError):
        top = 32_768
    draw = random.SystemRandom()
    ports: list[int] = []
    while len(ports) < count:
        port = draw.randrange(min(20_000, top - 2_000), top - 2)
        if all(map(_is_free, _of_peer(port))) and _reserved(port):
            ports.append(port)
    return ports


def _of_peer(port: int) -> range:
    return range(port, port + 3)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_reservations: list[socket.socket] = []


@atexit.register
def _release() -> None:
    for one in _reservations:
        one.close()


def _reserved(port: int) -> bool:
    """Whether the ports of a peer are kept from now on: whoever has a port over UDP, which peers do
    not use, has it from all who ask for it here."""
    held: list[socket.socket] = []
    for number in _of_peer(port):
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held.append(reservation)
        try:
            reservation.bind(("127.0.0.1", number))
        except OSError:
            for one in held:
                one.close()
            return False
    _reservations.extend(held)
    return True


def disk_folder(prefix: str) -> Path:
    """A new temporary folder, on a disk if there is one: fsync costs nothing in memory."""
    places = [tempfile.gettempdir(), "/var/tmp", os.getcwd()]
    chosen = next((place for place in places if not _is_in_memory(place)), places[0])
    return Path(tempfile.mkdtemp(prefix=prefix, dir=chosen))


def _is_in_memory(place: str) -> bool:
    """Whether Linux says so; elsewhere nothing does."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return False
    real = os.path.realpath(place)
    over = [m for m in mounts if real == m[1] or real.startswith(m[1].rstrip("/") + "/")]
    return bool(over) and max(over, key=lambda m: len(m[1]))[2] in ("tmpfs", "ramfs")
