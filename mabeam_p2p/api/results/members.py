"""Who is there, and what happens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mabeam_p2p.api.results.base import (
    Decoded,
    Result,
    plain,
)
from mabeam_p2p.records import Agent as AgentRecord
from mabeam_p2p.records import Member as MemberRecord
from mabeam_p2p.records import Status


@dataclass(frozen=True, slots=True)
class Member(Result):
    """A peer of the cluster, as this one sees it."""

    id: str
    name: str
    address: str
    state: Literal["alive", "suspect", "dead", "left"]
    incarnation: int
    agents: tuple[str, ...]

    @staticmethod
    def of(record: MemberRecord, agents: tuple[str, ...]) -> "Member":
        states: tuple[Literal["alive", "suspect", "dead", "left"], ...] = (
            "alive",
            "suspect",
            "dead",
            "left",
        )
        return Member(
            str(record.peer),
            record.name,
            record.address,
            states[record.state],
            record.incarnation,
            agents,
        )


@dataclass(frozen=True, slots=True)
class AgentFacts(Result):
    """An agent of the cluster, wherever it lives."""

    id: str
    peer: str
    groups: tuple[str, ...]
    capabilities: Mapping[str, int]
    participates_in_consensus: bool
    eligible: bool
    attributes: Mapping[str, str]
    """What it tells of itself while it runs."""
    joined_index: int
    """Log index at which it joined: another one under the same id is another session."""

    @staticmethod
    def of(record: AgentRecord) -> "AgentFacts":
        return AgentFacts(
            str(record.id),
            str(record.peer),
            record.groups,
            dict(record.capabilities),
            record.participates,
            record.eligible,
            dict(record.attributes),
            record.joined_index,
        )


@dataclass(frozen=True, slots=True)
class Leader(Result):
    """The peer that leads the log, and in which term."""

    id: str
    name: str
    term: int


@dataclass(frozen=True, slots=True)
class PeerStatus(Result):
    """One peer's own view of the log."""

    peer: str
    name: str
    cluster: str
    cluster_id: str
    address: str
    role: str
    """leader, follower, candidate, learner or none."""
    leader: str | None
    leader_name: str
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    quorum: bool
    voters: tuple[str, ...]
    learners: tuple[str, ...]
    epoch: int
    expect: int
    alive_count: int
    counters: Mapping[str, int]
    score: int
    """How fit it is to lead at present, 0..100."""
    unfit: str
    """Why it is not to lead at present; empty: it may."""
    snapshot_index: int = 0
    """The last entry in the peer's snapshot; 0: it has none."""
    log_entries: int = 0
    """Entries of the log that it holds, in memory and on disk."""
    disk_used_bytes: int = 0
    disk_bytes_max: int = 0
    """What its data folder may hold; 0: not known, or nothing limits it."""
    disk_full: bool = False
    """Nine tenths of it are used: while this peer leads, it takes no commands."""
    configuration_index: int = 0
    """Of the log's entry that `voters` stand in."""
    barred: tuple[str, ...] = ()
    """Peers that do not vote because a command said so."""
    ancestors: tuple[str, ...] = ()
    """Ids that the cluster had before its log was repaired."""
    nobody_eligible: bool = False
    """Nobody leads, though a majority of the voters is alive: none of these may (`eligible` is
    false, or it is unfit)."""
    machine_version: int = 1
    """By which the cluster's log is applied."""
    machine_version_max: int = 1
    """Up to which this peer can, or is told to."""
    held_back_by: tuple[str, ...] = ()
    """Where this peer leads: the peers for whose sake the log stays at an earlier version."""
    held_back_by_limits: tuple[str, ...] = ()
    """Those of them that could apply the later one, had they the limits of this peer."""
    ready: bool = False
    """It follows the log, was given all variables, and has a quorum at present."""

    @staticmethod
    def of(record: Status) -> "PeerStatus":
        return PeerStatus(
            str(record.peer),
            record.name,
            record.cluster,
            str(record.cluster_id),
            record.address,
            record.role,
            None if record.leader is None else str(record.leader),
            record.leader_name,
            record.term,
            record.commit_index,
            record.applied_index,
            record.last_index,
            record.quorum,
            tuple(map(str, record.voters)),
            tuple(map(str, record.learners)),
            record.epoch,
            record.expect,
            record.alive_count,
            dict(record.counters),
            record.score,
            record.unfit,
            record.snapshot_index,
            record.log_entries,
            record.disk_used_bytes,
            record.disk_bytes_max,
            record.disk_full,
            record.configuration_index,
            tuple(map(str, record.barred)),
            tuple(map(str, record.ancestors)),
            record.nobody_eligible,
            record.machine_version,
            record.machine_version_max,
            tuple(map(str, record.held_back_by)),
            tuple(map(str, record.held_back_by_limits)),
            record.can_serve,
        )


@dataclass(frozen=True, slots=True)
class Info(Result):
    """An agent and its surroundings, from what its peer has told so far; nobody is asked."""

    agent: str
    groups: tuple[str, ...]
    capabilities: Mapping[str, int]
    peer: str
    peer_name: str
    cluster: str
    leader: Leader | None
    quorum: bool
    members: tuple[Member, ...]
    agents: tuple[AgentFacts, ...]
    parameters: int
    """How many are agreed."""
    variables: int
    """How many are shared."""


@dataclass(frozen=True, slots=True)
class Event(Result):
    """Something that a peer told: its name, as `member.alive`, and the facts."""

    name: str
    facts: Mapping[str, Decoded]

    def to_dict(self) -> dict[str, object]:
        return {"event": self.name, **{key: plain(value) for key, value in self.facts.items()}}
