"""A hash tree over the names of variables, by which two peers find what differs between them.

After Merkle 1987 and Demers et al. 1987. A name's place is 16 bits of its hash, in four steps of
four bits. A node's hash is the exclusive or of all fingerprints below it, so that a write changes
one number on each of five levels, whatever the tree holds.

Nodes are numbers: the root is 1, child c of node n is 16 n + c; a leaf has no children.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

from mabeam_p2p.protocol.vector_clock import Vector

FANOUT_BITS = 4
FANOUT = 1 << FANOUT_BITS
DEPTH = 4
"""65,536 leaves: of 100,000 names one or two stand in each."""

ROOT = 1
FIRST_LEAF = 1 << (FANOUT_BITS * DEPTH)
NODE_MAX = 2 * FIRST_LEAF - 1


def leaf_of(name: str) -> int:
    """The same on every peer."""
    place = int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=2).digest())
    return FIRST_LEAF + place


def children(node: int) -> range:
    """In order. node: no leaf."""
    return range(node << FANOUT_BITS, (node << FANOUT_BITS) + FANOUT)


def is_leaf(node: int) -> bool:
    return node >= FIRST_LEAF


def is_node(node: int) -> bool:
    """Whether a number from anywhere is a node of the tree."""
    return 0 < node <= NODE_MAX and (node.bit_length() - 1) % FANOUT_BITS == 0


def vector_hash(vector: Vector) -> int:
    """Of a version vector, the same on every peer; 0 for the empty one."""
    if not vector:
        return 0
    return int.from_bytes(blake2b(repr(vector).encode(), digest_size=6).digest()) or 1


class HashTree:
    """(name, fingerprint) for each name in it; a fingerprint is never 0."""

    __slots__ = ("_counts", "_hashes", "_leaves")

    def __init__(self) -> None:
        self._hashes: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        """Names below each node; nodes without names are not there."""
        self._leaves: dict[int, dict[str, int]] = {}

    def __len__(self) -> int:
        return self._counts.get(ROOT, 0)

    def put(self, name: str, fingerprint: int) -> None:
        """fingerprint 0: the name is not in the tree any more."""
        leaf = leaf_of(name)
        names = self._leaves.setdefault(leaf, {})
        before = names.get(name, 0)
        if fingerprint:
            names[name] = fingerprint
        else:
            names.pop(name, None)
        if not names:
            del self._leaves[leaf]
        added = (fingerprint != 0) - (before != 0)
        change = before ^ fingerprint
        node = leaf
        while node:
            count = self._counts.get(node, 0) + added
            if count:
                self._counts[node] = count
                self._hashes[node] = self._hashes.get(node, 0) ^ change
            else:
                self._counts.pop(node, None)
                self._hashes.pop(node, None)
            node >>= FANOUT_BITS

    def fingerprint(self, name: str) -> int:
        """0 if the name is not in the tree."""
        return self._leaves.get(leaf_of(name), {}).get(name, 0)

    def hash(self, node: int) -> int:
        """0 if nothing is below."""
        return self._hashes.get(node, 0)

    def count(self, node: int) -> int:
        """Names below."""
        return self._counts.get(node, 0)

    def below(self, node: int) -> Iterator[tuple[str, int]]:
        """Each name below and its fingerprint."""
        if is_leaf(node):
            yield from self._leaves.get(node, {}).items()
            return
        for child in children(node):
            if child in self._counts:
                yield from self.below(child)

    def check(self, fingerprints: Mapping[str, int]) -> None:
        """Assert that the tree says what `fingerprints` say. Costs a pass over all of them."""
        hashes: dict[int, int] = {}
        counts: dict[int, int] = {}
        for name, fingerprint in fingerprints.items():
            assert self.fingerprint(name) == fingerprint, f"the tree has another {name!r}"
            node = leaf_of(name)
            while node:
                hashes[node] = hashes.get(node, 0) ^ fingerprint
                counts[node] = counts.get(node, 0) + 1
                node >>= FANOUT_BITS
        assert counts == self._counts, "the tree counts names that are not there"
        assert hashes == self._hashes, "a hash of the tree is wrong"
