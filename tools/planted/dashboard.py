"""Bugs of the dashboard: who gets in, what gets out, and what a slow reader costs."""

from tools.planted.base import Edit, Mutant

ACCESS = "mabeam_p2p/dashboard/access.py"
ADDRESSES = "mabeam_p2p/addresses.py"
NEIGHBOURS = "mabeam_p2p/dashboard/neighbours.py"
TOKENS = "mabeam_p2p/dashboard/tokens.py"
SERVING = "mabeam_p2p/dashboard/serving.py"
ALLOWANCE = "mabeam_p2p/dashboard/allowance.py"
FEED = "mabeam_p2p/dashboard/feed.py"
BOARD = "mabeam_p2p/dashboard/board.py"
LINKS = "mabeam_p2p/dashboard/links.py"
FITTING = "mabeam_p2p/dashboard/fitting.py"
ROWS = "mabeam_p2p/dashboard/rows.py"

OF_ACCESS = ("tests/dashboard/test_access.py",)
OF_NEIGHBOURS = ("tests/dashboard/test_neighbours.py",)
OF_TOKENS = ("tests/dashboard/test_tokens.py",)
OF_SERVING = ("tests/dashboard/test_serving.py",)
OF_ALLOWANCE = ("tests/dashboard/test_allowance.py",)
OF_FEED = ("tests/dashboard/test_feed.py",)
OF_BOARD = ("tests/dashboard/test_board.py",)
OF_LINKS = ("tests/dashboard/test_links.py",)
OF_FITTING = ("tests/dashboard/test_fitting.py",)

MUTANTS = (
    Mutant(
        "DB1",
        "another method than GET is answered",
        (Edit(ACCESS, 'if method != "GET":', 'if method == "TRACE":'),),
        OF_ACCESS,
    ),
    Mutant(
        "DB2",
        "a name that was rebound to this host opens the page",
        (Edit(ACCESS, "if not is_host_header_of(host, self._names):", "if not host:"),),
        OF_ACCESS,
    ),
    Mutant(
        "DB3",
        "a name counts by its beginning",
        (Edit(ADDRESSES, "_HOST_HEADER.fullmatch(header)", "_HOST_HEADER.match(header)"),),
        OF_ACCESS,
    ),
    Mutant(
        "DB4",
        "pages of another origin may read",
        (Edit(ACCESS, "if origin is not None and origin", "if origin is None and host"),),
        OF_ACCESS,
    ),
    Mutant(
        "DB5",
        "what a browser fetches for another site is answered",
        (Edit(ACCESS, 'if site not in ("same-origin", "none") and', 'if site == "x" and'),),
        OF_ACCESS,
    ),
    Mutant(
        "DB6",
        "without a token every user of this host may look",
        (Edit(ACCESS, "user not in (None, own)", "user not in (None, own, user)"),),
        OF_ACCESS,
    ),
    Mutant(
        "DB7",
        "the beginning of a token opens",
        (
            Edit(
                ACCESS,
                "hmac.compare_digest(_digest(said.strip()), self._digest)",
                "bool(said) and self._digest is not None",
            ),
        ),
        OF_ACCESS,
    ),
    Mutant(
        "DB8",
        "the token is kept",
        (Edit(ACCESS, "None if token is None else _digest(token)", "token and token.encode()"),),
        OF_ACCESS,
    ),
    Mutant(
        "DB9",
        "the user of this end of the connection counts",
        (Edit(NEIGHBOURS, "(_words(source), _words(target))", "(_words(target), _words(source))"),),
        OF_NEIGHBOURS,
    ),
    Mutant(
        "DB10",
        "a connection that the kernel does not know counts as one of no system that tells",
        (Edit(NEIGHBOURS, "return NOBODY if is_told else None", "return None"),),
        OF_NEIGHBOURS,
    ),
    Mutant(
        "DB31",
        "a client that has gone is taken for who listens at its address",
        (Edit(NEIGHBOURS, "if state in (TIME_WAIT, LISTEN) or found != ends:", "if state == 0:"),),
        OF_NEIGHBOURS,
    ),
    Mutant(
        "DB32",
        "all connections of the host are looked through for one that is unknown",
        (
            Edit(
                NEIGHBOURS,
                "return NOBODY if code == -errno.ENOENT else None",
                "return None if code == -errno.ENOENT else NOBODY",
            ),
        ),
        OF_NEIGHBOURS,
    ),
    Mutant(
        "DB11",
        "a token file that others can read is taken",
        (Edit(TOKENS, "if found.st_mode & OTHERS:", "if found.st_mode & 0o007:"),),
        OF_TOKENS,
    ),
    Mutant(
        "DB12",
        "a token file is followed through a link",
        (
            Edit(
                TOKENS,
                "os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK",
                "os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK",
            ),
        ),
        OF_TOKENS,
    ),
    Mutant(
        "DB13",
        "a token that is easily guessed is taken",
        (Edit(TOKENS, "if not TOKEN_LENGTH_MIN <= len(token)", "if not 0 <= len(token)"),),
        OF_TOKENS,
    ),
    Mutant(
        "DB14",
        "others reach the dashboard without a token",
        (Edit(SERVING, "if not (is_loopback(host) or config.dashboard_token):", "if not host:"),),
        OF_SERVING,
    ),
    Mutant(
        "DB15",
        "facts are given without the token",
        (Edit(SERVING, "refusal = self._access.of_facts(request.headers)", "refusal = None"),),
        OF_SERVING,
    ),
    Mutant(
        "DB16",
        "other users of this host are not looked for",
        (
            Edit(
                SERVING,
                "refusal = refusal or self._access.of_user(self._user(request), os.geteuid())",
                "refusal = refusal or None",
            ),
        ),
        OF_SERVING,
    ),
    Mutant(
        "DB17",
        "what is sent may be kept",
        (Edit(SERVING, '"Cache-Control": "no-store"', '"Cache-Control": "max-age=60"'),),
        OF_SERVING,
    ),
    Mutant(
        "DB18",
        "scripts may stand in the page",
        (Edit(SERVING, "script-src 'self';", "script-src 'self' 'unsafe-inline';"),),
        OF_SERVING,
    ),
    Mutant(
        "DB19",
        "connections are not counted",
        (Edit(SERVING, "> PASSING_MAX:", "> 100 * PASSING_MAX:"),),
        OF_SERVING,
    ),
    Mutant(
        "DB20",
        "a reader that takes nothing stays",
        (
            Edit(
                SERVING,
                "async with asyncio.timeout(WRITE_SECONDS):\n                await response.write",
                "async with asyncio.timeout(None):\n                await response.write",
            ),
        ),
        OF_SERVING,
    ),
    Mutant(
        "DB21",
        "whoever says nothing, asks on, or takes no answer keeps its connection",
        (Edit(SERVING, "call_later(PASSING_SECONDS,", "call_later(3600.0,"),),
        OF_SERVING,
    ),
    Mutant(
        "DB28",
        "connections come as fast as they like",
        (
            Edit(
                SERVING,
                'self.counters["flood"] += 1\n            return _Refused()',
                'self.counters["flood"] += 1',
            ),
        ),
        OF_SERVING,
    ),
    Mutant(
        "DB29",
        "who has a connection asks as much as it likes",
        (Edit(SERVING, "            return self._refused(FLOOD)\n", "            pass\n"),),
        OF_SERVING,
    ),
    Mutant(
        "DB30",
        "what was not asked for long can be asked at once",
        (Edit(ALLOWANCE, "min(float(self._at_once), grown)", "grown"),),
        OF_ALLOWANCE,
    ),
    Mutant(
        "DB22",
        "pages that are open are not counted",
        (Edit(FEED, "if len(self._readers) >= READERS_MAX or", "if"),),
        OF_FEED,
    ),
    Mutant(
        "DB23",
        "a section is made at every change",
        (
            Edit(
                FEED,
                "due = self._made_at.get(section, -pause) + pause",
                "due = 0.0",
            ),
        ),
        OF_FEED,
    ),
    Mutant(
        "DB24",
        "sections are made while nobody looks",
        (
            Edit(FEED, "if self._readers and due < ", "if due < "),
            Edit(FEED, "if self._readers and self._due.get(", "if self._due.get("),
        ),
        OF_FEED,
    ),
    Mutant(
        "DB25",
        "the last reader leaves what is known to the next one",
        (Edit(FEED, "            self._versions.clear()\n", "            pass\n"),),
        OF_FEED,
    ),
    Mutant(
        "DB26",
        "every row is made, whether it is shown or not",
        (Edit(FITTING, "if len(shown_rows) >= rows_max or size > ROWS_BYTES_MAX:", "if 0:"),),
        OF_FITTING,
    ),
    Mutant(
        "DB27",
        "after lost events old decisions stay",
        (Edit(BOARD, "        self._needs_seed = True\n        for", "        for"),),
        OF_BOARD,
    ),
    Mutant(
        "DB33",
        "a member that has long owed an answer is said to answer",
        (
            Edit(
                LINKS, "hearing.unanswered_seconds >=", "hearing.answered_seconds is None and 1 >="
            ),
        ),
        OF_LINKS,
    ),
    Mutant(
        "DB34",
        "every member is asked about, however many there are",
        (Edit(BOARD, "islice(others, LINKS_MAX)", "others"),),
        OF_BOARD,
    ),
    Mutant(
        "DB35",
        "what has changed waits for the next look that comes without an event",
        (Edit(FEED, "and due < self._due.get(section, inf):", "and section not in self._due:"),),
        OF_FEED,
    ),
    Mutant(
        "DB36",
        "the last votes are told for all of them",
        (Edit(ROWS, "for vote in facts.votes)", "for vote in facts.votes[-VOTES_MAX:])"),),
        OF_BOARD,
    ),
    Mutant(
        "DB37",
        "variables that are deleted keep their places",
        (Edit(BOARD, "self._latest_variables.drop(name)", "self._latest_variables.put(name)"),),
        OF_BOARD,
    ),
    Mutant(
        "DB38",
        "what is dropped while the keys are looked through comes back",
        (
            Edit(
                FITTING,
                "if key in self._found:\n                del self._found[key]",
                "if key not in self._changed:\n                self._found.pop(key, None)",
            ),
        ),
        OF_FITTING,
    ),
    Mutant(
        "DB39",
        "tasks of one kind hide those of the others",
        (Edit(BOARD, "zip_longest(*(found.tasks for found in kinds))", "f.tasks for f in kinds"),),
        OF_BOARD,
    ),
    Mutant(
        "DB40",
        "what could not be read waits for its next change",
        (
            Edit(
                FEED,
                "            self._ask(section, asyncio.get_running",
                "            (asyncio.get_running",
            ),
        ),
        OF_FEED,
    ),
    Mutant(
        "DB41",
        "pages that are open end like connections that are none",
        (Edit(SERVING, "self._connections.release(request.protocol)", "pass"),),
        OF_SERVING,
    ),
    Mutant(
        "DB42",
        "those that hold on to their connections keep the others out",
        (Edit(SERVING, "next(iter(self._passing))", "next(reversed(self._passing))"),),
        OF_SERVING,
    ),
)
