"""What is heard of a peer that is no voter by the log of the receiver (configuration.py, rule 6).

It may be one in a configuration that has not come. Or it was removed and has stood in vain before:
then it would never follow a leader of an older term, and must not depose one at will either.
"""

from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    HeartbeatReply,
    InstallSnapshot,
    ReplicationMessage,
    SnapshotReply,
    VoteRequest,
)
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.replication.configuration import is_ahead

OUTSIDER_TIMEOUTS = 20
"""Election timeouts for which a leader leads before it takes up the newer term of a peer that does
not vote."""


def hears_outsider(
    message: ReplicationMessage, log: Log, *, is_leader_heard: bool, led_timeouts: float
) -> bool:
    """Whether a newer term, or a new leader, is heard from it. led_timeouts: how long this peer has
    led, or not, in election timeouts."""
    match message:
        case VoteRequest():
            return not is_leader_heard
        case AppendEntries():
            return not is_leader_heard and is_ahead(*_end_of(message), log)
        case InstallSnapshot(base=base):
            return not is_leader_heard and is_ahead(base.term, base.index, log)
        case AppendReply() | HeartbeatReply() | SnapshotReply():
            return led_timeouts >= OUTSIDER_TIMEOUTS
        case _:
            return False


def _end_of(message: AppendEntries) -> tuple[int, int]:
    """Term and index of the last entry that the leader is known to hold."""
    if message.batches:
        return message.batches[-1].term, message.batches[-1].last_index
    return message.previous_term, message.previous_index
