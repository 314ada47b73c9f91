"""Claims of the papers on which variables are built, one by one."""

from mabeam_p2p.config import Timing
from mabeam_p2p.protocol.hybrid_clock import HybridClock
from mabeam_p2p.protocol.variables import dotted
from tests.protocol.variables_network import Network, X, change, compare, settled


def test_concurrent_writes_through_one_replica_stand_side_by_side() -> None:
    """Preguiça et al. 2010, "Dotted version vectors", §3: a write supersedes what its client had
    read, not what the replica has taken in since."""
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.deliver_all()
    held = second.held_here("x")
    assert held is not None
    network.write(first, change("x", b"2"))
    network.deliver_all()
    stale = change("x", b"3")
    network.write(second, type(stale)("x", "lww", b"3", held.context))
    assert sorted(value or b"" for value in second.values("x")) == [b"2", b"3"]


def test_joining_states_is_the_least_state_above_both() -> None:
    """Almeida et al. 2014, "Scalable and accurate causality tracking", §4: sync."""
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.write(second, change("x", b"2"))
    one, other = first.held_here("x"), second.held_here("x")
    assert one is not None
    assert other is not None
    both = dotted.sync(one, other)
    assert dotted.sync(both, one) == dotted.sync(both, other) == both
    assert set(both.siblings) == {*one.siblings, *other.siblings}


def test_a_replica_without_the_key_knows_by_its_clock_that_it_was_deleted() -> None:
    """Gonçalves et al. 2017, "DottedDB", §4: deletes without tombstones."""
    network = Network(3, timing=Timing(tombstone_seconds=0.0))
    network.run(5.0)
    first, second, away = network.sites
    network.write(first, X)
    network.run(5.0)
    network.part([away], [first, second])
    network.write(first, change("x", None))
    network.run(10.0)
    assert second.held_here("x") is None
    network.heal()
    compare(network, second, away)
    assert away.values("x") in ([], [None])
    assert second.values("x") == []


def test_equal_replicas_find_out_by_one_hash() -> None:
    """Demers et al. 1987, "Epidemic algorithms", §1.5: compare checksums first."""
    network = settled(2)
    first, second = network.sites
    for number in range(50):
        network.write(first, change(f"v{number}", b"1"))
    network.deliver_all()
    compare(network, first, second)
    network.sent.clear()
    compare(network, first, second)
    assert len(network.sent) == 2


def test_a_later_event_has_a_greater_stamp_though_its_clock_is_behind() -> None:
    """Kulkarni et al. 2014, "Logical physical clocks", theorem 1."""
    behind, ahead = HybridClock(1_000.0, now=0.0), HybridClock(1_060.0, now=0.0)
    stamp = ahead.tick(0.0)
    behind.observe(stamp, 0.0)
    assert behind.tick(0.0) > stamp


def test_a_stamp_is_never_far_from_the_time_of_who_gives_it() -> None:
    """The same, corollary 1: no further ahead than the greatest difference between two clocks."""
    clock = HybridClock(1_000.0, now=0.0)
    clock.observe(1_060_000_000, 0.0)
    assert clock.tick(0.0) - 1_000_000_000 <= 60_000_001
    assert clock.tick(100.0) - 1_100_000_000 <= 1
