"""Raft: votes, terms, the replication of the log, commitment. Pure; called by `node` alone.

`replication.Replication` is one peer's part in every role; `leadership.Leadership` is what exists
only while it leads, and ends with its term.
"""

from mabeam_p2p.protocol.replication.configuration import Objection
from mabeam_p2p.protocol.replication.following import Said
from mabeam_p2p.protocol.replication.replication import Replication, Role
from mabeam_p2p.protocol.replication.term import hard_state_of

__all__ = ["Objection", "Replication", "Role", "Said", "hard_state_of"]
