"""Bugs of journals."""

from tools.planted.base import Edit, Mutant

JOURNALS = "mabeam_p2p/machine/journals.py"

MUTANTS = (
    Mutant(
        "M30a",
        "a full journal that holds its items for good takes more, and loses its front",
        (
            Edit(
                JOURNALS,
                "if items.capacity and items.last >= items.capacity:",
                "if False:",
            ),
            Edit(
                JOURNALS,
                "assert not items.capacity or items.first == 1, (name, items.first)",
                "pass",
            ),
        ),
        ("tests/machine/test_journals.py",),
    ),
    Mutant(
        "M30b",
        "an append changes the capacity that the first one has set",
        (
            Edit(
                JOURNALS,
                "if items.capacity != command.capacity:",
                "if False:",
            ),
        ),
        ("tests/machine/test_journals.py",),
    ),
)
