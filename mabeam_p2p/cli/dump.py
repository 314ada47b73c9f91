"""`mabeam dump`: all that a daemon holds, in one file for a maintainer, also when it is stuck."""

import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from mabeam_p2p.api import settings, sockets
from mabeam_p2p.cli import output
from mabeam_p2p.errors import DaemonNotRunning
from mabeam_p2p.observe.dumping import DUMP_SUFFIX, FATAL_SIGNAL, STACKS_SUFFIX, beside

DUMP_SECONDS = 15.0
"""How long the daemon's thread may take: a large state takes a second, a busy host several."""
STACKS_SECONDS = 3.0


@click.command()
@click.option("--output", "-o", "file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write it there, for this user alone to read.  [default: standard output]",
              )  # fmt: skip
@click.option("--cluster", envvar="MABEAM_CLUSTER", help="Name of the cluster."
              "  [default: as in the settings, else default]")  # fmt: skip
@click.option("--addr", envvar="MABEAM_ADDR", metavar="PEER|PATH", help="Daemon to dump: a peer's"
              " name on this host, or a socket's path.  [default: the first there is]")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=DUMP_SECONDS,
              show_default=True, metavar="SECONDS", help="How long it may take; after that the"
              " stacks of its threads are taken from outside.")  # fmt: skip
def dump(file: str | None, cluster: str | None, addr: str | None, timeout: float) -> None:
    """Write down all that a daemon holds, for a maintainer.

    Also when the daemon is stuck: what answers is a thread of its own. The text has the stacks of
    its threads and tasks, the last lines of its log, and the state of every core and machine.
    Secrets, the values of parameters, variables and tasks, and the errors, notes and attributes of
    applications are left out; names, addresses and rationales are not. Of a daemon whose
    interpreter is held, only the stacks can be had.
    """
    with output.endings():
        name = settings.load({"cluster": cluster}).config.cluster
        text = _dumped(name, addr, timeout)
        if file is None:
            click.echo(text, nl=False)
            return
        _write(file, text)
        output.note(f"{len(text):,} characters are in {file}: read them before you pass them on")


def _dumped(cluster: str, addr: str | None, seconds: float) -> str:
    """Of the first daemon that takes a connection. Raises DaemonNotRunning."""
    foreign = ""
    for path in sockets.candidates(cluster, addr):
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(seconds)
            try:
                link.connect(str(beside(str(path), DUMP_SUFFIX)))
            except OSError:
                continue
            try:
                sockets.check_user(link)
            except PermissionError as error:
                foreign = f" ({path}: {error})"
                continue
            process = _process(link)
            text = _read(link, seconds)
            return text or "\n".join(_from_outside(process, path)) + "\n"
    who = f"named {addr!r}" if addr else f"of cluster {cluster!r}"
    raise DaemonNotRunning(
        f"no daemon {who} can be dumped on this host{foreign}: start one with `mabeam up`, or "
        "check --addr and --cluster"
    )


def _process(link: socket.socket) -> int | None:
    """Who listens at the other end: the kernel knows it also of one that is stuck."""
    if not sys.platform.startswith("linux"):
        return None
    size = struct.calcsize("3i")
    told = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", told)[0]) or None


def _read(link: socket.socket, seconds: float) -> str:
    """All that it sends; nothing, if it does not end in time."""
    parts: list[bytes] = []
    ends_at = time.monotonic() + seconds
    try:
        while (left := ends_at - time.monotonic()) > 0:
            link.settimeout(left)
            data = link.recv(1 << 16)
            if not data:
                return b"".join(parts).decode(errors="replace")
            parts.append(data)
    except OSError:
        pass
    return ""


# ---- a daemon that does not answer -------------------------------------------------------------


def _from_outside(process: int | None, path: Path) -> Iterator[str]:
    """What the system knows of it, and the stacks that faulthandler writes at a signal."""
    yield "==== this process"
    yield ""
    yield f"process {process} did not answer: its interpreter is held, or it is stopped"
    if process is None:
        return
    state = _state(process)
    yield f"state: {state or 'unknown'}"
    yield from _threads(process)
    if state.startswith("T"):
        yield f"it is stopped; kill -CONT {process} lets it go on"
        return
    stacks = beside(str(path), STACKS_SUFFIX)
    began_at = stacks.stat().st_size if stacks.exists() else None
    if began_at is None:
        yield "there is no file for its stacks"
        return
    try:
        os.kill(process, FATAL_SIGNAL)
    except ProcessLookupError:
        yield "it has ended meanwhile"
        return
    yield ""
    yield "==== threads, by faulthandler"
    yield ""
    yield from _grown(stacks, began_at)


def _grown(stacks: Path, size: int) -> Iterator[str]:
    """What is written into the file from now on, until it stays as it is."""
    ends_at = time.monotonic() + STACKS_SECONDS
    last = size
    while time.monotonic() < ends_at:
        time.sleep(0.2)
        now = stacks.stat().st_size
        if now == last > size:
            break
        last = now
    written = stacks.read_bytes()[size:].decode(errors="replace")
    yield from written.splitlines() or ["nothing was written"]


def _state(process: int) -> str:
    for line in _lines(Path(f"/proc/{process}/status")):
        if line.startswith("State:"):
            return line.partition(":")[2].strip()
    return ""


def _threads(process: int) -> Iterator[str]:
    for task in sorted(Path(f"/proc/{process}/task").glob("*")):
        name = " ".join(_lines(task / "comm"))
        waits = " ".join(_lines(task / "wchan"))
        yield f"thread {task.name} {name}, in the kernel: {waits or '-'}"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _write(file: str, text: str) -> None:
    """For this user alone. Ends the program if it cannot."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        descriptor = os.open(file, flags, 0o600)
        with os.fdopen(descriptor, "w") as target:
            os.fchmod(descriptor, 0o600)
            target.write(text)
    except OSError as error:
        output.fail(f"{file} cannot be written: {error.strerror}", output.BAD_CONFIGURATION)
