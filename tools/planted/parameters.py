"""Bugs of parameters and sessions."""

from tools.planted.base import Edit, Mutant

PROPOSALS = "mabeam_p2p/machine/proposals.py"
PARAMETERS = "mabeam_p2p/machine/parameters.py"
SESSIONS = "mabeam_p2p/machine/sessions.py"
OTHER_LOGS = ("tests/api/test_other_logs.py",)

MUTANTS = (
    Mutant(
        "P1",
        "a guarded value stands although one voter could not apply it",
        (Edit(PARAMETERS, "if not command.applied:", "if False:"),),
        ("tests/machine/test_parameters.py",),
    ),
    Mutant(
        "P2",
        "an electorate shrinks below a majority of the first one",
        (
            Edit(
                PROPOSALS,
                "least = max(self.first_count // 2 + 1, policy.min_voters)",
                "least = policy.min_voters",
            ),
        ),
        ("tests/machine/test_parameters.py",),
    ),
    Mutant(
        "P3",
        "a session outlives its lease",
        (Edit(SESSIONS, "if session.lease_end <= session.look_clock:", "if False:"),),
        ("tests/machine/test_session_changes.py",),
    ),
    Mutant(
        "P4",
        "a late copy of an opening moves a session back to an older epoch",
        (Edit(SESSIONS, "if command.epoch > session.agent.epoch:", "if True:"),),
        ("tests/machine/test_session_changes.py",),
    ),
    Mutant(
        "P5",
        "a proposal over a version is accepted over any",
        (Edit(PROPOSALS, "if version != proposal.base_version:", "if False:"),),
        ("tests/machine/test_proposals.py",),
    ),
    Mutant(
        "P6",
        "two decisions at one index are one version",
        (
            Edit(
                PARAMETERS,
                "return max(entry.index, self.version(name) + 1)",
                "return max(entry.index, self.version(name))",
            ),
        ),
        ("tests/machine/test_parameters.py",),
    ),
    Mutant(
        "P-former-log",
        "an agent believes the versions of the log that its peer had before, as they are greater",
        (Edit("mabeam_p2p/api/attachment.py", "            self.view.forget()\n", ""),),
        OTHER_LOGS,
    ),
    Mutant(
        "P-former-versions",
        "values of another log are put into effect once they have come to more versions",
        (Edit("mabeam_p2p/api/agent.py", "        self._appliers.forget()\n", ""),),
        OTHER_LOGS,
    ),
    Mutant(
        "P-former-lock",
        "a lock is held though its log is gone",
        (Edit("mabeam_p2p/api/agent.py", "        self._grants.forget()\n", ""),),
        OTHER_LOGS,
    ),
    Mutant(
        "P-former-work",
        "a worker waits until another log has come as far as the former one",
        (Edit("mabeam_p2p/api/agent.py", "        self._work.forget()\n", ""),),
        OTHER_LOGS,
    ),
    Mutant(
        "P-no-log",
        "a peer that has no log yet is one with another log",
        (Edit("mabeam_p2p/api/attachment.py", "cluster_id or former\n", "cluster_id\n"),),
        OTHER_LOGS,
    ),
    Mutant(
        "P-former-auction",
        "an auction of another log is none, if the former log had one of its id",
        (
            Edit(
                "mabeam_p2p/api/bidders.py",
                "        self._seen.clear()\n        self._done.clear()\n",
                "        self._seen.clear()\n",
            ),
        ),
        ("tests/api/test_bidders.py",),
    ),
)
