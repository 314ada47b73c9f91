"""`python -m mabeam_p2p.cli.demo.tethered ARG…`: the demo's processes, held by their parent.

The process dies at once when its standard input ends. The parent holds the other end of that pipe
and never writes to it, so that the children of a demo end with it however it ends, kill -9
included, on every POSIX system.
"""

import os
import signal
import sys
import threading

from mabeam_p2p.cli import main
from mabeam_p2p.cli.demo import crew, searcher, searching


def tether() -> None:
    """Die with whoever holds the other end of standard input."""
    threading.Thread(target=_die_at_end_of_input, name="tether", daemon=True).start()


def _die_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    tether()
    match sys.argv[1:]:
        case ["search", *arguments]:
            searcher.main(arguments)
        case ["crew", *arguments]:
            crew.main(arguments)
        case ["data", path]:
            searching.make_data(path)
        case _:
            main()
