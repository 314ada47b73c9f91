"""Bugs of sessions, their leases and their lives beyond a daemon's."""

from tools.planted.base import Edit, Mutant

MACHINE = "mabeam_p2p/machine/machine.py"
SESSIONS = "mabeam_p2p/machine/sessions.py"
DUTIES = "mabeam_p2p/protocol/duties.py"
OWN_SESSION = "mabeam_p2p/api/session.py"
SERVER = "mabeam_p2p/daemon/server.py"

MUTANTS = (
    Mutant(
        "M25-settings",
        "an attached agent takes the built-in time after which a peer counts as dead",
        (
            Edit(
                "mabeam_p2p/api/connecting.py",
                "limits=limits, timing=timing, begin",
                "limits=limits, begin",
            ),
        ),
        ("tests/api/test_connecting.py",),
    ),
    Mutant(
        "M25-name",
        "time without a leader counts against who waits for the name of a peer that is gone",
        (
            Edit(
                OWN_SESSION,
                "                give_up, led_by = math.inf, self._attachment.view.leader\n",
                "                pass\n",
            ),
        ),
        ("tests/api/test_session_names.py",),
    ),
    Mutant(
        "M25-leader",
        "who waits for the name of a peer that is gone gives the next leader no time",
        (
            Edit(
                OWN_SESSION,
                "or self._attachment.view.leader != led_by:",
                "or self._attachment is None:",
            ),
        ),
        ("tests/api/test_session.py",),
    ),
    Mutant(
        "M25-looks",
        "who waits for the name of a peer that is gone gives up before a leader may see that it is",
        (Edit(OWN_SESSION, "looks = 2 * timing.probe_interval_seconds", "looks = 0.0"),),
        ("tests/api/test_session_names.py",),
    ),
    Mutant(
        "M25-closed",
        "an end of the peer says that what may have been done was not",
        (
            Edit(
                OWN_SESSION,
                "if isinstance(answer, Failed) and not (is_first or is_opening):",
                'if isinstance(answer, Failed) and not is_first and answer.reason != "closed":',
            ),
        ),
        ("tests/api/test_session.py",),
    ),
    Mutant(
        "M25-raised",
        "an agent that is closed says that what may have been done was not",
        (
            Edit(
                OWN_SESSION,
                "                if is_first or is_opening:\n                    raise\n",
                "                if is_first or is_opening or isinstance(error, Closed):\n"
                "                    raise\n",
            ),
        ),
        ("tests/api/test_session.py",),
    ),
    Mutant(
        "M25a",
        "a command does not renew its session's lease",
        (
            Edit(
                MACHINE,
                "session.heard_clock = entry.clock\n                recorded =",
                "recorded =",
            ),
        ),
    ),
    Mutant(
        "M25b",
        "a lease is one look longer than it should be",
        (
            Edit(
                SESSIONS,
                "if session.lease_end <= session.look_clock:",
                "if session.lease_end < session.look_clock:",
            ),
            Edit(
                SESSIONS,
                "session.look_clock = session.lease_end\n        self._deadlines.remove",
                "session.look_clock = session.lease_end + 1\n        self._deadlines.remove",
            ),
        ),
    ),
    Mutant(
        "M25c",
        "a session does not move to its peer's next epoch",
        (Edit(SESSIONS, "if command.epoch > session.agent.epoch:", "if False:"),),
        ("tests/machine/test_session_changes.py",),
    ),
    Mutant(
        "M25d",
        "an agent that attaches again begins another session",
        (
            Edit(
                OWN_SESSION,
                "if self._is_ended:\n            session = SessionId",
                "if True:\n            session = SessionId",
            ),
        ),
        ("tests/api/test_session_renewed.py",),
    ),
    Mutant(
        "M25e",
        "the agents of a restarted peer have no time to come back",
        (Edit(DUTIES, "return self._timing.restart_grace_seconds", "return 0.0"),),
        ("tests/protocol/test_duties.py",),
    ),
    Mutant(
        "M25f",
        "whoever greets goes on with a session that the daemon is closing",
        (Edit(SERVER, "if greet.session in self._closings:", "if False:"),),
        ("tests/daemon/test_server.py",),
    ),
)
