"""Each fault does what it says, and ends when it says."""

from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Frame
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.testing.faults import (
    FIRST_KINDS,
    LATER_KINDS,
    LEADER,
    LEADER_MUTE,
    Cut,
    Depart,
    DiskFull,
    Fault,
    Flap,
    Jump,
    Link,
    Pause,
    Slow,
    SyncFails,
    Wipe,
    draw_fault,
    peers_of,
)
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.links import Links
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, Network, fair

MILLISECOND = SECOND // 1_000


@pytest.fixture
def trial() -> Trial:
    """Three peers that have formed a cluster and work."""
    made = Trial("upsets", fair(3))
    made.storm(5 * SECOND)
    return made


def run(trial: Trial, seconds: float) -> None:
    trial.simulator.run_until(trial.simulator.now + int(seconds * SECOND))


def put(trial: Trial, fault: Fault) -> Host:
    """Carry it out; the first host that it names."""
    trial.simulator.apply(fault, trial._start)
    return trial.simulator.hosts[peers_of(fault)[0]]


def settled(trial: Trial) -> None:
    trial.settle()
    trial.conclude()


# ---- disks -----------------------------------------------------------------------------------


def test_a_peer_whose_fsync_fails_ends_and_comes_back_with_a_prefix_of_its_log(
    trial: Trial,
) -> None:
    host = put(trial, SyncFails(1, SECOND))
    before = host.disk.log.last_index
    while host.node is not None:
        run(trial, 0.001)
    assert host.disk.log.last_index >= before
    assert not host.disk.pending
    run(trial, 2)
    assert host.node is not None
    settled(trial)


def test_a_write_that_finds_no_room_is_not_there_and_its_process_ends(trial: Trial) -> None:
    host = put(trial, DiskFull(1, SECOND))
    index = host.disk.log.last_index + len(host.disk.pending)
    while host.node is not None:
        run(trial, 0.001)
    assert host.disk.log.last_index <= index
    run(trial, 2)
    assert host.node is not None
    assert host.full_for == 0
    settled(trial)


def test_a_peer_that_lost_its_folder_comes_back_as_another_one_and_learns(trial: Trial) -> None:
    before = trial.simulator.hosts[1].peer
    host = put(trial, Wipe(1, SECOND))
    assert host.node is None
    assert (host.disk.epoch, host.disk.log.last_index) == (0, 0)
    run(trial, 2)
    assert host.peer != before
    settled(trial)
    assert host.node is not None
    assert before in host.node.replication.voters
    assert host.node.replication.role is Role.LEARNER


def test_a_damaged_folder_is_refused_and_untouched_until_it_is_removed(trial: Trial) -> None:
    before = trial.simulator.hosts[1].peer
    host = put(trial, Wipe(1, 2 * SECOND, flipped=True))
    disk, held = host.disk, host.disk.log.last_index
    trial._start(host)
    assert host.node is None
    assert (host.disk, host.disk.log.last_index, host.peer) == (disk, held, before)
    run(trial, 1)
    assert host.disk is not disk
    assert host.peer != before
    settled(trial)


def test_never_is_a_majority_of_the_folders_lost(trial: Trial) -> None:
    put(trial, Wipe(1, SECOND, flipped=True))
    host = put(trial, Wipe(2, SECOND))
    assert host.node is not None
    assert trial.simulator.upsets.lost == [trial.simulator.hosts[1].peer]


def test_never_are_so_many_folders_lost_that_those_peers_alone_could_form_a_cluster() -> None:
    """One that is damaged knows its cluster no longer, though it is there until it is removed."""
    made = Trial("upsets", replace(fair(5), expect=2))
    made.storm(5 * SECOND)
    put(made, Wipe(3, 4 * SECOND, flipped=True))
    host = put(made, Wipe(4, SECOND))
    assert host.node is not None
    assert made.simulator.upsets.lost == [made.simulator.hosts[3].peer]
    settled(made)
    put(made, Wipe(4, SECOND))
    assert host.node is None
    run(made, 2)
    settled(made)


# ---- processes -------------------------------------------------------------------------------


def test_a_slow_processor_makes_each_input_wait_for_the_one_before(trial: Trial) -> None:
    host = put(trial, Slow(1, 20 * MILLISECOND, SECOND))
    waited = False
    for _ in range(1_000):
        run(trial, 0.001)
        waited = waited or len(host.backlog) > 1
    assert waited
    run(trial, 0.1)
    assert not host.backlog
    settled(trial)


def test_a_clock_that_jumps_makes_everything_due_at_once(trial: Trial) -> None:
    host = trial.simulator.hosts[1]
    assert host.node is not None
    before = host.local(trial.simulator.now)
    put(trial, Jump(1, 30 * SECOND))
    assert host.local(trial.simulator.now) == pytest.approx(before + 30)
    run(trial, 0.001)
    assert host.node.next_deadline() > before + 29
    settled(trial)


def test_a_peer_that_departs_is_known_to_have_left_and_comes_back(trial: Trial) -> None:
    host = put(trial, Depart(2, 2 * SECOND))
    run(trial, 1)
    other = trial.simulator.hosts[0].node
    assert other is not None
    assert host.node is None
    assert not other.membership.is_here(host.peer)
    run(trial, 3)
    assert host.node is not None
    assert other.membership.is_here(host.peer)
    settled(trial)


# ---- links -----------------------------------------------------------------------------------


class Clock:
    """Runs what is due, when the test says so."""

    def __init__(self) -> None:
        self.now = 0
        self.due: list[tuple[int, int, object, tuple[object, ...]]] = []

    def at(self, time: int, action: object, *arguments: object) -> None:
        self.due.append((time, len(self.due), action, arguments))

    def run(self, until: int) -> None:
        while self.due and min(self.due)[0] <= until:
            first = min(self.due, key=lambda one: one[:2])
            self.due.remove(first)
            self.now = first[0]
            assert callable(first[2])
            first[2](*first[3])
        self.now = until


def frame(sequence: int) -> Frame:
    return Frame(1, PeerId("a"), 1, 1, sequence, ClusterId(""), ())


def links_of(network: Network) -> tuple[Links, Clock, list[int]]:
    clock = Clock()
    came: list[int] = []
    links = Links(2, network, Random(1), clock, lambda address, one: came.append(one.sequence))
    return links, clock, came


def test_a_connection_that_breaks_loses_its_queue_or_delivers_it_late() -> None:
    links, clock, came = links_of(Network(delay=100, jitter=1))
    links.send(0, 1, "b", frame(1))
    links.reset(((0, 1),))
    clock.run(1_000)
    assert came == []
    links.send(0, 1, "b", frame(2))
    links.reset(((0, 1),), late=5_000)
    links.send(0, 1, "b", frame(3))
    clock.run(4_000)
    assert came == [3]
    clock.run(10_000)
    assert came == [3, 2]


def test_a_link_holds_no_more_than_its_queue() -> None:
    links, clock, came = links_of(Network(delay=100, jitter=1, ordered=True, queue=2))
    for number in range(1, 5):
        links.send(0, 1, "b", frame(number))
    clock.run(1_000)
    assert came == [1, 2]
    links.send(0, 1, "b", frame(5))
    clock.run(2_000)
    assert came == [1, 2, 5]


def test_a_link_that_flaps_is_cut_and_mended_until_it_is_healed(trial: Trial) -> None:
    links = ((0, 1), (1, 0))
    put(trial, Flap(links, 100 * MILLISECOND, 3))
    states = []
    for _ in range(8):
        states.append(trial.simulator.links._cuts[0][1])
        run(trial, 0.1)
    assert states == [1, 0, 1, 0, 1, 0, 0, 0]
    put(trial, Flap(links, 100 * MILLISECOND, 9))
    trial.settle()
    run(trial, 0.3)
    assert trial.simulator.links._cuts[0][1] == 0


# ---- drawing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*FIRST_KINDS, *LATER_KINDS])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_kind_is_drawn_for_every_number_of_peers(kind: str, count: int) -> None:
    for seed in range(20):
        fault = draw_fault(Random(seed), kind, SECOND, count, None)
        assert all(0 <= peer < count for peer in peers_of(fault))
        assert fault == draw_fault(Random(seed), kind, SECOND, count, None)


def test_the_leader_is_cut_off_where_that_was_drawn() -> None:
    for seed in range(20):
        for leader in range(3):
            both = draw_fault(Random(seed), LEADER, SECOND, 3, leader)
            mute = draw_fault(Random(seed), LEADER_MUTE, SECOND, 3, leader)
            assert isinstance(both, Cut)
            assert isinstance(mute, Cut)
            others: list[Link] = [(leader, other) for other in range(3) if other != leader]
            assert sorted(mute.links) == sorted(others)
            assert sorted(both.links) == sorted([*others, *((b, a) for a, b in others)])


def test_peers_say_different_things_of_the_time_of_day() -> None:
    weather = fair(1)
    processes = replace(weather.processes, wall_spread=3_600.0)
    walls = []
    for wrong in (weather, replace(weather, processes=processes)):
        trial = Trial("walls", wrong)
        trial.storm(3 * SECOND)
        assert isinstance(trial.simulator, Simulator)
        node = trial.simulator.hosts[0].node
        assert node is not None
        walls.append(node._wall + node._now)
    assert abs(walls[0] - walls[1]) > 60


# ---- pauses ----------------------------------------------------------------------------------


def test_what_a_pause_held_back_goes_on_as_soon_as_the_pause_is_healed(trial: Trial) -> None:
    """A write that has reached the disk, and a turn that waits for more inputs."""
    simulator = trial.simulator
    weather = simulator.weather
    simulator.weather = replace(
        weather,
        processes=replace(weather.processes, turn_inputs=4, turn=30 * MILLISECOND),
        storage=replace(weather.storage, sync=20 * MILLISECOND),
    )
    host = simulator.hosts[1]
    bound = simulator.now + SECOND
    while not (host.syncing and host.inputs) and simulator.now < bound:
        run(trial, 0.0001)
    written = host.written
    put(trial, Pause(host.number, 60 * SECOND))
    run(trial, 2)
    assert host.durable < written
    assert host.inputs, "a turn that has begun"
    simulator.heal(simulator.weather)
    run(trial, 0.1)
    assert host.durable >= written
    settled(trial)
