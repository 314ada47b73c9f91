"""Connections of this process, as the kernel sees them, one made by hand, and where to."""

import os
import socket
import stat

from tools.children import free_ports


def reserved() -> str:
    """An address that nobody else takes while it is not bound, nor the two ports above it."""
    return f"127.0.0.1:{free_ports(1)[0]}"


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


class Talker:
    """A DEALER by hand (ZMTP 3.0, NULL): it can begin what it does not end."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        null = b"NULL".ljust(20, b"\0")
        self.socket.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + null + bytes(32))
        self._read(64)
        ready = b"\x05READY\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"
        self.socket.sendall(bytes([4, len(ready)]) + ready)
        self._read(self._read(2)[1])

    def _read(self, size: int) -> bytes:
        data = self.socket.recv(size, socket.MSG_WAITALL)
        assert len(data) == size
        return data

    def say(self, part: bytes, *, more: bool) -> bool:
        """Whether it could be sent."""
        try:
            self.socket.sendall(bytes([2 | more]) + len(part).to_bytes(8, "big") + part)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()
