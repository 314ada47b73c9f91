"""What a forked child lets go of, so that it ends with the process that it belongs to.

1. A fork shares every open file with its child: a lock (`flock`) or a connection would last until
   the child has closed it too. The child closes what is this process's alone, at once; it never
   unlocks and never shuts down, which would reach its parent.
2. Threads do not survive a fork: whoever has one has ended in the child.
3. Files of SQLite are left open: its locks are not inherited, and it must not be closed behind its
   back.
"""

import logging
import os
import weakref
from typing import Protocol

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """Has what no child may keep."""

    def forget(self) -> None:
        """Called in the child alone, before anything else runs there. Idempotent."""


_owners: "weakref.WeakSet[Owner]" = weakref.WeakSet()


def watch(owner: Owner) -> None:
    """Call `owner.forget()` in every child that is forked while the owner lives."""
    _owners.add(owner)


def _forget_all() -> None:
    # They stay: a child may fork again, with what it has made anew.
    for owner in tuple(_owners):
        try:
            owner.forget()
        except Exception:
            _log.exception("a forked child could not let go of %r", owner)


os.register_at_fork(after_in_child=_forget_all)
