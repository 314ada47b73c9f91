"""What tests of snapshots share: a follower that is behind, and pieces on their way to it."""

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    InstallSnapshot,
    SnapshotReply,
)
from mabeam_p2p.protocol.replication.progress import Progress
from mabeam_p2p.records import Batch, LogBase, Snapshot
from tests.protocol.raft_world import A, B, C, Parcel, World

VOTERS = (A, B, C)
SMALL = Limits(snapshot_chunk_bytes=100)


def pieces(world: World, target: PeerId | None = None) -> list[InstallSnapshot]:
    found = [p.message for p in world.under_way(InstallSnapshot) if target in (None, p.target)]
    return [message for message in found if isinstance(message, InstallSnapshot)]


def answers(world: World) -> list[SnapshotReply]:
    found = [parcel.message for parcel in world.under_way(SnapshotReply)]
    return [message for message in found if isinstance(message, SnapshotReply)]


def progress_of(world: World, leader: PeerId, follower: PeerId) -> Progress:
    leadership = world[leader].core.leadership
    assert leadership is not None
    return leadership.progress[follower]


def led(count: int = 3, limits: Limits = SMALL) -> World:
    """A leads, and all are equal."""
    world = World(count, limits=limits)
    world.elect(A)
    return world


def behind(*, entry_count: int = 9, size: int = 350, limits: Limits = SMALL) -> World:
    """C was away while A and B went on by some entries, and A has compacted its log."""
    world = led(limits=limits)
    world.isolate(C)
    for number in range(entry_count):
        world.propose(A, b"%d" % number)
        world.deliver()
    world.beat(A)
    world.compact(A, size=size)
    world.flying.clear()
    world.heal()
    return world


def snapshot_of(world: World) -> Snapshot:
    latest = world[A].core.snapshots.latest
    assert latest is not None
    return latest


def piece_of(
    snapshot: Snapshot, term: int, offset: int = 0, data: bytes | None = None
) -> InstallSnapshot:
    size = len(snapshot.data)
    return InstallSnapshot(
        0,
        term,
        snapshot.base,
        snapshot.digest,
        size,
        offset,
        snapshot.data if data is None else data,
    )


def hear(world: World, snapshot: Snapshot, term: int, *, target: PeerId = A) -> None:
    """All of it in one piece, from B."""
    world.hear(B, target, piece_of(snapshot, term))


def base(index: int, term: int, voters: tuple[PeerId, ...] = VOTERS) -> LogBase:
    return LogBase(index, term, term, voters)


def begun(world: World, offset: int) -> Parcel:
    """Let A send to C until the piece at `offset` is under way; return that."""
    for _ in range(8):
        if not world.flying:
            world.wait(world.timing.heartbeat_seconds)
            world.tick(A)

        def is_there() -> bool:
            return any(piece.offset == offset and piece.data for piece in pieces(world, C))

        world.deliver_until(is_there)
        if is_there():
            break
    [parcel] = world.under_way(InstallSnapshot, target=C)
    return parcel


def committed_elsewhere(world: World, *batches: Batch) -> None:
    """B and C hold these, and they count as committed."""
    for peer in (B, C):
        world[peer].disk.batches = list(batches)
    world.ghost.committed.append(batches)
