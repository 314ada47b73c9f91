"""Which process listens on a port of this host, by the kernel's tables."""

import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class Holder(NamedTuple):
    process: int
    command: str


def holder_of(port: int) -> Holder | None:
    """None: nobody listens there, or a process of another user does, which is not shown."""
    wanted = {f"socket:[{one.inode}]" for one in _listening() if one.port == port}
    if not wanted:
        return None
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if wanted & _links(process):
            command = b""
            with suppress(OSError):
                command = (process / "cmdline").read_bytes()
            words = command.replace(b"\0", b" ").decode(errors="replace").strip()
            return Holder(int(process.name), words[:80] or "?")
    return None


def ports_of(process: int, host: str) -> list[int]:
    """At which ports of this address, or of all, a process listens; none: it is not shown."""
    links = _links(Path(f"/proc/{process}"))
    listening = (one for one in _listening() if f"socket:[{one.inode}]" in links)
    return sorted({one.port for one in listening if one.host in (host, "0.0.0.0", "::")})


def _links(process: Path) -> set[str]:
    """What its descriptors lead to; empty: it has ended, or is not shown."""
    links: set[str] = set()
    with suppress(OSError):
        for one in (process / "fd").iterdir():
            with suppress(OSError):  # Closed meanwhile.
                links.add(str(one.readlink()))
    return links


class _Socket(NamedTuple):
    host: str
    port: int
    inode: str


def _listening() -> list[_Socket]:
    """All TCP sockets of this host that listen."""
    found = []
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == LISTENING:
                host, _, port = words[1].rpartition(":")
                found.append(_Socket(_address(host), int(port, 16), words[9]))
    return found


def _address(digits: str) -> str:
    """As the kernel prints it: four bytes each as a number of this machine. ZeroMQ has addresses of
    IPv4 in sockets of IPv6."""
    numbers = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    address = ip_address(b"".join(number.to_bytes(4, sys.byteorder) for number in numbers))
    return str(getattr(address, "ipv4_mapped", None) or address)
