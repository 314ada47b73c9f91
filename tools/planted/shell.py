"""Rules of the shell: of what runs around the node, and of its ways to others."""

from tools.planted.base import Edit, Mutant

LANE = "mabeam_p2p/runtime/lane.py"

LANE_TESTS = ("tests/runtime/test_lane.py",)

MUTANTS = (
    Mutant(
        "SH1",
        "the rest of a turn happens, and is written, after the peer has failed within it",
        (
            Edit(
                LANE,
                "                        if self._is_halted:  # By whoever was told.\n"
                "                            return\n",
                "",
            ),
        ),
        LANE_TESTS,
    ),
    Mutant(
        "SH2",
        "a peer that has failed hears that its write is durable",
        (Edit(LANE, "            if not self._is_halted:\n", "            if True:\n"),),
        LANE_TESTS,
    ),
)
