"""Commands of `mabeam`, forked by a process that has imported the package: importing is most of
what a daemon that starts costs a processor, and the tests start many hundreds of them.

What runs is the same command line, in an environment of its own; only no interpreter begins. Who
wants one that does starts it as any program.
"""

import atexit
import ctypes
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Protocol

import msgspec

import mabeam_p2p
from tests.network.namespaces import NEW_NETWORK

ROOT = Path(mabeam_p2p.__file__).parent.parent
ORDER_MAX = 1 << 17
"""Bytes: words, and an environment."""
FORKED_SECONDS = 90.0
"""Deadline of a start: reached by a failure only."""
DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux' prctl(2)."""
NEW_NAME = 0x04000000
"""CLONE_NEWUTS of Linux' unshare(2)."""


class Running(Protocol):
    """What the tests use of subprocess.Popen."""

    pid: int

    @property
    def stdout(self) -> IO[bytes] | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """A process that a nursery has begun."""

    def __init__(self, pid: int, handle: int, end: int, stdout: IO[bytes] | None) -> None:
        """handle: a descriptor of the process. end: of a pipe that brings its exit code."""
        self.pid = pid
        self._stdout = stdout
        self._held: tuple[int, ...] = (handle, end)
        """Nothing once it has ended."""
        self._exit_code: int | None = None

    def __del__(self) -> None:
        self._forget()

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._stdout

    def poll(self) -> int | None:
        """Its exit code, or the signal that ended it, negative; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """As poll. Raises subprocess.TimeoutExpired."""
        exit_code = self._look(timeout)
        if exit_code is None:
            raise subprocess.TimeoutExpired(f"mabeam, process {self.pid}", timeout or 0.0)
        return exit_code

    def send_signal(self, number: int, /) -> None:
        """Does nothing to one that has ended."""
        if self._exit_code is None:
            handle, _ = self._held
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self._exit_code is None:
            _, end = self._held
            with selectors.DefaultSelector() as selector:
                selector.register(end, selectors.EVENT_READ)
                if selector.select(timeout):
                    told = os.read(end, 16)
                    assert told, "the nursery ended before it"
                    self._exit_code = int(told)
                    self._forget()
        return self._exit_code

    def _forget(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)
        self._held = ()


class Order(msgspec.Struct, frozen=True):
    """What a new process is to be."""

    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    host: str = ""
    """The name of its machine; none: this one."""


class Nursery:
    """The process that forks. It ends with the one that made it, and what it began ends with it."""

    def __init__(self) -> None:
        self._one_at_a_time = Lock()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(FORKED_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                # Who interrupts the tests from a terminal leaves it to them to end what they began.
                process_group=0,
            )
        # It shall see the end of this process alone.
        os.register_at_fork(after_in_child=self._line.close)

    def begin(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        errors: IO[bytes],
        out: IO[bytes] | None = None,
        host: tuple[str, int] | None = None,
    ) -> Forked:
        """Run `mabeam` with nothing on its standard input. environment: all of it. out: None is a
        pipe. host: a name, and a descriptor of a network namespace; None is where the tests are."""
        name, *namespace = host or ("",)
        order = Order(arguments, str(folder), environment, name)
        end, tells_end = os.pipe()
        printed, prints = os.pipe() if out is None else (None, os.dup(out.fileno()))
        with self._one_at_a_time:
            lent = [tells_end, prints, errors.fileno(), *namespace]
            try:
                socket.send_fds(self._line, [msgspec.json.encode(order)], lent)
                pid, handles, _, _ = socket.recv_fds(self._line, 16, 1)
            except BaseException:
                self._line.close()  # The next one would be given this one's answer.
                raise
        assert handles, "the nursery has ended"
        os.close(tells_end)
        os.close(prints)
        return Forked(int(pid), handles[0], end, None if printed is None else open(printed, "rb"))

    def close(self) -> None:
        """End it, and all that it began."""
        self._line.close()
        self._process.wait(FORKED_SECONDS)


@cache
def nursery() -> Nursery:
    """The one of this process."""
    made = Nursery()
    atexit.register(made.close)
    return made


# ---- in the process that forks -------------------------------------------------------------------


def born(line: socket.socket) -> list[str]:
    """Fork while there is somebody at the other end. Returns in each new process, with the
    arguments of its command."""
    ends: dict[int, tuple[int, int]] = {}
    """By a descriptor of each process that runs: its id, and where its exit code is waited for."""
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in ends:
                    selector.unregister(key.fd)
                    _tell(*ends.pop(key.fd))
                    os.close(key.fd)
                    continue
                data, lent, _, _ = socket.recv_fds(line, ORDER_MAX, 4)
                if not data:
                    sys.exit()
                tells_end, *own = lent
                parent = os.getpid()
                pid = os.fork()
                if not pid:
                    line.close()
                    for descriptor in (tells_end, *ends, *(other for _, other in ends.values())):
                        os.close(descriptor)
                    return _become(msgspec.json.decode(data, type=Order), parent, *own)
                for descriptor in own:
                    os.close(descriptor)
                handle = os.pidfd_open(pid)
                ends[handle] = pid, tells_end
                selector.register(handle, selectors.EVENT_READ)
                socket.send_fds(line, [str(pid).encode()], [handle])


def _tell(pid: int, tells_end: int) -> None:
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # Nobody asks any more.
        os.write(tells_end, str(os.waitstatus_to_exitcode(status)).encode())
    os.close(tells_end)


def _become(
    order: Order, parent: int, out: int, errors: int, namespace: int | None = None
) -> list[str]:
    """What is ordered; the arguments of its command."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(DIES_WITH_PARENT, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)  # It has ended before that.
    os.dup2(out, 1)
    os.dup2(errors, 2)
    os.close(out)
    os.close(errors)
    if namespace is not None:
        if library.setns(namespace, NEW_NETWORK) or library.unshare(NEW_NAME):
            raise OSError(ctypes.get_errno(), f"cannot become a process of {order.host}")
        os.close(namespace)
        socket.sethostname(order.host)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    return list(order.arguments)


if __name__ == "__main__":
    import zeroconf.asyncio  # noqa: F401  # Else each that looks for others would load it.

    from mabeam_p2p.cli import main

    gc.freeze()  # No child looks through it all for garbage, and copies it thereby.
    main(born(socket.socket(fileno=int(sys.argv[1]))), prog_name="mabeam")
