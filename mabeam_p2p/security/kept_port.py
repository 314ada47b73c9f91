"""The join port that a peer had last: taken again at its next start, where none is named.

Others remember a peer by its address. Where nothing announces it, peers that are all started anew
find each other only if they are where they were.

It is a hint. What cannot be read decides nothing, and is written anew; what cannot be written stops
nobody. Both are told.
"""

import logging
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from mabeam_p2p.errors import KeyFileError
from mabeam_p2p.security import files

PORT_NAME = "port"

_log = logging.getLogger(__name__)


class PortFile(Struct):
    """No secret, and kept like one: it decides where the peer listens."""

    port: Annotated[int, Meta(ge=1, le=65_535)]


def kept_port(folder: Path | None) -> int:
    """Of the peer of this data folder; 0: it has kept none. folder: None keeps nothing."""
    if folder is None:
        return 0
    path = folder / PORT_NAME
    try:
        known = files.read(path, PortFile)
    except KeyFileError:
        # Not in its words: they are of secrets, which would have to be put back.
        _log.warning(
            "%s is damaged, or others could have written it, and counts for nothing: the port that "
            "this peer had is not known. The file is written anew at its start",
            path,
        )
        return 0
    return 0 if known is None else known.port


def keep_port(folder: Path | None, port: int) -> None:
    """Durably. folder: exists, and is this process's alone; None keeps nothing."""
    if folder is None:
        return
    try:
        files.write(folder / PORT_NAME, PortFile(port))
    except KeyFileError as error:
        _log.warning("%s. At its next start this peer may have another port than %d", error, port)
