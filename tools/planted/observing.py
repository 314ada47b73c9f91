"""Bugs of what people are shown of a peer: what must not be shown, and what must not be held up."""

from tools.planted.base import Edit, Mutant

DESCRIBING = "mabeam_p2p/observe/describing.py"
DUMPING = "mabeam_p2p/observe/dumping.py"
LEGIBLE = "mabeam_p2p/observe/legible.py"
LOGS = "mabeam_p2p/observe/logs.py"
OUTPUT = "mabeam_p2p/cli/output.py"
BALLOTS = "mabeam_p2p/cli/ballots.py"
PLACES = "mabeam_p2p/cli/doctor/places.py"
RECORDS = "mabeam_p2p/records/members.py"
SERVER = "mabeam_p2p/observe/server.py"
TALLY = "mabeam_p2p/observe/tally.py"
NEIGHBOURS = "mabeam_p2p/protocol/node/neighbours.py"

NETWORK = "mabeam_p2p/cli/doctor/network.py"
HOLDERS = "mabeam_p2p/cli/doctor/holders.py"

MUTANTS = (
    Mutant(
        "M60-kills",
        "who does not find its daemon is told to kill it",
        (Edit(HOLDERS, "if not _is_daemon(process):", "if True:"),),
        ("tests/cli/test_doctor_daemons.py",),
    ),
    Mutant(
        "M60-asks",
        "who asks for peers is taken for one of them",
        (Edit(NETWORK, "data[FLAGS_OFFSET] & ANSWER", "data"),),
        ("tests/cli/test_doctor.py",),
    ),
    Mutant(
        "M60r",
        "a page of another site reads the metrics by a name that it has pointed here",
        (Edit(SERVER, "if self._is_local and not all(", "if not self._is_local and not all("),),
        ("tests/observe/test_server.py",),
    ),
    Mutant(
        "M60a",
        "a dump shows the values of others",
        (Edit(DESCRIBING, 'return f"<{len(value)} bytes>"', "return repr(bytes(value))"),),
        ("tests/observe/test_describing.py",),
    ),
    Mutant(
        "M60b",
        "a dump shows text that is called a secret",
        (
            Edit(
                DESCRIBING,
                "return bool(_SECRET_NAME.search(name.lower()) or _CURVE_KEY.fullmatch(value))",
                "return bool(_CURVE_KEY.fullmatch(value))",
            ),
        ),
        ("tests/observe/test_describing.py",),
    ),
    Mutant(
        "M60c",
        "a dump shows keys of CURVE",
        (
            Edit(
                DESCRIBING,
                "return bool(_SECRET_NAME.search(name.lower()) or _CURVE_KEY.fullmatch(value))",
                "return bool(_SECRET_NAME.search(name.lower()))",
            ),
        ),
        ("tests/observe/test_describing.py",),
    ),
    Mutant(
        "M60d",
        "other users of the host are given a dump",
        (Edit(DUMPING, "if peer_user(reader) not in (None, os.getuid()):", "if False:"),),
        ("tests/observe/test_dumping.py",),
    ),
    Mutant(
        "M60e",
        "a dump has no end",
        (Edit(DESCRIBING, "if self._left < 0:", "if False:"),),
        ("tests/observe/test_describing.py",),
    ),
    Mutant(
        "M60-words",
        "a dump shows errors and notes of applications",
        (Edit(DESCRIBING, 'is_words = field.lstrip("_") in WORDS', "is_words = False"),),
        ("tests/observe/test_describing.py",),
    ),
    Mutant(
        "M60-rows",
        "a dump shows notes of applications that stand in a list",
        (Edit(DESCRIBING, "self._tell(key, field, one, depth + 1,",
              "self._tell(key, key, one, depth + 1,"),),
        ("tests/observe/test_describing.py",),
    ),
    Mutant(
        "M60k",
        "a dump shows the keys of mappings as they are",
        (Edit(DESCRIBING, 'return _plain("", "", key) or f"<{_kind(key)}>"', "return repr(key)"),),
        ("tests/observe/test_describing.py",),
    ),
    Mutant(
        "M60f",
        "the page of metrics takes any number of connections",
        (Edit(SERVER, "or len(self._connections) >= CONNECTIONS_MAX", ""),),
        ("tests/observe/test_server.py",),
    ),
    Mutant(
        "M60g",
        "a reader of metrics that waits keeps the daemon from ending",
        (Edit(SERVER, "            writer.transport.abort()\n            task.cancel()\n", ""),
         Edit(SERVER, "for task, writer in connections.items():", "for _ in connections:\n"
              "            pass"),),
        ("tests/observe/test_server.py",),
    ),
    Mutant(
        "M60h",
        "others choose how many metrics there are",
        (Edit(TALLY, "if label not in labels and len(labels) >= LABELS_MAX:", "if False:"),),
        ("tests/observe/test_metrics.py",),
    ),
    Mutant(
        "M60-drops",
        "of what was dropped, what waits to be told is lost by reports of its own kind",
        (
            Edit("mabeam_p2p/protocol/core.py", "        self._reports.pop(key, None)\n", ""),
        ),
        ("tests/observe/test_metrics.py",),
    ),
    Mutant(
        "M60i",
        "the doctor does not mind a key that others can read",
        (Edit(PLACES, "or (is_secret and mode & OTHERS):", "or False:"),),
        ("tests/cli/test_doctor.py",),
    ),
    Mutant(
        "M60-lines",
        "one argument that has no words loses its line of the log",
        (Edit(LOGS, "        return record.getMessage()\n    except Exception:",
              "        return record.getMessage()\n    except (TypeError, ValueError):"),),
        ("tests/observe/test_logs.py",),
    ),
    Mutant(
        "M60-terminal",
        "what others say reaches the terminal as it is",
        (Edit(LEGIBLE, "    if text.isprintable():\n", "    if True:\n"),),
        ("tests/cli/test_lines.py",),
    ),
    Mutant(
        "M60-forged",
        "others write lines of the log",
        (Edit(LOGS, "legible(_message(record)), None", "_message(record), None"),),
        ("tests/observe/test_logs.py",),
    ),
    Mutant(
        "M60-rounded",
        "voters are shown another value than the one that they accept",
        (Edit(BALLOTS, "output.exact(p.value),", "output.cell(p.value),"),),
        ("tests/cli/test_lines.py",),
    ),
    Mutant(
        "M60-quoted",
        "text that reads as JSON is shown as what it is not",
        (Edit(OUTPUT, ' != "" and given(value) == value', ' != ""'),),
        ("tests/cli/test_lines.py",),
    ),
    Mutant(
        "M60-another-vote",
        "who votes on a proposal that is decided votes on another one whose id begins so",
        (Edit(BALLOTS, "len(fitting) == 1 and not is_whole", "len(fitting) == 1"),),
        ("tests/cli/test_ballots.py",),
    ),
    Mutant(
        "M60-ignored",
        "what a finalizer raises is no object of the log",
        (Edit(LOGS, "sys.unraisablehook = _unraisable", "pass"),),
        ("tests/observe/test_logs.py",),
    ),
    Mutant(
        "M60-ready",
        "who was ready once counts as ready for good",
        (Edit(RECORDS, "return self.ready and self.quorum", "return self.ready"),),
        ("tests/protocol/test_evidence.py", "tests/cli/test_facts.py"),
    ),
    Mutant(
        "M60j",
        "a leader takes a restart for none if others told of it first",
        (Edit(NEIGHBOURS, "self._restarted.append(member.peer)", "pass"),),
        ("tests/protocol/test_restarts.py",),
    ),
)  # fmt: skip
