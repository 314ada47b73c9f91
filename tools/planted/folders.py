"""Rules of a data folder: that its files go together."""

from tools.planted.base import Edit, Mutant

SQLITE = "mabeam_p2p/storage/sqlite.py"
MARK = "mabeam_p2p/storage/mark.py"
RECOVERY = "mabeam_p2p/storage/recovery.py"
DAMAGE = "tests/storage/test_damage.py::"
ALONE = (f"{DAMAGE}test_who_moves_a_damaged_log_away_alone_does_not_start_from_what_is_left",)
PART = (
    f"{DAMAGE}test_a_database_into_which_the_whole_part_of_a_damaged_log_was_copied_is_refused",
)
WITHOUT = (f"{DAMAGE}test_a_log_without_its_database_is_refused_and_stays_as_it_is",)

MUTANTS = (
    Mutant(
        "FD1",
        "who moves a damaged log away starts from what is left, and forgets its promises",
        (Edit(SQLITE, "mark.put(self._database, self._identity_seen())", "pass"),),
        ALONE,
    ),
    Mutant(
        "FD10",
        "what is looked for in a folder that is refused is looked for in its own files",
        (Edit(SQLITE, "recovery.uri(copy, ", "recovery.uri(self._database, "),),
        (
            f"{DAMAGE}test_a_database_that_is_refused_beside_its_log_leaves_that_there_and_is_marked",
        ),
    ),
    Mutant(
        "FD11",
        "a database whose text is no text is damaged without a mark",
        (Edit(RECOVERY, "sqlite3.Error, ValueError, DamagedRow", "sqlite3.Error, DamagedRow"),),
        (
            f"{DAMAGE}test_a_database_that_is_refused_beside_its_log_leaves_that_there_and_is_marked",
        ),
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
                "        # Before closing takes the log away.\n"
                "        mark.take_away(self._database)\n",
                "",
            ),
        ),
        (f"{DAMAGE}test_a_mark_goes_when_the_log_is_read_and_found_whole",),
    ),
    Mutant(
        "FD5",
        "a folder that was whole again under a release without marks is refused",
        (Edit(MARK, " and identity.epoch <= int(epoch)", ""),),
        (f"{DAMAGE}test_a_mark_says_nothing_of_a_database_that_was_opened_in_order_since",),
    ),
    Mutant(
        "FD6",
        "who moves a damaged log away starts from what is left if the epoch came by that log",
        (Edit(MARK, "identity.epoch <= int(epoch)", "identity.epoch < int(epoch)"),),
        PART,
    ),
    Mutant(
        "FD7",
        "a mark says what the database knew without its log, and nothing of what that brought",
        (
            Edit(
                RECOVERY,
                "            return _identity(connection, database)",
                "            seen = _identity(connection, database)\n"
                "            return Identity(seen.format, seen.peer, seen.epoch - 1, 0)",
            ),
        ),
        PART,
    ),
    Mutant(
        "FD8",
        "a mark that the disk did not take whole counts for nothing",
        (Edit(MARK, "        return True", "        return False"),),
        (f"{DAMAGE}test_a_mark_that_names_nothing_speaks_of_any_database",),
    ),
    Mutant(
        "FD9",
        "the database of a new peer is refused for the mark of the one before",
        (Edit(MARK, "peer == identity.peer.encode() and ", ""),),
        (f"{DAMAGE}test_a_mark_says_nothing_of_the_database_of_another_peer",),
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
