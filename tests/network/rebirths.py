"""A peer that is killed as soon as it is ready, so many times: rebirths.py COUNT FLAG...

The flags are those of `mabeam up`. What a life needs of the package is loaded once, before the
first: each is a fork. Prints the seconds of each life until it was ready; the last one lives on.
"""

import ctypes
import os
import signal
import sys
import time

import zeroconf.asyncio  # noqa: F401  # Else each life would load it.

from mabeam_p2p.cli import main

DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux' prctl(2)."""


def born(flags: list[str]) -> tuple[int, int]:
    """Process id of a new life, and where it prints."""
    out, into = os.pipe()
    pid = os.fork()
    if pid:
        os.close(into)
        return pid, out
    ctypes.CDLL(None).prctl(DIES_WITH_PARENT, int(signal.SIGKILL))
    os.dup2(into, 1)
    main(["up", "--json", *flags])
    os._exit(1)


def wait_until_ready(out: int) -> None:
    said = b""
    while b'"ready"' not in said:
        data = os.read(out, 65_536)
        if not data:
            sys.exit(f"it ended: {said.decode()}")
        said += data


def live(count: int, flags: list[str]) -> None:
    for number in range(count):
        began = time.monotonic()
        pid, out = born(flags)
        wait_until_ready(out)
        os.write(1, f"{time.monotonic() - began:.3f}\n".encode())
        if number + 1 < count:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(out)
    signal.pause()


if __name__ == "__main__":
    live(int(sys.argv[1]), sys.argv[2:])
