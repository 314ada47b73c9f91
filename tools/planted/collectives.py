"""Bugs of the meetings of named members, and of the exchanges of data between them."""

from tools.planted.base import Edit, Mutant

BARRIERS = "mabeam_p2p/machine/barriers.py"
COLLECTIVES = "mabeam_p2p/api/collectives.py"
BULK = "mabeam_p2p/runtime/bulk.py"
EXCHANGE = "mabeam_p2p/protocol/bulk/exchange.py"

MUTANTS = (
    Mutant(
        "M19c",
        "named members meet without one that was away in between",
        (
            Edit(
                BARRIERS,
                "return joined_index(agent) > 0 and (not self.since or joined_index(agent) <= "
                "self.since)",
                "return joined_index(agent) > 0",
            ),
        ),
        ("tests/machine/test_barrier_members.py",),
    ),
    Mutant(
        "M19d",
        "a named member's departure counts only once it has arrived",
        (
            Edit(
                BARRIERS,
                "return agent in self.arrived or agent in self.asked.members",
                "return agent in self.arrived",
            ),
        ),
        ("tests/machine/test_barrier_members.py",),
    ),
    Mutant(
        "M19e",
        "named members who have met begin to meet again",
        (Edit(BARRIERS, "if met is not None:", "if False:"),),
        ("tests/machine/test_barrier_members.py",),
    ),
    Mutant(
        "M19f",
        "a party of a collective returns what the others may not get",
        (
            Edit(
                COLLECTIVES,
                "            if ended.status is BarrierStatus.RELEASED:\n                break",
                "            if True:\n                break",
            ),
        ),
        ("tests/collectives",),
    ),
    Mutant(
        "M19g",
        "garbled bulk data is taken",
        (Edit(BULK, "elif zlib.crc32(payload) != message.checksum:", "elif False:"),),
        ("tests/runtime/test_bulk.py",),
    ),
    Mutant(
        "M19h",
        "a slice is combined without the last contribution",
        (
            Edit(
                EXCHANGE,
                "return not self._outstanding[parcel]",
                "return self._outstanding[parcel] <= 1",
            ),
        ),
        ("tests/protocol/test_bulk_exchange.py",),
    ),
    Mutant(
        "M19i",
        "bulk data waits for whatever else computes",
        (Edit(BULK, "NICENESS = 10", "NICENESS = 19"),),
        ("tests/runtime/test_bulk.py",),
    ),
)
