"""Faults of links, disks and processes, as values: drawn, kept on a tape, carried out again.

A fault names peers by their number and says for how long; nothing in it is decided when it is
carried out (`upsets`). Times are microseconds.
"""

from random import Random

from msgspec import Struct

Link = tuple[int, int]
"""(source, destination): numbers of hosts."""


class Crash(Struct, frozen=True, tag="crash"):
    """The power of these peers fails at one moment: each keeps some prefix of what was not synced.
    They start again, each after its own time."""

    peers: tuple[int, ...]
    down: tuple[int, ...]


class Pause(Struct, frozen=True, tag="pause"):
    """A stopped process: nothing runs, everything that arrives waits, clocks go on."""

    peer: int
    duration: int


class Slow(Struct, frozen=True, tag="slow"):
    """A processor that is busy with other things: each input costs time, and what comes in the
    meantime waits."""

    peer: int
    cost: int
    duration: int


class Jump(Struct, frozen=True, tag="jump"):
    """The peer's clock goes forward all at once, as after the sleep of a machine."""

    peer: int
    forward: int


class Cut(Struct, frozen=True, tag="cut"):
    """These directed links deliver nothing; what is sent meanwhile is lost."""

    links: tuple[Link, ...]
    duration: int


class Flap(Struct, frozen=True, tag="flap"):
    """These directed links are cut and mended again and again."""

    links: tuple[Link, ...]
    duration: int
    """Of each cut, and of each pause between two."""
    times: int


class Clog(Struct, frozen=True, tag="clog"):
    """These directed links hold everything back, and deliver it at the end."""

    links: tuple[Link, ...]
    duration: int


class Reset(Struct, frozen=True, tag="reset"):
    """The connections of these links break. What is on its way is lost, or, with `late`, comes so
    much later, into another session."""

    links: tuple[Link, ...]
    late: int = 0


class SyncFails(Struct, frozen=True, tag="sync fails"):
    """The next fsync fails: its pages are gone, and marked clean. The process has to end."""

    peer: int
    down: int


class DiskFull(Struct, frozen=True, tag="disk full"):
    """The next write finds no room. The process ends, and starts again when there is some."""

    peer: int
    down: int


class Wipe(Struct, frozen=True, tag="wipe"):
    """The folder is lost: the peer comes back as another one. `flipped`: a bit of it was flipped,
    so that a start is refused before somebody removes it."""

    peer: int
    down: int
    flipped: bool = False


class Depart(Struct, frozen=True, tag="depart"):
    """The peer says goodbye, ends, and comes back."""

    peer: int
    down: int


class Upgrade(Struct, frozen=True, tag="upgrade"):
    """The peer ends, and comes back as one of the later release, if it was of the earlier."""

    peer: int
    down: int


Fault = (
    Crash
    | Pause
    | Slow
    | Jump
    | Cut
    | Flap
    | Clog
    | Reset
    | SyncFails
    | DiskFull
    | Wipe
    | Depart
    | Upgrade
)

CRASH = "crash"
CRASH_ALL = "crash all"
PAUSE = "pause"
HALVES = "halves"
ISOLATE = "isolate"
ONE_WAY = "one way"
BRIDGE = "bridge"
RING = "ring"
CLOG = "clog"
RESET = "reset"
FIRST_KINDS = (CRASH, CRASH_ALL, PAUSE, HALVES, ISOLATE, ONE_WAY, BRIDGE, RING, CLOG, RESET)

LEADER = "leader isolated"
LEADER_MUTE = "leader heard by none"
FLAP = "flap"
LATE_RESET = "late reset"
SLOW = "slow"
JUMP = "jump"
SYNC_FAILS = "sync fails"
DISK_FULL = "disk full"
WIPE = "wipe"
FLIP = "flip"
DEPART = "depart"
LATER_KINDS = (
    LEADER,
    LEADER_MUTE,
    FLAP,
    LATE_RESET,
    SLOW,
    JUMP,
    SYNC_FAILS,
    DISK_FULL,
    WIPE,
    FLIP,
    DEPART,
)
"""Drawn behind everything else, so that the weather of a known seed stays what it was."""

UPGRADE = "upgrade"
"""Where there are two releases."""

SHAPES = (HALVES, ISOLATE, ONE_WAY, BRIDGE, RING, LEADER, LEADER_MUTE, FLAP)
"""Partitions."""

DOWN_MAX = 60_000_000


def draw_fault(random: Random, kind: str, mean: int, count: int, leader: int | None) -> Fault:
    """A fault of `kind` over `count` peers; `mean` is how long such things last. leader: who leads
    now, if anybody does."""
    duration = min(DOWN_MAX, 1 + int(random.expovariate(1 / mean)))
    everyone = list(range(count))
    random.shuffle(everyone)
    if kind in (LEADER, LEADER_MUTE) and leader is not None:
        everyone.remove(leader)
        everyone.insert(0, leader)
    victim = everyone[0]
    match kind:
        case "crash":
            return Crash((victim,), (duration,))
        case "crash all":
            return Crash(tuple(everyone), tuple(random.randint(1, duration) for _ in everyone))
        case "pause":
            return Pause(victim, duration)
        case "slow":
            return Slow(victim, cost=1 + duration // random.choice((10, 100, 1_000)), duration=mean)
        case "jump":
            return Jump(victim, duration)
        case "sync fails":
            return SyncFails(victim, duration)
        case "disk full":
            return DiskFull(victim, duration)
        case "wipe":
            return Wipe(victim, duration)
        case "flip":
            return Wipe(victim, duration, flipped=True)
        case "depart":
            return Depart(victim, duration)
        case "upgrade":
            return Upgrade(victim, duration)
        case "clog" | "reset" | "late reset":
            links = [(a, b) for a in everyone for b in everyone if a != b and random.random() < 0.4]
            if kind == CLOG:
                return Clog(tuple(links), duration)
            return Reset(tuple(links), duration if kind == LATE_RESET else 0)
        case _:
            return _partition(random, kind, everyone, duration)


def _partition(random: Random, kind: str, everyone: list[int], duration: int) -> Cut | Flap:
    """One of SHAPES. everyone: shuffled; the first is the one that suffers most."""
    victim, others = everyone[0], tuple(everyone[1:])
    match kind:
        case "halves":
            size = random.randint(1, max(1, len(everyone) - 1))
            return Cut(between(tuple(everyone[:size]), tuple(everyone[size:])), duration)
        case "isolate" | "leader isolated":
            return Cut(between((victim,), others), duration)
        case "leader heard by none":
            return Cut(tuple((victim, other) for other in others), duration)
        case "one way":
            if random.random() < 0.5:
                return Cut(tuple((other, victim) for other in others), duration)
            return Cut(tuple((victim, other) for other in others), duration)
        case "bridge":
            # Two halves that only the victim sees both of: the intersecting partition.
            middle = len(others) // 2
            return Cut(between(others[:middle], others[middle:]), duration)
        case "ring":
            return Cut(_but_neighbours(everyone), duration)
        case "flap":
            times = random.randint(2, 10)
            return Flap(between((victim,), others), 1 + duration // times, times)
        case _:
            raise ValueError(f"no such kind of fault: {kind}")


def between(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[Link, ...]:
    """Every link between two groups, both ways."""
    return tuple(link for a in one for b in other for link in ((a, b), (b, a)))


def _but_neighbours(circle: list[int]) -> tuple[Link, ...]:
    count = len(circle)
    return tuple(
        (circle[a], circle[b])
        for a in range(count)
        for b in range(count)
        if a != b and (a - b) % count not in (1, count - 1)
    )


def peers_of(fault: Fault) -> tuple[int, ...]:
    """The numbers that a fault names."""
    match fault:
        case Crash():
            return fault.peers
        case Cut() | Flap() | Clog() | Reset():
            return tuple(sorted(dict.fromkeys(peer for link in fault.links for peer in link)))
        case _:
            return (fault.peer,)
