"""Bugs that make a storm: of words that wait for a disk, and of answers to what comes late."""

from tools.planted.base import Edit, Mutant

BOOTSTRAP = "mabeam_p2p/protocol/bootstrap.py"
BOOT_TESTS = ("tests/protocol/test_bootstrap.py",)
RECORDS = "mabeam_p2p/protocol/membership/records.py"
RECORDS_TESTS = ("tests/protocol/membership/test_records.py",)

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
    Mutant(
        "storm-refutations",
        "every accusation is answered, also those of one burst",
        (Edit(RECORDS, "is_told = self._corrected.get(source) == record", "is_told = False"),),
        RECORDS_TESTS,
    ),
    Mutant(
        "storm-silence",
        "who has answered an accusation does not answer its like again, if the answer was lost",
        (Edit(RECORDS, "        self._corrected.clear()\n", ""),),
        RECORDS_TESTS,
    ),
    Mutant(
        "storm-stale",
        "who was told of one incarnation is not told of the next",
        (Edit(RECORDS, "self._corrected.get(source) == record", "source in self._corrected"),),
        RECORDS_TESTS,
    ),
    Mutant(
        "storm-accusers",
        "who was corrected is remembered without a bound",
        (
            Edit(
                RECORDS,
                "if not is_told and len(self._corrected) < self._limits.members_max:",
                "if not is_told:",
            ),
        ),
        RECORDS_TESTS,
    ),
)
