"""Bugs of snapshots: taken, stored, sent, installed; and of what is on the way to a follower."""

from tools.planted.base import Edit, Mutant

LOG = "mabeam_p2p/protocol/log.py"
SNAPSHOTS = "mabeam_p2p/protocol/replication/snapshots.py"
SENDING = "mabeam_p2p/protocol/replication/sending.py"
PROGRESS = "mabeam_p2p/protocol/replication/progress.py"
REPLICATION = "mabeam_p2p/protocol/replication/replication.py"
APPLICATION = "mabeam_p2p/protocol/node/application.py"
SESSIONS = "mabeam_p2p/machine/sessions.py"
SQLITE = "mabeam_p2p/storage/sqlite.py"
PENDING = "mabeam_p2p/protocol/pending.py"
ROOM = "mabeam_p2p/protocol/room.py"

INSTALLED = "tests/protocol/test_snapshots_installed.py"
SENT = "tests/protocol/test_snapshots.py"
WHOLE = "tests/protocol/test_node_snapshots.py"
ROOM_TESTS = ("tests/protocol/test_room.py",)

MUTANTS = (
    Mutant(
        "M18a",
        "an installed snapshot leaves a conflicting tail in the log",
        (
            Edit(
                LOG,
                "if self.term_at(base.index) == base.term:",
                "if self.term_at(base.index) is not None:",
            ),
        ),
        (INSTALLED,),
    ),
    Mutant(
        "M18-full-disk",
        "a disk that stays nearly full gets a snapshot for each batch",
        (
            Edit(
                APPLICATION,
                "if self._has_made_room and latest and log.byte_count < len(latest.data):",
                "if False:",
            ),
        ),
        (WHOLE,),
    ),
    Mutant(
        "M18-large-snapshots",
        "a large state is written once more for each few commands",
        (Edit(APPLICATION, "self._bytes_since_snapshot * SNAPSHOT_SHARE >= last_size", "True"),),
        (WHOLE,),
    ),
    Mutant(
        "M18-patience",
        "a log of small commands waits for ever for a large snapshot",
        (
            Edit(
                APPLICATION,
                "or entry_count >= limits.snapshot_entries * SNAPSHOT_PATIENCE",
                "or False",
            ),
        ),
        (WHOLE,),
    ),
    Mutant(
        "M18-silent-truncation",
        "what takes the place of a recovered tail is applied without a word",
        (
            Edit(
                LOG,
                "        self.first_held_index = min(self.first_held_index, keep_index)\n",
                "",
            ),
        ),
        (WHOLE,),
    ),
    Mutant(
        "M18-silent-snapshot",
        "what follows a snapshot that took the place of a recovered tail is applied without a word",
        (
            Edit(
                LOG,
                "        self.first_held_index = min(self.first_held_index, self.commit_index)\n",
                "",
            ),
        ),
        (WHOLE,),
    ),
    Mutant(
        "M18b",
        "the configuration in an installed snapshot is ignored",
        (
            Edit(LOG, "        self._configurations.clear()\n", "        voters = self.voters\n"),
            Edit(
                LOG,
                "self._begin_at(base)\n        return False",
                "self._begin_at(LogBase(base.index, base.term, base.clock, voters))\n"
                "        return False",
            ),
        ),
        (INSTALLED,),
    ),
    Mutant(
        "M18c",
        "a snapshot older than what is committed is installed",
        (Edit(SNAPSHOTS, "if piece.base.index <= self._log.commit_index:", "if False:"),),
        (INSTALLED,),
    ),
    Mutant(
        "M18d",
        "the hash of a snapshot is not looked at",
        (Edit(APPLICATION, "if digest_of(snapshot.data) != snapshot.digest:", "if False:"),),
        (WHOLE,),
    ),
    Mutant(
        "M18e",
        "a state is believed to be of the index that is named beside it",
        (
            Edit(
                APPLICATION,
                "if (state.applied_index, state.applied_term) != "
                "(snapshot.base.index, snapshot.base.term):",
                "if False:",
            ),
        ),
        (WHOLE,),
    ),
    Mutant(
        "M20-membership-state-believed",
        "a state is taken from a leader although no machine would write it so",
        (Edit(APPLICATION, "not self._is_sound(state, snapshot.data)", "False"),),
        (WHOLE,),
    ),
    Mutant(
        "M18f",
        "a piece is appended wherever it says that it belongs",
        (Edit(SNAPSHOTS, "if piece.offset == len(partial.data):", "if True:"),),
        (INSTALLED,),
    ),
    Mutant(
        "M18g",
        "a snapshot is said to be installed before it is on the disk",
        (
            Edit(
                SNAPSHOTS,
                "after = max(self._following.log_persist if installed else 0, self._term.persist)",
                "after = self._term.persist",
            ),
        ),
        (INSTALLED,),
    ),
    Mutant(
        "M18h",
        "the log's prefix goes before its snapshot is on the disk",
        (
            Edit(
                SQLITE,
                "    connection.execute(layout.REPLACE_SNAPSHOT, layout.snapshot_row(record))\n",
                "    connection.execute(layout.DELETE_PREFIX, (record.base.index,))\n"
                '    connection.execute("COMMIT")\n'
                '    connection.execute("BEGIN IMMEDIATE")\n'
                "    connection.execute(layout.REPLACE_SNAPSHOT, layout.snapshot_row(record))\n",
            ),
        ),
        ("tests/storage/test_snapshots.py",),
    ),
    Mutant(
        "M15b",
        "snapshots hold no sessions",
        (
            Edit(
                SESSIONS,
                "tuple(session.state() for session in self._live.values()), "
                "tuple(self._ended.items())",
                "(), ()",
            ),
        ),
        ("tests/machine/test_machine.py", "tests/machine/test_sessions.py"),
    ),
    Mutant(
        "M15c",
        "snapshots hold no outcomes",
        (Edit(SESSIONS, "            tuple(self._outcomes.items()),\n", "            (),\n"),),
        ("tests/machine/test_sessions.py",),
    ),
    Mutant(
        "M18i",
        "what follows a snapshot on its way is dropped with the next one",
        (
            Edit(
                SNAPSHOTS,
                "keep_index = min(keep_index, max(held_from, log.base.index))",
                "pass",
            ),
        ),
        (SENT,),
    ),
    Mutant(
        "M18-large-on-its-way",
        "what is held back for a transfer takes no account of how large a state travels",
        (
            Edit(
                SNAPSHOTS,
                "max(HELD_SHARE * self._limits.snapshot_bytes, len(snapshot.data))",
                "HELD_SHARE * self._limits.snapshot_bytes",
            ),
        ),
        (SENT,),
    ),
    Mutant(
        "M18-held-without-bound",
        "what is held back for a transfer has no bound",
        (
            Edit(
                SNAPSHOTS,
                "held_from is not None and log.byte_count <= held_bytes",
                "held_from is not None",
            ),
        ),
        (SENT,),
    ),
    Mutant(
        "M18j",
        "a copy of an answer brings a copy of a piece",
        (
            Edit(
                SENDING,
                "is_news = transfer.asks or reply.offset > transfer.offset",
                "is_news = True",
            ),
        ),
        (SENT,),
    ),
    Mutant(
        "M18k",
        "a log that was compacted agrees with every other one at index 0",
        (
            Edit(
                LOG,
                "        if index == self.base.index:\n            return self.base.term\n",
                "        if index in (0, self.base.index):\n            return self.base.term\n",
            ),
        ),
        ("tests/protocol/test_log.py", INSTALLED),
    ),
    Mutant(
        "M18l",
        "bytes on the way are not forgotten with what was on the way",
        (
            Edit(
                PROGRESS,
                "        self.inflight.clear()\n        self.inflight_bytes = 0\n",
                "        self.inflight.clear()\n",
            ),
        ),
        ("tests/protocol/test_flow_control.py",),
    ),
    Mutant(
        "M18m",
        "who waits for a command that a snapshot skipped is not answered",
        (Edit(APPLICATION, "        self._pending.caught_up(machine.known_outcome)\n", ""),),
        (WHOLE,),
    ),
    Mutant(
        "M18n",
        "nobody is told that entries were skipped",
        (
            Edit(
                APPLICATION,
                'self._tell_of_loss("caught up by a snapshot", index, machine.applied_index)',
                "pass",
            ),
        ),
        (WHOLE,),
    ),
    Mutant(
        "M18o",
        "a leader fills its disk to the last byte",
        (
            Edit(
                REPLICATION,
                "if self.leadership is None or not self.room.takes(count, blob):",
                "if self.leadership is None:",
            ),
        ),
        (WHOLE,),
    ),
    Mutant(
        "M18p",
        "what a command came to before the window is told as a refusal",
        (
            Edit(
                SESSIONS,
                "return None if session.has_forgotten(command.sequence) else known",
                "return known",
            ),
        ),
        ("tests/machine/test_sessions.py",),
    ),
    Mutant(
        "M18q",
        "entries that an append names before the base are appended again",
        (
            Edit(
                "mabeam_p2p/protocol/replication/following.py",
                "        if message.previous_index < log.base.index:\n"
                "            message = _behind(log.base, message)\n",
                "",
            ),
        ),
        (INSTALLED,),
    ),
    Mutant(
        "M18-room-none",
        "a disk that is nearly full lets no lease be renewed",
        (Edit(ROOM, "if self.usage.is_full or self._decode is None:", "if self._decode:"),),
        ROOM_TESTS,
    ),
    Mutant(
        "M18-room-any",
        "a command goes in beside what keeps a lease, whatever it takes",
        (Edit(ROOM, "return all(isinstance", "return any(isinstance"),),
        ROOM_TESTS,
    ),
    Mutant(
        "M18-room-last",
        "leases are renewed until there is no room for a snapshot",
        (
            Edit(
                ROOM,
                "if self.usage.is_full or self._decode is None:",
                "if self._decode is None:",
            ),
        ),
        ROOM_TESTS,
    ),
    Mutant(
        "M18-room-mixed",
        "what keeps leases goes with what is refused for want of room",
        (Edit(PENDING, "        if self._is_short:\n", "        if not parts:\n"),),
        ("tests/protocol/test_pending_refusals.py",),
    ),
    Mutant(
        "M18-answer-first",
        "who has the answer does not find what it has done",
        (
            Edit(
                APPLICATION,
                "                for event in events:\n"
                "                    self._outbox.notify(event)\n",
                "                pass\n",
            ),
            Edit(
                APPLICATION,
                "            if not self._snapshot_for_keys(",
                "                if batch.index > log.first_held_index:\n"
                "                    self._outbox.notify(event)\n"
                "            if not self._snapshot_for_keys(",
            ),
        ),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "M18-silent-disk",
        "who has read before a peer applies its disk is not told to read anew",
        (Edit(APPLICATION, "if recovered_index > applied_index:", "if False:"),),
        ("tests/protocol/test_events_lost.py",),
    ),
    Mutant(
        "M18-lost-last",
        "that events are lost is said when what they have led to is answered already",
        (
            Edit(
                APPLICATION,
                "machine.applied_index)\n        self._pending.caught_up(machine.known_outcome)\n",
                "machine.applied_index)\n",
            ),
            Edit(
                APPLICATION,
                '        self._tell_of_loss("caught up by a snapshot"',
                "        self._pending.caught_up(machine.known_outcome)\n"
                '        self._tell_of_loss("caught up by a snapshot"',
            ),
        ),
        ("tests/protocol/test_events_lost.py",),
    ),
)
