"""What has come over the connections of a bound socket and was not taken out of it yet.

libzmq bounds the parts of a message by size, and whole messages by number (MAXMSGSIZE, RCVHWM), but
hands up nothing before the last part of a message, and bounds neither how many parts that has nor
how many connections a party opens. What has come is counted by the system, what was taken out is
counted here. Linux alone tells the first; elsewhere there is no such bound.
"""

import socket
import struct
import sys

PART_BYTES = 64
"""More than what ZMTP and CURVE add to a part."""

_TCP_INFO_BYTES = 136
_BYTES_RECEIVED = struct.Struct("@128xQ")
"""Of struct tcp_info (linux/tcp.h), since Linux 4.1."""


class Backlog:
    """By descriptor. Who has gone may still be known: its number is nobody's, or somebody else's,
    by now."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}
        """Bytes, never more than have come."""

    def __len__(self) -> int:
        return len(self._taken)

    def came(self, descriptor: int) -> None:
        self._taken[descriptor] = 0

    def gone(self, descriptor: int) -> None:
        self._taken.pop(descriptor, None)

    def took(self, descriptor: int, size: int) -> None:
        """A part of so many bytes was taken out."""
        if descriptor in self._taken:
            self._taken[descriptor] += size + PART_BYTES

    def waiting(self) -> dict[int, int]:
        """Bytes that wait, of each connection."""
        found = {}
        for descriptor, taken in self._taken.items():
            come = bytes_received(descriptor)
            # Less was added to a part than PART_BYTES: that is no credit for what comes later.
            self._taken[descriptor] = min(taken, come)
            found[descriptor] = come - self._taken[descriptor]
        return found


def bytes_received(descriptor: int) -> int:
    """That have come over a TCP connection, whether it was read or not; 0: it is none."""
    if sys.platform != "linux":
        return 0
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    except OSError:
        return 0
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return 0
    finally:
        connection.detach()
    return int(_BYTES_RECEIVED.unpack(told)[0]) if len(told) == _TCP_INFO_BYTES else 0
