"""Whole peers in virtual time: who has proved the join secret is admitted whoever leads, and who
was revoked is heard by nobody."""

from mabeam_p2p.commands import RevokePeer
from mabeam_p2p.ids import SessionId
from mabeam_p2p.key_requests import Introduced
from mabeam_p2p.records import Credentials
from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.host import Host
from tests.simulation.cluster import Cluster


def key(host: Host) -> bytes:
    return host.letter.encode() * 32


def introduce(cluster: Cluster, host: Host) -> None:
    """As its transport does: each peer proves itself to each, and knows itself."""
    for other in cluster.hosts:
        cluster.simulator.ask(host, Introduced(other.peer, key(other)))


def credentials(cluster: Cluster, host: Host) -> Credentials:
    return cluster.node(host).credentials()


def admitted(cluster: Cluster, host: Host) -> dict[str, tuple[bytes, ...]]:
    return {one.peer: one.keys for one in credentials(cluster, host).admitted}


def leader(cluster: Cluster) -> Host:
    up = [host for host in cluster.hosts if host.node is not None]
    return next(host for host in up if cluster.node(host).replication.leadership is not None)


def revoke(cluster: Cluster, host: Host, target: Host) -> None:
    cluster._sequences[host.letter] += 1
    command = RevokePeer(SessionId(host.number + 1), cluster._sequences[host.letter], target.peer)
    answers = cluster._submit(host, command)
    cluster.run(0.5)
    assert isinstance(answers[0][0], Committed)


def test_without_introductions_nobody_is_admitted_and_the_log_is_as_before() -> None:
    cluster = Cluster()
    cluster.run(3.0)
    assert all(credentials(cluster, host) == Credentials() for host in cluster.hosts)


def test_all_that_have_proved_themselves_are_admitted_on_every_peer_alike() -> None:
    cluster = Cluster()
    for host in cluster.hosts:
        introduce(cluster, host)
    cluster.run(2.0)
    expected = {host.peer: (key(host),) for host in cluster.hosts}
    assert [admitted(cluster, host) for host in cluster.hosts] == [expected] * 3
    index = cluster.node(cluster.hosts[0]).machine.applied_index
    cluster.run(5.0)
    assert cluster.node(cluster.hosts[0]).machine.applied_index == index, "each was admitted once"


def test_the_next_leader_admits_whom_the_one_before_could_not() -> None:
    """An introduction that only the others have heard of is not lost with a leader."""
    cluster = Cluster()
    first = leader(cluster)
    rest = [host for host in cluster.hosts if host is not first]
    for host in rest:
        introduce(cluster, host)
    cluster.run(2.0)
    assert admitted(cluster, rest[0]) == {}, "its leader was introduced to nobody"
    cluster.simulator.crash(first)
    cluster.run(3.0)
    assert leader(cluster) is not first
    expected = {host.peer: (key(host),) for host in rest}
    for host in rest:
        assert admitted(cluster, host).items() >= expected.items()
    cluster.start(first)
    cluster.run(3.0)
    assert admitted(cluster, first).keys() >= expected.keys(), "and it is told by the log"


def test_a_leader_that_dies_between_its_proposal_and_its_commitment_leaves_one_admission() -> None:
    for moment in range(0, 12):
        cluster = Cluster()
        for host in cluster.hosts:
            introduce(cluster, host)
        cluster.run(0.25 + moment * 0.0005)
        first = leader(cluster)
        cluster.simulator.crash(first)
        cluster.run(3.0)
        cluster.start(first)
        introduce(cluster, first)
        cluster.run(3.0)
        expected = {host.peer: (key(host),) for host in cluster.hosts}
        assert [admitted(cluster, host) for host in cluster.hosts] == [expected] * 3
        assert len({cluster.node(host).machine.digest() for host in cluster.hosts}) == 1


def test_who_was_revoked_is_heard_by_nobody() -> None:
    cluster = Cluster()
    for host in cluster.hosts:
        introduce(cluster, host)
    cluster.run(2.0)
    first = leader(cluster)
    target, other = (host for host in cluster.hosts if host is not first)
    revoke(cluster, first, target)
    dropped = [cluster.node(host).links.dropped_count for host in (first, other)]
    in_vain = cluster.append(target, b"from outside")
    heard = cluster.append(other, b"from inside")
    cluster.run(4.0)
    assert isinstance(heard[0][0], Committed)
    assert not any(isinstance(answer, Committed) for answer, _ in in_vain)
    after = [cluster.node(host).links.dropped_count for host in (first, other)]
    assert all(now > then for now, then in zip(after, dropped, strict=True))
    for host in (first, other):
        assert not cluster.node(host).links.is_linked(target.peer)
        assert not cluster.node(host).membership.is_here(target.peer)


def test_who_was_revoked_stays_out_after_everybody_has_restarted() -> None:
    cluster = Cluster()
    for host in cluster.hosts:
        introduce(cluster, host)
    cluster.run(2.0)
    first = leader(cluster)
    target, other = (host for host in cluster.hosts if host is not first)
    revoke(cluster, first, target)
    for host in cluster.hosts:
        cluster.simulator.crash(host)
    for host in cluster.hosts:
        cluster.start(host)
        introduce(cluster, host)
    cluster.run(4.0)
    for host in (first, other):
        assert target.peer not in admitted(cluster, host)
        assert not cluster.node(host).links.is_linked(target.peer)
