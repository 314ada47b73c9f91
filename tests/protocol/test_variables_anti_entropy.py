"""Peers compare what they hold, and give each other what is missing, part by part."""

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import (
    Digest,
    DigestEntries,
    VariablePush,
)
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.table import BUCKETS
from tests.protocol.variables_network import (
    Network,
    X,
    change,
    compare,
    settled,
)


def test_equal_tables_cost_one_question_and_one_answer() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.deliver_all()
    network.sent.clear()
    compare(network, first, second)
    kinds = [type(message) for _, _, message in network.sent]
    assert kinds == [Digest, DigestEntries]


def test_one_comparison_evens_out_both_sides() -> None:
    network = settled(2)
    first, second = network.sites
    for number in range(30):
        network.write(first, change(f"first {number}", b"1"))
        network.write(second, change(f"second {number}", b"1"))
    network.write(first, X)
    network.write(second, change("x", b"2"))
    network.lose_all()
    compare(network, first, second)
    assert network.is_even()
    assert len(first.core.read("")) == 61
    assert first.values("x") == [b"1", b"2"]


def test_a_large_transfer_goes_part_by_part() -> None:
    limits = Limits(push_bytes_max=70_000, digest_entries_max=10)
    network = settled(2, limits)
    first, second = network.sites
    for number in range(40):
        network.write(first, change(f"v{number}", b"1" * 20_000))
    network.lose_all()
    network.sent.clear()
    compare(network, second, first)
    assert network.is_even()
    for _, _, message in network.sent:
        if isinstance(message, VariablePush):
            assert sum(len(v.siblings[0].value or b"") for v in message.variables) <= 70_000
        if isinstance(message, DigestEntries):
            assert len(message.entries) <= 10


def test_a_bucket_that_no_message_can_hold_is_evened_out_by_samples() -> None:
    network = settled(2, Limits(digest_entries_max=2))
    first, second = network.sites
    names = [name for name in map(str, range(1000)) if dotted.bucket(name, BUCKETS) == 0]
    for number, name in enumerate(names[:12]):
        network.write(first if number % 2 else second, change(name, b"1"))
    network.lose_all()
    network.run(60.0)
    assert network.is_even()
    assert len(first.core.read("")) == 12


def test_a_newcomer_is_ready_once_it_was_given_everything() -> None:
    network = Network(3)
    first, _, third = network.sites
    network.run(3.0)
    for number in range(50):
        network.write(first, change(f"v{number}", b"1"))
    network.deliver_all()
    third.disk.clear()
    network.crash(third)
    assert not third.core.ready
    digests = []
    while not third.core.ready:
        network.run(0.002)
        digests += [m for s, _, m in network.sent if isinstance(m, Digest) and s == third.peer]
    assert digests[0].newcomer
    assert len(third.core.read("")) == 50


def test_a_peer_without_members_is_ready_and_one_that_meets_some_must_first_compare() -> None:
    network = Network(2)
    first = network.sites[0]
    network.tell(first, ())
    assert first.core.ready
    network.tell(first, network.members())
    assert not first.core.ready
    network.run(1.0)
    assert first.core.ready


def test_an_exchange_that_stands_still_is_given_up_for_another_member() -> None:
    network = settled(3)
    first, second, third = network.sites
    network.write(third, X)
    network.lose_all()
    network.part([first], [second])
    network.run(30.0)
    assert first.values("x") == [b"1"]


def test_a_variable_that_is_refused_holds_up_no_other() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, change("a", b"1"), change("m", b"1"), change("z", b"1"))
    network.lose_all()
    second.core._limits = Limits(variables_max=2)
    compare(network, second, first)
    assert len(second.core.read("")) == 2
    assert second.drops[-1].detail == "no room for another variable"
