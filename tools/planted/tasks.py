"""Bugs of tasks."""

from tools.planted.base import Edit, Mutant

TASKS = "mabeam_p2p/machine/tasks/tasks.py"
SCHEDULE = "mabeam_p2p/machine/tasks/schedule.py"
WORKERS = "mabeam_p2p/machine/tasks/workers.py"
SUBMITTER = "mabeam_p2p/api/tasks.py"

TESTS = ("tests/machine/tasks",)

MUTANTS = (
    Mutant(
        "T1",
        "a result counts whatever its token",
        (
            Edit(
                TASKS,
                "LEASED and (task.agent, task.token) == (agent, token):",
                "LEASED:",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T2",
        "a finished task takes another result",
        (
            Edit(
                TASKS,
                "if task.status is TaskStatus.LEASED and (task.agent, task.token)",
                "if (task.agent, task.token)",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T3",
        "an agent that has gone keeps what it held",
        (
            Edit(
                SCHEDULE,
                "        worker.slots = 0\n"
                "        self._events.append(WorkerChanged(worker.record()))\n"
                "        self._lose_all(entry, worker)",
                "        worker.slots = 0\n"
                "        self._events.append(WorkerChanged(worker.record()))",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T4",
        "an agent gets more tasks than it has slots",
        (
            Edit(
                WORKERS,
                "return len(self.running) < self.slots and not self.is_silent",
                "return len(self.running) <= self.slots and not self.is_silent",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T5",
        "what a task takes up is not counted",
        (
            Edit(WORKERS, "        _add(self.used, task.order.requires, 1)\n", ""),
            Edit(WORKERS, "        _add(self.used, task.order.requires, -1)\n", ""),
        ),
        TESTS,
    ),
    Mutant(
        "T6",
        "a silent agent gets tasks",
        (
            Edit(
                WORKERS,
                "return len(self.running) < self.slots and not self.is_silent",
                "return len(self.running) < self.slots",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T7",
        "what is stolen stays with its agent as well",
        (Edit(SCHEDULE, '            self.release(entry, task, "stolen")\n', ""),),
        TESTS,
    ),
    Mutant(
        "T8",
        "failed attempts are not counted",
        (
            Edit(
                TASKS,
                "failed = replace(task, failures=task.failures + 1, error=error)",
                "failed = replace(task, error=error)",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T9",
        "a task that is leased again keeps its token",
        (
            Edit(
                SCHEDULE,
                "token=max(entry.index, task.token + 1)",
                "token=task.token or entry.index",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T10",
        "small tasks overtake large ones that need the same",
        (Edit(SCHEDULE, "            blocked.update(dict.fromkeys(lacking))\n", ""),),
        TESTS,
    ),
    Mutant(
        "T11",
        "an agent that has fallen silent keeps what it holds",
        (
            Edit(
                SCHEDULE,
                "        worker.is_silent = True\n"
                "        self._events.append(WorkerChanged(worker.record()))\n"
                "        self._lose_all(entry, worker)",
                "        worker.is_silent = True",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T12",
        "what is overdue no more stays among what may be taken over",
        (
            Edit(
                SCHEDULE,
                "        self._overdue.pop(task.id, None)\n        if task",
                "        if task",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T13",
        "small tasks out of other queues overtake large ones that need the same",
        (
            Edit(
                SCHEDULE,
                "not _is_sticky(task) and not needs(task.order.requires, blocked)",
                "not _is_sticky(task)",
            ),
        ),
        TESTS,
    ),
    Mutant(
        "T14",
        "a cancellation that the items of a map raise leaves its reader waiting",
        (Edit(SUBMITTER, "if self._pulling.cancelling():", "if True:"),),
        ("tests/api/test_maps.py",),
    ),
    Mutant(
        "T15",
        "who has closed a map is told that its items were cancelled",
        (Edit(SUBMITTER, "if self._pulling.cancelling():", "if False:"),),
        ("tests/api/test_maps.py",),
    ),
)
