"""Messages between peers, and the frame that carries them. Tags are only ever appended.

Every message of the log begins with the log's id: 0 today, so that several logs can come.
"""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import AgentId, ClusterId, PeerId
from mabeam_p2p.records import Batch, LogBase, MailAnswer, Member, Standing, Variable

# ---- 1..9: acquaintance and membership --------------------------------------------------------


class Hello(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Who speaks. Sent to an address that was dialled, and in answer; `answer` ends the exchange.

    The only message that may come from an unknown peer or carry no target epoch.
    """

    cluster: str
    cluster_id: ClusterId
    member: Member
    answer: bool


class Refuse(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """The speaker will not talk to this peer: `reason` is cluster, version, name or identity."""

    reason: str
    detail: str
    final: bool = False
    """Nothing can come of it while all concerned run as they are: this peer is to give way."""


class Rumour(Struct, frozen=True, gc=False, array_like=True):
    """A member's record on its way through the cluster (SWIM §4.1)."""

    member: Member
    accuser: PeerId | None = None
    """Of a suspect: who suspects it on the evidence of its own probes (Lifeguard §IV-B)."""


class Probe(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Are you there? (SWIM §3.1). Carries where the speaker stands in the bully order."""

    number: int
    standing: Standing
    rumours: tuple[Rumour, ...] = ()


class ProbeAck(Struct, frozen=True, gc=False, array_like=True, tag=4):
    number: int
    standing: Standing
    rumours: tuple[Rumour, ...] = ()


class Wanted(IntEnum):
    """What the speaker asks for in return."""

    NOTHING = 0
    SOME = 1
    """As many records, and newer ones of those that were sent."""
    ALL = 2
    """The whole table."""


class Gossip(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Part of the speaker's table; or its own record alone: a refutation, or a goodbye."""

    members: tuple[Member, ...]
    wanted: Wanted = Wanted.NOTHING


class ProbeRequest(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Ask `target` for me, and tell me what came of it (SWIM §3.1, ping-req)."""

    number: int
    """The speaker's; of its oldest question that `target` has not answered."""
    target: PeerId
    rumours: tuple[Rumour, ...] = ()


class ProbeReport(Struct, frozen=True, gc=False, array_like=True, tag=7):
    """What came of a ProbeRequest. In vain: the nack of Lifeguard §IV-A, which tells the requester
    that at least its own ears are well."""

    number: int
    """That of the request."""
    target: PeerId
    answered: bool


# ---- 10..19: bootstrap -----------------------------------------------------------------------


class Offer(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """The lowest id offers to form a cluster of exactly `voters` whose log begins with `first`."""

    cluster_id: ClusterId
    voters: tuple[PeerId, ...]
    first: Batch


class Promise(Struct, frozen=True, gc=False, array_like=True, tag=11):
    """Answer to an offer. With `granted`, durable: no other offer is accepted until withdrawn."""

    cluster_id: ClusterId
    granted: bool


class Withdraw(Struct, frozen=True, gc=False, array_like=True, tag=12):
    """The coordinator gives the offer up, durably, before every voter promised."""

    cluster_id: ClusterId


class Form(Struct, frozen=True, gc=False, array_like=True, tag=13):
    """Every voter has promised: the cluster exists."""

    cluster_id: ClusterId


# ---- 20..39: the replicated log (Raft) -------------------------------------------------------


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


# ---- 40..49: variables -----------------------------------------------------------------------


class VariablePush(Struct, frozen=True, gc=False, array_like=True, tag=40):
    """Variables as the speaker holds them; they become visible together."""

    number: int
    """0: wants no acknowledgement."""
    variables: tuple[Variable, ...]


class VariableAck(Struct, frozen=True, gc=False, array_like=True, tag=41):
    number: int
    outcomes: tuple[int, ...]
    """For each variable of the push: 0 applied, 1 superseded, 2 merged, 3 refused."""


class Digest(Struct, frozen=True, gc=False, array_like=True, tag=42):
    """Hash of each bucket of the speaker's variables; a bucket is the hash of a name."""

    buckets: tuple[int, ...]
    newcomer: bool
    """The speaker has not yet been given everything once."""


class DigestEntries(Struct, frozen=True, gc=False, array_like=True, tag=43):
    """(name, hash of context) of every variable in the buckets that differ."""

    buckets: tuple[int, ...]
    entries: tuple[tuple[str, int], ...]
    last: bool
    """No more entries follow for this digest."""


class VariableWant(Struct, frozen=True, gc=False, array_like=True, tag=44):
    names: tuple[str, ...]


# ---- 50..59: mail ----------------------------------------------------------------------------


class Letter(Struct, frozen=True, gc=False, array_like=True, tag=50):
    """From one agent to others, all of whom live at the receiver. Sent once."""

    number: int
    """The sender's peer's own count of its letters: what is not greater than the last one heard is
    a copy, or late."""
    sender: AgentId
    targets: tuple[AgentId, ...]
    group: str
    topic: str
    value: bytes
    wants_answer: bool
    timeout: int
    """Microseconds for which the sender waits."""


class LetterReceipt(Struct, frozen=True, gc=False, array_like=True, tag=51):
    """What became of a letter's targets; those that are not named do not live here."""

    number: int
    delivered: tuple[AgentId, ...]
    full: tuple[AgentId, ...]
    """Their mailboxes have no room."""


class LetterAnswer(Struct, frozen=True, gc=False, array_like=True, tag=52):
    number: int
    """Of the letter."""
    answer: MailAnswer


# ---- 60..64: hierarchy -----------------------------------------------------------------------


class Relay(Struct, frozen=True, gc=False, array_like=True, tag=60):
    """A Forward by way of the section's coordinator, which answers ForwardRefused as a leader
    does."""

    log: int
    number: int
    """The sender's own count, of Forwards and Relays together."""
    count: int
    blob: bytes


class Relayed(Struct, frozen=True, gc=False, array_like=True, tag=61):
    """Commands of a section's members, one behind the other, for the leader to append."""

    log: int
    number: int
    """The coordinator's own count of these."""
    count: int
    blob: bytes


class RelayRefused(Struct, frozen=True, gc=False, array_like=True, tag=62):
    """As ForwardRefused, of a Relayed."""

    log: int
    number: int
    reason: str


class AckRelay(Struct, frozen=True, gc=False, array_like=True, tag=63):
    """A VariableAck for `target` by way of the section's coordinator."""

    target: PeerId
    number: int
    outcomes: tuple[int, ...]


class RelayedAck(Struct, frozen=True, gc=False, array_like=True):
    """The VariableAck of one member of a section."""

    source: PeerId
    number: int
    outcomes: tuple[int, ...]


class AcksRelayed(Struct, frozen=True, gc=False, array_like=True, tag=64):
    """What members of a section acknowledge to the receiver."""

    acks: tuple[RelayedAck, ...]


MembershipMessage = Probe | ProbeAck | Gossip | ProbeRequest | ProbeReport
BootstrapMessage = Offer | Promise | Withdraw | Form
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
LogMessage = (
    ReplicationMessage | Forward | ForwardRefused | Relay | Relayed | RelayRefused | TransferMessage
)
VariableMessage = VariablePush | VariableAck | Digest | DigestEntries | VariableWant
MailMessage = Letter | LetterReceipt | LetterAnswer
AckMessage = AckRelay | AcksRelayed
Heard = (
    MembershipMessage | BootstrapMessage | LogMessage | VariableMessage | AckMessage | MailMessage
)
"""What is heard only from a peer that has been met."""

Message = Hello | Refuse | Heard


class Frame(Struct, frozen=True, gc=False, array_like=True):
    """What travels in one ZeroMQ message: everything that was due to one peer in one turn."""

    version: int
    source: PeerId
    source_epoch: int
    """Opens of the source's data folder: an older one is a process that is gone."""
    target_epoch: int
    """Epoch of the receiver as the source knows it; 0 only in acquaintance. Another one means that
    the frame was queued for a process that is gone."""
    sequence: int
    """Grows within (source, source_epoch, target)."""
    cluster: ClusterId
    """The cluster that the source belongs to; empty while it belongs to none."""
    messages: tuple[Message, ...]


# ---- bulk data: between agents, on sockets of its own -----------------------------------------


class ChunkRange(Struct, frozen=True, gc=False, array_like=True):
    """A run of chunks of one slice in one stage (protocol/bulk/plan.py)."""

    stage: int
    slice: int
    first: int
    count: int


class BulkWant(Struct, frozen=True, gc=False, array_like=True, tag=60):
    """Send me these chunks, once you have them; nothing: a sign of life."""

    wanted: tuple[ChunkRange, ...]


class BulkChunk(Struct, frozen=True, gc=False, array_like=True, tag=61):
    """One chunk; its bytes are the next ZeroMQ frame of the same message."""

    stage: int
    slice: int
    chunk: int
    checksum: int
    """CRC-32 of the bytes."""


BulkMessage = BulkWant | BulkChunk

BULK_TOKEN_BYTES = 16


class BulkHeader(Struct, frozen=True, gc=False, array_like=True):
    """The first ZeroMQ frame of every message between the bulk sockets."""

    version: int
    token: bytes
    """What the receiver drew for this exchange and told its members alone, through the log."""
    round: int
    """How often members have been left out."""
    source: int
    """The sender's place among the members of the round."""
    message: BulkMessage
