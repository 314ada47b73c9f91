"""Bugs of what agents do by themselves: attach again, offer, say again, insist."""

from tools.planted.base import Edit, Mutant

AGENT = "mabeam_p2p/api/agent.py"
APPLIERS = "mabeam_p2p/api/appliers.py"
ATTACHED = "mabeam_p2p/api/attached.py"
ATTACHMENT = "mabeam_p2p/api/attachment.py"
CALLS = "mabeam_p2p/api/calls.py"
FITNESS = "mabeam_p2p/api/fitness.py"
GRANTS = "mabeam_p2p/api/grants.py"
INSISTING = "mabeam_p2p/api/insisting.py"
REQUESTS = "mabeam_p2p/requests.py"
SAYINGS = "mabeam_p2p/api/sayings.py"
SESSION = "mabeam_p2p/api/session.py"
STREAMS = "mabeam_p2p/api/streams.py"
WORK = "mabeam_p2p/api/work.py"

MUTANTS = (
    Mutant(
        "A-stopped",
        "a daemon that stops is told to its agents as the end of the agent",
        (Edit(ATTACHED, 'isinstance(answer, Failed) and answer.reason == "closed"', "False"),),
        ("tests/api/test_attached_backend.py",),
    ),
    Mutant(
        "A-offer",
        "who waits for an offer that is under way does not wait for its answer",
        (
            Edit(
                WORK,
                "            self._is_changed = False\n            names =",
                "            self._is_changed, self._is_offered = False, True\n            names =",
            ),
        ),
        ("tests/api/test_work.py",),
    ),
    Mutant(
        "A-map-closed",
        "an agent closes without a word of what its maps have asked for",
        (Edit(WORK, "                while self._endings:\n", "                while False:\n"),),
        ("tests/api/test_asking.py",),
    ),
    Mutant(
        "A-self-cancelled",
        "a function that awaits what was cancelled ends whoever has called it",
        (Edit(CALLS, "if current is not None and current.cancelling():", "if current:"),),
        ("tests/api/test_calls.py", "tests/api/test_evaluators.py"),
    ),
    Mutant(
        "A-initial",
        "what has changed since a watch began is told as what was there before",
        (Edit(STREAMS, "is_initial = name not in self._changed", "is_initial = True"),),
        ("tests/api/test_view.py",),
    ),
    Mutant(
        "A-renewed-lost",
        "a lease that is lost while it is renewed is said to be held",
        (
            Edit(
                GRANTS,
                "        self.check()\n        if not isinstance(answer, Committed):",
                "        if not isinstance(answer, Committed):",
            ),
        ),
        ("tests/api/test_grants.py",),
    ),
    Mutant(
        "A-say-old",
        "what an agent says again is what it had said when it began to",
        (
            Edit(
                SAYINGS,
                "            while (value := self._of(name)) != said:\n",
                "            for value in (before[name],):\n",
            ),
            Edit(
                SAYINGS,
                "        for name in tuple(self._values):\n",
                "        before = dict(self._values)\n        for name in before:\n",
            ),
        ),
        ("tests/api/test_sayings.py",),
    ),
    Mutant(
        "A-say-refused",
        "an agent says again what the log has refused",
        (Edit(SAYINGS, "if self._of(name) == value:", "if self._of(name) != value:"),),
        ("tests/api/test_sayings.py",),
    ),
    Mutant(
        "A-confirm-once",
        "that a value is in effect is said once, whether the cluster hears it or not",
        (
            Edit(
                INSISTING,
                "            await asyncio.sleep(PAUSE_SECONDS)\n    return None\n",
                "            return None\n    return None\n",
            ),
        ),
        ("tests/api/test_appliers.py",),
    ),
    Mutant(
        "A-confirm-older",
        "that an older value is in effect is said on when there is a newer one",
        (Edit(AGENT, "is_last = known.version == parameter.version", "is_last = True"),),
        ("tests/api/test_appliers.py",),
    ),
    Mutant(
        "A-apply-again",
        "a guarded version that was answered for is put into effect again at each reading anew",
        (
            Edit(
                APPLIERS,
                "parameter.version <= self._heard.get(parameter.name, 0):",
                "parameter.version <= self._heard.get(\n"
                "            parameter.name, 0\n"
                "        ) - self._awaits(parameter):",
            ),
        ),
        ("tests/api/test_appliers.py",),
    ),
    Mutant(
        "A-apply-before",
        "a guarded version that was agreed before its agent began is never answered for",
        (Edit(APPLIERS, "for one in known if not self._awaits(one)}", "for one in known}"),),
        ("tests/api/test_appliers.py",),
    ),
    Mutant(
        "A-endless",
        "a time that no daemon reads is sent to it, which ends the connection",
        (Edit(ATTACHMENT, "        check_seconds(timeout)\n", ""),),
        ("tests/api/test_attachment.py",),
    ),
    Mutant(
        "A-undone",
        "a write, or a message, that a peer may have taken before it ended is said to be undone",
        (Edit(REQUESTS, "(*COMMANDS, SetVariables, SendMail)", "COMMANDS"),),
        ("tests/api/test_attachment.py",),
    ),
    Mutant(
        "A-fit-again",
        "a measured score takes back why its peer is not to lead",
        (Edit(FITNESS, "score, unfit=None)", "score)"),),
        ("tests/api/test_fitness.py",),
    ),
    Mutant(
        "A-fit-meanwhile",
        "a measured score takes back why its peer is not to lead, if that was said meanwhile",
        (
            Edit(
                FITNESS,
                "            if score != (await self._attachment.status()).score:\n"
                "                await set_fitness(self._attachment, score, unfit=None)",
                "            status = await self._attachment.status()\n"
                "            if score != status.score:\n"
                "                await set_fitness(self._attachment, score, status.unfit)",
            ),
        ),
        ("tests/api/test_fitness.py",),
    ),
    Mutant(
        "A-closed",
        "a command that waits while its agent is closed is sent again and again",
        (
            Edit(
                SESSION,
                "            if self._is_closed:\n                self._release(",
                "            if number == 0:\n                self._release(",
            ),
        ),
        ("tests/api/test_session.py",),
    ),
    Mutant(
        "A-lost-early",
        "a daemon that is lost before it is ready is waited for, and never greeted again",
        (Edit("mabeam_p2p/api/joining.py", "    on_opened(agent)\n", ""),),
        ("tests/api/test_attached_backend.py",),
    ),
    Mutant(
        "A-work-again",
        "an agent that has stopped asking for work never asks again",
        (Edit(WORK, "self._asking is None or self._asking.done()", "self._asking is None"),),
        ("tests/api/test_work.py",),
    ),
)
