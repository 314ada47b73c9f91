"""20..39: the replicated log (Raft).

Every message begins with the log's id: 0 today, so that several logs can come.
"""

from msgspec import Struct

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, LogBase, Standing


class VoteRequest(Struct, frozen=True, gc=False, array_like=True, tag=20):
    """RequestVote (Raft §5.2), or a pre-vote (Raft thesis §9.6), which is also the bully's
    ELECTION (Garcia-Molina 1982)."""

    log: int
    term: int
    """The candidate's term; for a pre-vote the term it would campaign in."""
    standing: Standing
    pre: bool
    transfer: bool
    """The leader itself has the candidate stand: in the next term it is voted for although that
    leader is heard (Raft thesis §4.2.3). No pre-vote has it."""


class VoteReply(Struct, frozen=True, gc=False, array_like=True, tag=21):
    log: int
    term: int
    """For a granted pre-vote the asked term, else the voter's own."""
    granted: bool
    pre: bool
    higher: bool
    """The bully's OK: the voter stands above the candidate and stands for election itself."""


class AppendEntries(Struct, frozen=True, gc=False, array_like=True, tag=22):
    """Raft §5.3. `batches`: contiguous, the first begins at previous_index + 1."""

    log: int
    term: int
    previous_index: int
    """The end of a batch, or 0."""
    previous_term: int
    commit_index: int
    batches: tuple[Batch, ...]


class AppendReply(Struct, frozen=True, gc=False, array_like=True, tag=23):
    log: int
    term: int
    success: bool
    match_index: int
    """On success the last index verified and durable; else the last index where the logs may
    still agree."""
    previous_index: int
    """The previous_index of the request that this answers."""


class Heartbeat(Struct, frozen=True, gc=False, array_like=True, tag=24):
    """Keeps leadership, and confirms it for reads: `round` counts the leader's rounds."""

    log: int
    term: int
    commit_index: int
    round: int


class HeartbeatReply(Struct, frozen=True, gc=False, array_like=True, tag=25):
    log: int
    term: int
    round: int


class CommitAdvance(Struct, frozen=True, gc=False, array_like=True, tag=26):
    """A new commit index, announced at once. Wants no answer."""

    log: int
    term: int
    commit_index: int


class Forward(Struct, frozen=True, gc=False, array_like=True, tag=27):
    """Commands of a follower's agents, for the leader to append: `count` in `blob`."""

    log: int
    number: int
    """The sender's own count of its forwards."""
    count: int
    blob: bytes


class ReadIndex(Struct, frozen=True, gc=False, array_like=True, tag=28):
    """A follower asks for an index that makes a read linearizable (Raft thesis §6.4)."""

    log: int
    number: int


class ReadIndexReply(Struct, frozen=True, gc=False, array_like=True, tag=29):
    log: int
    number: int
    index: int
    """0: refused, the peer asked does not lead."""


class ForwardRefused(Struct, frozen=True, gc=False, array_like=True, tag=30):
    """Commands were not appended: `reason` is overloaded, disk_full or not_leader. Certainly not
    done."""

    log: int
    number: int
    """Of the Forward."""
    reason: str


class InstallSnapshot(Struct, frozen=True, gc=False, array_like=True, tag=31):
    """One piece of a snapshot for a follower that lacks what the leader's log no longer holds
    (Raft §7, figure 13). Base, digest and size name the snapshot; whoever leads."""

    log: int
    term: int
    base: LogBase
    """The last entry that the snapshot includes, and the configuration there."""
    digest: int
    """64 bits of a hash over the whole of it."""
    size: int
    """Bytes of the whole."""
    offset: int
    """Of `data` in the whole."""
    data: bytes
    """Empty: how much of it do you have?"""


class SnapshotReply(Struct, frozen=True, gc=False, array_like=True, tag=32):
    log: int
    term: int
    index: int
    """Of the snapshot's last entry, as asked."""
    digest: int
    offset: int
    """Bytes of it that are here: what is wanted next."""
    installed: bool
    """Durable: the follower's log holds, or begins behind, what the snapshot ends with."""


class TimeoutNow(Struct, frozen=True, gc=False, array_like=True, tag=33):
    """The leader hands over: the receiver is to stand for election at once (Raft thesis §3.10)."""

    log: int
    term: int
    """The leader's."""
    last_index: int
    """Of the leader's log. Whose log ends elsewhere does not obey: the leader has gone on since."""


class ChangeVoter(Struct, frozen=True, gc=False, array_like=True, tag=34):
    """To the leader: let `peer` vote, or not. Asked again until it is answered."""

    log: int
    number: int
    peer: PeerId
    votes: bool
    index: int
    """Of the configuration that the change is made on; 0: the asker knows none, and any will do."""


class VoterAnswer(Struct, frozen=True, gc=False, array_like=True, tag=35):
    """The ChangeVoter `number` has come to an end: it is committed, or certainly not done."""

    log: int
    number: int
    reason: str
    """done, or why not (protocol/node/changes.py)."""
    index: int
    """Of the leader's latest configuration."""


class TransferRequest(Struct, frozen=True, gc=False, array_like=True, tag=37):
    """Somebody wants the leader to hand over. Answered by TransferReply."""

    log: int
    number: int
    """The sender's own count of these."""
    target: PeerId
    """Empty: to whoever stands highest."""


class TransferReply(Struct, frozen=True, gc=False, array_like=True, tag=38):
    """What has become of it."""

    log: int
    number: int
    reason: str
    """Why it did not come to it, as in `Refused`; empty: `leader` leads in `term`."""
    detail: str
    leader: PeerId
    """Empty if it did not come to it."""
    term: int


ReplicationMessage = (
    VoteRequest
    | VoteReply
    | AppendEntries
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | CommitAdvance
    | ReadIndex
    | ReadIndexReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
)
TransferMessage = TransferRequest | TransferReply
ChangeMessage = ChangeVoter | VoterAnswer
