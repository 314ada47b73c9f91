"""Every way in which a few voters can come to elect, to replicate and to crash within small bounds:
a search over all orders, with the Replication of a real peer.

Random runs miss what needs three rare things in one order. A small scope holds nearly all of them,
and here it is searched whole (Jackson 2012 calls it the small scope hypothesis).

What may happen, in any order:

1. A peer stands; if it leads, it first finds that it has lost its quorum.
2. A leader takes a command, or beats: then it sends again what was not answered.
3. A message that is under way arrives. None must: what never arrives is lost, so loss needs no
   step of its own. A bounded number arrive and stay under way: those are the doubled ones.
4. A peer crashes, between any two inputs or between any two records of one, and starts anew.
   What was under way to it and from it is of an earlier life, and links drop it by its epoch.

Elections need no pre-votes here: those only forbid some, and change no state. Disks write at once,
but for the crashes; disks that are slow are the simulator's.

States are told apart by everything that a core holds, but for times and numbers of writes. Peers
that have done nothing and hold the same log are alike: the first of them goes first.
"""

from mabeam_p2p.testing.small_scope.scopes import (
    BRIEF,
    LONG_BEGINNINGS,
    NARROW,
    SAME,
    WIDE,
    Scope,
    beginnings,
)
from mabeam_p2p.testing.small_scope.search import Contradiction, SmallScope

__all__ = [
    "BRIEF",
    "LONG_BEGINNINGS",
    "NARROW",
    "SAME",
    "WIDE",
    "Contradiction",
    "Scope",
    "SmallScope",
    "beginnings",
]
