"""Bugs of the join codes that a peer has given out."""

from tools.planted.base import Edit, Mutant

KEYRING = "mabeam_p2p/security/keyring.py"
TESTS = ("tests/security/test_keyring.py",)

MUTANTS = (
    Mutant(
        "K-voids",
        "a new join code takes the place of one that was given out and is still good",
        (
            Edit(KEYRING, "        if excess > len(spent):\n", "        if False:\n"),
            Edit(KEYRING, "for one in live if one.once and one.used_by]", "for one in live]"),
        ),
        TESTS,
    ),
    Mutant(
        "K-spent-stay",
        "join codes that have let their one peer in keep the place of new ones",
        (Edit(KEYRING, "if one.once and one.used_by]", "if False]"),),
        TESTS,
    ),
    Mutant(
        "K-start-new",
        "each start makes a join code of its own, until there is room for no other",
        (Edit(KEYRING, "if is_so and seconds / 2 <=", "if seconds < 0 <="),),
        TESTS,
    ),
    Mutant(
        "K-start-asked",
        "a start prints a join code that somebody has asked for",
        (Edit(KEYRING, "if is_so and seconds", "if seconds"),),
        TESTS,
    ),
    Mutant(
        "K-start-late",
        "a start prints a join code that is about to end",
        (Edit(KEYRING, "is_so and seconds / 2 <=", "is_so and 0 <"),),
        TESTS,
    ),
    Mutant(
        "K-start-ahead",
        "a start prints a join code that is good for longer than its hour",
        (Edit(KEYRING, "<= one.expires_at - wall <= seconds:", "<= one.expires_at - wall:"),),
        TESTS,
    ),
    Mutant(
        "K-spent-go",
        "a peer that a code has let in may not ask again as soon as there is another code",
        (
            Edit(
                KEYRING,
                "excess = max(0, len(live) + 1 - INVITATIONS_MAX)",
                "excess = len(spent)",
            ),
        ),
        TESTS,
    ),
)
