"""Bugs of doors: who may connect, how many at a time, for how long, and what is heard of them."""

from tools.planted.base import Edit, Mutant

CALLERS = "mabeam_p2p/transport/callers.py"
BULK = "mabeam_p2p/transport/bulk.py"
SOCKETS = "mabeam_p2p/transport/zeromq.py"
INTRODUCTIONS = "mabeam_p2p/transport/introductions.py"
INTAKE = "mabeam_p2p/transport/intake.py"
BACKLOG = "mabeam_p2p/transport/backlog.py"
WAITING = ("tests/transport/test_backlog.py",)
RECEPTION = "mabeam_p2p/transport/reception.py"
PROMPT = "mabeam_p2p/cli/joining.py"
SECRETS = "mabeam_p2p/security/secrets.py"
ASSEMBLY = "mabeam_p2p/assembly.py"
KEPT_PORT = "mabeam_p2p/security/kept_port.py"
PORTS = ("tests/test_assembly.py",)

DOOR = ("tests/transport/test_keys.py",)
CODES = "tests/cli/test_joining.py::"

MUTANTS = (
    Mutant(
        "T8-count",
        "strangers may open as many connections as there are descriptors",
        (Edit(CALLERS, "while len(self._since) > self._count_max:", "while not self._ports:"),),
        ("tests/transport/test_callers.py",),
    ),
    Mutant(
        "T8-stay",
        "who knows the gate may stay at the join port",
        (
            Edit(
                CALLERS,
                "if now - since < seconds_max:",
                "if since < seconds_max + now:",
            ),
        ),
        ("tests/transport/test_callers.py",),
    ),
    Mutant(
        "T8-members",
        "of too many connections at the data port those of members give way",
        (Edit(INTAKE, "self.callers.took(descriptor_of(frame), len(frame))", "pass"),),
        ("tests/transport/test_callers.py",),
    ),
    Mutant(
        "T8-silent",
        "a member that has not said anything yet is taken for a stranger for good",
        (
            Edit(
                CALLERS, "                del self._since[descriptor]\n", "                break\n"
            ),
        ),
        ("tests/transport/test_callers.py",),
    ),
    Mutant(
        "T8-bulk",
        "strangers may open as many connections as there are descriptors where tensors travel",
        (Edit(BULK, "self._callers.look(time.monotonic())", "self._callers.told.closed"),),
        ("tests/transport/test_bulk.py",),
    ),
    Mutant(
        "T7-endless",
        "a message that has no end fills the memory",
        (Edit(CALLERS, "if total <= self._waiting_bytes_max:", "if total >= 0:"),),
        WAITING,
    ),
    Mutant(
        "T7-parts",
        "who sends messages of very many parts may go on",
        (Edit(INTAKE, "if self._dropped_count == PARTS_MAX:", "if not self._dropped_count:"),),
        WAITING,
    ),
    Mutant(
        "T7-turns",
        "a message of very many parts is dropped in one turn",
        (Edit(INTAKE, "for _ in range(PARTS_PER_TAKE):", "while True:"),),
        WAITING,
    ),
    Mutant(
        "T7-credit",
        "who has sent many short parts may leave as much more waiting",
        (Edit(BACKLOG, "= min(taken, come)", "= taken"),),
        WAITING,
    ),
    Mutant(
        "T7-bulk",
        "where tensors travel nobody looks while no message comes to its end",
        (
            Edit(
                BULK,
                "if self._callers is not None and self._callers.are_there:",
                "if self._callers is None:",
            ),
        ),
        ("tests/transport/test_bulk.py",),
    ),
    Mutant(
        "T6-cut",
        "who was revoked keeps its connection",
        (Edit("mabeam_p2p/transport/reception.py", "self._intake.cut(frame)", "pass"),),
        DOOR,
    ),
    Mutant(
        "T8-words",
        "who knows the gate may say as much as it likes in the time that it has",
        (Edit(CALLERS, "return count <= self._words_max", "return True"),),
        ("tests/transport/test_introductions.py",),
    ),
    Mutant(
        "T8-others",
        "a descriptor is cut whatever it is by now",
        (Edit(CALLERS, "return connection.getsockname()[1] in self._ports", "return True"),),
        ("tests/transport/test_callers.py",),
    ),
    Mutant(
        "T8-five",
        "who knows the gate is bounded at the join port by nothing but its words",
        (Edit(INTRODUCTIONS, "            seconds_max=CALLER_SECONDS_MAX,\n", ""),),
        ("tests/transport/test_callers.py",),
    ),
    Mutant(
        "T3-port",
        "a peer that rotates its key leaves the ports of which a firewall was told",
        (Edit(SOCKETS, "self._bind_data(host, self.port)", "self._bind_data(host, 65_535)"),),
        ("tests/transport/test_keys.py",),
    ),
    Mutant(
        "port-forgotten",
        "a peer that is started anew is elsewhere, where nobody looks",
        (Edit(ASSEMBLY, "keep_port(folder, transport.port)", "assert folder"),),
        PORTS,
    ),
    Mutant(
        "port-not-preferred",
        "a peer remembers where it was, and takes any port",
        (Edit(ASSEMBLY, "preferred_port=known", "preferred_port=0"),),
        PORTS,
    ),
    Mutant(
        "port-over-named",
        "the port that a peer had counts over the one that is named",
        (Edit(SOCKETS, "port or preferred_port)", "preferred_port or port)"),),
        PORTS,
    ),
    Mutant(
        "port-taken",
        "a peer does not start as long as another program has the port that it had",
        (Edit(SOCKETS, "            if port or not preferred_port:\n", "            if host:\n"),),
        PORTS,
    ),
    Mutant(
        "port-damaged",
        "a peer does not start where the file of its port is damaged",
        (Edit(KEPT_PORT, "    except KeyFileError:\n", "    except FileNotFoundError:\n"),),
        PORTS,
    ),
    Mutant(
        "port-data",
        "what peers say comes to any port",
        (Edit(SOCKETS, "self._bind_data(host, told)", "self._bind_data(host, 65_535)"),),
        ("tests/transport/test_keys.py",),
    ),
    Mutant(
        "T4-farewell",
        "what a link has taken under a peer's former key is thrown away when that takes another",
        (Edit(SOCKETS, "link.dial(dealer, FAREWELL_MILLISECONDS)", "link.dial(dealer)"),),
        ("tests/transport/test_keys.py",),
    ),
    Mutant(
        "T3-join",
        "a peer goes on although nobody says any more who may come to its join port",
        (
            Edit(
                INTRODUCTIONS,
                "self.zap.start(self._decide, failed)",
                "self.zap.start(self._decide, lambda error: None)",
            ),
        ),
        ("tests/transport/test_keys.py",),
    ),
    Mutant(
        "T17-traced",
        "a traceback that tells values shows secrets",
        (Edit(SECRETS, 'return "Secret(redacted)"', 'return f"Secret({self._value!r})"'),),
        ("tests/security/test_secrets.py", CODES + "test_a_traceback_shows_no_secret"),
    ),
    Mutant(
        "T17-typed",
        "a join code stands on the terminal where it was typed",
        (Edit(PROMPT, "hide_input=True", "hide_input=False"),),
        (CODES + "test_a_code_is_asked_for_at_a_terminal_and_not_shown_there",),
    ),
)
