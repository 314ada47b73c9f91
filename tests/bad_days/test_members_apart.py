"""Days on which members lose sight of each other: islands, restarts elsewhere, wiped folders, and
hints that say nothing."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Timing
from mabeam_p2p.events import Event, MemberChanged
from mabeam_p2p.records import MemberState
from mabeam_p2p.requests import Suggest
from mabeam_p2p.testing.disk import Disk
from mabeam_p2p.testing.faults import Pause
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.members import differences
from mabeam_p2p.testing.weather import SECOND
from tests.bad_days.stage import Stage

FORGETFUL = Timing(dead_retention_seconds=5.0)


def stage_of(seed: str, peers: int = 4) -> Stage:
    """A formed cluster whose tables forget soon."""
    stage = Stage(seed, peers=peers)
    stage.simulator.weather = replace(stage.simulator.weather, timing=FORGETFUL)
    stage.formed()
    stage.run(1.0)
    return stage


def are_alike(stage: Stage) -> bool:
    return not differences(host.node.membership for host in stage.hosts if host.node is not None)


def seen_by(host: Host, other: Host) -> MemberState | None:
    assert host.node is not None
    found = host.node.membership.find(other.peer)
    return None if found is None else found.state


def between(one: list[Host], other: list[Host]) -> tuple[tuple[int, int], ...]:
    return tuple(
        link for a in one for b in other for link in ((a.number, b.number), (b.number, a.number))
    )


def test_islands_that_have_forgotten_each_other_come_together() -> None:
    """An outage that outlasts everybody's memory of the others (catalogue: 58)."""
    stage = stage_of("islands")
    left, right = stage.hosts[:2], stage.hosts[2:]
    stage.simulator.links.cut(between(left, right))
    stage.run(60.0)
    assert [seen_by(left[0], host) for host in right] == [None, None]
    assert [seen_by(right[0], host) for host in left] == [None, None]
    stage.simulator.links.mend(between(left, right))
    assert stage.until(lambda: are_alike(stage)) <= 2 * FORGETFUL.greet_interval_seconds_max


def test_one_that_was_stopped_for_longer_than_it_is_remembered_comes_back_and_revives_nobody() -> (
    None
):
    """It wakes with old records of somebody who died meanwhile (catalogue: 61)."""
    stage = stage_of("stopped", peers=5)
    sleeper, victim = stage.hosts[3], stage.hosts[4]
    stage.simulator.apply(Pause(sleeper.number, 60 * SECOND), stage.start)
    stage.run(1.0)
    stage.kill(victim)
    stage.run(50.0)
    awake = stage.hosts[:3]
    assert [seen_by(host, victim) for host in awake] == [None] * 3
    assert [seen_by(host, sleeper) for host in awake] == [None] * 3
    for _ in range(200):
        stage.run(0.1)
        assert [seen_by(host, victim) for host in awake] == [None] * 3
    assert [seen_by(host, sleeper) for host in awake] == [MemberState.ALIVE] * 3


def test_a_machine_with_another_address_is_the_same_member_and_nobody_is_called_dead() -> None:
    stage = stage_of("moved")
    moving, others = stage.hosts[3], stage.hosts[:3]
    died = []

    def listen(host: Host, event: Event) -> None:
        if isinstance(event, MemberChanged) and event.member.state is MemberState.DEAD:
            died.append(event.member)

    stage.simulator.on_event = listen
    assert moving.node is not None
    epoch = moving.node.membership.mine.epoch
    stage.move(moving, "10.0.0.99:7000")
    took = stage.until(lambda: are_alike(stage) and all(sees(h, moving) for h in others))
    assert took < FORGETFUL.suspect_seconds
    stage.run(2 * FORGETFUL.dead_seconds)
    assert died == []
    assert moving.node.membership.mine.epoch == epoch


def test_two_machines_that_exchange_their_addresses_are_told_apart() -> None:
    stage = stage_of("exchanged")
    one, other = stage.hosts[2:]
    addresses = one.address, other.address
    stage.move(one, "10.0.0.99:7000")
    stage.move(other, addresses[0])
    stage.move(one, addresses[1])
    everybody = stage.hosts
    stage.until(lambda: all(sees(h, one) and sees(h, other) for h in everybody))
    stage.until(lambda: are_alike(stage))


def sees(host: Host, other: Host) -> bool:
    """Whether it knows the other alive, at the address where it is."""
    assert host.node is not None
    found = host.node.membership.find(other.peer)
    return found is not None and (found.address, found.state) == (other.address, MemberState.ALIVE)


def test_an_address_that_discovery_repeats_keeps_nobody_alive() -> None:
    """Only the link counts (catalogue: 66)."""
    stage = stage_of("hints")
    lost, others = stage.hosts[3], stage.hosts[:3]
    stage.simulator.links.cut(between([lost], others))
    for _ in range(50):
        for host in others:
            stage.ask(host, Suggest((lost.address,)))
        stage.run(0.1)
    assert [seen_by(host, lost) for host in others] == [MemberState.DEAD] * 3


def test_a_member_that_lost_its_folder_is_another_one_and_has_its_name_and_address_at_once() -> (
    None
):
    """Nobody waits until the one before is dead: somebody else answers at its address."""
    stage = stage_of("wiped")
    wiped, others = stage.hosts[3], stage.hosts[:3]
    before = wiped.peer
    stage.kill(wiped)
    wiped.disk = Disk()
    _rename(stage, wiped)
    stage.start(wiped)
    assert stage.until(lambda: are_alike(stage)) < FORGETFUL.suspect_seconds
    for host in others:
        assert host.node is not None
        found = host.node.membership.find(before)
        assert found is not None
        assert found.state is MemberState.DEAD


def test_a_wiped_member_at_another_address_has_its_name_once_the_old_one_is_dead() -> None:
    stage = stage_of("wiped and moved")
    wiped, others = stage.hosts[3], stage.hosts[:3]
    stage.kill(wiped)
    stage.run(FORGETFUL.suspect_seconds)
    wiped.disk = Disk()
    _rename(stage, wiped)
    wiped.address = "10.0.0.99:7000"
    stage.start(wiped)
    took = stage.until(lambda: are_alike(stage))
    assert took <= FORGETFUL.dead_seconds + 2 * FORGETFUL.greet_interval_seconds_max
    assert [seen_by(host, wiped) for host in others] == [MemberState.ALIVE] * 3


def _rename(stage: Stage, host: Host) -> None:
    """A wiped folder has no identity: a new one is drawn."""
    wiped = type(host.peer)("f" * 16)
    del stage.simulator._by_peer[host.peer]
    host.peer = wiped
    stage.simulator._by_peer[wiped] = host


@pytest.mark.parametrize("moves", [False, True])
def test_all_restarted_at_once_find_each_other_by_what_they_remember(moves: bool) -> None:
    """Nobody suggests anything: addresses come from the folders; one peer kept its address."""
    stage = stage_of("remembered")
    stage.kill(*stage.hosts)
    stage.run(1.0)
    for host in stage.hosts:
        if moves and host is not stage.hosts[0]:
            host.address = f"10.0.1.{host.number}:7000"
        stage.simulator.start(host)
    stage.until(lambda: are_alike(stage))
