"""Bugs of services: of what systemd is told, of units, and of ending in time."""

from tools.planted.base import Edit, Mutant

NOTIFY = "mabeam_p2p/daemon/notify.py"
SERVER = "mabeam_p2p/daemon/server.py"
UNIT = "mabeam_p2p/cli/service/unit.py"
UP = "mabeam_p2p/cli/up.py"
VERBS = "mabeam_p2p/cli/service/__init__.py"
DASHBOARD = "mabeam_p2p/cli/dashboard.py"
DRIVER = "mabeam_p2p/runtime/driver.py"
RUNNING = "mabeam_p2p/cli/running.py"
OUTPUT = "mabeam_p2p/cli/output.py"
ERRORS = "mabeam_p2p/errors.py"
SOCKETS = "mabeam_p2p/api/sockets.py"
TRANSPORT = "mabeam_p2p/transport/zeromq.py"
FOLDER = "mabeam_p2p/storage/folder.py"
SQLITE = "mabeam_p2p/storage/sqlite.py"

TOLD = ("tests/daemon/test_notify.py",)
SERVED = ("tests/daemon/test_server.py",)
SERVICES = ("tests/cli/test_service.py",)

MUTANTS = (
    Mutant(
        "S-stops-twice",
        "a peer that stops is said to be ready",
        (
            Edit(
                NOTIFY,
                "if not self._is_ready and not self._is_stopping:\n            self._is_ready",
                "if not self._is_ready:\n            self._is_ready",
            ),
        ),
        TOLD,
    ),
    Mutant(
        "S-no-pings",
        "the watchdog is never pinged",
        (Edit(NOTIFY, 'self._send("WATCHDOG", "1")', 'self._send("STATUS", "1")'),),
        TOLD,
    ),
    Mutant(
        "S-extends-for-ever",
        "a peer that is ready goes on asking for time to start",
        (
            Edit(
                NOTIFY,
                "if not self._is_ready and not self._is_stopping:\n            self._send",
                "if True:\n            self._send",
            ),
        ),
        TOLD,
    ),
    Mutant(
        "S-inherited",
        "children speak in the daemon's name",
        (Edit(NOTIFY, 'environment.pop(_SOCKET, "")', 'environment.get(_SOCKET, "")'),),
        TOLD,
    ),
    Mutant(
        "S-others-watchdog",
        "the watchdog of another process is taken for one's own",
        (
            Edit(
                NOTIFY,
                "if watchdog.isdecimal() and watched == str(os.getpid()):",
                "if watchdog.isdecimal():",
            ),
        ),
        TOLD,
    ),
    Mutant(
        "S-waits-for-readers",
        "a client that reads nothing keeps a daemon that is to end",
        (
            Edit(
                SERVER,
                "        for client in list(self._clients):\n            client.hang_up()\n",
                "",
            ),
        ),
        SERVED,
    ),
    Mutant(
        "S-specifier",
        "systemd expands what looks like a specifier",
        (Edit(UNIT, 'word.replace("%", "%%")', "word"),),
        SERVICES,
    ),
    Mutant(
        "S-variable",
        "systemd expands what looks like a variable",
        (Edit(UNIT, '.replace("$", "$$")', ""),),
        SERVICES,
    ),
    Mutant(
        "S-overwrites",
        "a unit that was changed by hand is overwritten",
        (
            Edit(
                VERBS,
                "if known is not None and known != text and not is_as_written(known)"
                " and not force:",
                "if False:",
            ),
        ),
        SERVICES,
    ),
    Mutant(
        "S-removes",
        "a unit that was changed by hand is removed",
        (
            Edit(
                VERBS,
                "if not is_as_written(known) and not force:\n            what",
                "if False:\n            what",
            ),
        ),
        SERVICES,
    ),
    Mutant(
        "S-links",
        "what enables a unit outlives it",
        (Edit(VERBS, "(*_links_to(path, system), path)", "(path,)"),),
        SERVICES,
    ),
    Mutant(
        "S-others-link",
        "what enables another unit under this name is removed",
        (Edit(VERBS, "link.is_symlink() and os.path.realpath(link) == unit", "link.is_symlink()"),),
        SERVICES,
    ),
    Mutant(
        "S-root",
        "a unit of the system runs as root",
        (Edit(VERBS, "if user.pw_uid == 0:", "if False:"),),
        SERVICES,
    ),
    Mutant(
        "S-others-unit",
        "the unit of another peer, whose file has the same name, is replaced",
        (Edit(VERBS, "if other not in (None, (wanted.cluster, wanted.name)):", "if False:"),),
        SERVICES,
    ),
    Mutant(
        "S-cannot-run",
        "a unit is written that its user cannot run, and that is started for ever",
        (Edit(VERBS, "if os.geteuid() == 0:", "if False:"),),
        SERVICES,
    ),
    Mutant(
        "S-unchecked",
        "a unit is written with which the peer cannot start",
        (Edit(VERBS, '    check(config, context.params["metrics_at"])\n', ""),),
        SERVICES,
    ),
    Mutant(
        "S-other-state",
        "the unit of a user is another peer than the one that was started by hand",
        (Edit(UNIT, "elif service.state_home:", "elif False:"),),
        SERVICES,
    ),
    Mutant(
        "S-pages-first",
        "a daemon that is to end waits for the pages of its dashboard before it leaves",
        (
            Edit(
                DASHBOARD,
                'ending = asyncio.create_task(pages.aclose(), name="end dashboard")',
                "await pages.aclose()",
            ),
        ),
        ("tests/cli/test_dashboard.py",),
    ),
    Mutant(
        "S-code-in-unit",
        "a join code stands in a unit, which all users of the host can read",
        (Edit(VERBS, 'if context.params["join_code"] is not None:', "if False:"),),
        SERVICES,
    ),
    Mutant(
        "S-code-in-error",
        "the rest of a join code that was typed without quotes is repeated",
        (Edit(UP, "allow_extra_args = True", "allow_extra_args = False"),),
        ("tests/cli/test_usage.py",),
    ),
    Mutant(
        "S-code-in-journal",
        "a service prints at each start a code that lets others in",
        (Edit(VERBS, '"up", "--no-invite", *words', '"up", *words'),),
        SERVICES,
    ),
    Mutant(
        "S-own-refusal",
        "a peer that cannot go on with its log is left running",
        (
            Edit(
                DRIVER,
                "type(event) is Refused and event.fatal and event.peer == self.peer",
                "False",
            ),
        ),
        ("tests/runtime/test_driver.py",),
    ),
    Mutant(
        "S-half-begun",
        "a command that is taken away while it is being begun is killed without a word",
        (Edit(RUNNING, "yield await asyncio.shield(begun)", "yield await begun"),),
        ("tests/cli/test_running.py",),
    ),
    Mutant(
        "S-told-twice",
        "a command is interrupted in how it ends when its leader was killed",
        (Edit(RUNNING, "        asyncio.set_child_watcher(_Watcher())\n", ""),),
        ("tests/cli/test_seats.py",),
    ),
    Mutant(
        "S-one-at-a-time",
        "the end of a command is not seen when another was begun meanwhile",
        (Edit(RUNNING, "def close(self) -> None:", "def _close(self) -> None:"),),
        ("tests/cli/test_running.py",),
    ),
    Mutant(
        "S-watcher-stays",
        "who runs a command has taken the means to run others from the whole process",
        (Edit(RUNNING, "cast(asyncio.AbstractChildWatcher, None)", "_Watcher()"),),
        ("tests/cli/test_running.py",),
    ),
    Mutant(
        "S-full",
        "a unit is not started again after its disk was full",
        (Edit(OUTPUT, "isinstance(error, StorageError) and error.is_full", "error is None"),),
        ("tests/cli/test_output.py",),
    ),
    Mutant(
        "S-hangup",
        "a peer whose terminal goes ends without leaving",
        (Edit(UP, "        if number != signal.SIGHUP:\n", "        if number:\n"),),
        ("tests/cli/test_up.py",),
    ),
    Mutant(
        "S-nohup",
        "a peer that was started to outlive its terminal leaves with it",
        (Edit(UP, "return always if is_ignored else", "return always if not always else"),),
        ("tests/cli/test_up.py",),
    ),
    Mutant(
        "S-metrics",
        "a port of metrics that is taken makes the peer join and leave again",
        (
            Edit(
                UP,
                "held, dashboard.running(config, host) as page,",
                "dashboard.running(config, host) as page, held,",
            ),
        ),
        ("tests/cli/test_metrics.py",),
    ),
    Mutant(
        "S-fault",
        "a fault of this program counts as a refusal: its unit stays down",
        (Edit(OUTPUT, "FAULT = 70", "FAULT = 1"),),
        SERVICES,
    ),
    Mutant(
        "S-no-sockets",
        "a daemon without room for its sockets counts as badly configured",
        (Edit(SOCKETS, "if error.errno not in NO_ROOM:", "if error.errno:"),),
        ("tests/api/test_sockets.py",),
    ),
    Mutant(
        "S-no-locks",
        "a daemon ends at a folder without locks or sockets, and looks into no other",
        (
            Edit(
                SOCKETS,
                "        except OSError as error:\n            refusals.append(",
                "        except PermissionError as error:\n            refusals.append(",
            ),
        ),
        ("tests/api/test_sockets.py",),
    ),
    Mutant(
        "S-unguarded",
        "a peer in which nobody checks keys counts as refused: its unit stays down",
        (Edit(TRANSPORT, "failure = RuntimeError(", "failure = AddressError("),),
        ("tests/transport/test_keys.py",),
    ),
    Mutant(
        "S-address",
        "a unit is not started again after its address was not there yet",
        (Edit(OUTPUT, "isinstance(error, AddressError) and error.is_passing", "error is None"),),
        ("tests/cli/test_output.py",),
    ),
    Mutant(
        "S-no-address",
        "what is no address counts as one that is not there yet: its unit is started for ever",
        (Edit(ERRORS, "*, is_passing: bool = False", "*, is_passing: bool = True"),),
        ("tests/transport/test_zeromq.py",),
    ),
    Mutant(
        "S-broken",
        "a disk that is broken counts as one that is full: its unit is started again for ever",
        (Edit(SQLITE, "            is_full=is_full,", "            is_full=True,"),),
        ("tests/storage/test_failing_peer.py",),
    ),
    Mutant(
        "S-taken",
        "a folder that cannot be one counts as a disk that is full",
        (Edit(FOLDER, "is_full=error.errno in NO_ROOM", "is_full=True"),),
        ("tests/cli/test_up.py",),
    ),
    Mutant(
        "S-lost",
        "that the disk is full is lost on the way",
        (Edit(SQLITE, "            is_full=is_full,", "            is_full=False,"),),
        ("tests/storage/test_failing_peer.py",),
    ),
    Mutant(
        "S-start",
        "who is started on a full disk takes it for a broken one",
        (Edit(SQLITE, "and folder.is_full(self.path)", "and not self.path"),),
        ("tests/bad_days/test_disk_full.py",),
    ),
)
