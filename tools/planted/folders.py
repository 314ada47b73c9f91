"""Rules of a data folder: that its files go together."""

from tools.planted.base import Edit, Mutant

SQLITE = "mabeam_p2p/storage/sqlite.py"
DAMAGE = "tests/storage/test_damage.py::"
ALONE = (f"{DAMAGE}test_who_moves_a_damaged_log_away_alone_does_not_start_from_what_is_left",)
WITHOUT = (f"{DAMAGE}test_a_log_without_its_database_is_refused_and_stays_as_it_is",)

MUTANTS = (
    Mutant(
        "FD1",
        "who moves a damaged log away starts from what is left, and forgets its promises",
        (Edit(SQLITE, "self._mark.touch(folder.FILE_MODE)", "pass"),),
        ALONE,
    ),
    Mutant(
        "FD2",
        "a new peer begins with the log of the one before",
        (Edit(SQLITE, "        if self._log.exists():\n", "        if False:\n"),),
        WITHOUT,
    ),
    Mutant(
        "FD3",
        "a folder that was whole again, and was closed in order, is refused",
        (
            Edit(
                SQLITE,
                "            self._mark.unlink()\n            folder.sync(self.path)\n",
                "            pass\n",
            ),
        ),
        ALONE,
    ),
    Mutant(
        "FD4",
        "a write is acknowledged before its log is synced",
        (
            Edit(
                SQLITE,
                '"rw"))\n        connection.execute("PRAGMA synchronous = FULL")',
                '"rw"))\n        connection.execute("PRAGMA synchronous = NORMAL")',
            ),
        ),
        (
            "tests/storage/test_every_call.py::"
            "test_closing_after_a_sync_that_failed_costs_nothing_acknowledged",
        ),
    ),
)
