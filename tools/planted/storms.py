"""Bugs that make a storm of what is said again: behind a disk that hangs."""

from tools.planted.base import Edit, Mutant

BOOTSTRAP = "mabeam_p2p/protocol/bootstrap.py"
BOOT_TESTS = ("tests/protocol/test_bootstrap.py",)

MUTANTS = (
    Mutant(
        "storm-words",
        "what waits for the disk of a peer that boots is said again whenever it is asked",
        (Edit(BOOTSTRAP, "if (target, message) in self._waiting or", "if"),),
        BOOT_TESTS,
    ),
    Mutant(
        "storm-bound",
        "the words that wait for the disk of a peer that boots are as many as are asked for",
        (Edit(BOOTSTRAP, "or len(self._waiting) >= WAITING_MAX", ""),),
        BOOT_TESTS,
    ),
    Mutant(
        "storm-offers",
        "offers come and go while the disk hangs",
        (
            Edit(
                BOOTSTRAP, "now >= self._not_before and self._is_stored", "now >= self._not_before"
            ),
        ),
        BOOT_TESTS,
    ),
)
