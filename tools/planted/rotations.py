"""Bugs of what ends: of secrets and codes that others may have had, too."""

from tools.planted.base import Edit, Mutant

GUARD = "mabeam_p2p/security/guard.py"
KEYRING = "mabeam_p2p/security/keyring.py"
ADMISSION = "mabeam_p2p/protocol/admission.py"

TABLE = ("tests/security/test_guard.py",)
TOGETHER = ("tests/security/test_gatekeeper.py",)

MUTANTS = (
    Mutant(
        "T3-dialled",
        "whoever answers and knows the previous secret, or a code, is believed",
        (
            Edit(
                GUARD,
                'return "" if is_good or key in self._admitted else "rotated"',
                'return "" if is_good or proved else "rotated"',
            ),
        ),
        (*TABLE, *TOGETHER),
    ),
    Mutant(
        "T3-spent",
        "a code goes on to make members of others after its peer has joined by it",
        (
            Edit(
                GUARD,
                "return None if label(token) == self.keyring.spent else token",
                "return None if not label(token) else token",
            ),
        ),
        TABLE,
    ),
    Mutant(
        "T3-spent-kept",
        "a code that has done its work counts again after a restart",
        (
            Edit(
                KEYRING,
                "keyring.spent = _of_this_release(joined, folder / JOINED_NAME).code",
                "_of_this_release(joined, folder / JOINED_NAME)",
            ),
        ),
        TABLE,
    ),
    Mutant(
        "T3-before",
        "what was proved before a rotation counts after it",
        (
            Edit(
                GUARD,
                "if is_anothers or self._proofs[peer] not in present:",
                "if is_anothers:",
            ),
        ),
        TABLE,
    ),
    Mutant(
        "T3-before-told",
        "the leader admits whom a rotation has shut out",
        (Edit(GUARD, '        self.on_pending(peer, b"")\n', ""),),
        TABLE,
    ),
    Mutant(
        "T3-before-led",
        "the leader does not hear whom a rotation has shut out",
        (Edit(ADMISSION, "        if not key:\n            return\n", ""),),
        ("tests/protocol/test_admission.py",),
    ),
    Mutant(
        "T3-now",
        "a code's time begins when its peer was started",
        (
            Edit(
                GUARD,
                "return self.keyring.invite(seconds=seconds, once=once, wall=self._wall())",
                "return self.keyring.invite(seconds=seconds, once=once, wall=0.0)",
            ),
        ),
        TOGETHER,
    ),
)
