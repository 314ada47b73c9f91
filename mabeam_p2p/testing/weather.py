"""The weather of one run: what network, disks and processes do to the peers.

Swarm testing (Groce et al. 2012): each run draws which faults it has and how large they are, and
small values for limits, for a fault that is always on hides others, and large limits hide the
paths beyond them. Faults are data; the simulator carries them out. Times are microseconds.
"""

from random import Random

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.testing.faults import FIRST_KINDS, LATER_KINDS, UPGRADE

SECOND = 1_000_000


class Network(Struct, frozen=True):
    """Of every directed link."""

    delay: int
    jitter: int
    """Mean of what is added, exponentially distributed."""
    slow_chance: float = 0.0
    slow: int = 0
    """Greatest extra delay of a slow frame: the heavy tail."""
    loss: float = 0.0
    duplicate: float = 0.0
    late: int = 0
    """Greatest extra delay of the second copy."""
    ordered: bool = False
    """Frames of one link arrive in the order in which they were sent, as on one connection."""
    queue: int = 0
    """Frames that one link holds; more are dropped, as beyond ZeroMQ's high-water mark. 0: any."""


class Storage(Struct, frozen=True):
    sync: int
    """Least duration of one fsync."""
    jitter: int
    slow_chance: float = 0.0
    slow: int = 0


class Processes(Struct, frozen=True):
    turn_inputs: int = 1
    """Inputs that share a turn, at most."""
    turn: int = 0
    """How long a turn waits for more inputs."""
    clock_spread: float = 0.0
    """Clocks run at rates within 1 - spread .. 1 + spread."""
    moves: bool = False
    """A restarted peer listens at another address."""
    wall_spread: float = 1.0
    """Seconds by which a process's wall clock may be wrong, either way; another at each start."""


class Discovery(Struct, frozen=True):
    """Hints at addresses: late, in part, more than once."""

    lost: float = 0.0
    """Share that never comes."""
    forged: float = 0.0
    """Share that also names addresses where nobody listens, or no address at all."""


class Agents(Struct, frozen=True):
    """The clients of one run."""

    per_peer: int = 1
    think: int = 20_000
    """Mean pause before the next operation."""
    outstanding: int = 1
    reads: float = 0.15
    """Share of linearizable reads."""
    keys: int = 2
    variables: int = 2
    attached: bool = False
    """They outlive their peer's process, as those of a daemon do, and go on with their sessions."""
    lease: int = 0
    """Of their sessions; 0: none. They say nothing to keep it."""
    traders: int = 0
    """On each peer are so many more, which trade at auctions."""
    tasks: bool = False
    """On each peer is one more, which offers, submits and does tasks."""
    seats: bool = False
    """On each peer is one more, which has seats elected and writes letters."""
    recipes: float = 0.0
    """Share of what they do with locks, counters and queues."""


class Faults(Struct, frozen=True):
    """Which faults come, and how often."""

    kinds: tuple[str, ...] = ()
    every: int = SECOND
    """Mean time between two."""
    down: int = SECOND
    """Mean time for which something is down, cut or paused."""


class Preferences(Struct, frozen=True):
    """Who would rather lead (mabeam_p2p/testing/whims.py)."""

    scores: tuple[int, ...] = ()
    """Of each peer when it starts; further ones have the built-in score."""
    ineligible: tuple[int, ...] = ()
    """Peers that never lead."""
    margin: int = 20
    every: int = 0
    """Mean time between two whims: another score, a peer unfit for a while, a leader that is asked
    to hand over. 0: none."""


class Weather(Struct, frozen=True):
    """Everything that a run draws before it begins."""

    peers: int
    expect: int
    network: Network
    storage: Storage
    processes: Processes
    agents: Agents
    faults: Faults
    timing: Timing
    limits: Limits
    codec: bool = False
    """Frames are encoded, decoded and compared on the way."""
    discovery: Discovery = Discovery()
    stranger: bool = False
    """A peer of another cluster is in the same network, and hints name it too."""
    hostile: bool = False
    """One member that is no voter says whatever the wire lets through (`hostile`)."""
    preferences: Preferences = Preferences()
    earlier: tuple[int, ...] = ()
    """Hosts that begin with the earlier release (`releases`)."""


# ---- drawing a run ---------------------------------------------------------------------------


def draw(random: Random) -> Weather:
    """A run's weather. Nothing of it depends on anything but `random`."""
    peers = random.choice((1, 2, 3, 3, 3, 4, 5, 5, 7))
    # Fewer than are there: the others learn. Never so few that two halves could each form one.
    expect = peers if random.random() < 0.8 else random.randint(peers // 2 + 1, peers)
    election = random.choice((0.15, 0.3, 0.3, 0.6, 1.2))
    unit = int(election * SECOND)
    weather = Weather(
        peers=peers,
        expect=expect,
        network=_draw_network(random, unit),
        storage=_draw_storage(random, unit),
        processes=Processes(
            turn_inputs=random.choice((1, 1, 3, 20)),
            turn=random.choice((50, 500, 3_000)),
            clock_spread=random.choice((0.0, 0.05, 0.25)),
            moves=random.random() < 0.2,
        ),
        agents=Agents(
            per_peer=random.choice((1, 1, 2)),
            think=random.choice((2_000, 20_000, 100_000)),
            outstanding=random.choice((1, 2, 6)),
            reads=random.choice((0.1, 0.6)),
            keys=random.choice((1, 3)),
            variables=random.choice((1, 4)),
        ),
        faults=_draw_faults(random, unit),
        timing=draw_timing(random, election),
        limits=draw_limits(random),
        codec=random.random() < 0.05,
    )
    # Drawn last: what came later must not change the weather of a known seed otherwise.
    weather = replace(
        weather,
        agents=replace(
            weather.agents,
            attached=random.random() < 0.5,
            lease=random.choice((0, unit * 2, unit * 20)),
            tasks=random.random() < 0.5,
            recipes=random.choice((0.0, 0.3, 0.8)),
            traders=random.choice((0, 0, 0, 1)),
        ),
        limits=replace(
            weather.limits,
            open_tasks_max=random.choice((3, 16_384)),
            finished_tasks_max=random.choice((2, 4_096)),
            task_backlog_max=random.choice((0, 2, 16)),
            task_steals_max=random.choice((0, 2)),
            task_losses_max=random.choice((1, 32)),
            claims_max=random.choice((3, 65_536)),
            queue_items_max=random.choice((2, 4_096)),
            relay_from_peers=random.choice((2, 3, 1_000)),
        ),
    )
    weather = replace(weather, agents=replace(weather.agents, seats=random.random() < 0.5))
    weather = _draw_membership(random, _draw_later(random, weather, unit))
    weather = replace(weather, limits=draw_compaction(random, weather.limits))
    weather = _draw_voters(random, weather)
    weather = _with_preferences(random, weather, unit)
    return _draw_releases(random, _draw_variables(random, weather))


def _draw_voters(random: Random, weather: Weather) -> Weather:
    """When voters that are gone are replaced: within a run, or never."""
    election = weather.timing.election_timeout_seconds
    timing = replace(
        weather.timing,
        voter_grace_seconds=election * random.choice((8, 40, 400)),
        voter_change_seconds=election * random.choice((0.5, 3)),
    )
    return replace(weather, timing=timing)


def _draw_later(random: Random, weather: Weather, unit: int) -> Weather:
    """What came after the first seeds were known."""
    network, storage, faults = weather.network, weather.storage, weather.faults
    share = random.choice((0.0, 0.0, 0.15, 0.4, 1.0))
    kinds = tuple(kind for kind in LATER_KINDS if random.random() < share)
    return replace(
        weather,
        network=replace(
            network,
            slow=random.choice((network.slow, network.slow, unit * 20)),
            late=random.choice((network.late, network.late, 30 * SECOND)),
            queue=random.choice((0, 0, 0, 10, 1_000)),
        ),
        storage=replace(storage, slow=random.choice((storage.slow, storage.slow, 2 * SECOND))),
        faults=replace(faults, kinds=(*faults.kinds, *kinds)),
        processes=replace(weather.processes, wall_spread=random.choice((1.0, 1.0, 3_600.0))),
        discovery=Discovery(
            lost=random.choice((0.0, 0.0, 0.5)), forged=random.choice((0.0, 0.0, 0.5))
        ),
        stranger=random.random() < 0.15,
        hostile=weather.expect < weather.peers and random.random() < 0.5,
    )


def fair(peers: int) -> Weather:
    """Nothing goes wrong; timing and limits of peers that were not told otherwise."""
    return Weather(
        peers=peers,
        expect=peers,
        network=Network(delay=1_000, jitter=200),
        storage=Storage(sync=2_000, jitter=500),
        processes=Processes(),
        agents=Agents(),
        faults=Faults(),
        timing=Timing(),
        limits=Limits(journal_items_max=1_000_000),
    )


def _draw_membership(random: Random, weather: Weather) -> Weather:
    election = weather.timing.election_timeout_seconds
    timing = replace(
        weather.timing,
        dead_retention_seconds=election * random.choice((10, 100)),
        sync_interval_seconds=election * random.choice((1, 3)),
        link_idle_seconds=election * random.choice((1, 40)),
    )
    limits = replace(
        weather.limits,
        rumours_per_message_max=random.choice((1, 2, 8)),
        rumours_per_interval_max=random.choice((2, 64)),
        sync_members_max=random.choice((2, 16)),
        indirect_probes=random.choice((0, 1, 3)),
        links_kept=random.choice((0, 1, 32)),
        greet_at_once_max=random.choice((2, 16)),
    )
    return replace(weather, timing=timing, limits=limits)


def _with_preferences(random: Random, weather: Weather, unit: int) -> Weather:
    election = weather.timing.election_timeout_seconds
    timing = replace(
        weather.timing,
        preference_dwell_seconds=election * random.choice((0.5, 3)),
        preference_interval_seconds=election * random.choice((4, 12)),
    )
    preferences = _draw_preferences(random, weather.peers, unit)
    return replace(weather, timing=timing, preferences=preferences)


def _draw_preferences(random: Random, peers: int, unit: int) -> Preferences:
    if random.random() < 0.5:
        return Preferences()
    ineligible = (random.randrange(peers),) if peers > 2 and random.random() < 0.3 else ()
    return Preferences(
        scores=tuple(random.randrange(101) for _ in range(peers)),
        ineligible=ineligible,
        margin=random.choice((1, 20, 50)),
        every=unit * random.choice((1, 5)),
    )


def _draw_variables(random: Random, weather: Weather) -> Weather:
    election = weather.timing.election_timeout_seconds
    horizon = election * random.choice((0.0, 3.0, 20.0, 2_000.0))
    limits = replace(
        weather.limits,
        spread_from_peers=random.choice((2, 3, 32)),
        spread_fanout=random.choice((1, 2, 8)),
    )
    return replace(
        weather, timing=replace(weather.timing, tombstone_seconds=horizon), limits=limits
    )


def _draw_releases(random: Random, weather: Weather) -> Weather:
    """In four runs of ten some hosts begin with the earlier release, and are upgraded."""
    if random.random() >= 0.4:
        return weather
    count = random.randint(1, weather.peers)
    faults = replace(weather.faults, kinds=(*weather.faults.kinds, UPGRADE))
    earlier = tuple(sorted(random.sample(range(weather.peers), count)))
    return replace(weather, earlier=earlier, faults=faults)


def _draw_network(random: Random, unit: int) -> Network:
    delay = max(20, int(unit / random.choice((4, 10, 20, 100, 400))))
    return Network(
        delay=delay,
        jitter=max(1, int(delay * random.choice((0.1, 0.5, 2.0)))),
        slow_chance=random.choice((0.0, 0.0, 0.02)),
        slow=unit * 4,
        loss=random.choice((0.0, 0.0, 0.02, 0.1, 0.3)),
        duplicate=random.choice((0.0, 0.0, 0.05, 0.3, 0.5)),
        late=random.choice((delay * 4, unit * 3, 10 * SECOND)),
        ordered=random.random() < 0.5,
    )


def _draw_storage(random: Random, unit: int) -> Storage:
    sync = random.choice((50, 500, max(500, unit // 20), max(500, unit // 5)))
    return Storage(
        sync=sync,
        jitter=sync,
        slow_chance=random.choice((0.0, 0.0, 0.02)),
        slow=unit * 2,
    )


def _draw_faults(random: Random, unit: int) -> Faults:
    share = random.choice((0.0, 0.15, 0.4, 1.0))
    kinds = tuple(kind for kind in FIRST_KINDS if random.random() < share)
    return Faults(
        kinds=kinds,
        every=unit * random.choice((1, 3, 10)),
        down=unit * random.choice((1, 3, 10)),
    )


def draw_timing(random: Random, election: float) -> Timing:
    """All durations in proportion to the election timeout, in seconds."""
    timing = Timing(
        heartbeat_seconds=election / random.choice((3, 4, 8)),
        election_timeout_seconds=election,
        candidacy_step_seconds=election * random.choice((0.05, 0.2, 0.5)),
        append_timeout_seconds=election * random.choice((0.5, 1.25)),
        forward_timeout_seconds=election * random.choice((0.7, 2.0)),
        no_quorum_seconds=election * 4,
        probe_interval_seconds=election * 0.6,
        suspect_seconds=election * 3,
        dead_seconds=election * random.choice((6, 20)),
        departure_grace_seconds=election * random.choice((1, 5, 30)),
        greet_interval_seconds=election * 0.75,
        greet_interval_seconds_max=election * 4,
        gossip_interval_seconds=election * random.choice((1, 3)),
        push_timeout_seconds=election * 0.75,
        request_timeout_seconds=election * 50,
        proposal_timeout_seconds=election * 10,
        barrier_timeout_seconds=election * 10,
    )
    return replace(
        timing,
        restart_grace_seconds=timing.departure_grace_seconds * 2,
        relay_window_seconds=timing.candidacy_step_seconds / 10,
    )


def draw_limits(random: Random) -> Limits:
    return Limits(
        batch_commands_max=random.choice((1, 2, 8, 8_192)),
        append_batches_max=random.choice((1, 2, 8, 64)),
        inflight_appends_max=random.choice((1, 2, 64)),
        append_bytes_max=random.choice((200, 2 * 1024 * 1024)),
        uncommitted_bytes_max=random.choice((2_000, 64 * 1024 * 1024)),
        pending_requests_max=random.choice((4, 65_536)),
        frame_messages_max=random.choice((4, 4_096)),
        digest_entries_max=random.choice((64, 4_096)),
        pushes_pending_max=random.choice((2, 4_096)),
        session_window=random.choice((16, 4_096)),
        journal_items_max=1_000_000,  # The history is judged by whole lists.
    )


def draw_compaction(random: Random, limits: Limits) -> Limits:
    """Snapshots are taken often, travel in small pieces, and leave little of the log behind."""
    return replace(
        limits,
        snapshot_entries=random.choice((5, 20, 200)),
        snapshot_bytes=random.choice((1_000, 64 * 1024 * 1024)),
        snapshot_chunk_bytes=random.choice((500, 5_000, 256 * 1024)),
        log_trailing_entries=random.choice((0, 3, 50)),
        inflight_bytes_max=random.choice((200, 8 * 1024 * 1024)),
    )


def calm(weather: Weather) -> Weather:
    """The same run in fair weather, in which progress can be demanded: broadcast time << election
    timeout (Raft §5.6)."""
    unit = int(weather.timing.election_timeout_seconds * SECOND)
    delay = min(weather.network.delay, unit // 40)
    sync = min(weather.storage.sync, unit // 80)
    return replace(
        weather,
        network=Network(delay=delay, jitter=max(1, delay // 4), ordered=weather.network.ordered),
        storage=Storage(sync=sync, jitter=sync),
        faults=Faults(),
        preferences=replace(weather.preferences, every=0),
    )
