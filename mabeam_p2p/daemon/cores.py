"""A daemon that ends by a signal leaves no copy of its memory: it has the keys in it."""

import resource


def leave_none() -> None:
    """For this process, and handlers of the system that heed its limit (systemd-coredump, apport).
    Who needs a core raises the limit of the running process again, as with prlimit(1)."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
