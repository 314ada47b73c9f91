"""Who is there, and one peer's own view of it."""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import ClusterId, PeerId


class MemberState(IntEnum):
    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Member(Struct, frozen=True, gc=False, array_like=True):
    """What is known of a peer. Ordered by (incarnation, state): the greater one is newer."""

    peer: PeerId
    name: str
    address: str
    """HOST:PORT, or [IPV6]:PORT."""
    epoch: int
    incarnation: int
    state: MemberState
    eligible: bool = True
    score: int = 50
    version: int = 1


class Able(Struct, frozen=True, gc=False, array_like=True):
    """What a peer's release can do, and by what it applies a log. The defaults are those of a
    release that says nothing of it."""

    protocol_min: int = 1
    protocol_max: int = 1
    """The versions of frames that it speaks."""
    machine: int = 1
    """The machine version up to which it applies a log."""
    rules: int = 0
    """A hash of the limits by which it does; 0: not said."""


class Standing(Struct, frozen=True, gc=False, array_like=True):
    """What the bully order compares, in this order; the peer's id breaks the tie."""

    last_term: int
    last_index: int
    score_bucket: int
    tenure: int
    """Whole minutes since the peer started."""
    eligible: bool = True
    """Whether it may lead, and is fit to at present."""
    score: int = 50
    """What score_bucket is made of. Not compared: it is what the leader's preference looks at."""


class Status(Struct, frozen=True, gc=False, array_like=True):
    """One peer's own view, as `mabeam status --json` prints it."""

    peer: PeerId
    name: str
    cluster: str
    cluster_id: ClusterId
    role: str
    """leader, follower, candidate, learner or none."""
    leader: PeerId | None
    leader_name: str
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    quorum: bool
    voters: tuple[PeerId, ...]
    learners: tuple[PeerId, ...]
    epoch: int
    address: str
    expect: int
    alive_count: int
    counters: tuple[tuple[str, int], ...] = ()
    ready: bool = False
    """Whether the peer follows the log and has been given all variables once."""
    snapshot_index: int = 0
    """The last entry in the peer's snapshot; 0: it has none."""
    log_entries: int = 0
    """Entries of the log that it holds, in memory and on disk."""
    disk_used_bytes: int = 0
    disk_bytes_max: int = 0
    """What its data folder may hold; 0: not known, or nothing limits it."""
    disk_full: bool = False
    """Nine tenths of it are used: while this peer leads, it takes no commands."""
    score: int = 50
    """How fit it is to lead at present, 0..100."""
    unfit: str = ""
    """Why its program does not let it lead at present; empty: it does."""
    configuration_index: int = 0
    """Of the log's entry that `voters` stand in."""
    barred: tuple[PeerId, ...] = ()
    """Peers that a command took out of the voters, as far as this peer has applied the log."""
    ancestors: tuple[ClusterId, ...] = ()
    """Ids that the cluster had before its log was repaired."""
    nobody_eligible: bool = False
    """Nobody leads: a majority of the voters is alive, and none of these may, as far as they have
    told."""
    machine_version: int = 1
    """By which the log is applied."""
    machine_version_max: int = 1
    """Up to which this peer can, or is told to."""
    held_back_by: tuple[PeerId, ...] = ()
    """While this peer leads: the peers for whose sake the log stays at an earlier version."""
    held_back_by_limits: tuple[PeerId, ...] = ()
    """Those of them that could apply the later one, had they the limits of this peer."""

    @property
    def can_serve(self) -> bool:
        """Whether it is ready, and has a quorum at present: what people and monitors are told."""
        return self.ready and self.quorum
