"""Bugs that small changes of the code had shown to go unnoticed, each at an edge of a rule."""

from tools.planted.base import Edit, Mutant

TABLE = "mabeam_p2p/machine/tasks/table.py"
TASKS = "mabeam_p2p/machine/tasks/tasks.py"
PROPOSALS = "mabeam_p2p/machine/proposals.py"
BARRIERS = "mabeam_p2p/machine/barriers.py"
SEATS = "mabeam_p2p/machine/seats.py"
ELECTIONS = "mabeam_p2p/machine/elections.py"
LOT = "mabeam_p2p/machine/auctions/lot.py"
TERMS = "mabeam_p2p/machine/auctions/terms.py"
LOG = "mabeam_p2p/protocol/log.py"
PLACEMENT = "mabeam_p2p/machine/tasks/placement.py"
SUBJECTS = "mabeam_p2p/machine/subjects.py"
CORE = "mabeam_p2p/machine/core.py"
SCHEDULE = "mabeam_p2p/machine/tasks/schedule.py"
WORKERS = "mabeam_p2p/machine/tasks/workers.py"
PENDING = "mabeam_p2p/protocol/pending.py"
SESSIONS = "mabeam_p2p/machine/sessions.py"
BOOTSTRAP = "mabeam_p2p/protocol/bootstrap.py"
BOOT_TESTS = ("tests/protocol/test_bootstrap.py",)

MUTANTS = (
    Mutant(
        "H15-beside",
        "a command that is read alone makes a batch that nobody reads",
        (Edit("mabeam_p2p/wire/cbor.py", " and position > short_until:", ":"),),
        ("tests/wire/test_cbor.py",),
    ),
    Mutant(
        "H15-run",
        "a batch of what are no commands is read to its end before that is seen",
        (
            Edit(
                "mabeam_p2p/wire/cbor.py",
                "stop = min(position + UNWEIGHED_BYTES, end)",
                "stop = end",
            ),
        ),
        ("tests/wire/test_cbor.py",),
    ),
    Mutant(
        "E-first-use",
        "types are looked through when they are first used, by whichever threads are first",
        (
            Edit(
                "mabeam_p2p/wire/codec.py",
                "        msgspec.msgpack.Decoder(self._holder)\n",
                "",
            ),
        ),
        ("tests/wire/test_first_use.py",),
    ),
    Mutant(
        "boot-hearsay",
        "a promise is given up when anybody speaks for another cluster",
        (Edit(BOOTSTRAP, " and source in self.state.voters\n", "\n"),),
        BOOT_TESTS,
    ),
    Mutant(
        "boot-bound",
        "a promise whose coordinator has lost its disk binds for ever",
        (
            Edit(
                BOOTSTRAP,
                "        if is_promised and cluster_id not in",
                "        if not is_promised and cluster_id in",
            ),
        ),
        BOOT_TESTS,
    ),
    Mutant(
        "boot-early",
        "a cluster is spoken for before the disk says that it has formed",
        (Edit(BOOTSTRAP, "if self.state.formed and self._is_stored", "if self.state.formed"),),
        BOOT_TESTS,
    ),
    Mutant(
        "W1",
        "arguments of tasks that have ended take room for ever",
        (Edit(TABLE, "        self._argument_bytes -= len(task.order.argument)\n", ""),),
        ("tests/machine/tasks/test_tasks.py",),
    ),
    Mutant(
        "W2",
        "an agent cannot offer as many slots as is allowed",
        (
            Edit(
                TASKS,
                "if not 0 <= command.slots <= limits.task_slots_max:",
                "if not 0 <= command.slots < limits.task_slots_max:",
            ),
        ),
        ("tests/machine/tasks/test_tasks.py",),
    ),
    Mutant(
        "W3",
        "a voter that is not sure at all has no vote",
        (
            Edit(
                PROPOSALS,
                "if not 0 <= command.confidence <= CONFIDENCE_MAX:",
                "if not 0 < command.confidence <= CONFIDENCE_MAX:",
            ),
        ),
        ("tests/machine/test_proposals.py",),
    ),
    Mutant(
        "W4",
        "behind a barrier that does not expect the departed the others go on with it",
        (
            Edit(
                BARRIERS,
                "if not running.expects(agent):\n                continue",
                "if not running.expects(agent):\n                break",
            ),
        ),
        ("tests/machine/test_barriers.py",),
    ),
    Mutant(
        "W5",
        "who stood down before it left can never be elected again",
        (Edit(SEATS, "        seat.standing.pop(agent, None)\n", ""),),
        ("tests/machine/test_seats_standing.py",),
    ),
    Mutant(
        "W6",
        "a score that was not published counts for something",
        (Edit(ELECTIONS, "weight * known.get(name, 0)", "weight * known.get(name, 1)"),),
        ("tests/machine/test_elections.py",),
    ),
    Mutant(
        "W7",
        "an auction that runs says that it was closed",
        (Edit(LOT, "closed_index=0 if closed", "closed_index=1 if closed"),),
        ("tests/machine/auctions/test_english_and_dutch.py",),
    ),
    Mutant(
        "W8",
        "an auction cannot have as many items as is allowed",
        (
            Edit(
                TERMS,
                "if not 1 <= len(terms.items) <= limits.auction_items_max:",
                "if not 1 <= len(terms.items) < limits.auction_items_max:",
            ),
        ),
        ("tests/machine/auctions/test_auctions.py",),
    ),
    Mutant(
        "W9",
        "after a refusal one term too many is sent again",
        (
            Edit(
                LOG,
                "term = min(term, self._batches[conflict].term - 1)",
                "term = min(term, self._batches[conflict].term - 2)",
            ),
        ),
        ("tests/protocol/test_log.py",),
    ),
    Mutant(
        "W10",
        "power of two compares an agent with itself",
        (Edit(PLACEMENT, "% max(1, count - 1)", "% max(2, count - 1)"),),
        ("tests/machine/tasks/test_placement.py",),
    ),
    Mutant(
        "W11",
        "of equal agents the first gets everything",
        (Edit(PLACEMENT, "start = lot % len(candidates)", "start = 0"),),
        ("tests/machine/tasks/test_placement.py",),
    ),
    Mutant(
        "W12",
        "who has more slots is not thought to end sooner",
        (Edit(PLACEMENT, "(worker.slots * PACE)", "PACE"),),
        ("tests/machine/tasks/test_placement.py",),
    ),
    Mutant(
        "W13",
        "a sealed bid may reveal nothing",
        (Edit(TERMS, "if not 1 <= len(offers) <= count:", "if not 0 <= len(offers) <= count:"),),
        ("tests/machine/auctions/test_sealed.py",),
    ),
    Mutant(
        "W14",
        "an agent with the greatest session does not attach",
        (
            Edit(
                SESSIONS,
                "1 <= command.session <= INTEGER_MAX",
                "1 <= command.session < INTEGER_MAX",
            ),
        ),
        ("tests/machine/test_sessions.py",),
    ),
    Mutant(
        "W15",
        "who waits for a seat is not told that it is taken",
        (Edit(SUBJECTS, 'return "seat", seat.name, 0', "return None"),),
        ("tests/machine/test_subjects.py",),
    ),
    Mutant(
        "W16",
        "who works is not told that its work was taken back",
        (
            Edit(
                SUBJECTS,
                'return "work", agent, 0\n        case WorkerChanged',
                "return None\n        case WorkerChanged",
            ),
        ),
        ("tests/machine/test_subjects.py",),
    ),
    Mutant(
        "W17",
        "a claim that was not applied yet counts as ended",
        (Edit(SUBJECTS, "return found.index >= ticket and all(", "return all("),),
        ("tests/machine/test_subjects.py",),
    ),
    Mutant(
        "W27",
        "an election that was not applied yet counts as ended",
        (Edit(SUBJECTS, "return found.index >= election and all(", "return all("),),
        ("tests/machine/test_subjects.py",),
    ),
    Mutant(
        "W18",
        "a guarded parameter counts as settled before its guard has ended",
        (Edit(SUBJECTS, "one.version > version or (", "one.version >= version or ("),),
        ("tests/machine/test_subjects.py",),
    ),
    Mutant(
        "W19",
        "bids that have lost nothing are told again",
        (
            Edit(
                LOT,
                "if fills.get(one.index, 0) < one.quantity:",
                "if fills.get(one.index, 0) <= one.quantity:",
            ),
        ),
        ("tests/machine/auctions/test_english_and_dutch.py",),
    ),
    Mutant(
        "W20",
        "an argument as large as allowed is refused",
        (
            Edit(
                TASKS,
                "if len(order.argument) > limits.task_argument_bytes_max:",
                "if len(order.argument) >= limits.task_argument_bytes_max:",
            ),
        ),
        ("tests/machine/tasks/test_tasks.py",),
    ),
    Mutant(
        "W21",
        "deadlines that were removed pile up until they would have come",
        (Edit(CORE, "if len(self._heap) > 2 * len(self._open) + 64:", "if not self._open:"),),
        ("tests/machine/test_core.py",),
    ),
    Mutant(
        "W22",
        "the slowest idle agent gets the task",
        (Edit(SCHEDULE, "else min(idle, key=_pace_of)", "else max(idle, key=_pace_of)"),),
        ("tests/machine/tasks/test_schedule.py",),
    ),
    Mutant(
        "W23",
        "two leases of a task at one index have one token",
        (Edit(SCHEDULE, "token=max(entry.index, task.token + 1)", "token=entry.index"),),
        ("tests/machine/tasks/test_schedule.py",),
    ),
    Mutant(
        "W24",
        "what a task has required stays promised when it has ended",
        (
            Edit(
                WORKERS,
                "        _add(self.used, task.order.requires, -1)\n"
                "        _add(self.pledged, task.order.requires, -1)\n",
                "        _add(self.used, task.order.requires, -1)\n",
            ),
        ),
        ("tests/machine/tasks/test_placement.py",),
    ),
    Mutant(
        "W25",
        "a dead task is taken up again though there is no room",
        (
            Edit(
                TASKS,
                '            return Refused("limit", lacking)\n        anew',
                "            pass\n        anew",
            ),
        ),
        ("tests/machine/tasks/test_tasks.py",),
    ),
    Mutant(
        "W26",
        "a command that was refused for certain is given to the next leader",
        (
            Edit(
                PENDING,
                "Failed(message.reason, why))\n                self._drop(key)\n",
                "Failed(message.reason, why))\n",
            ),
        ),
        ("tests/protocol/test_pending.py",),
    ),
)
