"""Whole peers in virtual time: a follower that was away comes back while the others go on serving,
by the log or by a snapshot; and what a peer holds in memory stays bounded."""

from collections.abc import Callable
from statistics import median

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import InstallSnapshot
from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.host import Host
from tests.simulation.cluster import Cluster

ENTRY = bytes(1024)
BEHIND = 10_000
SMALL_STEPS = Limits(append_bytes_max=65_536, inflight_appends_max=1, snapshot_chunk_bytes=2_000)
"""Whoever is far behind needs many round trips."""
BY_LOG = SMALL_STEPS
BY_SNAPSHOT = replace(
    SMALL_STEPS, snapshot_entries=2_000, log_trailing_entries=500, journal_items_max=100
)


def serve(cluster: Cluster, host: Host, count: int) -> list[float]:
    """One command after the other, and how long each took."""
    taken = []
    for _ in range(count):
        answers = cluster.append(host, b"x", "served")
        while not answers:
            cluster.run(0.0005)
        [(answer, seconds)] = answers
        assert isinstance(answer, Committed)
        taken.append(seconds)
    return taken


def write(cluster: Cluster, host: Host, count: int) -> None:
    """Entries of 1 KiB, a hundred in each turn."""
    for _ in range(count // 100):
        answers = [cluster.append(host, ENTRY) for _ in range(100)]
        while not all(answers):
            cluster.run(0.001)
        assert all(isinstance(one[0][0], Committed) for one in answers)


def equal(cluster: Cluster) -> Callable[[], bool]:
    def is_equal() -> bool:
        nodes = [cluster.node(host) for host in cluster.hosts]
        return len({node.machine.applied_index for node in nodes}) == 1

    return is_equal


@pytest.mark.slow
@pytest.mark.parametrize("limits", [BY_LOG, BY_SNAPSHOT], ids=["log", "snapshot"])
def test_a_follower_that_is_ten_thousand_entries_behind_catches_up_while_others_serve(
    limits: Limits,
) -> None:
    cluster = Cluster(limits=limits)
    leader, _, away = cluster.hosts
    pieces = []
    cluster.simulator.on_send = lambda host, target, message: (
        pieces.append(message) if isinstance(message, InstallSnapshot) else None
    )
    cluster.simulator.crash(away)
    write(cluster, leader, BEHIND)
    before = median(serve(cluster, leader, 50))
    assert pieces == []
    cluster.start(away)
    during = []
    for _ in range(4_000):
        during += serve(cluster, leader, 1)
        if cluster.node(away).machine.applied_index >= BEHIND:
            break
    else:
        pytest.fail("the follower never caught up")
    assert bool(pieces) is (limits is BY_SNAPSHOT)
    assert len(during) > 20
    assert median(during) <= 1.5 * before
    cluster.run(1.0)
    assert equal(cluster)()
    digests = {cluster.node(host).machine.digest() for host in cluster.hosts}
    assert len(digests) == 1
    assert cluster.node(leader).replication.leadership is not None


@pytest.mark.slow
def test_what_a_peer_holds_of_the_log_is_bounded_by_the_interval_of_snapshots() -> None:
    limits = Limits(snapshot_entries=300, log_trailing_entries=200, journal_items_max=50)
    cluster = Cluster(limits=limits)
    leader = cluster.hosts[0]
    held = []
    for _ in range(20):
        write(cluster, leader, 100)
        for host in cluster.hosts:
            log = cluster.node(host).replication.log
            uncommitted = log.last_index - log.commit_index
            held.append(log.last_index - log.base.index - uncommitted)
            assert log.byte_count == sum(len(b.blob) for b in log.between(0, log.last_index))
            assert host.disk.base.index <= log.base.index
    # A snapshot is taken at the end of the batch that reaches the interval.
    assert max(held) < 300 + 200 + 100
    assert min(held[-3:]) >= 200
    assert leader.disk.snapshot is not None
    assert leader.disk.snapshot.base.index > 1_500
