"""Bugs of variables: clocks, deletions, comparison, the way down a tree and back."""

from tools.planted.base import Edit, Mutant

VARIABLES = "mabeam_p2p/protocol/variables"
ANTI_ENTROPY = f"{VARIABLES}/anti_entropy.py"
INTAKE = f"{VARIABLES}/intake.py"
MARKS = f"{VARIABLES}/marks.py"
SPREAD = f"{VARIABLES}/spread.py"
TABLE = f"{VARIABLES}/table.py"
UPKEEP = f"{VARIABLES}/upkeep.py"
CORE = f"{VARIABLES}/variables.py"
CLOCKS = "mabeam_p2p/protocol/vector_clock.py"
HYBRID = "mabeam_p2p/protocol/hybrid_clock.py"

COMPARED_TESTS = ("tests/protocol/test_variables_anti_entropy.py",)
DELETED_TESTS = ("tests/protocol/test_variables_deleted.py",)
NO_ROOM_TESTS = ("tests/protocol/test_variables.py", "tests/protocol/test_variables_acks.py")
SPREAD_TESTS = ("tests/protocol/test_variables_spread.py",)

MUTANTS = (
    Mutant(
        "M-answer-again",
        "an answer that comes twice answers the next question of an exchange as well",
        (
            Edit(
                "mabeam_p2p/protocol/variables/anti_entropy.py",
                "exchange.want_number != number:",
                "not exchange.want_number:",
            ),
        ),
        ("tests/protocol/test_variables_anti_entropy.py",),
    ),
    Mutant(
        "M20-variables-join",
        "clocks are merged without a maximum",
        (
            Edit(
                CLOCKS,
                "        if counter > joined.get(actor, 0):\n            joined",
                "        joined",
            ),
        ),
        ("tests/protocol/test_vector_clock.py",),
    ),
    Mutant(
        "M20-variables-unanswered",
        "what is concurrent is not acknowledged",
        (
            Edit(
                CORE,
                "if outcome is None:\n                return None",
                "if outcome is None or outcome is Outcome.MERGED:\n                return None",
            ),
        ),
        ("tests/protocol/test_variables_acks.py", "tests/protocol/test_variables.py"),
    ),
    Mutant(
        "M20-variables-tombstone",
        "a tombstone is dropped before everything in it is known",
        (
            Edit(
                UPKEEP,
                "if self._marks.covers(variable) and not self._pushes.is_open(name):",
                "if not self._pushes.is_open(name):",
            ),
            Edit(
                TABLE,
                '        assert self._marks.covers(variable), f"{name!r} could come back"\n',
                "",
            ),
        ),
        DELETED_TESTS,
    ),
    Mutant(
        "M20-variables-returned",
        "who comes back is not told of what was deleted and forgotten",
        (
            Edit(
                INTAKE,
                "mine = dotted.filled(held or dotted.blank(pushed), pushed.context, "
                "self._marks.known)",
                "mine = held or dotted.blank(pushed)",
            ),
        ),
        DELETED_TESTS,
    ),
    Mutant(
        "M20-variables-restart",
        "a peer does not store that it has written before it forgets what it wrote",
        (Edit(TABLE, "        self._marks.store_own()\n", ""),),
        DELETED_TESTS,
    ),
    Mutant(
        "M20-variables-past",
        "what is deleted is not compared although not all of it is known",
        (
            Edit(
                TABLE,
                "            if self._marks.covers(variable):\n                self.tree",
                "            if True:\n                self.tree",
            ),
            Edit(
                TABLE,
                "                assert self._marks.covers(variable), "
                'f"{name!r} is not compared"\n',
                "                pass\n",
            ),
        ),
        DELETED_TESTS,
    ),
    Mutant(
        "M20-variables-taken",
        "what came in from a third peer meanwhile does not keep a peer from learning",
        (
            Edit(
                ANTI_ENTROPY,
                "if not self._table.has_taken(exchange.change_count, known):",
                "if True:",
            ),
        ),
        ("tests/protocol/test_variables_marks.py",),
    ),
    Mutant(
        "M20-variables-refused",
        "a peer learns what another knows although something was refused",
        (Edit(ANTI_ENTROPY, "        if not exchange.is_whole:\n            return False\n", ""),),
        ("tests/protocol/test_variables_marks.py",),
    ),
    Mutant(
        "M20-variables-pruned",
        "a writer is pruned that is alive",
        (Edit(UPKEEP, "if a not in live and a != self._peer]", "if a != self._peer]"),),
        ("tests/protocol/test_variables_marks.py",),
    ),
    Mutant(
        "M20-variables-base",
        "contexts that leave out something else are read as they stand",
        (Edit(CORE, "if push.base != self._marks.base_hash:", "if False:"),),
        (*DELETED_TESTS, "tests/protocol/test_variables_marks.py"),
    ),
    Mutant(
        "M20-variables-whole",
        "what goes again leaves out what it left out before",
        (
            Edit(
                CORE,
                "whole = tuple(map(self._marks.whole, held))",
                "whole = tuple(held)",
            ),
        ),
        ("tests/protocol/test_variables_marks.py",),
    ),
    Mutant(
        "M20-variables-tree",
        "the hash tree is not told of a deletion",
        (
            Edit(
                TABLE,
                "            if self._marks.covers(variable):\n"
                "                self.tree.put(name, 0)\n"
                "                return\n",
                "            if self._marks.covers(variable):\n                return\n",
            ),
        ),
        DELETED_TESTS,
    ),
    Mutant(
        "M20-variables-clock",
        "a write from the future is taken",
        (Edit(HYBRID, "return stamp <= self._bound(now)", "return True"),),
        ("tests/protocol/test_hybrid_clock.py", "tests/protocol/test_variables_hostile.py"),
    ),
    Mutant(
        "M20-variables-median",
        "one peer alone says what time it is",
        (Edit(HYBRID, "leads[(len(leads) - 1) // 2]", "leads[-1]"),),
        ("tests/protocol/test_hybrid_clock.py",),
    ),
    Mutant(
        "M20-variables-epoch",
        "writes of a process that no member has begun are taken",
        (Edit(INTAKE, "counter >> EPOCH_BITS > epochs[actor]", "counter < 0"),),
        ("tests/protocol/test_variables_hostile.py",),
    ),
    Mutant(
        "M20-variables-twice",
        "a member in the tree is counted as often as it is named",
        (
            Edit(
                SPREAD,
                "                del gathering.below[peer]\n",
                "",
            ),
        ),
        SPREAD_TESTS,
    ),
    Mutant(
        "M20-variables-late",
        "acknowledgements that come too late are lost",
        (Edit(SPREAD, "            self._outbox.send(message.writer, message)\n", ""),),
        SPREAD_TESTS,
    ),
    Mutant(
        "M20-variables-durable",
        "an acknowledgement goes up the tree before it is durable",
        (
            Edit(
                SPREAD,
                "SpreadAcks(write[1], write[0], acks), gathering.after)",
                "SpreadAcks(write[1], write[0], acks), 0)",
            ),
        ),
        SPREAD_TESTS,
    ),
    Mutant(
        "M20-variables-numbered",
        "one number stands for all questions of a comparison, so that an answer counts twice",
        (
            Edit(
                ANTI_ENTROPY,
                "exchange.number = next(self._numbers)",
                "exchange.number = exchange.number or next(self._numbers)",
            ),
        ),
        COMPARED_TESTS,
    ),
    Mutant(
        "M20-variables-given-up",
        "who is cut off from the quorum gives up the writes of those beyond",
        (Edit(UPKEEP, "if given_up and gives_up:", "if given_up:"),),
        DELETED_TESTS,
    ),
    Mutant(
        "M20-variables-ready",
        "a newcomer takes another newcomer for one that can give it everything",
        (Edit(ANTI_ENTROPY, "if not self._are_new.get(exchange.peer):", "if exchange.peer:"),),
        COMPARED_TESTS,
    ),
    Mutant(
        "M20-variables-read",
        "a value is read that a crash takes back",
        (
            Edit(
                "mabeam_p2p/protocol/node/desk.py",
                "outbox.resolve(token, answer, self._variables.written)",
                "outbox.resolve(token, answer)",
            ),
        ),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "M20-variables-no-room",
        "a write for which there was no room is acknowledged as superseded",
        (Edit(CORE, "Outcome.REFUSED if has_no_room else outcome", "outcome"),),
        ("tests/protocol/test_variables.py",),
    ),
    Mutant(
        "M20-variables-no-room-again",
        "a write for which there was no room is acknowledged as superseded when it comes again",
        (Edit(INTAKE, "            self._remember_given_up(merged, kept)\n", ""),),
        NO_ROOM_TESTS,
    ),
    Mutant(
        "M20-variables-no-room-elsewhere",
        "a write that others have given up for want of room is acknowledged as superseded",
        (Edit(INTAKE, "if len(held.siblings) < 2:", "if True:"),),
        NO_ROOM_TESTS,
    ),
    Mutant(
        "M20-variables-no-room-beside",
        "a write is acknowledged because others that came with it stand",
        (Edit(INTAKE, "if sibling.actor == writer or not stands", "if not stands"),),
        NO_ROOM_TESTS,
    ),
    Mutant(
        "M20-variables-given-up-here",
        "a writer that has given its own write up counts acknowledgements of what took its place",
        (
            Edit(
                CORE,
                "if any(self._intake.has_given_up(name, self._peer, own) "
                "for name, own in push.writes):",
                "if False:",
            ),
        ),
        NO_ROOM_TESTS,
    ),
)
