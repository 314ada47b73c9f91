import pytest

from mabeam_p2p.discovery.mdns import TXT_BYTES_MAX
from mabeam_p2p.ids import PeerId, is_peer_id
from mabeam_p2p.security.announcements import Announcements
from mabeam_p2p.security.secrets import Secret
from tests.transport.keys import Cluster

HOST, PORT = "192.0.2.7", 7946


def of(cluster: Cluster, name: str = "prod", epoch: int = 3) -> Announcements:
    return Announcements(cluster.gatekeeper().guard, name, epoch)


def published(announcements: Announcements, host: str = HOST) -> dict[bytes, bytes | None]:
    """As zeroconf gives it back."""
    return {k.encode(): v.encode() for k, v in announcements.facts(host, PORT).items()}


def test_peers_of_one_cluster_believe_each_other() -> None:
    cluster = Cluster()
    assert of(cluster).is_genuine(published(of(cluster)), HOST, PORT)


def test_another_secret_or_another_clusters_name_is_not_believed() -> None:
    cluster = Cluster()
    here = of(cluster)
    assert not here.is_genuine(published(of(Cluster(b"x" * 32))), HOST, PORT)
    assert not here.is_genuine(published(of(cluster, "test")), HOST, PORT)


@pytest.mark.parametrize("field", ["v", "id", "pub", "epoch", "mac"])
@pytest.mark.parametrize("value", [None, b"", b"0", b"\xff", b"f" * 64, b"x" * 1000])
def test_a_field_that_was_changed_or_left_out_is_not_believed(
    field: str, value: bytes | None
) -> None:
    cluster = Cluster()
    facts = published(of(cluster))
    facts[field.encode()] = value
    assert not of(cluster).is_genuine(facts, HOST, PORT)
    del facts[field.encode()]
    assert not of(cluster).is_genuine(facts, HOST, PORT)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.8", PORT), (HOST, 7947), ("::1", PORT)])
def test_an_announcement_counts_for_its_own_address_alone(host: str, port: int) -> None:
    """Whoever copies it onto a record of its own lures nobody."""
    cluster = Cluster()
    assert not of(cluster).is_genuine(published(of(cluster)), host, port)


def test_the_scope_of_a_link_local_address_is_each_hosts_own() -> None:
    cluster = Cluster()
    facts = published(of(cluster), "fe80::1%eth0")
    assert of(cluster).is_genuine(facts, "fe80::1%2", PORT)


def test_the_secret_before_is_believed_for_those_that_have_missed_the_rotation() -> None:
    cluster = Cluster()
    late = of(cluster)
    guard = cluster.gatekeeper().guard
    guard.keyring.rotate(Secret(b"n" * 32))
    here = Announcements(guard, "prod", 1)
    assert here.is_genuine(published(late), HOST, PORT)
    assert not late.is_genuine(published(here), HOST, PORT)


def test_who_waits_for_its_inviter_says_nothing_and_believes_nobody() -> None:
    cluster = Cluster()
    guard = cluster.gatekeeper().guard
    guard.keyring.current = None
    here = Announcements(guard, "prod", 1)
    assert here.facts(HOST, PORT) == {}
    assert not here.is_genuine(published(of(cluster)), HOST, PORT)


def test_an_announcement_is_short_and_holds_neither_name_nor_secret() -> None:
    cluster = Cluster(b"canary-canary-canary-canary-1234")
    guard = cluster.gatekeeper(PeerId("a" * 16)).guard
    here = Announcements(guard, "secret-project", 2**53 - 1)
    facts = here.facts("fe80::ffff:ffff:ffff:ffff", 65_535)
    assert set(facts) == {"v", "id", "pub", "epoch", "mac"}
    assert sum(len(k) + len(v) + 2 for k, v in facts.items()) <= TXT_BYTES_MAX
    said = repr(facts) + here.instance
    for hidden in ("secret-project", "canary", b"canary".hex(), guard.pair.reveal().hex()):
        assert hidden not in said
    assert is_peer_id(here.instance)
    assert here.instance != guard.peer
