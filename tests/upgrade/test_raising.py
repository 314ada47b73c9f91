"""Clusters of two releases in virtual time: when the log goes on by a later version."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import RevokePeer
from mabeam_p2p.config import MACHINE_VERSION, Config, Limits, Timing
from mabeam_p2p.events import Refused as Refusal
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.messages import Frame, Hello
from mabeam_p2p.records import Status
from mabeam_p2p.requests import (
    Answer,
    Committed,
    Leave,
    ReadStatus,
    Refused,
    StatusAnswer,
    TransferLeadership,
)
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import Weather
from tests.simulation.cluster import Cluster

TIMING = Timing(
    voter_grace_seconds=3.0, voter_change_seconds=0.2, dead_seconds=1.5, suspect_seconds=0.6
)


def versions(cluster: Cluster) -> list[int]:
    return [cluster.node(host).machine.version for host in cluster.hosts if host.node is not None]


def upgrade(cluster: Cluster, host: Host) -> None:
    """Restart it in the later release, and give it time."""
    cluster.simulator.releases.upgrade(host)
    cluster.start(host)
    cluster.run(2.5)


def status(cluster: Cluster, host: Host) -> Status:
    answers: list[Answer] = []
    cluster.simulator.ask(host, ReadStatus(), answers.append)
    (answer,) = answers
    assert isinstance(answer, StatusAnswer)
    return answer.status


def serves(cluster: Cluster, host: Host) -> bool:
    answers = cluster.append(host, b"x")
    cluster.run(1.0)
    return bool(answers) and isinstance(answers[0][0], Committed)


def test_a_cluster_of_one_release_begins_by_its_version_and_spends_no_entry_on_it() -> None:
    cluster = Cluster(3)
    assert versions(cluster) == [MACHINE_VERSION] * 3
    assert cluster.simulator.releases.raised == []
    shown = status(cluster, cluster.hosts[0])
    assert (shown.machine_version, shown.machine_version_max) == (MACHINE_VERSION,) * 2
    assert shown.held_back_by == ()


def test_a_rolling_upgrade_raises_the_version_once_and_only_when_the_last_peer_can() -> None:
    cluster = Cluster(3, earlier=(0, 1, 2))
    assert versions(cluster) == [1, 1, 1]
    for host in reversed(cluster.hosts):
        assert cluster.simulator.releases.raised == []
        assert serves(cluster, cluster.hosts[0])
        upgrade(cluster, host)
    cluster.run(2.0)
    assert versions(cluster) == [MACHINE_VERSION] * 3
    assert len(cluster.simulator.releases.raised) == 1
    assert serves(cluster, cluster.hosts[1])
    assert len({cluster.node(host).machine.digest() for host in cluster.hosts}) == 1


def test_a_peer_whose_greetings_were_lost_holds_nothing_back_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others tell the leader where the peer that was upgraded is: nobody need greet again."""
    cluster = Cluster(3, earlier=(2,))
    leader, upgraded = cluster.hosts[0], cluster.hosts[2]
    deliver, lost = cluster.simulator.deliver, [True]

    def loses_greetings(address: str, frame: Frame) -> None:
        ends = (frame.source, address)
        between = ends in ((leader.peer, upgraded.address), (upgraded.peer, leader.address))
        is_greeting = any(isinstance(message, Hello) for message in frame.messages)
        if not (lost[0] and between and is_greeting):
            deliver(address, frame)

    monkeypatch.setattr(cluster.simulator.links, "_deliver", loses_greetings)
    upgrade(cluster, upgraded)
    assert upgraded.peer in cluster.node(leader).replication.voters
    assert cluster.node(upgraded).replication.leader == leader.peer
    assert versions(cluster) == [1, 1, 1]
    lost[0] = False
    cluster.run(3.0)
    assert versions(cluster) == [MACHINE_VERSION] * 3


def test_until_the_last_peer_can_go_on_all_others_can_go_back() -> None:
    cluster = Cluster(3, earlier=(0, 1, 2))
    last, *others = cluster.hosts
    for host in others:
        upgrade(cluster, host)
    for host in others:
        cluster.simulator.crash(host)
        host.is_earlier = True
        cluster.start(host)
        cluster.run(2.5)
        assert serves(cluster, last)
    assert versions(cluster) == [1, 1, 1]
    assert len({cluster.node(host).machine.digest() for host in cluster.hosts}) == 1
    for host in cluster.hosts:
        upgrade(cluster, host)
    cluster.run(1.0)
    assert versions(cluster) == [MACHINE_VERSION] * 3
    assert len(cluster.simulator.releases.raised) == 1


def test_a_leader_names_the_peers_for_whose_sake_it_waits() -> None:
    cluster = Cluster(3, earlier=(2,))
    shown = status(cluster, cluster.hosts[0])
    assert shown.role == "leader"
    assert (shown.machine_version, shown.machine_version_max) == (1, MACHINE_VERSION)
    assert shown.held_back_by == (cluster.hosts[2].peer,)
    assert shown.held_back_by_limits == ()
    assert status(cluster, cluster.hosts[1]).held_back_by == ()


def test_who_has_other_limits_is_not_waited_for_as_if_it_could_be_upgraded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(3, earlier=(1, 2))
    leader, earlier, other = cluster.hosts
    as_all = Host.config

    def config(host: Host, weather: Weather, seeds: tuple[str, ...]) -> Config:
        limits = Limits(sessions_max=1_000) if host is other else weather.limits
        return replace(as_all(host, weather, seeds), limits=limits)

    monkeypatch.setattr(Host, "config", config)
    upgrade(cluster, other)
    shown = status(cluster, leader)
    assert shown.held_back_by == (earlier.peer, other.peer)
    assert shown.held_back_by_limits == (other.peer,)
    upgrade(cluster, earlier)
    assert versions(cluster) == [1, 1, 1]
    shown = status(cluster, leader)
    assert shown.held_back_by == shown.held_back_by_limits == (other.peer,)
    assert status(cluster, other).held_back_by_limits == ()
    monkeypatch.undo()
    cluster.simulator.crash(other)
    # Nobody knows what limits it will have.
    cluster.run(1.0)
    assert status(cluster, leader).held_back_by == (other.peer,)
    assert status(cluster, leader).held_back_by_limits == ()
    cluster.start(other)
    cluster.run(2.5)
    assert versions(cluster) == [MACHINE_VERSION] * 3


def test_a_command_of_a_later_version_waits_for_it_and_stops_nobody() -> None:
    cluster = Cluster(3, earlier=(2,))
    asker, earlier = cluster.hosts[1:]

    def revokes() -> Answer:
        cluster._sequences[asker.letter] += 1
        number = cluster._sequences[asker.letter]
        command = RevokePeer(SessionId(asker.number + 1), number, PeerId("e" * 16))
        answers = cluster._submit(asker, command)
        cluster.run(0.5)
        return answers[0][0]

    refused = revokes()
    assert isinstance(refused, Refused)
    assert refused.reason == "earlier_version"
    assert "machine version 1" in refused.detail
    assert all(serves(cluster, host) for host in cluster.hosts)
    upgrade(cluster, earlier)
    assert isinstance(revokes(), Committed)


def test_a_learner_is_waited_for() -> None:
    timing = replace(TIMING, voter_change_seconds=600.0)
    cluster = Cluster(4, expect=3, earlier=(0, 1, 2, 3), timing=timing)
    cluster.run(1.0)
    learner = next(h for h in cluster.hosts if status(cluster, h).role == "learner")
    for host in cluster.hosts:
        if host is not learner:
            upgrade(cluster, host)
    assert status(cluster, learner).role == "learner"
    assert versions(cluster) == [1] * 4
    upgrade(cluster, learner)
    assert versions(cluster) == [MACHINE_VERSION] * 4


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("votes", [True, False])
def test_who_is_stopped_to_be_upgraded_is_waited_for(votes: bool, leaves: bool) -> None:
    """It may come back as it was, if the later release does not start there; but not for ever."""
    seconds = 30.0
    timing = replace(
        TIMING,
        voter_change_seconds=0.2 if votes else 600.0,
        dead_retention_seconds=seconds,
        voter_grace_seconds=1.0,
    )
    cluster = Cluster(4, expect=3, earlier=(0, 1, 2, 3), timing=timing)
    cluster.run(1.0)
    roles = {host.number: status(cluster, host).role for host in cluster.hosts}
    is_last = {number: (role == "learner") ^ votes for number, role in roles.items()}
    *others, last = sorted(cluster.hosts, key=lambda host: is_last[host.number])
    for host in others:
        upgrade(cluster, host)
    if leaves:
        cluster.simulator.ask(last, Leave())
    else:
        cluster.simulator.crash(last)
    cluster.run(seconds / 2)
    assert last.peer not in cluster.node(others[0]).replication.voters
    assert [cluster.node(host).machine.version for host in others] == [1] * 3
    leader = next(host for host in others if status(cluster, host).role == "leader")
    assert status(cluster, leader).held_back_by == (last.peer,)
    cluster.run(seconds)
    assert [cluster.node(host).machine.version for host in others] == [MACHINE_VERSION] * 3


def test_who_could_go_on_and_has_left_is_not_waited_for() -> None:
    """Members that come and go hold nothing back."""
    timing = replace(TIMING, voter_change_seconds=600.0)
    cluster = Cluster(4, expect=3, earlier=(0,), timing=timing)
    cluster.run(1.0)
    last, *others = cluster.hosts
    guest = next(host for host in others if status(cluster, host).role == "learner")
    cluster.simulator.ask(guest, Leave())
    cluster.run(1.0)
    upgrade(cluster, last)
    others.remove(guest)
    assert [cluster.node(host).machine.version for host in (last, *others)] == [MACHINE_VERSION] * 3


def test_a_voter_that_is_away_is_waited_for_until_it_is_replaced() -> None:
    timing = replace(TIMING, voter_grace_seconds=15.0, dead_retention_seconds=1.0)
    cluster = Cluster(4, expect=3, earlier=(0, 1, 2, 3), timing=timing)
    cluster.run(2.0)
    away = cluster.hosts[2]
    cluster.simulator.crash(away)
    for host in cluster.hosts:
        if host is not away:
            upgrade(cluster, host)
    leader = next(h for h in cluster.hosts if h.node and h.node.replication.leadership)
    assert away.peer in cluster.node(leader).replication.voters
    assert versions(cluster) == [1] * 3
    cluster.run(15.0)
    assert away.peer not in cluster.node(leader).replication.voters
    assert versions(cluster) == [MACHINE_VERSION] * 3


def test_a_voter_that_is_away_may_come_back_as_anything_whatever_it_was() -> None:
    """Its process that could go on is gone: until all are back, everybody may still go back."""
    cluster = Cluster(3, earlier=(2,), timing=replace(TIMING, voter_grace_seconds=600.0))
    leader, away, earlier = cluster.hosts
    cluster.simulator.crash(away)
    cluster.run(1.0)
    upgrade(cluster, earlier)
    assert serves(cluster, leader)
    assert versions(cluster) == [1, 1]
    assert status(cluster, leader).held_back_by == (away.peer,)
    # Who has just been elected has heard no more of it.
    for one, next_one in ((leader, earlier), (earlier, leader)):
        cluster.simulator.ask(one, TransferLeadership(next_one.peer))
        cluster.run(1.0)
        assert status(cluster, next_one).role == "leader"
    assert versions(cluster) == [1, 1]
    cluster.start(away)
    cluster.run(2.5)
    assert versions(cluster) == [MACHINE_VERSION] * 3


def test_a_peer_of_the_earlier_release_that_comes_too_late_is_refused_and_harms_nothing() -> None:
    timing = replace(TIMING, voter_change_seconds=600.0, dead_retention_seconds=1.0)
    cluster = Cluster(4, expect=3, earlier=(0, 1, 2, 3), timing=timing)
    cluster.run(1.0)
    late = next(h for h in cluster.hosts if status(cluster, h).role == "learner")
    cluster.simulator.crash(late)
    for host in cluster.hosts:
        if host is not late:
            upgrade(cluster, host)
    cluster.run(4.0)
    assert versions(cluster) == [MACHINE_VERSION] * 3
    assert cluster.simulator.releases.refused_count == 0
    cluster.start(late)
    cluster.run(0.4)
    assert cluster.simulator.releases.refused_count == 1
    assert late.is_earlier
    # Somebody reads why, and installs the later release.
    cluster.run(4.0)
    assert versions(cluster) == [MACHINE_VERSION] * 4
    assert len({cluster.node(host).machine.digest() for host in cluster.hosts}) == 1


def test_a_peer_that_was_cut_off_while_the_log_was_raised_is_told_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is behind that in the log may be nothing that it can read."""
    timing = replace(TIMING, voter_change_seconds=600.0, dead_retention_seconds=1.0)
    cluster = Cluster(4, expect=3, earlier=(0, 1, 2, 3), timing=timing)
    cluster.run(1.0)
    late = next(h for h in cluster.hosts if status(cluster, h).role == "learner")
    others = [host for host in cluster.hosts if host is not late]
    deliver, is_cut = cluster.simulator.deliver, [True]

    def cut(address: str, frame: Frame) -> None:
        if not is_cut[0] or (frame.source != late.peer and address != late.address):
            deliver(address, frame)

    monkeypatch.setattr(cluster.simulator.links, "_deliver", cut)
    told: list[tuple[PeerId, str]] = []
    monkeypatch.setattr(
        cluster.simulator.releases,
        "told",
        lambda host, event: (
            told.append((event.peer, event.reason))
            if host is late and isinstance(event, Refusal)
            else None
        ),
    )
    for host in others:
        upgrade(cluster, host)
    cluster.run(4.0)
    assert [cluster.node(host).machine.version for host in others] == [MACHINE_VERSION] * 3
    assert told == []
    is_cut[0] = False
    cluster.run(10.0)
    assert told.count((late.peer, "machine")) == 1, "whoever runs it ends it by that"


@pytest.mark.parametrize("number", [0, 1])
def test_a_version_that_was_raised_is_known_after_a_restart(number: int) -> None:
    cluster = Cluster(3, earlier=(2,))
    upgrade(cluster, cluster.hosts[2])
    assert len(cluster.simulator.releases.raised) == 1
    for host in cluster.hosts:
        cluster.simulator.crash(host)
    for host in cluster.hosts[number:] + cluster.hosts[:number]:
        cluster.start(host)
    cluster.run(3.0)
    assert versions(cluster) == [MACHINE_VERSION] * 3
    assert len(cluster.simulator.releases.raised) == 1
