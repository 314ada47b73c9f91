"""A daemon that ends by a signal leaves no core: its memory has the keys in it."""

import resource


def leave_none() -> None:
    """The system writes none, nor does systemd-coredump, which heeds this limit. Other programs
    that cores are handed to may keep them all the same, as apport does. Who needs a core raises the
    limit of the running process again, as with prlimit(1)."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
