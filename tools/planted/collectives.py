"""Bugs of the meetings of named members."""

from tools.planted.base import Edit, Mutant

BARRIERS = "mabeam_p2p/machine/barriers.py"

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
)
