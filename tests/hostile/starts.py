"""Many daemons that start at the same instant: one process, forked when everything is imported.

usage: python -m tests.hostile.starts COUNT NAME DATA_DIR

`{n}` in NAME and DATA_DIR stands for the number of the child. One line is printed for each: its
number, and `serves` or the class of the error that refused it. Who serves goes on until standard
input ends, and ends well.
"""

import asyncio
import os
import sys
import threading

from mabeam_p2p.config import Config
from mabeam_p2p.daemon.host import Host
from mabeam_p2p.errors import MabeamError


async def serve(config: Config, number: int, end: int) -> None:
    async with Host(config):
        say(f"{number} serves")
        await asyncio.get_running_loop().run_in_executor(None, os.read, end, 1)


def say(line: str) -> None:
    # One write, so that lines of different processes are not mixed.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def child(number: int, name: str, data_dir: str, gate: int, end: int) -> None:
    config = Config(
        name=name.format(n=number),
        cluster="starts",
        data_dir=data_dir.format(n=number),
        mdns=False,
        expect=1,
    )
    os.read(gate, 1)
    try:
        asyncio.run(serve(config, number, end))
    except MabeamError as error:
        say(f"{number} {type(error).__name__}")


def main(count: int, name: str, data_dir: str) -> None:
    assert threading.active_count() == 1, "children are forked from a process of one thread"
    gate, opener = os.pipe()
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(opener)
            try:
                child(number, name, data_dir, gate, sys.stdin.fileno())
            except BaseException as error:
                say(f"{number} broke: {error!r}")
            finally:
                os._exit(0)
        children.append(pid)
    os.close(gate)
    os.close(opener)  # Everybody's read ends now.
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
