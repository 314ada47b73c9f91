"""The hash tree is the same in whatever order things came; what differs is found at little cost."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.protocol.variables import tree
from mabeam_p2p.protocol.variables.tree import HashTree
from mabeam_p2p.wire.codec import CborCodec
from tests.protocol.variables_network import Network, Site, change, compare
from tests.wire.samples import frame_of

STEPS = st.lists(st.tuples(st.sampled_from([f"v{n}" for n in range(30)]), st.integers(0, 2**48)))


@given(STEPS)
def test_a_tree_says_what_was_put_last_under_each_name(steps: list[tuple[str, int]]) -> None:
    grown = HashTree()
    last: dict[str, int] = {}
    for name, fingerprint in steps:
        grown.put(name, fingerprint)
        last[name] = fingerprint
        grown.check({name: one for name, one in last.items() if one})
    assert dict(grown.below(tree.ROOT)) == {name: one for name, one in last.items() if one}


@given(STEPS, st.randoms(use_true_random=False))
def test_equal_contents_make_equal_trees_in_any_order(
    steps: list[tuple[str, int]], random: Random
) -> None:
    last = dict(steps)
    one, other = HashTree(), HashTree()
    for name, fingerprint in steps:
        one.put(name, fingerprint)
    shuffled = list(last.items())
    random.shuffle(shuffled)
    for name, fingerprint in shuffled:
        other.put(name, fingerprint)
    assert one.hash(tree.ROOT) == other.hash(tree.ROOT)
    for child in tree.children(tree.ROOT):
        assert one.hash(child) == other.hash(child)
        assert one.count(child) == other.count(child)


def test_a_tree_that_was_emptied_holds_nothing() -> None:
    grown = HashTree()
    for number in range(500):
        grown.put(f"v{number}", number + 1)
    for number in range(500):
        grown.put(f"v{number}", 0)
    grown.check({})
    assert (len(grown), grown.hash(tree.ROOT)) == (0, 0)


def test_nodes_are_told_from_other_numbers() -> None:
    nodes = [number for number in range(-2, 300) if tree.is_node(number)]
    assert nodes == [1, *range(16, 32), *range(256, 300)]
    assert tree.is_node(tree.NODE_MAX)
    assert not tree.is_node(tree.NODE_MAX + 1)
    assert tree.is_leaf(tree.leaf_of("x"))


CODEC = CborCodec(Limits())


def filled(names: int) -> Network:
    """Two peers that hold so many variables, and know it."""
    network = Network(2)
    first, second = network.sites
    for site in network.sites:
        # Else every step costs a pass over everything.
        site.core.check = lambda: None  # type: ignore[method-assign]
    network.check = lambda: None  # type: ignore[method-assign]
    for number in range(0, names, 100):
        network.write(first, *(change(f"model/{n}", b"1") for n in range(number, number + 100)))
        network.lose_all()
    for _ in range(2):
        compare(network, second, first)
    assert network.is_even()
    return network


def cost(network: Network, site: Site, other: Site, differences: int) -> int:
    """Bytes of one whole comparison in which so many variables differ."""
    for number in range(differences):
        network.write(site, change(f"model/{number * 7}", b"2"))
    network.lose_all()
    network.sent.clear()
    compare(network, other, site)
    assert network.is_even()
    return sum(len(CODEC.encode_frame(frame_of(message))) for _, _, message in network.sent)


@pytest.mark.slow
def test_what_differs_among_many_names_is_found_in_traffic_that_grows_with_its_number() -> None:
    names = 10_000
    network = filled(names)
    first, second = network.sites
    assert cost(network, first, second, 0) < 400
    one, ten, hundred = (cost(network, first, second, count) for count in (1, 10, 100))
    assert one < 2_500
    assert ten < 10 * one
    assert hundred < 100 * one
    # A list of all names with their fingerprints would take twenty bytes of each.
    assert hundred < names * 20 / 2
