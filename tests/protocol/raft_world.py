"""A few Replications, their disks and the messages between them, in virtual time.

Nothing happens by itself: a test says who acts, which message arrives and when a disk has written.
Ghosts outside the peers check every step: what is claimed is on disk, one leader a term, one vote
a term, what is committed is held by a majority and never differs.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Persist, Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendReply,
    Message,
    ReplicationMessage,
    SnapshotReply,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Replication, Role
from mabeam_p2p.records import (
    Batch,
    HardState,
    LogAppend,
    LogBase,
    Record,
    Snapshot,
    SnapshotStored,
    Standing,
)

A, B, C, D, E, F, G = (PeerId(letter * 16) for letter in "abcdefg")
PEERS = (A, B, C, D, E, F, G)
NOBODY = PeerId("")
TIMING = Timing(heartbeat_seconds=0.125, election_timeout_seconds=0.5, append_timeout_seconds=0.25)
"""Sums of these are exact."""


def written(*terms: int, voters: tuple[PeerId, ...] = (A, B, C)) -> tuple[Batch, ...]:
    """A log of single entries with these terms, the first of which names the voters."""
    return tuple(
        Batch(index, 1, term, term, f"{index}.{term}".encode(), voters if index == 1 else ())
        for index, term in enumerate(terms, 1)
    )


def state_at(base: LogBase, size: int = 30) -> Snapshot:
    """What stands for the state of a machine there: equal on all peers."""
    text = f"state at {base.index}/{base.term} of {len(base.voters)};".encode()
    data = (text * (size // len(text) + 1))[: max(size, len(text))]
    return Snapshot(base, zlib.crc32(data), data)


def terms_of(log: Iterable[Batch]) -> list[int]:
    return [batch.term for batch in log for _ in range(batch.count)]


class Parcel(NamedTuple):
    """A message under way. lives: of its source and target, as the source knew them; what is from
    or for an earlier life is dropped, as links do by their epochs."""

    source: PeerId
    target: PeerId
    message: Message
    lives: tuple[int, int]


class Disk:
    """What survives a crash."""

    def __init__(self, state: HardState | None, batches: tuple[Batch, ...]) -> None:
        self.state = state
        self.batches = list(batches)
        self.snapshot: Snapshot | None = None
        self.base = LogBase()

    def write(self, record: Record) -> None:
        match record:
            case HardState():
                self.state = record
            case LogAppend():
                self.batches = [b for b in self.batches if b.index <= record.keep_index]
                self.batches.extend(record.batches)
            case SnapshotStored():
                kept = record.base.index if record.keeps_tail else float("inf")
                self.batches = [b for b in self.batches if b.index > kept]
                self.snapshot, self.base = record.snapshot, record.base
            case _:
                raise AssertionError(f"not a record of the log: {record}")

    def holds(self, last_index: int, term: int) -> bool:
        """What lies before the base was committed, and is in the snapshot."""
        return last_index <= self.base.index or any(
            batch.last_index == last_index and batch.term == term for batch in self.batches
        )


class Actor:
    """One peer: its core, its disk, and what waits for the disk."""

    core: Replication

    def __init__(self, peer: PeerId, disk: Disk) -> None:
        self.peer = peer
        self.disk = disk
        self.outbox = Outbox()
        self.durable = 0
        self.unwritten: list[Persist] = []
        self.held: list[Send] = []
        self.is_slow = False
        """Whether its disk writes only when it is told to."""
        self.is_up = True
        self.life = 0
        self.committed_index = 0
        self.taken_in: list[Snapshot] = []
        """Snapshots from elsewhere that took the place of its machine."""

    def standing(self) -> Standing:
        return Standing(self.core.log.last_term, self.core.log.last_index, 0, 0)


class World:
    """The peers of one cluster. Every verb ends the turn of the peer that acts."""

    def __init__(
        self,
        count: int = 3,
        *,
        logs: dict[PeerId, tuple[Batch, ...]] | None = None,
        terms: dict[PeerId, int] | None = None,
        learners: tuple[PeerId, ...] = (),
        limits: Limits | None = None,
        timing: Timing = TIMING,
    ) -> None:
        self.now = 1000.0
        self.voters = PEERS[:count]
        self.flying: list[Parcel] = []
        self.cuts: list[tuple[PeerId, PeerId]] = []
        self.limits = limits or Limits()
        self.timing = timing
        self.learners = learners
        self.ghost = Ghost(self)
        self._noop_number = 0
        self._actors: dict[PeerId, Actor] = {}
        for peer in (*self.voters, *learners):
            first = () if peer in learners else written(1, voters=self.voters)
            log = (logs or {}).get(peer, first)
            term = (terms or {}).get(peer, log[-1].term if log else 0)
            self._actors[peer] = Actor(peer, Disk(HardState(0, term, NOBODY), log))
            self.start(peer)

    def __getitem__(self, peer: PeerId) -> Actor:
        return self._actors[peer]

    def __iter__(self) -> Iterator[Actor]:
        return iter(self._actors.values())

    # ---- processes and disks -----------------------------------------------------------------

    def start(self, peer: PeerId) -> None:
        """A new life of `peer`, from its disk."""
        actor = self[peer]
        actor.outbox = Outbox()
        actor.durable = 0
        actor.committed_index = actor.disk.base.index
        actor.unwritten, actor.held = [], []
        actor.is_up = True
        actor.life += 1
        actor.core = Replication(
            peer,
            hard_state=actor.disk.state,
            batches=tuple(actor.disk.batches),
            base=actor.disk.base,
            snapshot=actor.disk.snapshot,
            take_in=lambda snapshot: self._take_in(actor, snapshot),
            timing=self.timing,
            limits=self.limits,
            outbox=actor.outbox,
            now=self.now,
        )
        actor.core.set_learners(self.learners, self.now)

    def crash(self, peer: PeerId, kept: int = 0) -> None:
        """The process ends; of what its disk had not finished, the first `kept` records stay."""
        actor = self[peer]
        for persist in actor.unwritten[:kept]:
            actor.disk.write(persist.record)
        actor.is_up = False

    def restart(self, peer: PeerId, kept: int = 0) -> None:
        """Crash, start, and be greeted by all."""
        self.crash(peer, kept)
        self.start(peer)
        for actor in self:
            if actor.is_up and actor.peer != peer:
                actor.core.restarted(peer)

    def write(self, peer: PeerId) -> None:
        """The disk has written everything so far."""
        actor = self[peer]
        while actor.unwritten:
            for persist in actor.unwritten:
                actor.disk.write(persist.record)
                actor.durable = persist.number
            actor.unwritten.clear()
            held, actor.held = actor.held, []
            for send in held:
                self._send(actor, send)
            actor.core.stored(actor.durable)
            self._end_turn(actor)

    # ---- what peers do -----------------------------------------------------------------------

    def act(self, peer: PeerId, deed: Callable[[Replication], object]) -> None:
        actor = self[peer]
        assert actor.is_up, "a dead peer acts"
        deed(actor.core)
        self._end_turn(actor)
        if not actor.is_slow:
            self.write(peer)

    def stand(self, peer: PeerId) -> None:
        self.act(peer, lambda core: core.stand(self[peer].standing()))

    def elect(self, peer: PeerId) -> None:
        """Have `peer` stand when nobody is heard any more, and win."""
        self.wait(2 * self.timing.election_timeout_seconds)
        for actor in self:
            if actor.is_up:
                self.tick(actor.peer)
        self.stand(peer)
        self.deliver()
        assert self[peer].core.role is Role.LEADER, f"{peer} is {self[peer].core.role}"

    def propose(self, peer: PeerId, *blobs: bytes) -> None:
        """Each blob is a command of its own; all become one batch."""

        def deed(core: Replication) -> None:
            for blob in blobs:
                assert core.propose(1, blob), f"{peer} takes no commands"

        self.act(peer, deed)

    def compact(self, peer: PeerId, *, trailing: int = 0, size: int = 30) -> Snapshot:
        """`peer` takes a snapshot of what it has committed; so many entries before it stay."""
        log = self[peer].core.log
        base = log.base_at(log.commit_index)
        assert base is not None
        snapshot = state_at(base, size)

        def deed(core: Replication) -> None:
            held_from = core.leadership.transfers_from(self.now) if core.leadership else None
            core.snapshots.store(snapshot, held_from, trailing)

        self.act(peer, deed)
        return snapshot

    def _take_in(self, actor: Actor, snapshot: Snapshot) -> bool:
        if zlib.crc32(snapshot.data) != snapshot.digest:
            return False
        actor.taken_in.append(snapshot)
        return True

    def tick(self, peer: PeerId) -> None:
        self.act(peer, lambda core: core.tick(self.now))

    def wait(self, seconds: float) -> None:
        """Time passes, and nothing else."""
        self.now += seconds

    def beat(self, peer: PeerId) -> None:
        """The leader's next round of heartbeats, and everything that follows from it."""
        self.wait(self.timing.heartbeat_seconds)
        self.tick(peer)
        self.deliver()

    # ---- the network -------------------------------------------------------------------------

    def cut(self, source: PeerId, target: PeerId) -> None:
        """Nothing more gets from `source` to `target`."""
        self.cuts.append((source, target))

    def isolate(self, *peers: PeerId) -> None:
        """These peers and the others hear nothing of each other."""
        for actor in self:
            if actor.peer not in peers:
                for peer in peers:
                    self.cut(actor.peer, peer)
                    self.cut(peer, actor.peer)

    def heal(self) -> None:
        self.cuts.clear()

    def under_way(
        self,
        kind: type[Message],
        source: PeerId | None = None,
        target: PeerId | None = None,
    ) -> list[Parcel]:
        """The messages of `kind` that are under way, oldest first."""
        return [
            parcel
            for parcel in self.flying
            if isinstance(parcel.message, kind)
            and source in (None, parcel.source)
            and target in (None, parcel.target)
        ]

    def lose(self, *parcels: Parcel) -> None:
        for parcel in parcels:
            self.flying.remove(parcel)

    def arrive(self, parcel: Parcel) -> None:
        """One message arrives, whether it is under way or a copy of an older one."""
        if parcel in self.flying:
            self.flying.remove(parcel)
        if parcel.lives == (self[parcel.source].life, self[parcel.target].life):
            self.hear(parcel.source, parcel.target, parcel.message)

    def deliver(self) -> None:
        """Everything under way arrives, and what follows from it, in order of sending."""
        self.deliver_until(lambda: False)

    def deliver_until(self, condition: Callable[[], bool]) -> None:
        """The same, but what is under way when `condition` comes true stays so."""
        while self.flying and not condition():
            parcel = self.flying.pop(0)
            is_cut = (parcel.source, parcel.target) in self.cuts
            if self[parcel.target].is_up and not is_cut:
                self.arrive(parcel)

    def hear(self, source: PeerId, target: PeerId, message: Message) -> None:
        assert isinstance(message, ReplicationMessage)
        standing = self[target].standing()
        self.act(target, lambda core: core.receive(source, message, standing, False, self.now))

    # ---- turns -------------------------------------------------------------------------------

    def _end_turn(self, actor: Actor) -> None:
        core = actor.core
        self._noop_number += 1
        noop = 1, f"noop {self._noop_number}".encode()
        if core.is_elected:
            core.lead(noop, self.now)
            self.ghost.look_at_winner(actor)
        core.flush(self.now)
        for effect in actor.outbox.take():
            match effect:
                case Persist():
                    actor.unwritten.append(effect)
                case Send():
                    if effect.after > actor.durable:
                        actor.held.append(effect)
                    else:
                        self._send(actor, effect)
                case _:
                    raise AssertionError(f"not an effect of replication: {effect}")
        self.ghost.look_at(actor)

    def _send(self, actor: Actor, send: Send) -> None:
        self.ghost.hear_claim(actor, send)
        lives = actor.life, self[send.target].life if send.target in self._actors else 0
        self.flying.append(Parcel(actor.peer, send.target, send.message, lives))


class Ghost:
    """Remembers everything that was ever claimed, and tolerates no contradiction."""

    def __init__(self, world: World) -> None:
        self.leaders: dict[int, PeerId] = {}
        self.votes: dict[tuple[PeerId, int], PeerId] = {}
        self.committed = Log()
        self._world = world

    def hear_claim(self, actor: Actor, send: Send) -> None:
        """What leaves a peer is true of its disk at that moment."""
        state = actor.disk.state
        assert state is not None
        match send.message:
            case VoteReply(term=term, granted=True, pre=False):
                self._vote(actor, term, send.target, state)
            case VoteRequest(term=term, pre=False):
                self._vote(actor, term, actor.peer, state)
            case SnapshotReply(term=term, index=index, installed=True):
                assert state.term >= term, "an acknowledgement in a term that is not stored"
                assert self.committed.last_index >= index, "a snapshot of what is not committed"
                held = actor.disk.holds(index, self.committed.term_at(index) or 0)
                assert held, "installed, not stored"
            case AppendReply(term=term, success=True, match_index=match_index):
                assert state.term >= term, "an acknowledgement in a term that is not stored"
                if match_index < actor.core.log.base.index:
                    return
                match_term = actor.core.log.term_at(match_index)
                assert match_term is not None, "an acknowledgement of no batch"
                assert actor.disk.holds(match_index, match_term), "acknowledged, not stored"
            case _:
                pass

    def _vote(self, actor: Actor, term: int, candidate: PeerId, state: HardState) -> None:
        stored = state.term > term or (state.term, state.vote) == (term, candidate)
        assert stored, f"a vote for {candidate} in term {term} that is not stored: {state}"
        given = self.votes.setdefault((actor.peer, term), candidate)
        assert given == candidate, f"{actor.peer} votes twice in term {term}"

    def look_at(self, actor: Actor) -> None:
        core = actor.core
        if core.leadership is not None:
            leader = self.leaders.setdefault(core.term, core.peer)
            assert leader == core.peer, f"two leaders in term {core.term}"
            self._look_at_matches(actor)
        assert core.commit_index >= actor.committed_index, "the commit index goes back"
        assert core.commit_index <= core.log.last_index
        for batch in core.log.between(actor.committed_index, core.commit_index):
            self._look_at_committed(actor, batch)
        actor.committed_index = core.commit_index
        self._look_at_base(actor)

    def _look_at_base(self, actor: Actor) -> None:
        """What stands for the log up to somewhere stands for the committed log."""
        base, latest = actor.core.log.base, actor.core.snapshots.latest
        assert base.index <= actor.core.snapshots.index <= actor.core.commit_index
        if latest is not None:
            for known in (base, latest.base):
                assert self.committed.base_at(known.index) == known, (
                    f"{actor.peer} begins elsewhere"
                )

    def _look_at_committed(self, actor: Actor, batch: Batch) -> None:
        known = self.committed.holding(batch.index, 1)
        if known:
            assert known[0] == batch, f"{actor.peer} commits another batch: {batch} {known}"
            return
        voters = self._world.voters
        holders = [v for v in voters if self._world[v].disk.holds(batch.last_index, batch.term)]
        assert len(holders) >= majority(len(voters)), f"committed, held by {holders}: {batch}"
        self.committed.append((batch,))

    def _look_at_matches(self, actor: Actor) -> None:
        """What a leader believes of a follower in the same term is true of its disk."""
        assert actor.core.leadership is not None
        for peer, progress in actor.core.leadership.progress.items():
            follower = self._world[peer]
            if progress.match_index and follower.core.term == actor.core.term:
                term = actor.core.log.term_at(progress.match_index)
                if progress.match_index < actor.core.log.base.index:
                    term = self.committed.term_at(progress.match_index)
                assert term is not None
                assert follower.disk.holds(progress.match_index, term), f"{peer} has it not"

    def look_at_winner(self, actor: Actor) -> None:
        """Leader completeness, of lower terms: a paused peer may lawfully win an old term."""
        for batch in self.committed.between(0, self.committed.last_index):
            before_base = batch.last_index < actor.core.log.base.index
            if batch.term < actor.core.term and not before_base:
                assert actor.core.log.term_at(batch.last_index) == batch.term, "misses a batch"
