"""Which process is in the way, by the kernel's tables, and what to do about it.

A daemon is nothing to end: whoever does not know it as the one that it is looks for it elsewhere.
"""

import os
import shlex
import sys
from contextlib import suppress
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from mabeam_p2p.api import sockets

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


def advice(process: int) -> str:
    """The command for whoever finds this process in the way."""
    if not _is_daemon(process):
        return f"kill {process}"
    found = socket_of(process)
    if found is None:
        return f"ps -fp {process}    # a daemon, of a user whose processes are not shown"
    where, cluster, name = found.parent.parent, found.parent.name, found.stem
    with suppress(OSError):
        user = os.stat(f"/proc/{process}").st_uid
        if user != os.getuid():  # Who looks as root is refused there, as everybody else.
            return f"sudo -u '#{user}' mabeam doctor --cluster {cluster} --name {name}"
    # Clients look there by themselves, or can be told to, or have to be given the socket.
    if where in sockets.looked_into():
        return f"mabeam doctor --cluster {cluster} --name {name}"
    if where.name == "mabeam":
        folder = shlex.quote(str(where.parent))
        return f"XDG_RUNTIME_DIR={folder} mabeam doctor --cluster {cluster} --name {name}"
    return f"mabeam status --addr {shlex.quote(str(found))}"


def _is_daemon(process: int) -> bool:
    words: list[str] = []
    with suppress(OSError):
        command = Path(f"/proc/{process}/cmdline").read_bytes()
        words = [os.path.basename(word) for word in command.decode(errors="replace").split("\0")]
    return any(pair in (("mabeam", "up"), ("mabeam_p2p", "up")) for pair in pairwise(words))


def socket_of(process: int) -> Path | None:
    """Where a daemon listens for its clients; None: it does not, or is not shown."""
    links = _links(Path(f"/proc/{process}"))
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]
    for line in lines:
        words = line.split(maxsplit=7)
        if len(words) == 8 and words[7].endswith(".sock") and f"socket:[{words[6]}]" in links:
            return Path(words[7])
    return None


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
