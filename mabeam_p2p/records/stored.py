"""What is stored: batches of the log, variables, and all that a Persist can carry."""

from msgspec import Struct

from mabeam_p2p.ids import ClusterId, PeerId


class Batch(Struct, frozen=True, gc=False, array_like=True):
    """A run of log entries that one leader made in one turn: stored, sent and applied whole.

    Entries are counted one by one, so that an index is unique: this batch holds the indices
    `index` to `index + count - 1`, all of term `term` and with the stamp `clock`.
    """

    index: int
    """Index of the first entry, 1 or more."""
    count: int
    """Entries, 1 or more."""
    term: int
    clock: int
    """The log's clock: integer microseconds that never go back along the log."""
    blob: bytes
    """The commands, each encoded by its proposer's peer, one behind the other. Opaque to Raft."""
    voters: tuple[PeerId, ...] = ()
    """Sorted: the voters from this batch on (Raft thesis §4.1). Empty: as before."""

    @property
    def last_index(self) -> int:
        return self.index + self.count - 1


class LogBase(Struct, frozen=True, gc=False, array_like=True):
    """Where a log begins: what is kept of the batches up to `index`, which are gone or were never
    here. All of them are committed."""

    index: int = 0
    """The end of a batch, or 0: the log begins with its first entry."""
    term: int = 0
    clock: int = 0
    voters: tuple[PeerId, ...] = ()
    """The configuration there (Raft thesis §5.1.1); empty only at index 0."""
    configuration_index: int = 0
    """Of the entry that `voters` stand in, `index` at most; 0: it is `index`."""


class Snapshot(Struct, frozen=True, gc=False, array_like=True):
    """The machine as it is once the log up to `base` has been applied (Raft §7)."""

    base: LogBase
    """The last entry that is included."""
    digest: int
    """64 bits of a hash over `data`: equal on all peers at an equal index."""
    data: bytes
    """The machine's state, encoded. Opaque to Raft."""


# ---- what is stored (the closed union of what a Persist can carry) ---------------------------


class HardState(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Raft's currentTerm and votedFor: one record, so that they are never stored apart."""

    log: int
    term: int
    vote: PeerId
    """Empty while no vote was given in this term."""


class LogAppend(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Drop every batch that begins behind `keep_index`, then append `batches`."""

    log: int
    keep_index: int
    """Last index that stays: the end of a batch, or 0."""
    batches: tuple[Batch, ...]


class BootstrapState(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """What this peer has promised while a cluster forms (docs/protocol.md, Bootstrap)."""

    cluster_id: ClusterId
    """Empty: no promise."""
    coordinator: PeerId
    voters: tuple[PeerId, ...]
    first: tuple[Batch, ...]
    """The first batch of the cluster's log, or nothing."""
    formed: bool
    """Whether the cluster is known to exist: no way back."""


class KnownAddresses(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Addresses of members, remembered as hints for the next start."""

    addresses: tuple[str, ...]


class Sibling(Struct, frozen=True, gc=False, array_like=True):
    """One value of a variable that no other value supersedes, with the dot that wrote it."""

    actor: PeerId
    counter: int
    """The actor's write: (epoch << 32) + n. Grows over restarts."""
    clock: int
    """Hybrid logical clock of the write: microseconds since 1970, made to grow past every clock
    seen. For last-writer-wins only."""
    value: bytes | None
    """Encoded value; None is a tombstone."""


RESOLVERS = ("lww", "max", "min", "counter", "set", "map", "multi_value", "function")
"""What can make one value of concurrent ones. Where two words meet in one variable, the earlier
one stands; only ever appended."""


class Variable(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """A variable as a dotted version vector set: `context` dominates every sibling's dot."""

    name: str
    resolver: str
    """One of RESOLVERS."""
    context: tuple[tuple[PeerId, int], ...]
    """Version vector, sorted by actor."""
    siblings: tuple[Sibling, ...]
    """Sorted by (actor, counter)."""


class SnapshotStored(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Keep `snapshot` in place of every older one, and let the log begin behind `base`: one step,
    so that no crash finds the one without the other."""

    log: int
    snapshot: Snapshot
    base: LogBase
    """Not behind the snapshot's own: some entries before that may stay for slow followers."""
    keeps_tail: bool
    """Whether the batches behind `base` stay. If not, no batch does (Raft figure 13, step 7)."""


class VariableMarks(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """What this peer knows of all variables together: version vectors over writers, as contexts are
    (docs/variables.md)."""

    known: tuple[tuple[PeerId, int], ...]
    """Every write of each actor up to this one was seen: it stands here or was superseded."""
    base: tuple[tuple[PeerId, int], ...]
    """Contexts may lack their entries up to here. `known` dominates it."""


class VariableForgotten(Struct, frozen=True, gc=False, array_like=True, tag=11):
    """The variable is not held any more: it was deleted, and `known` covers all its writes."""

    name: str


Record = (
    HardState
    | LogAppend
    | BootstrapState
    | KnownAddresses
    | Variable
    | VariableMarks
    | VariableForgotten
    | SnapshotStored
)


class DiskUsage(Struct, frozen=True, gc=False):
    """How full a data folder is. Not stored: measured."""

    used_bytes: int
    """What is in it; not what SQLite keeps for reuse, nor the write-ahead log."""
    bytes_max: int
    """What may be in it: the quota, or what the disk has room for."""

    @property
    def is_nearly_full(self) -> bool:
        """Nine tenths: room for what is under way, and for what keeps leases."""
        return self.used_bytes * 10 >= self.bytes_max * 9

    @property
    def is_full(self) -> bool:
        """Nineteen twentieths: room for a last snapshot alone."""
        return self.used_bytes * 20 >= self.bytes_max * 19


class Recovered(Struct, frozen=True):
    """What a data folder held when it was opened."""

    peer: PeerId
    epoch: int
    """Opens of this folder, this one included; stored before it is used."""
    hard_states: tuple[HardState, ...] = ()
    batches: tuple[Batch, ...] = ()
    """Of log 0, in order of index, without a gap, from `base` on."""
    bootstrap: BootstrapState | None = None
    variables: tuple[Variable, ...] = ()
    addresses: tuple[str, ...] = ()
    snapshot: Snapshot | None = None
    base: LogBase = LogBase()
    marks: VariableMarks | None = None
