"""The mark beside a database that was found damaged while it had a write-ahead log.

It names the peer and the greatest epoch that could be read, with the log as far as that is whole.
Whatever is made of these files by who drops the log, or copies its whole part into the database,
has no greater epoch: each start of a peer counts it up, once it has read the folder and found
nothing wrong. So a mark says nothing of a database of another peer, or of a greater epoch: such a
one was opened in order since, perhaps by a release that knows no mark. A mark that names nothing
speaks of any database.
"""

import os
import re
from pathlib import Path

from mabeam_p2p.storage import folder
from mabeam_p2p.storage.layout import Identity

SUFFIX = ".damaged"
_NAMED = re.compile(rb"([0-9a-f]{16}) (\d{1,19})\n")
"""With its end, so that one that was not written whole names nothing."""


def path_of(database: Path) -> Path:
    return Path(f"{database}{SUFFIX}")


def put(database: Path, seen: Identity | None) -> None:
    """Durably. seen: what could be read of it. Raises OSError; a mark that names nothing may then
    be there."""
    path = path_of(database)
    path.touch(folder.FILE_MODE)
    with path.open("wb") as file:
        if seen is not None:
            file.write(f"{seen.peer} {seen.epoch}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    folder.sync(str(path.parent))


def take_away(database: Path) -> None:
    """Durably, if it is there. Raises OSError."""
    path = path_of(database)
    if path.exists():
        path.unlink()
        folder.sync(str(path.parent))


def speaks_of(database: Path, identity: Identity) -> bool:
    """Whether there is a mark for the database that says this of itself. Raises OSError."""
    try:
        named = _NAMED.fullmatch(path_of(database).read_bytes())
    except FileNotFoundError:
        return False
    if named is None:
        return True
    peer, epoch = named.groups()
    return peer == identity.peer.encode() and identity.epoch <= int(epoch)
