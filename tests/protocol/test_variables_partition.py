"""A partition of five minutes in which both sides write ten thousand times."""

from random import Random

import pytest

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.requests import VariableChange
from mabeam_p2p.testing.variable_cores import VariableCores, values_held

PEERS = 4
SECONDS = 300.0
WRITES = 10_000
"""On each side."""
NAMES = 2_000
HEALED_SECONDS_MAX = 10.0


@pytest.mark.slow
def test_ten_thousand_writes_on_both_sides_of_a_partition_are_even_ten_seconds_after_it() -> None:
    """I14 judges every record: no value is lost but to a write that had seen it."""
    # Forgetting and retiring go on all the time.
    timing = Timing(tombstone_seconds=20.0)
    cores = VariableCores(PEERS, timing=timing, limits=Limits())
    draw = Random("partition")
    cores.run(5.0)
    for number in range(0, NAMES, 50):
        names = [f"shared/{n}" for n in range(number, number + 50)]
        cores.write(cores.peers[0], *(VariableChange(name, "lww", b"0") for name in names))
    cores.run(5.0)
    sides = cores.peers[: PEERS // 2], cores.peers[PEERS // 2 :]
    cores.part(sides)
    cores.tell_members()
    for count in range(WRITES):
        for side in sides:
            peer = side[draw.randrange(len(side))]
            name = f"shared/{draw.randrange(NAMES)}"
            if draw.random() < 0.1:
                name = f"side {peer.side}/{draw.randrange(NAMES)}"
            value = None if draw.random() < 0.2 else b"%d" % count
            cores.write(
                peer,
                VariableChange(name, "multi_value", value)
                if "side" in name
                else VariableChange(name, "lww", value),
            )
        cores.run(SECONDS / WRITES)
    left, right = values_held(sides[0][0].core), values_held(sides[1][0].core)
    assert left != right
    cores.heal()
    cores.tell_members()
    cores.run(HEALED_SECONDS_MAX)
    assert cores.is_even()
    cores.causality.settled(peer.peer for peer in cores.peers)
    held = values_held(cores.peers[0].core)
    concurrent = sum(len(siblings) > 1 for siblings in held.values())
    assert concurrent > NAMES / 4, "both sides' values stand side by side"
    cores.run(60.0)
    cores.causality.settled(peer.peer for peer in cores.peers)
    assert all(not peer.core._table.tombstones for peer in cores.peers)
