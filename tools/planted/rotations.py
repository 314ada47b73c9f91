"""Bugs of what ends: of secrets and codes that others may have had, too."""

from tools.planted.base import Edit, Mutant

GUARD = "mabeam_p2p/security/guard.py"
KEYRING = "mabeam_p2p/security/keyring.py"
ADMISSION = "mabeam_p2p/protocol/admission.py"

KEYS = "mabeam_p2p/protocol/node/credentials.py"
PENDING = "mabeam_p2p/protocol/pending.py"

PROPOSED = ("tests/protocol/test_proposing.py",)
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
        "T4-host",
        "a member opens agents of another peer",
        (Edit(KEYS, "or command.peer == source", "or bool(source)"),),
        PROPOSED,
    ),
    Mutant(
        "T4-keys",
        "a member gives another peer a key of its own",
        (Edit(KEYS, "and command.peer == source", "and bool(source)"),),
        PROPOSED,
    ),
    Mutant(
        "T4-of-another",
        "an agent changes the keys of a peer that it is not on",
        (Edit("mabeam_p2p/machine/admissions.py", "if peer and peer != agent.peer:", "if False:"),),
        ("tests/machine/test_admissions.py",),
    ),
    Mutant(
        "T4-passed-on",
        "a member has a coordinator's right to say whose keys it passes on",
        (Edit(KEYS, "isinstance(message, Forward) and command.peer", "command.peer"),),
        PROPOSED,
    ),
    Mutant(
        "T4-spoken-for",
        "a member speaks for the agent of another one",
        (Edit(KEYS, "agent is None or agent.peer == source", "True"),),
        PROPOSED,
    ),
    Mutant(
        "T4-gathered",
        "what a member has a coordinator pass on is not looked at, nor by a leader that is one",
        (
            Edit(
                "mabeam_p2p/protocol/node/dispatch.py",
                "                if self._keys.may_propose(source, message, now):\n",
                "                if source:\n",
            ),
        ),
        PROPOSED,
    ),
    Mutant(
        "T4-direct",
        "a peer's own change of its keys is passed on, and so is taken after a timeout only",
        (Edit(PENDING, " or isinstance(entry.command, SetKeys)", ""),),
        ("tests/protocol/test_pending.py",),
    ),
    Mutant(
        "T3-two-clusters",
        "who has a cluster is let into another one, and is of neither",
        (
            Edit(
                "mabeam_p2p/assembly.py",
                "if code is not None and not keyring.has_joined and has_cluster:",
                "if code is not None and keyring.has_joined and not has_cluster:",
            ),
        ),
        ("tests/test_assembly.py",),
    ),
    Mutant(
        "T3-behind",
        "who has missed two rotations takes the new secret from nobody but a leader",
        (
            Edit(
                "mabeam_p2p/security/guard.py",
                "elif is_agreed or (is_by_code and key in self._admitted):",
                "elif is_agreed:",
            ),
        ),
        ("tests/security/test_guard.py",),
    ),
    Mutant(
        "T3-anything-told",
        "a member that was revoked since makes whoever is behind forget the join secret",
        (
            Edit(
                "mabeam_p2p/security/guard.py",
                "elif is_agreed or (is_by_code and key in self._admitted):",
                "elif is_agreed or key in self._admitted:",
            ),
        ),
        ("tests/security/test_guard.py",),
    ),
    Mutant(
        "T3-lacking",
        "who has met nobody that had the new secret never asks again",
        (
            Edit(
                "mabeam_p2p/transport/zeromq.py",
                "if is_open and not self._keys.lacks_secret:",
                "if is_open:",
            ),
        ),
        ("tests/transport/test_introductions.py",),
    ),
    Mutant(
        "T3-asked-about",
        "who has not read of a key to come takes it for the key of whoever asks about it",
        (Edit(GUARD, "if is_rehearsal:", "if is_rehearsal and is_member:"),),
        (*TOGETHER, "tests/transport/test_introductions.py"),
    ),
    Mutant(
        "T3-asks-counts",
        "who asks about its key to come is taken for one that was told of the server's keys",
        (
            Edit(
                GUARD,
                "        if is_rehearsal:\n",
                "        if is_rehearsal and is_member:\n"
                "            self.on_visit(peer)\n"
                "        if is_rehearsal:\n",
            ),
        ),
        TOGETHER,
    ),
    Mutant(
        "T3-asks-about",
        "who asks about its key to come does not say that it only asks",
        (
            Edit(
                "mabeam_p2p/security/gatekeeper.py",
                "is_rehearsal=pair is not None",
                "is_rehearsal=False",
            ),
        ),
        TOGETHER,
    ),
    Mutant(
        "T3-now",
        "a code's time begins when its peer was started",
        (
            Edit(
                GUARD,
                "wall=self._wall(), again=again)",
                "wall=0.0, again=again)",
            ),
        ),
        TOGETHER,
    ),
    Mutant(
        "T3-no-snapshot",
        "who starts without a snapshot takes its leader for another once its key has changed",
        (
            Edit(
                "mabeam_p2p/protocol/node/application.py",
                "is_due = after is not before and has_another_key(",
                "is_due = bool(self._replication.snapshots.latest) and has_another_key(",
            ),
        ),
        ("tests/protocol/test_snapshot_keys.py",),
    ),
)
