"""Which process listens on a port of this host, by the kernel's tables."""

from pathlib import Path
from typing import NamedTuple

LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class Holder(NamedTuple):
    process: int
    command: str


def holder_of(port: int) -> Holder | None:
    """None: nobody listens there, or a process of another user does, which is not shown."""
    inodes = _listening(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            links = {str(one.readlink()) for one in (process / "fd").iterdir()}
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted & links:
            words = command.replace(b"\0", b" ").decode(errors="replace").strip()
            return Holder(int(process.name), words[:80] or "?")
    return None


def _listening(port: int) -> list[str]:
    """Inodes of the sockets that listen on the port."""
    inodes = []
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                inodes.append(words[9])
    return inodes
