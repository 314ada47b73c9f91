"""Connections of this process, as the kernel sees them."""

import os
import socket
import stat


def connections_at(port: int) -> int:
    """Ends of this process at that port, as the kernel sees them: what a caller costs."""
    return len(callers_at(port))


def callers_at(port: int) -> list[int]:
    """The ports at their other ends."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = os.dup(int(name))
        except OSError:
            continue
        if not stat.S_ISSOCK(os.fstat(copy).st_mode):
            os.close(copy)
            continue
        with socket.socket(fileno=copy) as one:
            if one.family in (socket.AF_INET, socket.AF_INET6) and one.getsockname()[1] == port:
                try:
                    found.append(one.getpeername()[1])
                except OSError:  # It listens.
                    continue
    return found
