"""Bugs of what a forked child keeps of its parent."""

from tools.planted.base import Edit, Mutant

FORKS = "mabeam_p2p/forks.py"
FOLDER = "mabeam_p2p/storage/folder.py"
SOCKETS = "mabeam_p2p/api/sockets.py"
ATTACHED = "mabeam_p2p/api/attached.py"

MUTANTS = (
    Mutant(
        "FK-folder",
        "a forked child keeps the data folder of a process that was killed",
        (Edit(FOLDER, "        forks.watch(self)\n", ""),),
        ("tests/storage/test_sqlite.py",),
    ),
    Mutant(
        "FK-unlocks",
        "a forked child gives up the data folder that its parent holds",
        (
            Edit(
                FOLDER,
                "        if descriptor >= 0:\n            os.close",
                "        if descriptor >= 0:\n            fcntl.flock(descriptor, fcntl.LOCK_UN)\n"
                "            os.close",
            ),
        ),
        ("tests/storage/test_sqlite.py",),
    ),
    Mutant(
        "FK-name",
        "a forked child keeps the name of its daemon",
        (Edit(SOCKETS, "        forks.watch(self)\n", ""),),
        ("tests/api/test_sockets.py",),
    ),
    Mutant(
        "FK-connection",
        "the connection of an attached agent lasts as long as a child that it has forked",
        (Edit(ATTACHED, "        self._link.close()\n", "        pass\n"),),
        ("tests/api/test_attached_backend.py",),
    ),
    Mutant(
        "FK-shutdown",
        "a forked child ends the connection of its parent",
        (
            Edit(
                ATTACHED,
                "        self._link.close()\n",
                "        self._link.shutdown(socket.SHUT_RDWR)\n",
            ),
        ),
        ("tests/api/test_attached_backend.py",),
    ),
    Mutant(
        "FK-speaks",
        "a forked child speaks on the connection of its parent",
        (Edit(ATTACHED, "        self._is_closed = True\n        self._connection = None\n", ""),),
        ("tests/api/test_attached_backend.py",),
    ),
)
