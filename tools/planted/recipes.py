"""Bugs of locks, semaphores, queues and counters."""

from tools.planted.base import Edit, Mutant

CLAIMS = "mabeam_p2p/machine/recipes/claims.py"
LOCKS = "mabeam_p2p/machine/recipes/locks.py"
QUEUES = "mabeam_p2p/machine/recipes/queues.py"
COUNTERS = "mabeam_p2p/machine/recipes/counters.py"
MACHINE = "mabeam_p2p/machine/machine.py"
LOCK_TESTS = ("tests/machine/test_locks.py", "tests/machine/test_locks_given_up.py")
QUEUE_TESTS = ("tests/machine/test_queues.py",)

MUTANTS = (
    Mutant(
        "K1",
        "the token of a grant is the last one again",
        (
            Edit(
                CLAIMS, "self.last = max(entry.index, self.last + 1)", "self.last = self.last or 1"
            ),
        ),
        LOCK_TESTS,
    ),
    Mutant(
        "K2",
        "grants of one index have one token",
        (Edit(CLAIMS, "max(entry.index, self.last + 1)", "max(entry.index, self.last)"),),
        LOCK_TESTS,
    ),
    Mutant(
        "K3",
        "who departs keeps its locks",
        (Edit(LOCKS, 'self._end(self._locks[line.name], claim, "departed")', "pass"),),
        LOCK_TESTS,
    ),
    Mutant(
        "K4",
        "after a departure nobody is served",
        (
            Edit(
                LOCKS,
                "        for name in touched:\n            self._serve(entry, self._locks[name])\n",
                "",
            ),
        ),
        LOCK_TESTS,
    ),
    Mutant(
        "K5",
        "the last in line is served first",
        (
            Edit(
                CLAIMS,
                "next(iter(self.waiting.values()), None)",
                "next(reversed(self.waiting.values()), None)",
            ),
        ),
        LOCK_TESTS,
    ),
    Mutant(
        "K6",
        "a semaphore has one permit too many",
        (
            Edit(
                LOCKS,
                "return self.held + permits <= self.limit",
                "return self.held + permits <= self.limit + 1",
            ),
            Edit(LOCKS, "assert lock.held <= lock.limit", "assert lock.limit"),
        ),
        LOCK_TESTS,
    ),
    Mutant(
        "K7",
        "who tries passes those who wait",
        (Edit(LOCKS, "(not lock.line.waiting and lock.has_room", "(lock.has_room"),),
        LOCK_TESTS,
    ),
    Mutant(
        "K8",
        "a claim that was given up before it came has its effect all the same",
        (Edit(MACHINE, "session.forgo(command.claim)", "pass"),),
        LOCK_TESTS,
    ),
    Mutant(
        "K9",
        "a release gives back one permit, whatever was held",
        (Edit(LOCKS, "lock.held -= claim.permits", "lock.held -= 1"),),
        LOCK_TESTS,
    ),
    Mutant(
        "K10",
        "a renewed lease ends when it would have ended",
        (
            Edit(
                CLAIMS,
                "renewed = replace(claim, deadline=min(entry.clock + claim.lease, INTEGER_MAX))",
                "renewed = claim",
            ),
        ),
        LOCK_TESTS,
    ),
    Mutant(
        "Q1",
        "an item that is returned goes to the end",
        (
            Edit(
                QUEUES,
                "insort(queue.ready, claim.item, key=_position)",
                "queue.ready.append(claim.item)",
            ),
        ),
        QUEUE_TESTS,
    ),
    Mutant(
        "Q2",
        "what a departed taker held is gone",
        (
            Edit(
                QUEUES,
                'self._undo(self._queues[line.name], claim, "departed")',
                'self._end(self._queues[line.name], claim, "departed")',
            ),
        ),
        QUEUE_TESTS,
    ),
    Mutant(
        "Q3",
        "an acknowledged item comes again",
        (
            Edit(
                QUEUES,
                'self._end(queue, found[1], "acknowledged")',
                'self._undo(queue, found[1], "acknowledged")',
            ),
        ),
        QUEUE_TESTS,
    ),
    Mutant(
        "N1",
        "a counter is set whatever it is",
        (Edit(COUNTERS, "command.expected != present", "False"),),
        ("tests/machine/test_counters.py",),
    ),
)
