"""Bugs of keys: of proofs, of whose key is whose, of what the log lets in, and of the door."""

from tools.planted.base import Edit, Mutant

JOINING = "mabeam_p2p/security/joining.py"
GUARD = "mabeam_p2p/security/guard.py"
KEYRING = "mabeam_p2p/security/keyring.py"
FILES = "mabeam_p2p/security/files.py"
ANNOUNCEMENTS = "mabeam_p2p/security/announcements.py"
ADMISSIONS = "mabeam_p2p/machine/admissions.py"
ADMISSION = "mabeam_p2p/protocol/admission.py"
LINKS = "mabeam_p2p/protocol/links.py"
CURVE = "mabeam_p2p/transport/curve.py"
GATE = "mabeam_p2p/security/gate.py"
GATEKEEPER = "mabeam_p2p/security/gatekeeper.py"
SOCKETS = "mabeam_p2p/transport/zeromq.py"
RECEPTION = "mabeam_p2p/transport/reception.py"
DRIVER = "mabeam_p2p/runtime/driver.py"
ASSEMBLY = "mabeam_p2p/assembly.py"

PROOFS = ("tests/security/test_joining.py",)
TABLE = ("tests/security/test_guard.py",)
RING = ("tests/security/test_keyring.py",)
TOGETHER = ("tests/security/test_gatekeeper.py",)
SIGNED = ("tests/security/test_announcements.py",)
LOG = ("tests/machine/test_admissions.py",)
DOOR = ("tests/transport/test_keys.py",)

SAME_KEY = "if one.peer == peer or any(key in one.keys for key in keys):"
ANOTHERS = "if one.peer != peer and any(key in one.keys for key in keys):"
REFUSED = '\n                return Refused("other_key"'

MUTANTS = (
    Mutant(
        "T3-proof",
        "a client is let in without a proof",
        (
            Edit(
                JOINING,
                'and not is_mac(message.proof, visitor.secret, "client"',
                'and not visitor.words and is_mac(message.proof, visitor.secret, "c"',
            ),
        ),
        PROOFS,
    ),
    Mutant(
        "T3-server",
        "a client believes a server that has proved nothing",
        (
            Edit(
                JOINING,
                'if not is_mac(message.proof, self._secret, "server", *words):',
                "if not words:",
            ),
        ),
        PROOFS,
    ),
    Mutant(
        "T3-binding",
        "a proof does not stand for the client's key: it can be passed on",
        (Edit(JOINING, "        client_key,\n        challenge.key,", "        challenge.key,"),),
        PROOFS,
    ),
    Mutant(
        "T3-pinning",
        "a proof does not stand for the server's key",
        (Edit(JOINING, "        client_key,\n        challenge.key,", "        client_key,"),),
        PROOFS,
    ),
    Mutant(
        "T3-mirror",
        "both directions have one proof: a server's own is taken back",
        (
            Edit(
                JOINING,
                'proof = mac(secret, "server", *words)',
                'proof = mac(secret, "client", *words)',
            ),
            Edit(
                JOINING,
                'if not is_mac(message.proof, self._secret, "server"',
                'if not is_mac(message.proof, self._secret, "client"',
            ),
        ),
        PROOFS,
    ),
    Mutant(
        "T5-once",
        "a proof counts as often as it is said",
        (
            Edit(
                JOINING,
                "visitor = self._visitors.pop(connection, None)",
                "visitor = self._visitors.get(connection)",
            ),
        ),
        PROOFS,
    ),
    Mutant(
        "T17-pad",
        "the secret is handed over as it is",
        (Edit(JOINING, "masked(present, visitor.secret, *visitor.words))", "present.reveal())"),),
        PROOFS,
    ),
    Mutant(
        "T3-once",
        "a code for one lets in everybody",
        (
            Edit(
                KEYRING,
                "if one.once and one.used_by and one.used_by != key:",
                "if one.once and not one.used_by and key is None:",
            ),
        ),
        RING,
    ),
    Mutant(
        "T3-expiry",
        "a code is good for ever",
        (
            Edit(
                KEYRING,
                "if wall >= one.expires_at and one.used_by != key:",
                "if wall < 0 and one.used_by != key:",
            ),
        ),
        RING,
    ),
    Mutant(
        "T3-kept",
        "the use of a code that was not written counts when it is tried again",
        (
            Edit(
                KEYRING,
                "                setattr(self, name, value)\n            raise",
                "                setattr(self, name, getattr(self, name))\n            raise",
            ),
        ),
        RING,
    ),
    Mutant(
        "T17-mode",
        "a file that others can read is used",
        (Edit(FILES, "if facts.st_mode & 0o077:", "if facts.st_mode & 0o007:"),),
        RING,
    ),
    Mutant(
        "T4-first",
        "who knows the secret takes over the id of a peer that is pending",
        (
            Edit(
                GUARD,
                "if known is None and peer in self._pending_keys:",
                "if known is None and peer in self._revoked:",
            ),
        ),
        TABLE,
    ),
    Mutant(
        "T3-rotated",
        "the previous secret lets in who was no member",
        (Edit(GUARD, "            if not is_member:\n", "            if not current:\n"),),
        TABLE,
    ),
    Mutant(
        "T3-revoked",
        "who was revoked may speak as long as it is pending",
        (
            Edit(
                GUARD,
                "return None if peer is None or peer in self._revoked or key in self._revoked"
                " else peer",
                "return peer",
            ),
            Edit(GUARD, "peer in self._revoked or (known is", "(known is"),
        ),
        TABLE,
    ),
    Mutant(
        "T3-snapshot",
        "who starts from a snapshot does not know the key that its leader has got since",
        (
            Edit(
                "mabeam_p2p/protocol/node/application.py",
                "        if is_due:\n",
                "        if is_due and not before.admitted:\n",
            ),
        ),
        ("tests/protocol/test_snapshot_keys.py",),
    ),
    Mutant(
        "T3-early",
        "a key is used before the others know it",
        (Edit(GATE, "is_used=keys[0] == keyring.next.public", "is_used=bool(keys)"),),
        TOGETHER,
    ),
    Mutant(
        "T3-hearsay",
        "whoever knows the gate can stop a peer, as if it were revoked",
        (
            Edit(
                GATEKEEPER,
                "if self.refusal == REVOKED and self._visit.is_with_member and",
                "if self.refusal == REVOKED and",
            ),
        ),
        TOGETHER,
    ),
    Mutant(
        "T3-past",
        "who knows a former secret alone can stop a peer, as if it were revoked",
        (
            Edit(
                GATEKEEPER,
                "self._visit.is_with_member and self._is_present:",
                "self._visit.is_with_member:",
            ),
        ),
        TOGETHER,
    ),
    Mutant(
        "T3-away",
        "a revoked peer waits for its cluster for ever",
        (Edit(GATEKEEPER, "self._guard.on_revoked()", "self._guard.version += 1"),),
        TOGETHER,
    ),
    Mutant(
        "T1-address",
        "an announcement is good for every address",
        (
            Edit(
                ANNOUNCEMENTS,
                'facts["pub"], address, facts["epoch"]',
                'facts["pub"], facts["epoch"]',
            ),
        ),
        SIGNED,
    ),
    Mutant(
        "T3-again",
        "a revoked peer is admitted again",
        (
            Edit(
                ADMISSIONS,
                SAME_KEY,
                ANOTHERS,
            ),
        ),
        LOG,
    ),
    Mutant(
        "T4-log",
        "a key that is another's is admitted",
        (
            Edit(
                ADMISSIONS,
                ANOTHERS + REFUSED,
                ANOTHERS.replace("!=", "==") + REFUSED,
            ),
        ),
        LOG,
    ),
    Mutant(
        "T3-at-once",
        "a rotation takes all keys of a peer at once",
        (Edit(ADMISSIONS, "if not any(key in known for key in keys):", "if not known:"),),
        LOG,
    ),
    Mutant(
        "T3-heard",
        "a peer that was revoked is heard until it greets again",
        (
            Edit(
                LINKS,
                "        if frame.source in self.revoked:\n",
                "        if frame.source in self._refusals:\n",
            ),
            Edit(LINKS, "        for peer in peers:\n            self.forget(peer)\n", ""),
        ),
        ("tests/protocol/test_links.py", "tests/simulation/test_admissions.py"),
    ),
    Mutant(
        "T3-lost",
        "a lost machine whose key is revoked is greeted for ever",
        (
            Edit(
                LINKS,
                "        self._greetings_end(peer)\n        link = self._links.pop(peer, None)\n",
                "        link = self._links.pop(peer, None)\n",
            ),
        ),
        ("tests/protocol/test_links_on_demand.py",),
    ),
    Mutant(
        "T3-void",
        "a code lets in whoever kept it, although the join secret was rotated",
        (Edit(KEYRING, "self._keep(self._write_invitations, _invitations=[])", "pass"),),
        (*RING, *TABLE),
    ),
    Mutant(
        "T3-void-early",
        "a peer that has not been told the new secret honours the codes of the one before",
        (
            Edit(
                GUARD,
                "return None if self.lacks_secret else self.keyring.invitation(name)",
                "return self.keyring.invitation(name)",
            ),
        ),
        TABLE,
    ),
    Mutant(
        "T3-alone",
        "who joins by a code forms a cluster of its own before it is let in",
        (Edit(ASSEMBLY, "config = replace(config, expect=2)", "pass"),),
        ("tests/cli/test_joining.py::test_who_joins_by_a_code_forms_no_cluster_of_its_own",),
    ),
    Mutant(
        "T3-release",
        "only who speaks the very same latest frames is introduced: a rolling upgrade ends there",
        (
            Edit(
                JOINING,
                "from mabeam_p2p.config import JOIN_VERSION",
                "from mabeam_p2p.config import PROTOCOL_VERSION as JOIN_VERSION",
            ),
        ),
        PROOFS,
    ),
    Mutant(
        "T3-domain",
        "without a handler everybody is let in",
        (
            Edit(
                CURVE,
                "socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)",
                "socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 0)",
            ),
        ),
        DOOR,
    ),
    Mutant(
        "T3-closed",
        "a peer whose handler dies goes on",
        (Edit(CURVE, "failed, self._failed = self._failed, None", "failed = self._failed = None"),),
        DOOR,
    ),
    Mutant(
        "T4-lost",
        "a peer whose key file is gone takes another key, under which nobody knows it",
        (Edit(KEYRING, "if (self._folder / SECRET_NAME).exists():", "if not self._folder:"),),
        RING,
    ),
    Mutant(
        "T4-founder",
        "a peer that a code has let in founds a cluster of its own when it is started without one",
        (
            Edit(
                ASSEMBLY, "if config.expect < 2 and _inviter(config, code):", "if code and config:"
            ),
        ),
        ("tests/test_assembly.py",),
    ),
    Mutant(
        "T20-none",
        "a peer that has keys goes on in plain text where libzmq has no CURVE",
        (
            Edit(
                ASSEMBLY,
                'if config.insecure_plaintext or not zmq.has("curve"):\n        _refuse',
                "if config.insecure_plaintext:\n        _refuse",
            ),
        ),
        ("tests/test_assembly.py",),
    ),
    Mutant(
        "T16-part",
        "of a key file that does not fit on the disk a part takes its place",
        (
            Edit(
                FILES,
                "file.write(msgspec.json.encode(content))",
                "os.write(descriptor, msgspec.json.encode(content))",
            ),
        ),
        RING,
    ),
    Mutant(
        "T4-over",
        "a rotation that was over before its peer heard of it never ends the former key",
        (
            Edit(
                GATE,
                "        if keyring.former is not None and keys",
                "        elif keyring.former is not None and keys",
            ),
        ),
        TOGETHER,
    ),
    Mutant(
        "T4-told",
        "who was told the former key counts as one that knows the present one",
        (Edit(JOINING, "if visitor.told != self._book.public_key:", "if not visitor.told:"),),
        TOGETHER,
    ),
    Mutant(
        "T3-proposed",
        "a secret whose label the log may come to name is forgotten for another one",
        (Edit(KEYRING, "        if self.proposed is None:\n", "        if True:\n"),),
        RING,
    ),
    Mutant(
        "T16-shared",
        "a file that a user's peers share, and cannot be written, ends all of them at a rotation",
        (
            Edit(
                KEYRING,
                "        except KeyFileError as error:\n            _log.warning(_NOT_SHARED",
                "        except RuntimeError as error:\n            _log.warning(_NOT_SHARED",
            ),
        ),
        RING,
    ),
    Mutant(
        "T3-outdated",
        "a member that misses a rotation lets in whoever knows the secret that is over",
        (
            Edit(
                GUARD,
                "is_over = self._has_missed and self.lacks_secret",
                "is_over = self._has_missed and not self.lacks_secret",
            ),
        ),
        TABLE,
    ),
    Mutant(
        "T3-replayed",
        "a peer that joins takes the secret that it was told for one that is over",
        (Edit(GUARD, "had_present = self.peer in self._keys and not", "had_present = not"),),
        TABLE,
    ),
    Mutant(
        "T3-unknown",
        "the door lets in keys that nobody knows",
        (
            Edit(
                SOCKETS,
                "return Verdict.AGAIN if self._keys.speaker(key) is None else Verdict.ADMIT",
                "return Verdict.ADMIT",
            ),
        ),
        DOOR,
    ),
    Mutant(
        "T3-live",
        "a revoked key is heard as long as its connection lives",
        (
            Edit(
                RECEPTION,
                "self.speaker = self._keys.speaker(key)",
                "self.speaker = PeerId(key.hex()[:16])",
            ),
        ),
        DOOR,
    ),
    Mutant(
        "T4-before",
        "a message is whose the one before it was",
        (
            Edit(
                RECEPTION,
                "name = user_of(frame)",
                "name = next(iter(self._known_keys), user_of(frame))",
            ),
        ),
        DOOR,
    ),
    Mutant(
        "T4-source",
        "a frame is whose it says it is",
        (
            Edit(
                DRIVER,
                "if speaker is not None and frame.source != speaker:",
                "if speaker is None and frame.source != speaker and self.failure:",
            ),
        ),
        ("tests/runtime/test_driver_keys.py",),
    ),
)
