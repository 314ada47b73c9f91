"""Whose process is at the other end of a TCP connection within this host, by the kernel."""

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Every TCP socket of this network namespace, with its user (proc(5))."""

NOBODY = -1
"""The connection is in no table: it has ended, or comes from elsewhere."""

Name = tuple[str, int]


def user_of(source: Name, target: Name, tables: Iterable[Path] = TABLES) -> int | None:
    """User id of the process whose socket is bound to `source` and connected to `target`. NOBODY:
    no such socket; None: this system does not tell."""
    wanted = (_words(source), _words(target))
    is_told = False
    for table in tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        is_told = True
        for line in lines[1:]:
            fields = line.split()
            if (_canonical(fields[1]), _canonical(fields[2])) == wanted:
                return int(fields[7])
    return NOBODY if is_told else None


def _words(name: Name) -> tuple[bytes, int]:
    """An address as 16 bytes, an IPv4 one as IPv6 maps it, and a port."""
    address = ip_address(name[0].partition("%")[0])
    if address.version == 4:
        address = IPv6Address(f"::ffff:{address}")
    return address.packed, name[1]


def _canonical(field: str) -> tuple[bytes, int]:
    """ADDRESS:PORT of the kernel: words of 32 bits in the order of this machine."""
    text, _, port = field.partition(":")
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    packed = b"".join(struct.pack("=I", word) for word in words)
    if len(packed) == 4:
        return _words((socket.inet_ntoa(packed), int(port, 16)))
    return packed, int(port, 16)
