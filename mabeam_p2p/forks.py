"""What a forked child lets go of, so that it ends with the process that it belongs to.

1. A fork shares every open file with its child: a lock (`flock`) or a connection would last until
   the child has closed it too. The child closes what is this process's alone, at once; it never
   unlocks and never shuts down, which would reach its parent.
2. Threads do not survive a fork: whoever has one has ended in the child.
3. Files of SQLite are left open: its locks are not inherited, and it must not be closed behind its
   back.
"""

import os
import weakref
from typing import Protocol


class Owner(Protocol):
    """Has what no child may keep."""

    def forget(self) -> None:
        """Called in the child alone, before anything else runs there. Idempotent."""


_owners: "weakref.WeakSet[Owner]" = weakref.WeakSet()


def watch(owner: Owner) -> None:
    """Call `owner.forget()` in every child that is forked while the owner lives."""
    _owners.add(owner)


def _forget_all() -> None:
    owners = tuple(_owners)
    _owners.clear()
    for owner in owners:
        owner.forget()


os.register_at_fork(after_in_child=_forget_all)
