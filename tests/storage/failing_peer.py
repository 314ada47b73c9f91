"""A daemon whose disk fails for good at one call of a kind, as a process of its own.

Arguments: the kind of call; which one of its kind after the peer has read its folder; `eio` or
`enospc`; and what `mabeam` is given.
"""

import sys

from mabeam_p2p import assembly
from mabeam_p2p.cli import main
from mabeam_p2p.records import Recovered
from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.storage.faulty_disk import Disk, Fault, connect, disk_full, io_error, register, use

KIND, NUMBER, ERROR, *ARGUMENTS = sys.argv[1:]
met = int(NUMBER)
is_read = False


def decide(_: int, kind: str) -> Fault | None:
    global met
    met -= is_read and kind == KIND
    if met > 0:
        return None
    return io_error(kind) if ERROR == "eio" else disk_full(kind)


class Storage(SqliteStorage):
    def __init__(self, path: str, *, bytes_max: int = 0) -> None:
        super().__init__(path, connect, bytes_max=bytes_max)

    def recover(self) -> Recovered:
        global is_read
        recovered = super().recover()
        is_read = True
        return recovered


register()
use(Disk(decide))
setattr(assembly, "SqliteStorage", Storage)  # noqa: B010
main(ARGUMENTS)
